"""The catalogue of benchmarks agrees with itself, with the layouts and with the published tables."""

import numpy as np
import pytest

from graphs.layouts import get_skeleton
from protogcn.data.benchmarks import get_benchmark, list_benchmarks

NAMES = list_benchmarks()


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
        assert set(results) <= {"j", "b", "k", "jm", "bm", "km", "limb", "2", "4", "6", "all"}, model
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
    ],
)
def test_class_names(name, index, action):
    assert get_benchmark(name).class_names[index] == action


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

    assert [letters(n) for n in found] == [letters(n) for n in get_benchmark(name).class_names]
