"""The data set: what an item is, and that its draws depend on seed, epoch and clip alone."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from protogcn.data.dataset import ClipDataset
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.data.store import Clip, write_store

CONFIG = PipelineConfig(clip_len=8, test_clips=3, flip=0.5)
LENGTHS = (1, 5, 20, 9, 31, 12)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    clips = [
        Clip(rng.standard_normal((1 + i % 2, T, 25, 3)).astype(np.float16), i % 3, f"clip{i}")
        for i, T in enumerate(LENGTHS)
    ]
    return write_store(tmp_path_factory.mktemp("data") / "store", clips, skeleton="ntu25", class_names=["a", "b", "c"])


def dataset(store, mode="train", indices=None, **options):
    indices = np.arange(len(LENGTHS)) if indices is None else indices
    return ClipDataset(store, indices, build_pipeline(CONFIG, store.skeleton, "b", mode), **options)


def content(loader):
    return torch.cat([batch[0] for batch in loader])


def test_items(store):
    data = dataset(store, "test", [4, 2])
    x, label, i = data[1]
    assert len(data) == 2 and data.ids == ["clip4", "clip2"] and data.labels.tolist() == [1, 2]
    assert x.shape == (3, 2, 8, 25, 3) and x.dtype == torch.float32 and (label, i) == (2, 1)
    np.testing.assert_array_equal(x, data.pipeline(store[2]))
    assert data[-1][2] == 1
    with pytest.raises(IndexError):
        data[2]


def test_batches(store):
    x, labels, places = next(iter(DataLoader(dataset(store, "test"), batch_size=4)))
    assert x.shape == (4, 3, 2, 8, 25, 3)
    assert labels.tolist() == [0, 1, 2, 0] and places.tolist() == [0, 1, 2, 3]


def test_draws_depend_on_seed_epoch_and_clip_alone(store):
    data = dataset(store, seed=3)
    first = data[4][0]
    assert torch.equal(first, data[4][0])
    assert torch.equal(first, dataset(store, indices=[4], seed=3)[0][0])
    assert torch.equal(first, dataset(store, seed=3, cache_mb=0)[4][0])
    assert not torch.equal(first, dataset(store, seed=4)[4][0])
    data.set_epoch(1)
    assert data.epoch == 1 and not torch.equal(first, data[4][0])
    data.set_epoch(0)
    assert torch.equal(first, data[4][0])


def test_global_generators_play_no_part(store):
    torch.manual_seed(0)
    np.random.seed(0)
    first = dataset(store)[2][0]
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(first, dataset(store)[2][0])


def test_test_items_do_not_change_with_the_epoch(store):
    data = dataset(store, "test")
    first = data[4][0]
    data.set_epoch(9)
    assert torch.equal(first, data[4][0])


def test_workers_see_the_same_clips_and_the_new_epoch(store):
    alone, shared = dataset(store, seed=1), dataset(store, seed=1)
    with_workers = DataLoader(shared, batch_size=2, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        shared.set_epoch(epoch)
        assert torch.equal(content(DataLoader(alone, batch_size=2)), content(with_workers))


def test_repeated_passes_draw_anew_and_follow_the_epochs(store):
    once, thrice = dataset(store), dataset(store, repeat=3)
    n = len(LENGTHS)
    assert len(thrice) == 3 * n and thrice.ids == once.ids * 3 and thrice.labels.tolist() == once.labels.tolist() * 3
    assert [thrice[i][2] for i in (0, n, 2 * n + 1)] == [0, n, 2 * n + 1]
    thrice.set_epoch(2)
    for turn in range(3):
        once.set_epoch(2 * 3 + turn)
        assert torch.equal(once[4][0], thrice[turn * n + 4][0])


def test_cache_stops_at_its_limit(store):
    full, none = dataset(store, "test"), dataset(store, "test", cache_mb=0)
    for i in range(len(full)):
        assert torch.equal(full[i][0], none[i][0])
    assert torch.equal(content(DataLoader(full)), content(DataLoader(none)))
    assert full.cached == len(LENGTHS) and none.cached == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indices": [0, 6]}, r"0\.\.5, got \[6\]"),
        ({"indices": [-1]}, "got"),
        ({"repeat": 0}, "repeat"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refusals(store, options, message):
    with pytest.raises(ValueError, match=message):
        dataset(store, **options)
