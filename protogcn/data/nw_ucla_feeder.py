"""The NW-UCLA protocol of CTR-GCN and InfoGCN: centre, tilt and turn, stretch to a box, pick 52 frames, then the stream."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs import augment, streams
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared
from protogcn.data.sampling import TEST_SEED, sorted_frames, spread_frames


class NwUclaPipeline(Pipeline):
    """Clip centred on the body of its first frame, tilted and turned at random in training, each axis stretched to [-1, 1].

    Streams follow normalisation and sampling, so motion is the difference of sampled frames. The scale factor that the
    published feeder draws cancels in the normalisation and is left out.
    """

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
        """One clip as published. Further clips are training draws of frames with a fixed seed, alike for equal lengths."""
        frames = spread_frames(num_frames, self.config.clip_len)
        if self.num_clips > 1:
            rng = np.random.RandomState(TEST_SEED)
            more = [sorted_frames(num_frames, self.config.clip_len, rng) for _ in range(self.num_clips - 1)]
            frames = np.concatenate([frames, *more])
        return Draw(frames)

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        tilt, turn = (rng.integers(-limit, limit + 1) for limit in (self.config.tilt_degrees, self.config.turn_degrees))
        return Draw(
            sorted_frames(shape[1], self.config.clip_len, rng),
            angles=np.radians([tilt, turn, 0.0]),
            **self.draw_deformation(shape, rng),
            **self.draw_changes(rng),
        )

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        if not prepared.keypoints.any():
            return np.zeros(self.out_shape, dtype=np.float32)
        return self.formatted(self.features(prepared.keypoints, draw))

    def features(self, x: NDArray[np.float64], draw: Draw) -> NDArray[np.float64]:
        """The stream in double precision, (M, num_clips * clip_len, V, C)."""
        if draw.angles is not None:
            # The feeder turns row vectors: x Ry Rx, the transpose of what `rotate` applies.
            x = augment.linear(x, augment.rotation_matrix(draw.angles).T)
        if draw.shear is not None:
            x = augment.shear(x, draw.shear)
        if draw.noise is not None:
            x = augment.noise(x, draw.noise, self.config.noise)
        if draw.flip:
            x = augment.flip(x, self.skeleton, mirror=self.config.flip_mirror)
        x = self.cleared(to_unit_box(x)[:, draw.frames], draw)
        clips = x.reshape(len(x), self.num_clips, -1, *x.shape[2:])
        return streams.compute(clips, self.stream, self.skeleton, kbone=self.config.kbone).reshape(x.shape)


def to_unit_box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretch each axis of a clip (M, T, V, C) to [-1, 1] over all its persons, frames and joints.

    An axis without extent becomes 0, where the published feeder divides by zero. In a clip of several persons those that are
    all zeros, which marks them as absent, neither widen the box nor move.
    """
    if len(x) > 1:
        present = x.any(axis=(1, 2, 3))
        if not present.all():
            stretched = np.zeros_like(x)
            if present.any():
                stretched[present] = to_unit_box(x[present])
            return stretched
    low = x.min(axis=(0, 1, 2))
    extent = x.max(axis=(0, 1, 2)) - low
    flat = extent == 0
    stretched = (x - low) / np.where(flat, 1.0, extent) * 2 - 1
    if flat.any():
        stretched[..., flat] = 0.0
    return stretched


def nearest_decimals(x: NDArray[Any], digits: int) -> NDArray[np.float64]:
    """The doubles nearest to the numbers of `digits` significant decimal digits nearest to `x`.

    The NW-UCLA files give six digits: six recovers, from coordinates stored as float32, the doubles that the text stands for.
    """
    x = np.asarray(x, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(x), out=np.zeros_like(x), where=x != 0))
    # Dividing by an exact power of ten rounds correctly; multiplying by a negative power would not.
    power = 10.0 ** (digits - 1 - magnitude)
    return np.round(x * power) / power
