"""Recipes: every section typed, every typo answered, streams and overrides merged in the right order."""

import dataclasses
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.streams import STREAMS
from protogcn.data.pipeline_config import PROTOCOLS, PipelineConfig
from protogcn.training.recipe import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TrainerConfig,
    find_recipe,
    load_recipe,
    merge,
    parse_recipe,
)

CONFIGS = Path(__file__).parents[2] / "configs"


def parse(content, *overrides):
    return parse_recipe({"benchmark": "tiny", **content}, "tiny.yaml", overrides)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_defaults_are_those_of_the_sections():
    recipe = parse({})
    assert recipe == Recipe("tiny")
    assert recipe.pipeline == PipelineConfig() and recipe.optimizer == OptimizerConfig()


def test_what_is_given_arrives_typed():
    recipe = parse(
        {
            "stream": "bm",
            "seed": 4,
            "data": {"store": "somewhere", "workers": 2},
            "pipeline": {"protocol": "pyskl_3d", "p_interval": [0.5, 1], "clip_len": 64},
            "model": {"options": {"base_channels": 8, "widen_at": [2]}},
            "loss": {"label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 1},
            "schedule": {"name": "step", "milestones": [3, 5], "warmup_epochs": 1},
            "trainer": {"precision": "bf16-mixed", "ema": 0.99},
            "evaluation": {"average": "logits", "checkpoint": "best"},
        }
    )
    assert (recipe.stream, recipe.seed, recipe.data.workers) == ("bm", 4, 2)
    assert recipe.pipeline.p_interval == (0.5, 1.0) and isinstance(recipe.pipeline.p_interval, tuple)
    assert recipe.model.options == {"base_channels": 8, "widen_at": [2]} and recipe.loss == {"label_smoothing": 0.1}
    assert recipe.optimizer.lr == 1.0 and isinstance(recipe.optimizer.lr, float)
    assert recipe.schedule.milestones == [3, 5] and recipe.evaluation == EvaluationConfig("logits", "best")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"optimiser": {}}, ["unknown section 'optimiser'", "'optimizer'"]),
        ({"optimizer": {"learning_rate": 0.1}}, ["unknown key in optimizer 'learning_rate'", "lr"]),
        ({"trainer": {"epoch": 3}}, ["unknown key in trainer 'epoch'", "'epochs'"]),
        ({"pipeline": {"cliplen": 3}}, ["'clip_len'"]),
        ({"data": {"stor": "x"}}, ["'store'"]),
        ({"evaluation": {"avrage": "logits"}}, ["'average'"]),
        ({"schedule": {"warmup": 1}}, ["'warmup_epochs'"]),
        ({"model": {"width": 3}}, ["unknown key in model", "name, "]),
        ({"trainer": 3}, ["trainer must be a section with keys epochs", "got 3"]),
        ({"trainer": {"epochs": "many"}}, ["trainer.epochs", "int", "many"]),
        ({"trainer": {"epochs": 2.5}}, ["trainer.epochs", "int"]),
        ({"trainer": {"precision": "fp16"}}, ["precision", "16-mixed", "fp16"]),
        ({"optimizer": {"name": "adam"}}, ["optimizer.name", "adamw"]),
        ({"optimizer": {"nesterov": "maybe"}}, ["nesterov", "bool"]),
        ({"schedule": {"milestones": 3}}, ["milestones"]),
        ({"pipeline": {"protocol": "protogcn3d"}}, ["protogcn_3d"]),
        ({"pipeline": {"flip": 1.5}}, ["pipeline.flip", "1.5"]),
        ({"stream": "x"}, ["unknown stream 'x'", "j"]),
        ({"stream": "mj"}, ["'mj'", "'jm'"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"benchmark": "a/b"}, ["benchmark", "'a/b'"]),
        ({"benchmark": ""}, ["benchmark"]),
        ({"trainer": {"epochs": 0}}, ["epochs must be at least 1"]),
        ({"trainer": {"batch_size": 0}}, ["batch_size"]),
        ({"trainer": {"ema": 1.0}}, ["ema", "[0, 1)"]),
        ({"trainer": {"patience": 2, "validate_every": 0}}, ["patience", "validate_every"]),
        ({"trainer": {"gradient_clip": -1}}, ["gradient_clip"]),
        ({"data": {"repeat": 0}}, ["repeat"]),
        ({"data": {"workers": -1}}, ["workers"]),
        ({"optimizer": {"lr": -0.1}}, ["lr must be"]),
        ({"optimizer": {"lr": math.nan}}, ["lr must be", "nan"]),
        ({"optimizer": {"weight_decay": math.inf}}, ["weight_decay", "inf"]),
        ({"schedule": {"gamma": -1}}, ["gamma"]),
    ],
)
def test_what_is_wrong_is_named_in_one_paragraph(content, words):
    with pytest.raises(ValueError) as caught:
        parse(content)
    message = str(caught.value)
    assert message.startswith("tiny.yaml: ") and "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--optimizer.learnrate=0.1", ["--optimizer.learnrate", "--optimizer.lr"]),
        ("--optimiser.lr=0.1", ["--optimiser", "--optimizer"]),
        ("--lr=0.1", ["--lr", "--optimizer.lr"]),
        ("--epochs=3", ["--trainer.epochs"]),
        ("--trainer.epochs=many", ["trainer.epochs", "many"]),
        ("--trainer.epochs", ["trainer.epochs"]),
        ("surplus", ["surplus"]),
    ],
)
def test_overrides_are_checked(override, words):
    with pytest.raises(ValueError) as caught:
        parse({}, override)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_come_last_and_touch_nothing_else():
    content = {"optimizer": {"lr": 0.5, "momentum": 0.8}, "model": {"options": {"num_blocks": 3, "base_channels": 8}}}
    recipe = parse(
        content,
        *("--optimizer.lr=0.1", "--trainer.epochs", "7", "--model.options.base_channels", "16"),
        *("--loss.contrastive_weight=0.3", "--schedule.milestones=[2,4]", "--pipeline.p_interval=[0.5,1]"),
    )
    assert recipe.optimizer == OptimizerConfig(lr=0.1, momentum=0.8)
    assert recipe.model.options == {"num_blocks": 3, "base_channels": 16}
    assert recipe.loss == {"contrastive_weight": 0.3} and recipe.trainer.epochs == 7
    assert recipe.schedule.milestones == [2, 4] and recipe.pipeline.p_interval == (0.5, 1.0)
    assert content["optimizer"]["lr"] == 0.5


STREAMED = """
benchmark: tiny
stream: k
loss: {contrastive_weight: 0.2, label_smoothing: 0.1}
model: {options: {num_prototypes: 400}}
streams:
  b, bm: {loss: {contrastive_weight: 0.3}}
  k,km: {loss: {contrastive_weight: 0.1}}
  b,k: {model: {options: {num_prototypes: 100, dropout: 0.5}}}
"""


@pytest.mark.parametrize(
    ("stream", "weight", "options"),
    [
        ("j", 0.2, {"num_prototypes": 400}),
        ("b", 0.3, {"num_prototypes": 100, "dropout": 0.5}),
        ("bm", 0.3, {"num_prototypes": 400}),
        ("km", 0.1, {"num_prototypes": 400}),
        (None, 0.1, {"num_prototypes": 100, "dropout": 0.5}),
    ],
)
def test_differences_between_streams_are_merged(write, stream, weight, options):
    recipe = load_recipe(write(STREAMED), stream)
    assert recipe.stream == (stream or "k")
    assert recipe.loss == {"contrastive_weight": weight, "label_smoothing": 0.1}
    assert recipe.model.options == options


def test_overrides_beat_the_differences_between_streams(write):
    recipe = load_recipe(write(STREAMED), "b", ["--loss.contrastive_weight=0.9", "--seed=5"])
    assert recipe.loss == {"contrastive_weight": 0.9, "label_smoothing": 0.1} and recipe.seed == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("benchmark: [a", ["recipe.yaml is not readable as YAML", "line 1"]),
        ("a: b: c", ["not readable as YAML"]),
        ("- benchmark", ["must hold the sections of a recipe"]),
        ("", ["must hold the sections"]),
        ("3: 4", ["must hold the sections"]),
        ("!!python/object/apply:os.getcwd []", ["not readable as YAML"]),
        ("benchmark: tiny\nstreams: [b]", ["streams must map streams"]),
        ("benchmark: tiny\nstreams: {b: 3}", ["streams.b must hold sections"]),
        ("benchmark: tiny\nstreams: {q: {}}", ["unknown stream 'q'"]),
        ("benchmark: tiny\nstream: 3", ["unknown stream 3"]),
        ("stream: j", ["benchmark"]),
        ("benchmark: tiny\nstreams: {j: {optimizer: {rate: 1}}}", ["unknown key in optimizer 'rate'"]),
    ],
)
def test_files_that_are_no_recipe(write, text, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(write(text))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_binary_file_is_no_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ValueError, match="not readable as YAML"):
        load_recipe(path)


def test_missing_recipe_lists_near_ones():
    with pytest.raises(FileNotFoundError, match=r"Did you mean: configs/nw_ucla/protogcn\.yaml"):
        load_recipe("configs/nw_ucla/protogn.yaml")
    with pytest.raises(FileNotFoundError, match=r"configs/<benchmark>/<model>\.yaml for .*nw_ucla"):
        load_recipe("elsewhere.yml")


def test_installed_recipes_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("configs/nw_ucla/protogcn.yaml").resolve() == CONFIGS / "nw_ucla" / "protogcn.yaml"
    (tmp_path / "configs" / "nw_ucla").mkdir(parents=True)
    own = tmp_path / "configs" / "nw_ucla" / "protogcn.yaml"
    own.write_text("benchmark: mine")
    assert find_recipe("configs/nw_ucla/protogcn.yaml").resolve() == own.resolve()


names = st.text("abcxyz_", min_size=1, max_size=8)
values = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-1e6, 1e6), names)
recipes = st.builds(
    Recipe,
    benchmark=names,
    stream=st.sampled_from(STREAMS),
    seed=st.integers(0, 2**31),
    data=st.builds(DataConfig, store=st.text("abc/ .:#é", max_size=9), train=names, workers=st.integers(0, 8)),
    pipeline=st.builds(
        PipelineConfig,
        protocol=st.sampled_from(PROTOCOLS),
        clip_len=st.integers(1, 300),
        p_interval=st.tuples(st.floats(0.1, 0.5), st.floats(0.5, 1)),
        align_spine=st.none() | st.booleans(),
        spine=st.tuples(st.integers(0, 20), st.integers(0, 20)),
        rotation=st.floats(0, 3),
    ),
    model=st.builds(ModelConfig, options=st.dictionaries(names, values | st.lists(st.integers(), max_size=3))),
    loss=st.dictionaries(names, values),
    optimizer=st.builds(
        OptimizerConfig, name=st.sampled_from(["sgd", "adamw"]), lr=st.floats(0, 1), nesterov=st.booleans()
    ),
    schedule=st.builds(
        ScheduleConfig,
        name=st.sampled_from(["cosine", "step", "constant"]),
        warmup_epochs=st.floats(0, 9),
        milestones=st.lists(st.integers(0, 99), max_size=4),
    ),
    trainer=st.builds(TrainerConfig, epochs=st.integers(1, 999), ema=st.floats(0, 0.999), tensorboard=st.booleans()),
    evaluation=st.builds(EvaluationConfig, average=st.sampled_from(["logits", "probabilities"])),
)


@settings(max_examples=25, deadline=None)
@given(recipes)
def test_a_written_recipe_reads_back_the_same(recipe):
    text = yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True)
    assert parse_recipe(yaml.safe_load(text), "config.yaml") == recipe


sections = st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3)
mappings = st.dictionaries(st.sampled_from("abc"), sections | st.integers(), max_size=3)


@given(mappings, mappings)
def test_merging_puts_the_change_over_the_base(base, change):
    merged = merge(base, change)
    assert merged.keys() == base.keys() | change.keys()
    assert merge(merged, change) == merged and merge(base, {}) == base
    for key in merged:
        if key not in change:
            assert merged[key] == base[key]
        elif not isinstance(change[key], dict):
            assert merged[key] == change[key]


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse({}).seed = 3
