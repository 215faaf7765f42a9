"""The NW-UCLA protocol of CTR-GCN and InfoGCN: centre, tilt and turn, stretch to a box, sample, then the stream."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs import augment, streams
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared, format_clips
from protogcn.data.sampling import TEST_SEED, sorted_frames, spread_frames


class NwUclaPipeline(Pipeline):
    """Clips centred on the body of frame 0, tilted and turned at random in training, each axis stretched to [-1, 1].

    Streams follow normalisation and sampling, so motion is the difference of sampled frames. The scale factor that the
    published feeder draws cancels in the normalisation and is left out.
    """

    prepared_by = ("num_persons", "significant_digits")

    def prepare_keypoints(self, keypoints: NDArray[Any], image_shape: tuple[int, int] | None) -> NDArray[Any]:
        keypoints = keypoints[: self.config.num_persons]
        if self.config.significant_digits:
            keypoints = nearest_decimals(keypoints, self.config.significant_digits)
        if not len(keypoints):
            return keypoints
        keypoints = keypoints.astype(np.float64, copy=False)
        centred = keypoints - keypoints[0, 0, self.skeleton.body_centre]
        if len(keypoints) > 1:
            centred[~keypoints.any(axis=(1, 2, 3))] = 0.0
        return centred

    def fixed_draw(self, num_frames: int) -> Draw:
        """One clip as published; further ones are training draws with a fixed seed, alike for clips of equal length."""
        frames = spread_frames(num_frames, self.config.clip_len)
        if self.num_clips > 1:
            rng = np.random.RandomState(TEST_SEED)
            more = [sorted_frames(num_frames, self.config.clip_len, rng) for _ in range(self.num_clips - 1)]
            frames = np.concatenate([frames, *more])
        return Draw(frames)

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        config = self.config
        tilt, turn = (int(rng.integers(-limit, limit + 1)) for limit in (config.tilt_degrees, config.turn_degrees))
        return Draw(
            sorted_frames(shape[1], config.clip_len, rng),
            angles=np.radians([tilt, turn, 0]),
            **self.draw_deformation(shape, rng),
            **self.draw_changes(rng),
        )

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        if not prepared.keypoints.any():
            return np.zeros(self.out_shape, dtype=np.float32)
        return format_clips(self.features(prepared.keypoints, draw), self.num_clips, self.config.num_persons)

    def positions(self, prepared: Prepared, draw: Draw, *, following: bool = False) -> NDArray[np.float64]:
        if not prepared.keypoints.any():
            return np.zeros(self.out_shape, dtype=np.float64)
        x = self._boxed(prepared.keypoints, draw)
        return format_clips(x, self.num_clips, self.config.num_persons, np.float64)

    def features(self, x: NDArray[np.float64], draw: Draw) -> NDArray[np.float64]:
        """The stream in double precision, (M, num_clips * clip_len, V, C)."""
        x = self._boxed(x, draw)
        clips = x.reshape(len(x), self.num_clips, -1, *x.shape[2:])
        return streams.compute(clips, self.stream, self.skeleton, kbone=self.config.kbone).reshape(x.shape)

    def _boxed(self, x: NDArray[np.float64], draw: Draw) -> NDArray[np.float64]:
        """The drawn frames with all drawn changes, in the box, (M, num_clips * clip_len, V, C)."""
        if draw.angles is not None:
            # The feeder turns row vectors: x Ry Rx, the transpose of what `rotate` applies.
            x = augment.linear(x, augment.rotation_matrix(draw.angles).T)
        return self.cleared(in_unit_box(self.deformed(x, draw), draw.frames), draw)


def in_unit_box(x: NDArray[np.float64], frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """The given frames of a clip (M, T, V, C), each axis stretched to [-1, 1] over the whole clip.

    An axis without extent becomes 0, where the published feeder divides by zero. In a clip of several persons those
    that are all zeros, which marks them as absent, neither widen the box nor move.
    """
    present = np.ones(1, dtype=bool) if len(x) == 1 else x.any(axis=(1, 2, 3))
    seen = x if present.all() else x[present]
    # Frames first: numpy is ten times slower when only the short last axis is left for the inner loop.
    low = seen.min(axis=(0, 1)).min(axis=0)
    extent = seen.max(axis=(0, 1)).max(axis=0) - low
    flat = extent == 0
    rows = x[:, frames].reshape(len(x), len(frames), -1)
    joints = x.shape[2]
    out = (rows - np.tile(low, joints)) / np.tile(np.where(flat, 1.0, extent), joints) * 2 - 1
    out = out.reshape(len(x), len(frames), *x.shape[2:])
    if flat.any():
        out[..., flat] = 0.0
    if not present.all():
        out[~present] = 0.0
    return out


def nearest_decimals(x: NDArray[Any], digits: int) -> NDArray[np.float64]:
    """The doubles nearest to the numbers of `digits` significant decimal digits nearest to `x`.

    The NW-UCLA files give six digits: six recovers, from coordinates stored as float32, the doubles of the files.
    """
    x = np.asarray(x, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(x), out=np.zeros_like(x), where=x != 0))
    # Dividing by an exact power of ten rounds correctly; multiplying by a negative power would not.
    power = 10.0 ** (digits - 1 - magnitude)
    return np.round(x * power) / power
