"""Training that leaves classes out or learns from few clips: what reaches the network, the loss and the files."""

import json
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_runs import ACTIONS, error_of, tiny_recipe, train, write_recipe
from zero_shot_runs import SEEN, train_narrowed

from protogcn.cli import main
from protogcn.data.class_split import ClassSubset
from protogcn.data.store import ClipStore
from protogcn.evaluation.scores import load_scores
from protogcn.models.saved import read_description
from protogcn.training.loaders import make_dataset, make_loader, open_store
from protogcn.training.recipe import load_recipe, parse_recipe


def recipe_of(store, **data):
    content = tiny_recipe(store)
    content["data"] |= data
    return parse_recipe(content, "tiny.yaml")


@pytest.fixture(scope="module")
def narrowed(tmp_path_factory, tiny_store):
    """The run folder of a training without two classes."""
    return train_narrowed(tmp_path_factory.mktemp("narrowed"), tiny_store)


def test_only_clips_of_seen_classes_are_there(tiny_store):
    recipe = recipe_of(tiny_store, unseen="wave,sit down")
    store = open_store(recipe)
    assert isinstance(store, ClassSubset) and list(store.class_names) == SEEN
    everything = ClipStore.open(tiny_store)
    for mode, split in (("train", "xsub_train"), ("val", "xsub_test"), ("test", "xsub_test")):
        dataset = make_dataset(recipe, store, mode)
        whole = everything.split(split)
        names = [everything.class_names[label] for label in everything.labels[whole]]
        expected = [(everything.ids[row], name) for row, name in zip(whole, names, strict=True) if name in SEEN]
        assert [(i, SEEN[label]) for i, label in zip(dataset.ids, dataset.labels, strict=True)] == expected
        shown = [label for _, labels, _ in make_loader(recipe, dataset) for label in labels.tolist()]
        assert set(shown) == {0, 1, 2}


def test_clips_are_drawn_as_among_all_classes(tiny_store):
    whole, some = (make_dataset(r, open_store(r), "train") for r in map(_recipe_with(tiny_store), ([], ["walk"])))
    assert set(some.ids) < set(whole.ids)
    for name in some.ids[:3]:
        assert torch.equal(some[some.ids.index(name)][0], whole[whole.ids.index(name)][0])


def _recipe_with(store):
    return lambda unseen: recipe_of(store, unseen=unseen)


def test_run_without_the_unseen_classes(narrowed):
    scores = load_scores(narrowed / "scores_test.npz")
    assert scores.class_names == tuple(SEEN) and scores.scores.shape == (9, 3) and len(np.unique(scores.labels)) == 3
    description = read_description(narrowed)
    assert list(description.class_names) == SEEN and description.num_classes == 3
    assert description.evaluation["unseen"] == ["wave", "sit down"]
    assert json.loads((narrowed / "metrics.json").read_text())["training_clips"] == 18
    assert yaml.safe_load((narrowed / "config.yaml").read_text())["data"]["unseen"] == ["wave", "sit down"]


def test_run_and_saved_model_are_tested_on_the_seen_classes_again(narrowed, tiny_store, capsys):
    before = json.loads((narrowed / "metrics.json").read_text())["top1"]
    assert main(["test", str(narrowed)]) == 0
    assert main(["test", str(narrowed / "model.safetensors"), "--store", str(tiny_store)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "top-1" in line]
    assert len(lines) == 2 and all(f"top-1 {100 * before:.2f} %" in line for line in lines)


@pytest.mark.parametrize("workers", [0, 2])
def test_few_shots_of_every_class(tiny_store, workers):
    recipe = recipe_of(tiny_store, shots=2, workers=workers)
    store = open_store(recipe)
    dataset = make_dataset(recipe, store, "train")
    assert store.num_classes == 5 and np.bincount(dataset.labels).tolist() == [2] * 5
    assert len(make_dataset(recipe, store, "test")) == 15
    loader = make_loader(recipe, dataset)
    shown = sorted(dataset.ids[place] for _, _, places in loader for place in places)
    assert shown == sorted(make_dataset(recipe_of(tiny_store, shots=2), store, "train").ids)


def test_few_shots_beside_all_clips_of_the_seen(tiny_store):
    recipe = recipe_of(tiny_store, shots=1, unseen=["wave", "kick"])
    store = open_store(recipe)
    assert store.class_names == tuple(ACTIONS)
    assert np.bincount(make_dataset(recipe, store, "train").labels).tolist() == [6, 1, 6, 6, 1]
    assert len(make_dataset(recipe, store, "test")) == 15


def test_other_sections_count_seen_classes(tiny_store):
    recipe = recipe_of(tiny_store, unseen=["walk"], class_repeat={"wave": 2})
    sampler: Any = make_loader(recipe, make_dataset(recipe, open_store(recipe), "train")).sampler
    assert len(sampler) == 6 * 5
    with pytest.raises(ValueError, match=r"unknown class in data\.class_repeat 'walk'"):
        bad = recipe_of(tiny_store, unseen=["walk"], class_repeat={"walk": 2})
        make_dataset(bad, open_store(bad), "train")


@pytest.mark.parametrize(
    "word, message",
    [
        ("--data.unseen=[wafe]", "unknown class 'wafe'; did you mean 'wave'"),
        ("--data.unseen=wafe", "did you mean 'wave'"),
        ("--data.unseen=wave.yaml", "did you mean 'wave'"),
        ("--data.unseen=[walk, wave, clap, sit down, kick]", "all 5 classes are unseen"),
        ("--data.unseen=[wave, wave]", "twice"),
        ("--data.unseen=['']", "not empty"),
        ("--data.unseen={a: 1}", "unseen"),
        ("--data.shots=-1", "data.shots must be a number of clips per class"),
        ("--data.shots=few", "shots"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, tiny_yaml, capsys, word, message):
    assert train(tiny_yaml, tmp_path, word) == 2
    assert message in error_of(capsys)


def test_unseen_of_recipes_and_command_lines_agree(tmp_path, tiny_store):
    path = write_recipe(tmp_path, tiny_store)
    for word in ("--data.unseen=[wave]", '--data.unseen=["wave"]', "--data.unseen=wave"):
        recipe = load_recipe(path, overrides=[word])
        assert "wave" not in open_store(recipe).class_names
        assert parse_recipe(recipe.as_dict(), "again") == recipe
