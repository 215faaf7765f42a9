"""What an epoch of training shows: every clip, classes in balance, or classes several times; for any processes."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protogcn.data.store import Clip, write_store
from protogcn.training.epochs import EpochPlan, class_passes, plan_epoch
from protogcn.training.loaders import ClipSampler, make_dataset, make_loader
from protogcn.training.recipe import DataConfig, parse_recipe

COUNTS = (9, 2, 5, 1)
NAMES = ["walk", "pick up", "sit down", "99"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Seventeen training clips of four classes, and one test clip of each."""
    rng = np.random.default_rng(0)
    labels = [*np.repeat(np.arange(4), COUNTS).tolist(), 0, 1, 2, 3]
    clips = [
        Clip(rng.standard_normal((1, 12, 25, 3)).astype(np.float32), label, f"clip{i}")
        for i, label in enumerate(labels)
    ]
    names = [clip.id for clip in clips]
    return write_store(
        tmp_path_factory.mktemp("data") / "store",
        clips,
        skeleton="ntu25",
        class_names=NAMES,
        splits={"train": names[:17], "test": names[17:]},
    )


def recipe_of(store, batch_size=1, model=None, **data):
    return parse_recipe(
        {
            "benchmark": "mine",
            "data": {"store": str(store.path), **data},
            "pipeline": {"clip_len": 8, "num_persons": 1, "test_clips": 1},
            "trainer": {"batch_size": batch_size, "eval_batch_size": 4},
            "model": model or {},
        },
        "mine.yaml",
    )


def epoch_of(store, epoch=0, rank=0, processes=1, **data):
    """Items and labels of one epoch of one process."""
    recipe = recipe_of(store, **data)
    dataset = make_dataset(recipe, store, "train")
    loader = make_loader(recipe, dataset, rank=rank, processes=processes)
    sampler: Any = loader.sampler
    sampler.set_epoch(epoch)
    dataset.set_epoch(epoch)
    batches = [(places.tolist(), labels.tolist()) for _, labels, places in loader]
    items, labels = ([value for batch in part for value in batch] for part in zip(*batches, strict=True))
    assert labels == dataset.labels[items].tolist()
    return items, labels


def shown(items):
    """How often each training clip was shown."""
    return Counter(item % 17 for item in items)


def test_uniform_epochs_show_every_clip_once():
    """The order that seed and epoch give is fixed: it is what published runs were trained with."""
    sampler = ClipSampler(17, seed=3, batch_size=1)
    sampler.set_epoch(2)
    assert list(sampler) == np.random.default_rng([3, 2]).permutation(17).tolist()
    planned = ClipSampler(17, seed=3, batch_size=1, plan=plan_epoch(DataConfig(), np.arange(17) % 4, NAMES))
    planned.set_epoch(2)
    assert list(planned) == list(sampler)


@pytest.mark.parametrize("repeat", [1, 3])
def test_repetition_shows_every_clip_as_often(store, repeat):
    items, _ = epoch_of(store, repeat=repeat)
    assert sorted(items) == list(range(17 * repeat))


def test_balanced_epochs_show_classes_equally_often(store):
    for repeat, share in ((1, 4), (3, 12)):
        items, labels = epoch_of(store, sampling="class_balanced", repeat=repeat)
        assert Counter(labels) == dict.fromkeys(range(4), share)
        times = shown(items)
        for label, count in enumerate(COUNTS):
            clips = np.flatnonzero(np.repeat(np.arange(4), COUNTS) == label)
            assert {times[clip] for clip in clips} <= {share // count, -(-share // count)}
        assert len(set(items)) == len(items), "a clip shown again draws its augmentation anew"
    rounds = [sorted(labels[i : i + 4]) for i in range(0, len(labels), 4)]
    assert rounds == [[0, 1, 2, 3]] * 12 and len({tuple(labels[i : i + 4]) for i in range(0, 48, 4)}) > 1


def test_balanced_epochs_reach_every_clip_in_time(store):
    items = itertools.chain.from_iterable(epoch_of(store, epoch, sampling="class_balanced")[0] for epoch in range(12))
    assert shown(items).keys() == set(range(17))


def test_classes_shown_several_times(store):
    items, labels = epoch_of(store, class_repeat={"1-2": 2, "99": 3.0, "walk": 1 / 3})
    assert Counter(labels) == {0: 3, 1: 4, 2: 10, 3: 3}
    assert len(set(items)) == len(items)
    assert set(shown(items).values()) == {1, 2, 3}
    half = [set(epoch_of(store, epoch, class_repeat=[1 / 3, 2, 2, 3])[0]) & set(range(9)) for epoch in range(4)]
    assert {len(walks) for walks in half} == {3} and len(set(map(frozenset, half))) > 1
    twice = epoch_of(store, class_repeat={"0": 2}, repeat=2)
    assert Counter(twice[1]) == {0: 36, 1: 4, 2: 10, 3: 2}
    without = epoch_of(store, class_repeat={"walk": 0})
    assert Counter(without[1]) == {1: 2, 2: 5, 3: 1}


@pytest.mark.parametrize(
    "data",
    [{}, {"repeat": 2}, {"sampling": "class_balanced"}, {"class_repeat": {"1-3": 2.5}}],
    ids=["uniform", "repeated", "balanced", "by class"],
)
def test_the_same_batches_for_any_number_of_processes(store, data):
    """Batches of four in one process, of two in two, of one in four: the same clips, drawn alike, in the same step."""
    epochs = []
    for processes in (1, 2, 4):
        size = 4 // processes
        steps = []
        for epoch in (0, 1):
            shares = [epoch_of(store, epoch, rank, processes, batch_size=size, **data)[0] for rank in range(processes)]
            assert len({len(share) for share in shares}) == 1
            for start in range(0, len(shares[0]), size):
                steps.append(sorted(item for share in shares for item in share[start : start + size]))
        epochs.append(steps)
    assert epochs[0] == epochs[1] == epochs[2]
    assert epochs[0][: len(epochs[0]) // 2] != epochs[0][len(epochs[0]) // 2 :]


def test_seed_decides_the_epoch():
    plan = plan_epoch(DataConfig(sampling="class_balanced"), np.repeat(np.arange(4), COUNTS), NAMES)
    orders = [list(ClipSampler(plan.size, seed=seed, batch_size=1, plan=plan)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_evaluation_takes_no_notice(store):
    recipe = recipe_of(store, batch_size=1, sampling="class_balanced", repeat=3)
    for mode in ("val", "test"):
        dataset = make_dataset(recipe, store, mode)
        places = torch.cat([places for _, _, places in make_loader(recipe, dataset)])
        assert places.tolist() == [0, 1, 2, 3]


counts = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@given(counts, st.integers(1, 4), st.booleans(), st.lists(st.floats(0, 4), min_size=6, max_size=6), st.integers(0))
def test_every_plan_keeps_its_promises(counts, repeat, balanced, passes, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    names = [f"c{i}" for i in range(len(counts))]
    config = DataConfig(
        repeat=repeat,
        sampling="class_balanced" if balanced else "uniform",
        class_repeat={} if balanced else passes[: len(counts)],
    )
    try:
        plan = plan_epoch(config, labels, names)
    except ValueError:
        assert not balanced and sum(round(repeat * p * n) for p, n in zip(passes, counts, strict=False)) <= len(counts)
        return
    items = plan.items(np.random.default_rng(seed))
    assert len(items) == plan.size == len(set(items.tolist()))
    assert items.min() >= 0 and items.max() < plan.passes * len(labels)
    by_class = np.bincount(labels[items % len(labels)], minlength=len(counts))
    present = np.array(counts) > 0
    if balanced:
        assert len(set(by_class[present])) == 1 and not by_class[~present].any()
        assert len(labels) * repeat - present.sum() < plan.size <= len(labels) * repeat
    else:
        expected = np.array(passes[: len(counts)]) * repeat * counts
        np.testing.assert_allclose(by_class, expected, atol=0.5 + 1e-6)


def test_plans_count_what_they_show():
    plan = EpochPlan(np.array([0, 0, 1]), np.array([1, 2]), np.array([1, 0]))
    assert (plan.size, plan.passes) == (5, 2)


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"0": 2}, [2, 1, 1, 1]),
        ({1: 2}, [1, 2, 1, 1]),
        ({"1-2": 0.5}, [1, 0.5, 0.5, 1]),
        ({"Pick Up": 3}, [1, 3, 1, 1]),
        ({"99": 2}, [1, 1, 1, 2]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
    ],
)
def test_numbers_for_classes(repeat, expected):
    assert class_passes(repeat, NAMES).tolist() == expected


@pytest.mark.parametrize(
    ("repeat", "message"),
    [
        ({"pickup": 2}, "did you mean 'pick up'"),
        ({"4": 2}, "counted from 0 to 3"),
        ({"2-1": 2}, "60-119"),
        ({"1-4": 2}, "counted from 0 to 3"),
        ({"-1": 2}, "counted from 0 to 3"),
        ([1, 2], "2 numbers for 4 classes"),
    ],
)
def test_numbers_for_no_class(repeat, message):
    with pytest.raises(ValueError, match=message):
        class_passes(repeat, NAMES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sampling": "balanced"}, "class_balanced"),
        ({"class_repeat": {"0": -1}}, "0 or more"),
        ({"class_repeat": [1, float("inf")]}, "0 or more"),
        ({"class_repeat": {"0": "twice"}}, "class_repeat"),
        ({"class_repeat": 2}, "class_repeat"),
        ({"class_repeat": {"0": 2}, "sampling": "class_balanced"}, "leave out data.class_repeat"),
    ],
)
def test_recipe_errors(store, data, message):
    with pytest.raises(ValueError, match=message):
        recipe_of(store, **data)


def test_nothing_left_to_train_on(store):
    recipe = recipe_of(store, class_repeat=[0, 0, 0, 0])
    with pytest.raises(ValueError, match="no training clip at all"):
        make_dataset(recipe, store, "train")


def test_yaml_and_command_line_take_ranges(store):
    recipe = parse_recipe({"benchmark": "b", "data": {"class_repeat": {3: 2, "0-1": 1.5}}}, "b.yaml")
    assert class_passes(recipe.data.class_repeat, NAMES).tolist() == [1.5, 1.5, 1, 2]
    again = parse_recipe(recipe.as_dict(), "config.yaml")
    assert again == recipe
    told = parse_recipe({"benchmark": "b"}, "b.yaml", ['--data.class_repeat={"0-1": 2}'])
    assert class_passes(told.data.class_repeat, NAMES).tolist() == [2, 2, 1, 1]


def test_network_takes_the_graph_that_the_recipe_names(store):
    recipe = recipe_of(store, model={"skeleton": "ntu25_pyskl"})
    assert make_dataset(recipe, store, "train").pipeline.skeleton.name == "ntu25_pyskl"
    with pytest.raises(ValueError, match=r"other joints than the clips.*ntu25"):
        make_dataset(recipe_of(store, model={"skeleton": "kinect15"}), store, "train")
    with pytest.raises(ValueError, match="did you mean 'ntu25_pyskl'"):
        make_dataset(recipe_of(store, model={"skeleton": "ntu25_pysk"}), store, "train")
