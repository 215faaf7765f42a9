"""Frame sampling against the published draws, and the properties every rule promises."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protogcn.data.sampling import padded_frames, sorted_frames, spread_frames, uniform_frames, uniform_test_frames

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens" / "data" / "sampling.json").read_text())
SHORT = ["loop", "run", "spread"]
LENGTHS = st.integers(1, 400)
SHARES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda pair: tuple(sorted(pair)))


def interval(case):
    share = case["p_interval"]
    return tuple(share) if isinstance(share, list) else (share, share)


def named(case):
    return "-".join(str(case.get(key)) for key in ("T", "clip_len", "num_clips", "np_seed", "p_interval", "test_mode"))


@pytest.mark.parametrize("case", GOLDENS["UniformSampleFrames_test"], ids=named)
def test_published_test_frames(case):
    frames = uniform_test_frames(case["T"], case["clip_len"], case["num_clips"], "spread")
    assert hashlib.sha256(frames.astype("<i8").tobytes()).hexdigest()[:16] == case["sha"]


@pytest.mark.parametrize("case", GOLDENS["UniformSampleFrames_train"], ids=named)
def test_published_training_frames(case):
    rng = np.random.RandomState(case["np_seed"])
    frames = uniform_frames(case["T"], case["clip_len"], rng, short="run", p_interval=interval(case))
    assert frames.tolist() == case["inds"]


@pytest.mark.parametrize("case", GOLDENS["UniformSampleDecode"], ids=named)
def test_published_frames_of_sample_decode(case):
    T, L, n, share = case["T"], case["clip_len"], case["num_clips"], interval(case)
    if case["test_mode"]:
        frames = uniform_test_frames(T, L, n, "loop", share)
    else:
        frames = uniform_frames(T, L, np.random.RandomState(case["np_seed"]), num_clips=n, p_interval=share)
    assert frames.tolist() == case["inds"]


@given(
    LENGTHS, st.integers(1, 120), st.integers(1, 4), st.sampled_from(["loop", "run", "spread"]), SHARES, st.integers(0)
)
def test_uniform_frames_lie_in_the_clip(T, L, n, short, share, seed):
    frames = uniform_frames(T, L, np.random.default_rng(seed), num_clips=n, short=short, p_interval=share)
    assert frames.shape == (n * L,) and frames.dtype == np.int64
    assert frames.min() >= 0 and frames.max() < T


@given(st.integers(1, 60), st.integers(0, 300), st.integers(0))
def test_long_clips_give_increasing_frames_one_from_each_part(L, extra, seed):
    T = L + extra
    frames = uniform_frames(T, L, np.random.default_rng(seed))
    assert (np.diff(frames) > 0).all()
    if T >= 2 * L:
        bounds = np.arange(L + 1) * T // L
        assert (bounds[:-1] <= frames).all() and (frames < bounds[1:]).all()


def test_test_frames_are_alike_and_leave_the_global_generator_alone():
    np.random.seed(7)
    expected = np.random.RandomState(7).rand()
    first = uniform_test_frames(210, 100, 10)
    uniform_test_frames.cache_clear()
    assert np.array_equal(first, uniform_test_frames(210, 100, 10))
    assert np.random.rand() == expected
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


@given(LENGTHS, st.integers(1, 120), st.integers(0))
def test_nw_ucla_frames(T, L, seed):
    spread, drawn = spread_frames(T, L), sorted_frames(T, L, np.random.default_rng(seed))
    for frames in (spread, drawn):
        assert frames.shape == (L,) and (np.diff(frames) >= 0).all() and frames[0] >= 0 and frames[-1] < T
    assert spread[0] == 0 and (L == 1 or spread[-1] == T - 1)


def test_sorted_frames_copy_very_short_clips_more_often():
    assert sorted_frames(1, 128, np.random.default_rng(0)).tolist() == [0] * 128


def test_padding():
    frames, inside = padded_frames(5, 8)
    assert frames.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert inside.tolist() == [True] * 5 + [False] * 3
    with pytest.raises(ValueError, match="raise clip_len to at least 9"):
        padded_frames(9, 8)


@pytest.mark.parametrize(
    "sample", [spread_frames, lambda T, L: uniform_frames(T, L, np.random.default_rng(0)), padded_frames]
)
def test_nothing_to_sample(sample):
    with pytest.raises(ValueError, match="no frames"):
        sample(0, 10)
    with pytest.raises(ValueError, match="at least 1"):
        sample(10, 0)
