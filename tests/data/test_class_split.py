"""Split files, stores narrowed to some classes, and draws of few clips."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn.data.benchmarks import get_benchmark
from protogcn.data.class_split import (
    ClassSubset,
    draw_unseen,
    find_class_split,
    list_class_splits,
    pick_shots,
    read_class_split,
    unseen_classes,
)
from protogcn.data.store import Clip, write_store

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*/zero_shot/*.yaml"))
NAMES = ["walk", "wave", "sit down", "clap"]
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Nine training and three test clips of four classes; the keypoints of clip i are all i + 1."""
    clips = [Clip(np.full((1, 4, 25, 3), i + 1, np.float32), int(label), f"c{i}") for i, label in enumerate(LABELS)]
    path = tmp_path_factory.mktemp("data") / "store"
    splits = {"train": list(range(9)), "test": [9, 10, 11]}
    return write_store(path, clips, skeleton="ntu25", class_names=NAMES, splits=splits)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_shipped_splits_are_what_they_say(path):
    split = read_class_split(path)
    names = get_benchmark(split.benchmark).class_names
    assert names
    assert path.parts[-3] == split.benchmark and path.stem == split.name and split.source.startswith("drawn")
    fold = "abc".index(split.name[-1])
    assert split.unseen == draw_unseen(names, len(split.unseen), fold)
    assert split.name == f"unseen{len(split.unseen)}_{split.name[-1]}" and str(len(names)) in split.source
    assert find_class_split(split.name, split.benchmark) == path
    assert unseen_classes(split.name, names, split.benchmark) == split.unseen


def test_folds_are_disjoint_and_three():
    assert len(FILES) % 3 == 0 and {path.parts[-3] for path in FILES} >= {"utd_mhad", "penn_action", "ntu60_xsub"}
    assert list_class_splits("utd_mhad") == ["unseen5_a", "unseen5_b", "unseen5_c"]
    for benchmark, count in (("utd_mhad", 5), ("penn_action", 4), ("ntu60_xsub", 12)):
        folds = [read_class_split(find_class_split(f"unseen{count}_{fold}", benchmark)).unseen for fold in "abc"]
        assert len(set().union(*folds)) == 3 * count


def test_draws_of_unseen_classes():
    order = np.random.default_rng(7).permutation(4).tolist()
    assert draw_unseen(NAMES, 2, 0, 7) == tuple(NAMES[i] for i in sorted(order[:2]))
    assert draw_unseen(NAMES, 2, 1, 7) == tuple(NAMES[i] for i in sorted(order[2:]))
    for count, fold in ((0, 0), (4, 0), (2, 2), (3, -1)):
        with pytest.raises(ValueError, match="cannot be drawn from 4 classes"):
            draw_unseen(NAMES, count, fold)


@pytest.mark.parametrize(
    "spec, expected",
    [
        (["sit down", "walk"], ("walk", "sit down")),
        ("clap, Wave", ("wave", "clap")),
        ("WALK", ("walk",)),
        (" sit down ", ("sit down",)),
    ],
)
def test_lists_of_classes(spec, expected):
    assert unseen_classes(spec, NAMES) == expected


def test_split_file_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("name: mine\nbenchmark: own\nunseen: [clap]\n")
    assert unseen_classes("mine.yaml", NAMES) == ("clap",)
    assert read_class_split("mine.yaml").comment == ""
    inside = find_class_split("configs/utd_mhad/zero_shot/unseen5_a.yaml")
    assert read_class_split(inside).name == "unseen5_a"


@pytest.mark.parametrize(
    "spec, message",
    [
        (["wafe"], "unknown class 'wafe'; did you mean 'wave'"),
        ("wafe,clap", "unknown class 'wafe'; did you mean 'wave'"),
        ("wafe", "split file or classes: unknown class or split file 'wafe'; did you mean 'wave'"),
        ("gone.yaml", "'gone.yaml'"),
        (["wave", "Wave"], "twice"),
        (NAMES, "all 4 classes are unseen"),
        ("wave,,clap", "not empty"),
        ([], "at least one"),
        ("", "unknown class or split file"),
        ([3], "text"),
        ("x" * 5000, "unknown class or split file"),
        (",".join(["wave"] + ["x" * 300] * 3), "unknown class"),
    ],
)
def test_unseen_that_does_not_fit(spec, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        unseen_classes(spec, NAMES)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [", "not readable as YAML"),
        ("- wave", "no split file"),
        ("name: x\nbenchmark: y", "no split file"),
        ("name: x\nbenchmark: y\nunseen: []", "at least one"),
        ("name: x\nbenchmark: y\nunseen: wave", "expected a list"),
        ("name: x\nbenchmark: y\nunseen: [no]", "quoted"),
        ("name: x\nbenchmark: y\nunseen: ['']", "not empty"),
        ("name: x\nunseen: [wave]", "does not say its benchmark"),
        ("name: 3\nbenchmark: y\nunseen: [wave]", "name must be text"),
        ("name: x\nbenchmark: y\nunsen: 3\nunseen: [wave]", "unknown key 'unsen'; did you mean 'unseen'"),
        ("[" * 3000, "not readable as YAML"),
    ],
)
def test_damaged_split_files(tmp_path, text, message):
    path = tmp_path / "split.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_class_split(path)
    assert "split.yaml" in str(caught.value) and len(str(caught.value)) < 600


def test_oversized_or_missing_split_file(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ValueError, match="larger than"):
        read_class_split(path)
    with pytest.raises(FileNotFoundError, match="no split file"):
        read_class_split(tmp_path / "none.yaml")


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s), max_leaves=6))
def test_any_yaml_is_read_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("split") / "s.yaml"
    path.write_text(yaml.safe_dump({"name": "n", "benchmark": "b", "unseen": value}))
    try:
        names = read_class_split(path).unseen
    except ValueError:
        return
    assert names == tuple(name.strip() for name in value) and all(names)


def test_a_store_narrowed_to_classes(store):
    some = ClassSubset(store, ["clap", "wave"])
    assert some.class_names == ("wave", "clap") and some.left_out == ("walk", "sit down")
    assert some.ids == ("c1", "c3", "c5", "c8", "c10") and some.labels.tolist() == [0, 1, 0, 0, 1]
    assert some.split("train").tolist() == [0, 1, 2, 3] and some.split("test").tolist() == [4]
    assert len(some) == 5 and some.num_classes == 2 and some.skeleton == store.skeleton
    for clip, number in zip(some, (1, 3, 5, 8, 10), strict=True):
        assert clip.id == f"c{number}" and (clip.keypoints == number + 1).all()
        assert np.shares_memory(clip.keypoints, store._rows)
        assert some.class_names[clip.label] == NAMES[LABELS[number]]
    with pytest.raises(ValueError, match="unknown split"):
        some.split("xsub")
    some.verify()


def test_narrowed_stores_travel_to_workers(store):
    some = ClassSubset(ClassSubset(store, ["clap", "wave", "walk"]), ["walk", "clap"])
    copy = pickle.loads(pickle.dumps(some))
    assert (copy.ids, copy.class_names) == (some.ids, some.class_names)
    assert len(pickle.dumps(some)) < 1000
    with pytest.raises(ValueError, match="did you mean 'wave'"):
        ClassSubset(store, ["wafe"])
    with pytest.raises(ValueError, match="no clip"):
        ClassSubset(store, [])


def test_few_shots(store):
    train = store.split("train")
    picked = pick_shots(store, train, 1, seed=3)
    assert sorted(store.labels[picked].tolist()) == [0, 1, 2, 3] and set(picked) <= set(train)
    assert pick_shots(store, train, 1, seed=3).tolist() == picked.tolist()
    assert len({tuple(pick_shots(store, train, 1, seed=seed)) for seed in range(8)}) > 1
    two = pick_shots(store, train, 2, seed=3)
    assert set(picked) <= set(two) and len(two) == 7 and (np.diff(two) > 0).all()
    assert pick_shots(store, train, 9, seed=0).tolist() == train.tolist()
    only = pick_shots(store, train, 1, 3, ["wave"])
    assert np.bincount(store.labels[only]).tolist() == [3, 1, 2, 1]
    assert set(only) & {1, 5, 8} == set(picked) & {1, 5, 8}


def test_shots_follow_the_clips_and_not_their_order(store):
    train = store.split("train")
    picked = {store.ids[row] for row in pick_shots(store, train[::-1].copy(), 2, seed=5)}
    assert picked == {store.ids[row] for row in pick_shots(store, train, 2, seed=5)}
