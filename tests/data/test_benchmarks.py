"""The catalogue of benchmarks agrees with itself, with the layouts and with the published tables."""

import pickle

import numpy as np
import pytest

from graphs.layouts import get_skeleton
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.prepare import prepare

NAMES = list_benchmarks()


def classes_of(name):
    return list(get_benchmark(name).class_names or ())


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_complete(name):
    benchmark = get_benchmark(name)
    assert benchmark.name == name and benchmark.title and benchmark.citation and benchmark.source
    for layout in (benchmark.skeleton, benchmark.model_skeleton):
        assert get_skeleton(layout).num_joints > 0
    assert benchmark.channels in ("xyz", "xy", "xys")
    assert (benchmark.train_split, benchmark.test_split) == benchmark.splits[0]
    if benchmark.class_names is not None:
        assert len(benchmark.class_names) == benchmark.num_classes == len(set(benchmark.class_names))
    assert benchmark.published.keys() == benchmark.published_sources.keys()
    for model, results in benchmark.published.items():
        assert set(results) <= {"j", "b", "k", "jm", "bm", "km", "2", "4", "6", "all"}, model
        assert all(0 < value < 100 for value in results.values())


@pytest.mark.parametrize(
    ("name", "classes", "splits", "sizes"),
    [
        ("ntu60_xsub", 60, ("xsub_train", "xsub_val"), (40091, 16487)),
        ("ntu60_xview", 60, ("xview_train", "xview_val"), (37646, 18932)),
        ("ntu120_xsub", 120, ("xsub_train", "xsub_val"), (63026, 50919)),
        ("ntu120_xset", 120, ("xset_train", "xset_val"), (54468, 59477)),
        ("kinetics400", 400, ("train", "val"), None),
        ("finegym", 99, ("train", "val"), None),
        ("nw_ucla", 10, ("train", "test"), (1020, 464)),
        ("hmdb51", 51, ("train1", "test1"), None),
        ("ucf101", 101, ("train1", "test1"), None),
        ("diving48", 48, ("train", "val"), None),
        ("sbu", 8, ("fold0_train", "fold0_test"), (227, 55)),
        ("utkinect_loso", 10, ("fold0_train", "fold0_test"), (198, 1)),
        ("msr_action3d_as", 20, ("as1_train", "as1_test"), (119, 106)),
    ],
)
def test_classes_and_splits(name, classes, splits, sizes):
    benchmark = get_benchmark(name)
    assert (benchmark.num_classes, benchmark.splits[0], benchmark.split_sizes) == (classes, splits, sizes)


@pytest.mark.parametrize(
    ("name", "index", "action"),
    [
        ("ntu60_xsub", 0, "drink water"),
        ("ntu60_xsub", 42, "falling down"),
        ("ntu60_xsub", 57, "shaking hands"),
        ("ntu120_xset", 60, "put on headphone"),
        ("ntu120_xset", 99, "butt kicks"),
        ("ntu120_xset", 119, "rock-paper-scissors"),
        ("nw_ucla", 9, "carry"),
        ("hmdb51", 0, "brush hair"),
        ("hmdb51", 50, "wave"),
        ("ucf101", 0, "ApplyEyeMakeup"),
        ("ucf101", 23, "CricketShot"),
        ("ucf101", 100, "YoYo"),
        ("kinetics400", 6, "arm wrestling"),
        ("kinetics400", 59, "clean and jerk"),
        ("kinetics400", 306, "skateboarding"),
        ("kinetics400", 399, "zumba"),
    ],
)
def test_class_names(name, index, action):
    assert classes_of(name)[index] == action


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("ntu60_xsub", "91.54 91.98 91.59 92.96 93.53 93.81"),
        ("ntu60_xview", "96.33 96.15 96.61 97.23 97.49 97.76"),
        ("ntu120_xsub", "85.52 88.96 88.30 89.75 90.43 90.92"),
        ("ntu120_xset", "88.35 90.01 89.65 91.23 91.86 92.16"),
        ("kinetics400", "48.02 47.06 45.86 49.85 51.33 51.85"),
        ("finegym", "93.28 94.84 94.44 95.35 95.62 95.94"),
    ],
)
def test_published_protogcn(name, row):
    results = get_benchmark(name).published["ProtoGCN"]
    assert [results[key] for key in ("j", "b", "k", "2", "4", "6")] == [float(value) for value in row.split()]


@pytest.mark.parametrize(
    ("name", "model", "key", "top1"),
    [
        ("ntu60_xsub", "CTR-GCN", "4", 92.1),
        ("ntu120_xset", "DG-STGCN", "b", 89.8),
        ("ntu60_xview", "ST-GCN (vanilla)", "jm", 88.8),
        ("finegym", "PoseC3D", "2", 94.1),
        ("nw_ucla", "CTR-GCN", "4", 96.5),
        ("nw_ucla", "InfoGCN", "6", 97.0),
        ("nw_ucla", "FR-Head", "4", 96.77),
    ],
)
def test_published_by_others(name, model, key, top1):
    assert get_benchmark(name).published[model][key] == top1


def test_names_quoted_from_memory_say_so():
    assert "memory" in get_benchmark("nw_ucla").published_sources["HD-GCN"]


@pytest.mark.parametrize("name", ["hmdb51", "ucf101", "kinetics400"])
def test_class_names_are_in_alphabetical_order(name):
    assert classes_of(name) == sorted(classes_of(name), key=str.lower)


@pytest.mark.parametrize(("name", "folds"), [("sbu", 5), ("msr_action3d_as", 3), ("utkinect_loso", 199), ("hmdb51", 3)])
def test_folds(name, folds):
    pairs = get_benchmark(name).splits
    assert len(pairs) == folds and len({split for pair in pairs for split in pair}) == 2 * folds


def test_numbers_of_another_protocol_stand_with_that_protocol():
    assert not get_benchmark("utkinect").published and not get_benchmark("msr_action3d").published
    assert get_benchmark("utkinect_loso").published["ST-LSTM"]["all"] == 97.0
    assert get_benchmark("msr_action3d_as").published["Lie group"]["all"] == 92.5


# ---------------------------------------------------------------------------------- 2-D sets as PYSKL pickles
def pose_pickle(path, splits, classes, files=False):
    """A few clips with the keys and types of the pickles that PYSKL shares."""
    rng = np.random.default_rng(0)
    ids = [f"v_{i}" for i in range(2 * len(splits))]
    annotations = []
    for i, name in enumerate(ids):
        persons, frames = 1 + i % 2, 3 + i
        annotations.append(
            {
                "filename" if files else "frame_dir": name,
                "label": classes - 1 - i % 2,
                "img_shape": (240, 320 + i),
                "original_shape": (240, 320 + i),
                "total_frames": frames,
                "keypoint": rng.uniform(0, 240, (persons, frames, 17, 2)).astype(np.float16),
                "keypoint_score": rng.uniform(0, 1, (persons, frames, 17)).astype(np.float16),
            }
        )
    members = {split: [ids[2 * k], ids[2 * k + 1]] for k, split in enumerate(splits)}
    path.write_bytes(pickle.dumps({"split": members, "annotations": annotations}, protocol=4))
    return annotations


@pytest.mark.parametrize(
    ("name", "files"),
    [("finegym", False), ("hmdb51", False), ("ucf101", True), ("diving48", False), ("kinetics400", False)],
)
def test_pose_pickles_of_video_sets(tmp_path, name, files):
    benchmark = get_benchmark(name)
    splits = [split for pair in benchmark.splits for split in pair]
    annotations = pose_pickle(tmp_path / "poses.pkl", splits, benchmark.num_classes, files)
    store = prepare(name, tmp_path / "poses.pkl", tmp_path / "store")
    assert set(store.splits) == set(splits)
    assert all(store.split(split).tolist() == [2 * k, 2 * k + 1] for k, split in enumerate(splits))
    assert (store.skeleton.name, store.channels, store.dtype) == ("coco17", "xys", np.float16)
    assert store.num_classes == benchmark.num_classes
    for clip, annotation in zip(store, annotations, strict=True):
        assert clip.label == annotation["label"] and clip.image_shape == annotation["img_shape"]
        np.testing.assert_array_equal(clip.keypoints[..., :2], annotation["keypoint"])
        np.testing.assert_array_equal(clip.keypoints[..., 2], annotation["keypoint_score"])


def test_clips_held_out_may_be_called_val_or_test(tmp_path):
    pose_pickle(tmp_path / "poses.pkl", ["train", "test"], 48)
    store = prepare("diving48", tmp_path / "poses.pkl", tmp_path / "store")
    assert {name: rows.tolist() for name, rows in store.splits.items()} == {"train": [0, 1], "val": [2, 3]}


def test_pose_pickle_of_another_set_is_refused(tmp_path):
    pose_pickle(tmp_path / "poses.pkl", ["train1", "test1"], 101)
    with pytest.raises(ValueError, match="labels up to 100, but hmdb51 has 51 classes"):
        prepare("hmdb51", tmp_path / "poses.pkl", tmp_path / "store")
    pose_pickle(tmp_path / "poses.pkl", ["train", "val"], 48)
    with pytest.raises(ValueError, match="has the splits train, val, but hmdb51 needs train1 and test1"):
        prepare("hmdb51", tmp_path / "poses.pkl", tmp_path / "store")


def test_finding():
    assert get_benchmark("NTU60-XSub") is get_benchmark("ntu60_xsub")
    assert get_benchmark(get_benchmark("sbu")).name == "sbu"
    assert list_benchmarks("ntu60*") == ["ntu60_xsub", "ntu60_xview"] and list_benchmarks("zzz") == []
    with pytest.raises(ValueError, match="did you mean 'nw_ucla'"):
        get_benchmark("nw_ucal")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("utd_mhad", "utd_mhad"),
        ("msr_action3d", "msr_action3d"),
        ("utkinect", "utkinect"),
        ("sbu", "sbu_interaction"),
        ("penn_action", "penn_action_2d"),
    ],
)
def test_class_names_are_those_of_the_data(shared_data, name, file):
    with np.load(shared_data / f"{file}.npz") as arrays:
        found = arrays["class_names"].tolist()

    def letters(text):
        return "".join(c for c in text.lower() if c.isalpha())

    assert [letters(n) for n in found] == [letters(n) for n in classes_of(name)]
