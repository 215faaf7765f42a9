"""Which frames of a clip the network sees: uniform sampling (Duan et al., PYSKL, 2022), padding, CTR-GCN's rules.

Every function returns frame indices, or positions between frames, and leaves gathering them to the caller. A random one
takes either a numpy `Generator` (our own draws) or a legacy `RandomState`, whose Mersenne twister drew the published
test clips.
"""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator | np.random.RandomState
ShortClips = Literal["loop", "run", "spread"]
Window = tuple[float, float] | None

TEST_SEED = 255
"""Seed of the published multi-clip test: clips of equal length are all sampled alike."""

_COPIES = 100
_LEAST_WINDOW = 64


def uniform_frames(
    num_frames: int,
    clip_len: int,
    rng: Rng,
    *,
    num_clips: int = 1,
    short: ShortClips = "loop",
    p_interval: Window = (1.0, 1.0),
) -> NDArray[np.int64]:
    """Draw one frame from each of `clip_len` equal parts of a clip, `num_clips` times (PYSKL's uniform sampling).

    A window of a share of the frames, uniform in `p_interval`, is sampled. A window of N frames with

    * N >= 2 clip_len gives one random frame per part;
    * clip_len <= N < 2 clip_len gives frame k or a later one, N - clip_len randomly placed steps being skipped;
    * N < clip_len gives consecutive frames that wrap around, from a start set by `short`.

    Args:
        num_frames: T, frames of the source clip.
        clip_len: frames of each sampled clip.
        rng: source of the draws, consumed in the order of the reference implementation.
        num_clips: sampled clips, concatenated.
        short: "loop": from a random start, round and round inside the window (PYSKL's UniformSampleDecode); "run": from
            a random start, on through the source and round at its end (UniformSampleFrames in training); "spread":
            likewise from starts spread evenly over the clips (UniformSampleFrames in the test).
        p_interval: smallest and largest share of the source that the window covers; None is the whole source without
            drawing that it is (MMAction2, whose frames therefore differ from PYSKL's after the same seed).

    Returns:
        int64 indices in [0, num_frames), shape (num_clips * clip_len,).

    Raises:
        ValueError: if there are no frames to sample or the lengths are not positive.
    """
    _check_lengths(num_frames, clip_len, num_clips)
    clips = []
    for clip in range(num_clips):
        window, offset = (num_frames, 0) if p_interval is None else _window(num_frames, p_interval, rng)
        if window < clip_len:
            if short == "spread":
                start = clip if window < num_clips else clip * window // num_clips
                frames = np.arange(start, start + clip_len)
            else:
                frames = np.arange(clip_len) + _integers(rng, window)
                if short == "loop":
                    frames %= window
        elif window < 2 * clip_len:
            skipped = np.zeros(clip_len + 1, dtype=np.int64)
            skipped[rng.choice(clip_len + 1, window - clip_len, replace=False)] = 1
            frames = np.arange(clip_len) + np.cumsum(skipped)[:clip_len]
        else:
            bounds = np.arange(clip_len + 1) * window // clip_len
            frames = bounds[:-1] + _integers(rng, np.diff(bounds))
        clips.append(frames + offset)
    return np.concatenate(clips).astype(np.int64, copy=False) % num_frames


@lru_cache(maxsize=1024)
def uniform_test_frames(
    num_frames: int,
    clip_len: int,
    num_clips: int = 1,
    short: ShortClips = "loop",
    p_interval: Window = (1.0, 1.0),
) -> NDArray[np.int64]:
    """The published test clips: `uniform_frames` with a legacy generator seeded by 255 for every sample.

    Returns:
        int64 indices, shape (num_clips * clip_len,), read-only because they are shared between calls.

    Raises:
        ValueError: as `uniform_frames`.
    """
    rng = np.random.RandomState(TEST_SEED)
    frames = uniform_frames(num_frames, clip_len, rng, num_clips=num_clips, short=short, p_interval=p_interval)
    frames.flags.writeable = False
    return frames


def padded_frames(num_frames: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Repeat a clip from its start until `length` frames are filled (the vanilla ST-GCN protocol pads NTU to 300).

    Returns:
        indices (length,) int64, and a mask (length,) that is True on the first `num_frames`; zero padding clears the
        rest.

    Raises:
        ValueError: if the clip is longer than `length`, which padding cannot mend.
    """
    _check_lengths(num_frames, length, 1)
    if num_frames > length:
        raise ValueError(
            f"a clip of {num_frames} frames cannot be padded to {length}: raise clip_len to at least {num_frames}, "
            "or use sampling: uniform"
        )
    positions = np.arange(length)
    return positions % num_frames, positions < num_frames


@lru_cache(maxsize=1024)
def spread_frames(num_frames: int, clip_len: int) -> NDArray[np.int64]:
    """`clip_len` indices spread evenly from the first to the last frame, rounded down (NW-UCLA test rule).

    Returns:
        int64 indices, shape (clip_len,), read-only because they are shared between calls.

    Raises:
        ValueError: if there are no frames or `clip_len` is not positive.
    """
    _check_lengths(num_frames, clip_len, 1)
    frames = np.linspace(0, num_frames - 1, clip_len).astype(np.int64)
    frames.flags.writeable = False
    return frames


def sorted_frames(num_frames: int, clip_len: int, rng: Rng) -> NDArray[np.int64]:
    """A sorted draw without replacement from 100 copies of every frame (NW-UCLA training rule).

    Clips so short that 100 copies do not suffice are copied more often.

    Returns:
        int64 indices, shape (clip_len,).

    Raises:
        ValueError: if there are no frames or `clip_len` is not positive.
    """
    _check_lengths(num_frames, clip_len, 1)
    pool = num_frames * max(_COPIES, -(-clip_len // num_frames))
    return np.sort(rng.choice(pool, clip_len, replace=False) % num_frames)


def cropped_positions(num_frames: int, clip_len: int, share: float) -> NDArray[np.float64]:
    """Positions spread evenly over the central `share` of a clip (CTR-GCN test rule), see `stretched_positions`.

    Raises:
        ValueError: if there are no frames, `clip_len` is not positive, or the share lies outside (0, 1].
    """
    _check_lengths(num_frames, clip_len, 1)
    if not 0 < share <= 1:
        raise ValueError(f"the share of a clip to look at must lie in (0, 1], got {share}")
    margin = int((1 - share) * num_frames / 2)
    return stretched_positions(margin, num_frames - 2 * margin, clip_len)


def random_cropped_positions(
    num_frames: int, clip_len: int, rng: Rng, p_interval: tuple[float, float] = (0.5, 1.0)
) -> NDArray[np.float64]:
    """Positions spread evenly over a random window of a clip (CTR-GCN training rule), see `stretched_positions`.

    The window covers a share uniform in `p_interval`, but at least 64 frames, or all frames of a shorter clip.

    Raises:
        ValueError: if there are no frames or `clip_len` is not positive.
    """
    _check_lengths(num_frames, clip_len, 1)
    low, high = p_interval
    share = _random(rng) * (high - low) + low
    length = min(max(int(num_frames * share), _LEAST_WINDOW), num_frames)
    return stretched_positions(int(_integers(rng, num_frames - length + 1)), length, clip_len)


def stretched_positions(start: int, length: int, clip_len: int) -> NDArray[np.float64]:
    """Where `clip_len` frames lie between those of the window [start, start + length) when it is stretched to them.

    Frame i lies at start + (i + 0.5) length / clip_len - 0.5, kept inside the window: torch's bilinear interpolation
    with align_corners false, which rounds the factor and the place inside the window to single precision, as here.

    Returns:
        positions (clip_len,): the whole part is a frame, the rest the weight of the next one.
    """
    step = np.float64(np.float32(length) / np.float32(clip_len))
    inside = (step * (np.arange(clip_len) + 0.5) - 0.5).astype(np.float32)
    return start + np.clip(inside, 0, length - 1).astype(np.float64)


def _check_lengths(num_frames: int, clip_len: int, num_clips: int) -> None:
    if num_frames < 1:
        raise ValueError("the clip has no frames: remove it from the data, there is nothing to sample")
    if clip_len < 1 or num_clips < 1:
        raise ValueError(f"clip_len and the number of clips must be at least 1, got {clip_len} and {num_clips}")


def _window(num_frames: int, p_interval: tuple[float, float], rng: Rng) -> tuple[int, Any]:
    """Length and first frame of the part of a clip that is looked at."""
    low, high = p_interval
    share = _random(rng) * (high - low) + low
    # A share of a one-frame clip rounds to nothing; one frame is the least that can be looked at.
    window = max(int(share * num_frames), 1)
    return window, _integers(rng, num_frames - window + 1)


def _random(rng: Rng) -> float:
    return rng.random_sample() if isinstance(rng, np.random.RandomState) else rng.random()


def _integers(rng: Rng, high: Any) -> Any:
    """Integers in [0, high). The legacy generator consumes nothing when there is a single choice, as published."""
    return rng.randint(high) if isinstance(rng, np.random.RandomState) else rng.integers(high)
