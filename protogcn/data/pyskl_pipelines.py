"""The pipelines of the ProtoGCN / PYSKL family, which differ in whether streams come before or after sampling."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphs import augment, streams
from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.data.half import as_tensor, widened
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared, format_clips
from protogcn.data.pipeline_config import PipelineConfig
from protogcn.data.preprocess import SURE, add_virtual_joints, pre_normalize_2d, pre_normalize_3d
from protogcn.data.sampling import ShortClips, Window, padded_frames, uniform_frames, uniform_test_frames


class _PysklPipeline(Pipeline):
    """Uniform sampling, or padding, and features with the arithmetic of the released code."""

    short_training: ShortClips = "run"
    short_test: ShortClips = "spread"
    released = "protogcn"

    def fixed_draw(self, num_frames: int) -> Draw:
        config = self.config
        if config.sampling == "pad":
            return self._padded(num_frames)
        frames = uniform_test_frames(num_frames, config.clip_len, self.num_clips, self.short_test, self._window)
        return Draw(frames)

    def draw_frames(self, num_frames: int, rng: np.random.Generator) -> Draw:
        config = self.config
        if config.sampling == "pad":
            return self._padded(num_frames)
        frames = uniform_frames(num_frames, config.clip_len, rng, short=self.short_training, p_interval=self._window)
        return Draw(frames)

    @property
    def _window(self) -> Window:
        return None if self.config.compat == "mmaction2" else self.config.p_interval

    def stream_of(self, x: NDArray[Any]) -> NDArray[Any]:
        """The stream in the arithmetic of the released code, in single precision or better."""
        half = x.dtype == np.float16
        features = streams.compute(
            as_tensor(x) if half else x, self.stream, self.skeleton, kbone=self.config.kbone, compat=self.released
        )
        return features.float().numpy() if half else features

    def _padded(self, num_frames: int) -> Draw:
        frames, inside = padded_frames(num_frames, self.config.clip_len)
        return Draw(frames, inside if self.config.padding == "zero" else None)


class SampleLastPipeline(_PysklPipeline):
    """Normalise, augment, take the stream of the whole clip, then sample: motion compares neighbours of the source.

    Protocols protogcn_3d, pyskl_3d and pyskl_2d. Augmented clips are float64, others keep the precision of the store,
    so the bones of a float16 store are coarser in the test than in training, as in the released code.
    """

    prepared_by = ("protocol", "compat", "align_spine", "spine", "shoulders")

    def __init__(self, config: PipelineConfig, skeleton: Skeleton, stream: str, mode: str, channels: str) -> None:
        super().__init__(config, skeleton, stream, mode, channels)
        if config.protocol == "protogcn_3d":
            self.short_training = self.short_test = "loop"
        self.solid = channels == "xyz"
        self.align_spine = config.protocol == "pyskl_3d" if config.align_spine is None else config.align_spine
        landmarks = (*config.spine, *config.shoulders)
        turned = self.align_spine or config.compat == "mmaction2"
        if self.solid and turned and not all(0 <= joint < skeleton.num_joints for joint in landmarks):
            raise ValueError(
                f"pipeline.spine {config.spine} and pipeline.shoulders {config.shoulders} must be joints of "
                f"{skeleton.name}, 0..{skeleton.num_joints - 1}: set both, or set pipeline.align_spine to false"
            )

    def prepare_keypoints(self, keypoints: NDArray[Any], image_shape: tuple[int, int] | None) -> NDArray[Any]:
        like_mmaction2 = self.config.compat == "mmaction2"
        if not self.solid:
            return pre_normalize_2d(keypoints, image_shape, threshold=-math.inf if like_mmaction2 else SURE)
        return pre_normalize_3d(
            keypoints,
            self.skeleton.body_centre,
            align_spine=self.align_spine,
            align_shoulders=True if like_mmaction2 else None,
            spine=self.config.spine,
            shoulders=self.config.shoulders,
        )

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        config = self.config
        changes: dict[str, Any] = {}
        if self.solid:
            if config.scale:
                changes["scale"] = augment.draw_scale(rng, config.scale)
            if config.rotation:
                changes["angles"] = augment.draw_rotation(rng, config.rotation)
            changes |= self.draw_deformation(shape, rng)
        changes |= self.draw_changes(rng)
        return replace(self.draw_frames(shape[1], rng), **changes)

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        x = prepared.keypoints[: self.config.num_persons]
        if not len(x):
            return np.zeros(self.out_shape, dtype=np.float32)
        features = self._features(x, draw)
        if draw.visible is not None:
            features = features * draw.visible[:, None, None]
        return format_clips(features, self.num_clips, self.config.num_persons)

    def positions(self, prepared: Prepared, draw: Draw, *, following: bool = False) -> NDArray[Any]:
        config = self.config
        x = prepared.keypoints[: config.num_persons]
        num_frames = x.shape[1]
        frames = draw.frames
        if following:
            frames = np.stack([frames, np.minimum(frames + 1, num_frames - 1)], axis=1).reshape(-1)
        dtype = np.dtype(np.float64) if _deforms(draw) else x.dtype
        if not len(x):
            x = np.zeros((0, len(frames), *x.shape[2:]), dtype)
        # Noise is drawn for whole clips.
        elif draw.noise is not None or len(draw.frames) >= num_frames:
            x = self.augmented(x, draw)[:, frames]
        else:
            x = self.augmented(x[:, frames], draw)
        if following:
            x = x.reshape(len(x), len(draw.frames), 2, *x.shape[2:])
            x[:, draw.frames == num_frames - 1, 1] = np.nan
        if draw.visible is not None:
            x = x * draw.visible.reshape(-1, *[1] * (x.ndim - 2))
        return format_clips(x, self.num_clips, config.num_persons, dtype)

    def streams_of(self, positions: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        found = super().streams_of(positions, names)
        if positions.ndim == 5:
            return found
        last = positions[..., 1, :1, :1].isnan()
        found = {name: stream[..., 0, :, :] for name, stream in found.items()}
        # A frame without a successor does not move, whatever the rule for scores.
        return {
            name: stream.masked_fill(last, 0) if name.endswith("m") else stream.contiguous()
            for name, stream in found.items()
        }

    def _features(self, x: NDArray[Any], draw: Draw) -> NDArray[Any]:
        """The stream at the drawn frames, (M, num_clips * clip_len, V, C)."""
        num_frames = x.shape[1]
        # Noise is drawn for whole clips, and a score's motion is no difference, which the shortcuts rely on.
        if len(draw.frames) >= num_frames or draw.noise is not None or not self.solid:
            return self.stream_of(self.augmented(x, draw))[:, draw.frames]
        if not self.stream.endswith("m"):
            return self.stream_of(self.augmented(x[:, draw.frames], draw))
        # A motion needs each frame and the next; the last frame paired with itself gives the zero it should have.
        pairs = np.stack([draw.frames, np.minimum(draw.frames + 1, num_frames - 1)], axis=1)
        clip = self.augmented(x[:, pairs.reshape(-1)], draw)
        return self.stream_of(clip.reshape(len(x), -1, 2, *x.shape[2:]))[:, :, 0]

    def augmented(self, x: NDArray[Any], draw: Draw) -> NDArray[Any]:
        """The clip (M, T, V, C) with all drawn changes, float64 if its coordinates were deformed."""
        if _deforms(draw):
            x = widened(x).astype(np.float64)
        if draw.scale is not None:
            x = augment.scale(x, draw.scale)
        if draw.angles is not None:
            x = augment.rotate(x, draw.angles)
        return self.cleared(self.deformed(x, draw), draw)


def _deforms(draw: Draw) -> bool:
    """Whether a draw changes coordinates, which is done in double precision."""
    return any(change is not None for change in (draw.scale, draw.angles, draw.shear, draw.noise))


class SampleFirstPipeline(_PysklPipeline):
    """Sample, mirror about the image, add virtual joints, then take the stream of the sampled frames, in pixels.

    Protocol protogcn_2d (Kinetics, FineGYM). As in the released code, motion runs on over the concatenated test clips
    and over the seam of a short clip that starts again. Clips of 17 COCO joints are extended for coco20.
    """

    def __init__(self, config: PipelineConfig, skeleton: Skeleton, stream: str, mode: str, channels: str) -> None:
        super().__init__(config, skeleton, stream, mode, channels)
        self._coco17 = get_skeleton("coco17")

    def source_skeleton(self, keypoints: NDArray[Any]) -> Skeleton:
        extendable = self.skeleton.name == "coco20" and keypoints.ndim == 4 and keypoints.shape[2] == 17
        return self._coco17 if extendable else self.skeleton

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        frames = self.draw_frames(shape[1], rng)
        return replace(frames, **self.draw_changes(rng))

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        if not len(prepared.keypoints):
            return np.zeros(self.out_shape, dtype=np.float32)
        x = self._sampled(prepared, draw)
        return format_clips(self.stream_of(x), self.num_clips, self.config.num_persons)

    def positions(self, prepared: Prepared, draw: Draw, *, following: bool = False) -> NDArray[np.float32]:
        if not len(prepared.keypoints):
            return np.zeros(self.out_shape, dtype=np.float32)
        return format_clips(self._sampled(prepared, draw), self.num_clips, self.config.num_persons)

    def streams_of(self, positions: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        if self.num_clips == 1:
            return super().streams_of(positions, names)
        # Over the seams between the test clips of one sample.
        run = positions.unflatten(0, (-1, self.num_clips)).transpose(1, 2).flatten(2, 3)
        found = super().streams_of(run, names)
        return {
            name: torch.stack(stream.chunk(self.num_clips, dim=2), dim=1).flatten(0, 1)
            for name, stream in found.items()
        }

    def _sampled(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        """The drawn frames with all drawn changes, (M, num_clips * clip_len, V, C)."""
        x = prepared.keypoints[: self.config.num_persons, draw.frames]
        x = widened(x).astype(np.float32, copy=False)
        source = self.source_skeleton(x)
        if draw.flip:
            if prepared.image_shape is None:
                raise ValueError(
                    "a clip without image_shape cannot be mirrored about its image: prepare the data with the size of "
                    "its videos, or set pipeline.flip to 0"
                )
            x = augment.flip_image(x, source, prepared.image_shape[1])
        if source is not self.skeleton:
            x = add_virtual_joints(x)
        if draw.visible is not None:
            x *= draw.visible[:, None, None]
        return self.cleared(x, draw)
