"""Recipes that build on others: what is said nearer to the recipe wins, and errors name the file to mend."""

import shutil
from pathlib import Path

import pytest

from protogcn.training.recipe import load_recipe

CONFIGS = Path(__file__).parents[2] / "configs"

FAMILY = """
stream: b
trainer: {epochs: 9, batch_size: 7}
model: {name: stgcn, options: {base_channels: 8}}
schedule: {name: step, milestones: [1, 2]}
streams:
  b,bm: {trainer: {epochs: 11}, loss: {label_smoothing: 0.1}}
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_own_content_lies_over_that_of_the_base(write):
    write("family.yaml", FAMILY)
    path = write(
        "set/recipe.yaml",
        "base: ../family.yaml\nbenchmark: tiny\nmodel: {options: {num_blocks: 3}}\nschedule: {milestones: [5]}\n"
        "streams: {b: {optimizer: {lr: 0.5}}}",
    )
    joint, bone = load_recipe(path, "j"), load_recipe(path)
    assert (joint.benchmark, joint.trainer.epochs, joint.trainer.batch_size) == ("tiny", 9, 7)
    assert joint.model.options == {"base_channels": 8, "num_blocks": 3} and joint.schedule.milestones == [5]
    assert (bone.stream, bone.trainer.epochs, bone.optimizer.lr) == ("b", 11, 0.5)
    assert bone.loss == {"label_smoothing": 0.1} and joint.loss == {}


def test_null_takes_back_what_the_base_says(write):
    write("family.yaml", FAMILY)
    path = write(
        "recipe.yaml",
        "base: family.yaml\nbenchmark: tiny\nschedule: {milestones: null}\n"
        "streams: {b: {loss: {label_smoothing: null}}}\nmodel: {options: null, skeleton: null}",
    )
    bone = load_recipe(path, "b")
    assert bone.loss == {} and load_recipe(path, "bm").loss == {"label_smoothing": 0.1}
    assert bone.schedule.name == "step" and bone.schedule.milestones == []
    assert bone.model.name == "stgcn" and bone.model.options == {} and bone.model.skeleton == ""


def test_plain_sections_of_a_recipe_beat_the_streams_of_its_base(write):
    write("family.yaml", FAMILY)
    path = write("recipe.yaml", "base: family.yaml\nbenchmark: tiny\ntrainer: {epochs: 2}")
    assert load_recipe(path, "b").trainer.epochs == 2
    assert load_recipe(path, "b").loss == {"label_smoothing": 0.1}
    assert load_recipe(path, "b", ["--trainer.epochs=4"]).trainer.epochs == 4


def test_bases_build_on_bases(write):
    write("a/first.yaml", "trainer: {epochs: 1, batch_size: 1}\nseed: 3")
    write("b/second.yaml", "base: ../a/first.yaml\ntrainer: {batch_size: 2}")
    path = write("c/third.yaml", "base: ../b/second.yaml\nbenchmark: tiny")
    recipe = load_recipe(path)
    assert (recipe.trainer.epochs, recipe.trainer.batch_size, recipe.seed) == (1, 2, 3)


def test_own_recipes_build_on_installed_ones(write, monkeypatch, tmp_path):
    path = write("mine.yaml", "base: configs/nw_ucla/protogcn.yaml\ntrainer: {epochs: 3}")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path, "b")
    shipped = load_recipe(CONFIGS / "nw_ucla" / "protogcn.yaml", "b")
    assert recipe.trainer.epochs == 3 and recipe.loss == shipped.loss and recipe.pipeline == shipped.pipeline


def test_installed_recipes_find_their_bases(monkeypatch, tmp_path):
    """As in an installed package: recipes lie elsewhere, and the working directory has none."""
    import protogcn.configs

    shutil.copytree(CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(protogcn.configs, "__file__", str(tmp_path / "configs" / "__init__.py"))
    monkeypatch.chdir(tmp_path.parent)
    recipe = load_recipe("configs/ntu60_xsub/stgcnpp.yaml", "bm")
    assert recipe == load_recipe(CONFIGS / "ntu60_xsub" / "stgcnpp.yaml", "bm")


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"r": "base: other.yaml"}, FileNotFoundError, ["r.yaml builds on other.yaml", "other.yaml is no file"]),
        ({"r": "base: r.yaml"}, ValueError, ["r.yaml: base r.yaml leads back", "r.yaml -> r.yaml"]),
        (
            {"r": "base: s.yaml", "s": "base: t.yaml", "t": "base: s.yaml"},
            ValueError,
            ["t.yaml: base s.yaml leads back", "r.yaml -> s.yaml -> t.yaml -> s.yaml"],
        ),
        ({"r": "base: 3"}, ValueError, ["base must be the path of a recipe", "got 3"]),
        ({"r": "base: [s.yaml]"}, ValueError, ["base must be the path of a recipe"]),
        ({"r": "base: s.yaml", "s": "streams: [b]"}, ValueError, ["s.yaml: streams must map streams"]),
        ({"r": "base: s.yaml", "s": "- list"}, ValueError, ["s.yaml must hold the sections"]),
        ({"r": "base: s.yaml", "s": "seed: 1"}, ValueError, ["benchmark"]),
        ({"r": "base: configs/nw_ucla/protogn.yaml"}, FileNotFoundError, ["Did you mean", "nw_ucla/protogcn.yaml"]),
    ],
)
def test_bases_that_cannot_be(write, files, error, words):
    for name, text in files.items():
        write(f"{name}.yaml", text)
    with pytest.raises(error) as caught:
        load_recipe(write("r.yaml", files["r"]))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
