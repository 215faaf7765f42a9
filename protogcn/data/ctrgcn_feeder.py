"""The NTU protocol of CTR-GCN and InfoGCN: crop, stretch to the length of the network, turn, then the stream."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs import augment, streams
from protogcn.data.half import widened
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared, format_clips
from protogcn.data.sampling import TEST_SEED, cropped_positions, random_cropped_positions


class CtrGcnPipeline(Pipeline):
    """Protocols ctrgcn and infogcn (Chen et al., ICCV 2021; Chi et al., CVPR 2022), in single precision.

    A clip lasts as many frames as show anybody, as in the released feeder: clips are expected to start with their first
    such frame and to have no gaps, or they lose as many frames at their end. Streams follow the interpolation and the
    turn, so motion is the difference of interpolated frames.
    """

    prepared_by = ("num_persons", "centre")

    def prepare_keypoints(self, keypoints: NDArray[Any], image_shape: tuple[int, int] | None) -> NDArray[Any]:
        x = widened(keypoints[: self.config.num_persons]).astype(np.float32, copy=False)
        # Coordinates in one long axis: numpy is slow over two short ones.
        seen: Any = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3]).any(axis=-1)
        x = x[:, : int(seen.any(axis=0).sum())]
        if self.config.centre and seen[:1].any():
            x = x - x[0, int(seen[0].argmax()), self.skeleton.body_centre]
            x[~seen[:, : x.shape[1]]] = 0.0
        return x

    def fixed_draw(self, num_frames: int) -> Draw:
        """One clip as published; further ones are training crops with a fixed seed, alike for clips of equal length."""
        config = self.config
        if not num_frames:
            return Draw(np.empty(0))
        positions = [cropped_positions(num_frames, config.clip_len, config.test_share)]
        rng = np.random.RandomState(TEST_SEED)
        for _ in range(self.num_clips - 1):
            positions.append(random_cropped_positions(num_frames, config.clip_len, rng, config.p_interval))
        return Draw(np.concatenate(positions))

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        config = self.config
        persons, num_frames, joints = shape[:3]
        if not num_frames:
            return Draw(np.empty(0))
        changes: dict[str, Any] = {}
        if config.scale:
            changes["scale"] = augment.draw_scale(rng, config.scale)
        if config.rotation:
            changes["angles"] = augment.draw_rotation(rng, config.rotation)
        changes |= self.draw_deformation((persons, config.clip_len, joints), rng)
        changes |= self.draw_changes(rng)
        return Draw(random_cropped_positions(num_frames, config.clip_len, rng, config.p_interval), **changes)

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        if not prepared.keypoints.size:
            return np.zeros(self.out_shape, dtype=np.float32)
        x = self._stretched(prepared.keypoints, draw)
        clips = x.reshape(len(x), self.num_clips, -1, *x.shape[2:])
        features = streams.compute(clips, self.stream, self.skeleton, kbone=self.config.kbone)
        return format_clips(features.reshape(x.shape), self.num_clips, self.config.num_persons)

    def positions(self, prepared: Prepared, draw: Draw, *, following: bool = False) -> NDArray[np.float32]:
        if not prepared.keypoints.size:
            return np.zeros(self.out_shape, dtype=np.float32)
        return format_clips(self._stretched(prepared.keypoints, draw), self.num_clips, self.config.num_persons)

    def _stretched(self, x: NDArray[np.float32], draw: Draw) -> NDArray[np.float32]:
        """The clip at the drawn positions with all drawn changes, (M, num_clips * clip_len, V, C)."""
        x = between_frames(x, draw.frames)
        if draw.scale is not None:
            x = augment.scale(x, draw.scale)
        if draw.angles is not None:
            x = augment.rotate(x, draw.angles)
        return self.cleared(self.deformed(x, draw), draw)


def between_frames(x: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """The clip (M, T, V, C) at positions (n,) between its frames, interpolated linearly: (M, n, V, C)."""
    before = positions.astype(np.int64)
    after = np.minimum(before + 1, x.shape[1] - 1)
    weight = (positions - before).astype(np.float32)[:, None]
    rows = x.reshape(*x.shape[:2], -1)
    out = rows[:, before] * (1 - weight) + rows[:, after] * weight
    return out.reshape(len(x), len(positions), *x.shape[2:])
