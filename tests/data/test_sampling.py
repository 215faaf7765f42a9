"""Frame sampling against the published draws, and the properties every rule promises."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protogcn.data.sampling import (
    cropped_positions,
    padded_frames,
    random_cropped_positions,
    sorted_frames,
    spread_frames,
    stretched_positions,
    uniform_frames,
    uniform_test_frames,
)

FOLDER = Path(__file__).parents[1] / "goldens" / "data"
GOLDENS = json.loads((FOLDER / "sampling.json").read_text())
MMACTION2 = json.loads((FOLDER / "mmaction2.json").read_text())
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


@pytest.mark.parametrize("case", MMACTION2["test"], ids=named)
def test_published_test_frames_of_mmaction2(case):
    frames = uniform_test_frames(case["T"], case["clip_len"], case["num_clips"], "spread", None)
    assert frames.sum() == case["sum"]
    assert case["inds"] is None or frames.tolist() == case["inds"]


def test_published_training_frames_of_mmaction2():
    """Its released sampler after np.random.seed(1), 47 frames: without a share, the first draw is the start."""
    frames = uniform_frames(47, 48, np.random.RandomState(1), short="run", p_interval=None)
    assert frames.tolist() == [*range(37, 47), *range(38)]


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


@given(LENGTHS, st.integers(1, 120), SHARES, st.integers(0))
def test_stretched_windows_lie_in_the_clip(T, L, shares, seed):
    """Crop and stretch: positions rise evenly, and no frame outside the crop takes part."""
    for positions in (
        cropped_positions(T, L, shares[0]),
        random_cropped_positions(T, L, np.random.default_rng(seed), shares),
        random_cropped_positions(T, L, np.random.RandomState(seed % 2**32), shares),
    ):
        assert positions.shape == (L,) and positions.dtype == np.float64
        assert positions[0] >= 0 and positions[-1] <= T - 1 and (np.diff(positions) >= 0).all()


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 50))
def test_stretching_is_what_torch_interpolates(length, clip_len, start):
    """Positions of a ramp: the value of frame t is t."""
    ramp = torch.arange(length, dtype=torch.float32)
    expected = torch.nn.functional.interpolate(ramp[None, None], size=clip_len, mode="linear", align_corners=False)
    np.testing.assert_allclose(
        stretched_positions(start, length, clip_len) - start, expected[0, 0], rtol=2e-6, atol=1e-5
    )


def test_windows_keep_their_share_of_frames():
    assert cropped_positions(100, 95 * 2, 0.95)[[0, -1]].tolist() == [2, 97]
    assert cropped_positions(100, 100, 1.0).tolist() == list(range(100))
    assert cropped_positions(1, 3, 0.95).tolist() == [0, 0, 0]
    for T, least, most in ((300, 150, 300), (90, 64, 90), (40, 40, 40)):
        ends = [random_cropped_positions(T, 10 * T, np.random.default_rng(seed))[[0, -1]] for seed in range(200)]
        lengths = {int(high - low) + 1 for low, high in ends}
        assert min(lengths) >= least and max(lengths) <= most and len(lengths) > (least < most)
        if least < most:
            assert min(low for low, _ in ends) < 2 and max(high for _, high in ends) > T - 3


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_share_of_a_clip(share):
    with pytest.raises(ValueError, match="share"):
        cropped_positions(10, 5, share)


def test_padding():
    frames, inside = padded_frames(5, 8)
    assert frames.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert inside.tolist() == [True] * 5 + [False] * 3
    with pytest.raises(ValueError, match="raise clip_len to at least 9"):
        padded_frames(9, 8)


@pytest.mark.parametrize(
    "sample",
    [
        spread_frames,
        padded_frames,
        lambda T, L: uniform_frames(T, L, np.random.default_rng(0)),
        lambda T, L: cropped_positions(T, L, 0.95),
        lambda T, L: random_cropped_positions(T, L, np.random.default_rng(0)),
    ],
)
def test_nothing_to_sample(sample):
    with pytest.raises(ValueError, match="no frames"):
        sample(0, 10)
    with pytest.raises(ValueError, match="at least 1"):
        sample(10, 0)
