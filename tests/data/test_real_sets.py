"""The real data sets, where they are at hand: converted by one command each, with the counts of their papers."""

import numpy as np
import pytest

from protogcn.data.benchmarks import get_benchmark
from protogcn.data.prepare import describe, prepare
from protogcn.data.repeated import REPEATED

FILES = {
    "nw_ucla": "nw_ucla",
    "utd_mhad": "utd_mhad",
    "msr_action3d": "msr_action3d",
    "msr_action3d_as": "msr_action3d",
    "utkinect": "utkinect",
    "utkinect_loso": "utkinect",
    "sbu": "sbu_interaction",
    "penn_action": "penn_action_2d",
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory, shared_data):
    """Benchmark name -> its store, converted once."""
    stores = {}

    def convert(name):
        if name not in stores:
            source = shared_data / f"{FILES[name]}.npz"
            stores[name] = prepare(name, source, tmp_path_factory.mktemp("real") / name)
        return stores[name]

    return convert


def arrays_of(shared_data, name, *keys):
    with np.load(shared_data / f"{FILES[name]}.npz") as arrays:
        return [arrays[key] for key in keys]


@pytest.mark.parametrize(
    ("name", "clips", "frames", "splits"),
    [
        ("nw_ucla", 1484, 58534, {"train": 1020, "test": 464}),
        ("utd_mhad", 861, 58299, {"train": 431, "test": 430}),
        ("msr_action3d", 566, 23440, {"train": 291, "test": 275}),
        ("utkinect", 199, 5866, {"train": 100, "test": 99}),
        ("penn_action", 2326, 163841, {"train": 1258, "test": 1068}),
        ("sbu", 282, 6822, None),
        ("msr_action3d_as", 566, 23440, None),
        ("utkinect_loso", 199, 5866, None),
    ],
)
def test_counts(converted, name, clips, frames, splits):
    store, benchmark = converted(name), get_benchmark(name)
    assert len(store) == clips and store.lengths.sum() == frames
    assert store.num_classes == benchmark.num_classes and (np.bincount(store.labels) > 0).all()
    assert store.class_names == benchmark.class_names
    assert set(store.persons.tolist()) == {2 if name == "sbu" else 1}
    if splits:
        assert {key: len(rows) for key, rows in store.splits.items()} == splits
    store.verify()
    assert f"{clips:,} clips" in describe(store)


@pytest.mark.parametrize("name", FILES)
def test_every_fold_separates_its_clips(converted, name):
    store, benchmark = converted(name), get_benchmark(name)
    assert set(store.splits) == {split for pair in benchmark.splits for split in pair}
    for train, test in benchmark.splits:
        assert not set(store.split(train)) & set(store.split(test))
        if name != "msr_action3d_as":
            assert len(store.split(train)) + len(store.split(test)) == len(store)
    first = tuple(len(store.split(split)) for split in benchmark.splits[0])
    assert benchmark.split_sizes == first


def test_msr_action3d_leaves_out_the_clip_that_shows_nobody(converted):
    store = converted("msr_action3d")
    assert store.meta["dropped"] == ["a13_s09_e02"]
    assert "every joint zero: 1 (a13_s09_e02)" in describe(store)


def test_msr_action3d_subsets_hold_eight_classes_each(converted):
    """Clips of the published subsets: classes of Li et al. 2010, without the clip that shows nobody."""
    store, whole = converted("msr_action3d_as"), converted("msr_action3d")
    names = {
        "as1": "horizontal arm wave; hammer; forward punch; high throw; hand clap; bend; tennis serve; "
        "pick up and throw",
        "as2": "high arm wave; hand catch; draw x; draw tick; draw circle; two hand wave; forward kick; side boxing",
        "as3": "high throw; forward kick; side kick; jogging; tennis swing; tennis serve; golf swing; "
        "pick up and throw",
    }
    for subset, classes in names.items():
        for split in ("train", "test"):
            rows = store.split(f"{subset}_{split}")
            assert {store.class_names[label] for label in store.labels[rows]} == set(classes.split("; "))
            everywhere = {whole.ids[row] for row in whole.split(split)}
            of_classes = {
                name
                for name, label in zip(store.ids, store.labels, strict=True)
                if store.class_names[label] in classes.split("; ")
            }
            assert {store.ids[row] for row in rows} == everywhere & of_classes
    sizes = [len(store.split(split)) for pair in get_benchmark("msr_action3d_as").splits for split in pair]
    assert sizes == [119, 106, 118, 113, 114, 112]


def test_utkinect_leaves_out_one_clip_after_the_other(converted):
    store = converted("utkinect_loso")
    assert store.ids[:3] == ("a01_s01_e01", "a01_s01_e02", "a01_s02_e01")
    tested = [store.split(test).tolist() for _, test in get_benchmark("utkinect_loso").splits]
    assert tested == [[row] for row in range(199)]
    assert len(describe(store)) < 1200


def test_penn_action_keeps_pixels_and_visibility(converted, shared_data):
    store = converted("penn_action")
    keypoints, width_height, train = arrays_of(shared_data, "penn_action", "keypoints", "width_height", "train")
    assert store.channels == "xys" and store[0].image_shape == (width_height[0, 1], width_height[0, 0])
    np.testing.assert_array_equal(store[0].keypoints[0], keypoints[: store.lengths[0]])
    assert store.split("train").tolist() == np.flatnonzero(train).tolist()
    assert set(np.unique(store[5].keypoints[..., 2])) <= {0.0, 1.0}


def test_sbu_is_in_metres_and_its_bones_keep_their_length(converted):
    store = converted("sbu")
    joints = store.skeleton.joints.index
    thigh, both = [], []
    for clip in store:
        for person in clip.keypoints:
            length = np.linalg.norm(person[:, joints("left_hip")] - person[:, joints("left_knee")], axis=-1)
            thigh.append(length.mean())
            both.append(length.std() / length.mean())
        x, y, z = (clip.keypoints[..., axis] for axis in range(3))
        assert (y[..., joints("head")] > y[..., joints("torso")]).mean() > 0.9, "y points up"
        assert z.min() > 0.9 and z.max() < 3.2
        assert np.abs(x).max() < 1.7
    assert 0.38 < np.median(thigh) < 0.47 and np.median(both) < 0.02
    assert "y = 0.96 - 1.92 y" in describe(store)


def test_sbu_folds_are_those_of_the_file(converted, shared_data):
    store = converted("sbu")
    joints, fold, label, pair = arrays_of(shared_data, "sbu", "joints", "fold", "label", "pair")
    for number in range(5):
        assert store.split(f"fold{number}_test").tolist() == np.flatnonzero(fold == number).tolist()
    assert store.labels.tolist() == label.tolist()
    assert store.ids[0] == "a01_s01s02_e001" and all(p in name for p, name in zip(pair, store.ids, strict=True))
    first = joints[0, 1, 0].astype(np.float64)
    expected = np.array([1.28 - 2.56 * first[0], 0.96 - 1.92 * first[1], 1.28 * first[2]])
    np.testing.assert_allclose(store[0].keypoints[1, 0, 0], expected, rtol=1e-6)


def test_the_repeated_clips_of_nw_ucla_are_those_that_are_named(converted):
    store = converted("nw_ucla")
    training = {store[row].keypoints.tobytes() for row in store.split("train")}
    test = store.split("test")
    new = [store[row].keypoints.tobytes() not in training for row in test]
    assert REPEATED["nw_ucla"].unseen([store.ids[row] for row in test]).tolist() == new
    assert new.count(False) == 95
