"""Every recipe that ships: read for all its streams, and run from a store through pipeline, network and criterion.

Published recipes are held to tables of the released configurations, value by value. The tables are written from the
publications, not from the recipes.
"""

import functools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphs.layouts import get_skeleton
from graphs.streams import STREAMS
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.pipeline_config import PipelineConfig
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.models import create_criterion
from protogcn.training.evaluate import build_model, kind_of_scores
from protogcn.training.loaders import make_dataset, make_loader, split_names
from protogcn.training.recipe import (
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TrainerConfig,
    load_recipe,
)
from protogcn.training.run_folder import run_folder

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("*/*.yaml") if "_sweep" not in path.stem)
NTU = ("ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset")

SGD = OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
COSINE = ScheduleConfig(name="cosine", warmup_epochs=0.0)
# Of both authors: (epoch + 1) / 5 of the rate for five epochs, then a tenth of it from each milestone on.
STEPS = ScheduleConfig(name="step", warmup_epochs=5, milestones=[35, 55], gamma=0.1, interval="epoch")
PYSKL = PipelineConfig("pyskl_3d", clip_len=100, num_persons=2, test_clips=10, rotation=0.0)
CTRGCN = PipelineConfig(
    "ctrgcn",
    clip_len=64,
    num_persons=2,
    test_clips=1,
    p_interval=(0.5, 1.0),
    test_share=0.95,
    rotation=0.3,
    # The authors' files are centred already.
    centre=True,
)
NW_UCLA = PipelineConfig("nw_ucla", clip_len=52, num_persons=1, test_clips=1)
TEXT_TOWER = "random:width=32,layers=1,heads=2"
HEAT_MAPS = PipelineConfig(
    "heatmap", clip_len=48, test_clips=10, flip=0.5, image_size=56, test_image_size=64, sigma=0.6, double=True
)
SMALL_MAPS = replace(HEAT_MAPS, image_size=48, test_image_size=56)
BOTTLENECK = {"label_smoothing": 0.1, "class_mean_weight": 0.1, "mean_norm_weight": 1e-4}


@dataclass(frozen=True)
class Published:
    """What a recipe must say: all processes together train on `batch` clips."""

    model: str
    pipeline: PipelineConfig
    epochs: int
    batch: int
    repeat: int = 1
    optimizer: OptimizerConfig = SGD
    schedule: ScheduleConfig = COSINE
    skeleton: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    precision: Any = "32-true"
    scores: str = "probabilities"
    checkpoint: str = "best"
    gradient_clip: float = 0.0
    class_repeat: dict[str, float] = field(default_factory=dict)


def pyskl(model: str, **changes: Any) -> Published:
    """PYSKL's practice: 8 GPUs of 16 clips, 16 epochs of five passes, its own graph of the hands."""
    standard = Published(model, PYSKL, epochs=16, batch=128, repeat=5, skeleton="ntu25_pyskl")
    return replace(standard, **changes)


def posec3d(**changes: Any) -> Published:
    """PYSKL's PoseC3D: 8 GPUs of 32 clips, 24 epochs of ten passes."""
    standard = Published(
        "posec3d_slowonly",
        HEAT_MAPS,
        epochs=24,
        batch=256,
        repeat=10,
        optimizer=replace(SGD, lr=0.4, nesterov=False, weight_decay=3e-4),
        options={"stage_blocks": [4, 6, 3]},
        gradient_clip=40.0,
    )
    return replace(standard, **changes)


def posec3d_recipes() -> dict[str, Published]:
    recipes = {f"{name}/posec3d": posec3d() for name in (*NTU, "finegym")}
    recipes["ntu120_xsub/posec3d"] = posec3d(class_repeat={"60-119": 2})
    deep = {"stage_blocks": [3, 4, 6]}
    slow = replace(posec3d().optimizer, weight_decay=1e-4)
    recipes["kinetics400/posec3d"] = posec3d(optimizer=slow, options=deep)
    for name, decay in (("hmdb51", 1e-4), ("ucf101", 3e-4)):
        tuned = posec3d(
            pipeline=SMALL_MAPS,
            epochs=12,
            batch=128,
            optimizer=replace(slow, lr=0.01, weight_decay=decay),
            schedule=ScheduleConfig(name="step", milestones=[9, 11], gamma=0.1),
            options=deep,
        )
        cosine = replace(tuned, epochs=20, schedule=COSINE)
        recipes[f"{name}/posec3d_finetune"] = recipes[f"{name}/posec3d_linear"] = tuned
        recipes[f"{name}/posec3d_scratch"] = cosine if name == "hmdb51" else tuned
    return recipes


def skeletonclip_recipes() -> dict[str, Published]:
    """A rate for the video encoder, and what the text tower and the temperature have of it."""

    def recipe(lr: float, decay: float, tower: float, scale: float, **changes: Any) -> Published:
        optimizer = OptimizerConfig(
            "adamw",
            lr=lr,
            weight_decay=decay,
            nesterov=False,
            multipliers={"classifier.tower": tower, "logit_scale": scale},
            decay_multipliers={"classifier.tower": 0.9, "logit_scale": 0.9},
        )
        options = {"stage_blocks": [3, 4, 6], "text_encoder": "weights/ViT-B-16"}
        schedule = ScheduleConfig("cosine", warmup_epochs=2, warmup_start=0.1)
        standard = posec3d(
            model="skeletonclip", optimizer=optimizer, schedule=schedule, options=options, epochs=20, batch=6 * 8
        )
        return replace(standard, **changes)

    recipes = {
        "hmdb51/skeletonclip": recipe(0.01, 1e-4, 0.01, 0.1, pipeline=SMALL_MAPS),
        "ucf101/skeletonclip": recipe(0.01, 1e-4, 0.005, 0.1, pipeline=SMALL_MAPS),
        "ntu60_xsub/skeletonclip": recipe(0.4, 3e-4, 1e-4, 1e-3, epochs=40, batch=6 * 16),
    }
    subjects = recipes["ntu60_xsub/skeletonclip"]
    plain = replace(subjects.optimizer, name="sgd", momentum=0.0)
    recipes["ntu60_xview/skeletonclip"] = replace(subjects, optimizer=plain)
    recipes["ntu60_xsub/skeletonclip_pp"] = replace(
        subjects,
        model="skeletonclip_pp",
        optimizer=OptimizerConfig(
            "adamw",
            lr=3.33e-5,
            weight_decay=0.01,
            nesterov=False,
            multipliers={"backbone": 100.0, "classifier.widen": 100.0},
            decay_multipliers={"classifier.tower": 0.9},
        ),
        options={"stage_blocks": [4, 6, 3], "text_encoder": "weights/bert-base-uncased"},
        epochs=24,
        batch=16,
    )
    return recipes


def of_infogcn(published: Published, stream: str) -> Published:
    """The mode of the stream: joints, bones, and vectors from the grandparent."""
    return replace(published, options={**published.options, "k": {"j": 8, "b": 1, "k": 2}[stream[0]]})


def published_recipes() -> dict[str, Published]:
    recipes = {}
    for benchmark in NTU:
        for model in ("stgcn", "stgcnpp", "aagcn", "ctrgcn_pyskl", "msg3d"):
            recipes[f"{benchmark}/{model}"] = pyskl(model)
            flat = replace(PYSKL, protocol="pyskl_2d")
            recipes[f"{benchmark}/{model}_hrnet"] = pyskl(model, pipeline=flat, skeleton="")
        strong = replace(PYSKL, scale=0.1, rotation=0.3)
        recipes[f"{benchmark}/stgcnpp_strong"] = pyskl("stgcnpp", pipeline=strong, epochs=24)
        upright = benchmark == "ntu60_xview"
        turned = replace(
            PYSKL, protocol="protogcn_3d", rotation=0.3 if upright else 0.2, align_spine=True if upright else None
        )
        recipes[f"{benchmark}/dgstgcn"] = pyskl("dgstgcn", pipeline=turned, epochs=150, batch=64, repeat=1)
        recipes[f"{benchmark}/ctrgcn"] = Published(
            "ctrgcn",
            CTRGCN,
            epochs=65,
            batch=64,
            optimizer=replace(SGD, weight_decay=4e-4),
            schedule=STEPS,
            scores="logits",
        )
        recipes[f"{benchmark}/infogcn"] = Published(
            "infogcn",
            replace(CTRGCN, protocol="infogcn"),
            epochs=110,
            batch=128,
            schedule=replace(STEPS, milestones=[90, 100]),
            options={"num_heads": 3, "noise_ratio": 0.5, "prior_gain": 3.0},
            loss=BOTTLENECK,
            precision="16-mixed",
            scores="logits",
        )
    for benchmark in ("ntu60_xsub", "ntu60_xview"):
        recipes[f"{benchmark}/stgcn_vanilla"] = pyskl(
            "stgcn",
            pipeline=replace(PYSKL, sampling="pad", padding="zero", clip_len=300, test_clips=1),
            optimizer=replace(SGD, nesterov=False, weight_decay=1e-4),
            schedule=ScheduleConfig(name="step", milestones=[2, 10], gamma=0.1, interval="epoch"),
            options={"temporal_dropout": 0.5},
            scores="logits",
        )
    recipes["nw_ucla/ctrgcn_full"] = Published(
        "ctrgcn",
        NW_UCLA,
        epochs=65,
        batch=16,
        repeat=5,
        optimizer=replace(SGD, weight_decay=1e-4),
        schedule=replace(STEPS, milestones=[50]),
        scores="logits",
        precision="bf16-mixed",
        checkpoint="last",
    )
    recipes["nw_ucla/infogcn_full"] = Published(
        "infogcn",
        replace(NW_UCLA, mode_in_model=True),
        epochs=110,
        batch=16,
        repeat=5,
        schedule=replace(STEPS, milestones=[90, 100]),
        options={"compat": "infogcn", "num_heads": 3, "noise_ratio": 0.5, "prior_gain": 3.0},
        loss=BOTTLENECK,
        scores="logits",
        precision="bf16-mixed",
        checkpoint="last",
    )
    return recipes | posec3d_recipes() | skeletonclip_recipes()


PUBLISHED = published_recipes()

PROTOTYPES = {"j": 400, "jm": 400, "b": 100, "bm": 100, "k": 100, "km": 100}
CONTRASTIVE = {"j": 0.2, "jm": 0.2, "b": 0.3, "bm": 0.3, "k": 0.1, "km": 0.1}
FLIP, DROP = {"flip": 0.5}, {"part_drop": 0.2}
# Benchmark -> what training adds to the rotation, for (j and jm, b and bm, k and km).
AUGMENTATION: dict[str, tuple[dict[str, Any], ...]] = {
    "ntu60_xsub": ({}, FLIP, FLIP),
    "ntu60_xview": ({}, {}, DROP),
    "ntu120_xsub": (FLIP, FLIP, DROP),
    "ntu120_xset": ({}, FLIP, FLIP),
    "kinetics400": (FLIP, FLIP, FLIP),
    "finegym": (FLIP, FLIP, FLIP),
}
# Millions of weights for 60 classes, of ProtoGCN with 400 prototypes.
SIZES = {
    "protogcn": 4.34,
    "ctrgcn": 1.447,
    "infogcn": 1.557,
    "stgcn": 3.10,
    "stgcnpp": 1.40,
    "aagcn": 3.78,
    "msg3d": 3.19,
    "dgstgcn": 1.70,
    "posec3d_slowonly": 2.02,
}


def streams_of(path: str) -> tuple[str, ...]:
    """Heat maps are of joints or of limbs; networks of graphs have six streams."""
    return ("j", "b") if read(path, "j").pipeline.protocol == "heatmap" else STREAMS


@functools.cache
def read(path: str, stream: str, *words: str) -> Recipe:
    return load_recipe(CONFIGS / path, stream, words)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipe(name: str) -> None:
    for stream in streams_of(f"{name}.yaml"):
        recipe, expected = read(f"{name}.yaml", stream), PUBLISHED[name]
        if expected.model == "infogcn":
            expected = of_infogcn(expected, stream)
        benchmark = name.split("/")[0]
        assert (recipe.benchmark, recipe.stream) == (benchmark, stream)
        assert recipe.pipeline == expected.pipeline
        assert recipe.model == ModelConfig(expected.model, skeleton=expected.skeleton, options=expected.options)
        assert recipe.loss == expected.loss
        # The rate belongs to the batch.
        assert recipe.trainer.batch_size * recipe.trainer.accumulate == expected.batch
        assert recipe.optimizer == expected.optimizer and recipe.schedule == expected.schedule
        assert recipe.trainer == TrainerConfig(
            epochs=expected.epochs,
            batch_size=expected.batch,
            precision=expected.precision,
            gradient_clip=expected.gradient_clip,
            eval_batch_size=recipe.trainer.eval_batch_size,
        )
        shown = (recipe.data.repeat, recipe.data.sampling, recipe.data.class_repeat)
        assert shown == (expected.repeat, "uniform", expected.class_repeat)
        assert recipe.evaluation.checkpoint == expected.checkpoint
        assert kind_of_scores(recipe) == expected.scores
        known = get_benchmark(benchmark)
        assert split_names(recipe) == (known.train_split, known.test_split)


@pytest.mark.parametrize("benchmark", AUGMENTATION)
def test_published_recipe_of_protogcn(benchmark: str) -> None:
    for stream in STREAMS:
        recipe = read(f"{benchmark}/protogcn.yaml", stream)
        pixels = benchmark in ("kinetics400", "finegym")
        large = benchmark == "kinetics400"

        assert (recipe.benchmark, recipe.stream, recipe.seed) == (benchmark, stream, 0)
        assert recipe.pipeline == PipelineConfig(
            protocol="protogcn_2d" if pixels else "protogcn_3d",
            clip_len=100,
            num_persons=2,
            test_clips=10,
            rotation=0.0 if pixels else 0.2,
            flip_mirror=False,
            **AUGMENTATION[benchmark]["jbk".index(stream[0])],
        )
        assert recipe.model == ModelConfig(name="protogcn", options={"num_prototypes": PROTOTYPES[stream]})
        assert recipe.loss == {"contrastive_weight": CONTRASTIVE[stream]}
        assert recipe.optimizer == OptimizerConfig(
            name="sgd", lr=0.1 if large else 0.025, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        assert recipe.schedule == ScheduleConfig(name="cosine", warmup_epochs=0.0)
        # The last two decide how the run is watched and how fast it is tested, and no number.
        assert recipe.trainer == TrainerConfig(
            epochs=150,
            batch_size=64 if large else 16,
            accumulate=1,
            precision="32-true",
            gradient_clip=0.0,
            ema=0.0,
            patience=0,
            validate_every=1,
            eval_batch_size=recipe.trainer.eval_batch_size,
        )
        assert recipe.evaluation == EvaluationConfig(average="probabilities", checkpoint="best")
        assert kind_of_scores(recipe) == "probabilities"
        assert recipe.data.repeat == 1
        known = get_benchmark(benchmark)
        assert split_names(recipe) == (known.train_split, known.test_split)


def test_every_recipe_for_ntu_is_held_to_a_table() -> None:
    shipped = {path.removesuffix(".yaml") for path in RECIPES if path.startswith("ntu")}
    assert shipped == {name for name in PUBLISHED if name.startswith("ntu")} | {f"{name}/protogcn" for name in NTU}


def test_every_benchmark_has_a_recipe() -> None:
    # The folds of these two are trained by the recipe of their set, told so on the command line.
    assert set(list_benchmarks()) - {"msr_action3d_as", "utkinect_loso"} <= {path.split("/")[0] for path in RECIPES}
    published = {name for name in list_benchmarks() if "k" in get_benchmark(name).published.get("protogcn", {})}
    assert published <= set(AUGMENTATION)


def test_every_recipe_has_a_run_folder_of_its_own() -> None:
    for path in RECIPES:
        benchmark, stem = path.removesuffix(".yaml").split("/")
        if benchmark in list_benchmarks():
            assert run_folder("runs", read(path, "j")).parent.name == stem, path


def test_criterion_and_network_fill_in_the_rest_of_the_published_recipe() -> None:
    criterion = create_criterion("protogcn", contrastive_weight=0.2)
    assert (criterion.temperature, criterion.momentum, criterion.label_smoothing) == (0.125, 0.9, 0.0)
    for model in ("ctrgcn", "stgcn", "stgcnpp", "aagcn", "msg3d", "dgstgcn", "ctrgcn_pyskl"):
        assert create_criterion(model).label_smoothing == 0.0


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple, ClipStore]:
    return {}


@pytest.fixture(params=RECIPES)
def path(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(path: str, stores: dict[tuple, ClipStore], tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Two clips of noise in the layout of the recipe's data, both in the training and in the test split."""
    recipe = read(path, "j")
    known = get_benchmark(recipe.benchmark) if recipe.benchmark in list_benchmarks() else None
    maps = recipe.pipeline.protocol == "heatmap"
    flat = recipe.pipeline.protocol.endswith("_2d") or (maps and not recipe.pipeline.projection)
    channels = "xys" if flat else "xyz"
    own = known and known.channels == channels
    skeleton = known.skeleton if known and own else "coco17" if flat else "ntu25"
    classes = known.num_classes if known else 12
    key = (recipe.pipeline.num_persons, skeleton, channels, classes, split_names(recipe))
    if key not in stores:
        rng = np.random.default_rng(0)
        shape = (recipe.pipeline.num_persons, 24, get_skeleton(skeleton).num_joints, len(channels))
        scale = 400 if flat else 1
        clips = [
            Clip((rng.random(shape) * scale).astype(np.float16), label, f"clip{label}", (1080, 1920))
            for label in range(2)
        ]
        stores[key] = write_store(
            tmp_path_factory.mktemp("store") / "clips",
            clips,
            skeleton=skeleton,
            class_names=[f"action {index}" for index in range(classes)],
            splits={name: ["clip0", "clip1"] for name in split_names(recipe)},
            channels=channels,
        )
    return stores[key]


def with_store(recipe: Recipe, store: ClipStore, **pipeline: Any) -> Recipe:
    """The recipe for two clips at a time of another store, loaded in this process, with a small text tower."""
    options = recipe.model.options
    if "text_encoder" in options:
        options = {**options, "text_encoder": TEXT_TOWER}
    return replace(
        recipe,
        model=replace(recipe.model, options=options),
        data=replace(recipe.data, store=str(store.path), workers=0),
        trainer=replace(recipe.trainer, batch_size=2),
        pipeline=replace(recipe.pipeline, **pipeline),
    )


def test_every_stream_reaches_the_network(path: str, store: ClipStore) -> None:
    for stream in streams_of(path):
        recipe = with_store(read(path, stream), store)
        for mode, count in (("train", 1), ("val", 1), ("test", recipe.pipeline.test_clips)):
            dataset = make_dataset(recipe, store, mode)
            clips, labels, places = next(iter(make_loader(recipe, dataset)))
            joints = 20 if recipe.pipeline.protocol == "protogcn_2d" else store.skeleton.num_joints
            assert clips.shape == (2, count, recipe.pipeline.num_persons, recipe.pipeline.clip_len, joints, 3)
            assert clips.dtype == torch.float32
            assert clips.isfinite().all()
            assert clips.std() > 0
            assert torch.equal(labels, places % 2)
            assert len(set(places.tolist())) == 2


def test_network_of_the_recipe_takes_its_batch(path: str, store: ClipStore) -> None:
    # A stream each; all of them are used by some recipe of every model.
    streams = streams_of(path)
    stream = streams[RECIPES.index(path) % len(streams)]
    maps = read(path, stream).pipeline.protocol == "heatmap"
    recipe = with_store(read(path, stream), store, clip_len=4 if maps else 24)
    dataset = make_dataset(recipe, store, "train")
    clips, labels, _ = next(iter(make_loader(recipe, dataset)))
    model = build_model(recipe, dataset, store.num_classes)
    assert model.training
    criterion = create_criterion(recipe.model.name, head=recipe.model.options.get("head", "linear"), **recipe.loss)
    with torch.no_grad():
        logits, aux = model.forward_train(dataset.pipeline.network_input(clips.flatten(0, 1)))
        terms = criterion(logits, aux, labels)
    assert logits.shape == (2, len(store.class_names))
    assert all(term.isfinite() for term in terms.values())
    if "text_encoder" in recipe.model.options:
        assert terms["loss"].item() == pytest.approx((terms["clip_to_text"] + terms["text_to_clip"]).item() / 2)
        return
    if recipe.model.name not in ("ctrgcn", "infogcn"):
        # A fresh classifier spreads its belief evenly; those of these two start with large weights.
        assert terms["cross_entropy"].item() == pytest.approx(math.log(logits.shape[1]), abs=0.5)
    expected = terms["cross_entropy"]
    for weight, term in (
        ("contrastive_weight", "contrastive"),
        ("class_mean_weight", "class_mean_distance"),
        ("mean_norm_weight", "latent_mean_norm"),
    ):
        if term in terms:
            expected = expected + recipe.loss.get(weight, getattr(criterion, weight)) * terms[term]
    assert terms["loss"].item() == pytest.approx(expected.item())
    name = recipe.model.name.removesuffix("_pyskl")
    if recipe.benchmark == "ntu60_xsub" and (clips.shape[-2] == 25 or maps):
        weights = sum(weight.numel() for weight in model.parameters()) / 1e6
        prototypes = 2 * 384 * (400 - PROTOTYPES[stream]) / 1e6 if name == "protogcn" else 0
        assert weights + prototypes == pytest.approx(SIZES[name], abs=0.006)
