"""The pipeline of heat-map networks (Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022)."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphs import augment
from graphs.skeleton import Skeleton
from protogcn.data import framing
from protogcn.data.half import widened
from protogcn.data.heatmaps import mirror_maps, num_maps, render
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared, format_clips
from protogcn.data.pipeline_config import PROJECTIONS, PipelineConfig
from protogcn.data.projection import PICTURE, in_pixels, project, seen_joints, upright
from protogcn.data.sampling import uniform_frames, uniform_test_frames

_MAPS = {"j": "joint", "b": "limb"}
_SHORT_SIDE = 64


class HeatmapPipeline(Pipeline):
    """Sample, cut out the square around the poses, crop at random, resize, flip; Gaussians are drawn on the device.

    `apply` gives joints on the pixels of the heat maps, (num_clips, num_persons, T, V, 3) as x, y and score, where a
    score of 0 draws nothing; `network_input` renders them, (B, K, T, H, W). The persons of a clip share its maps. In
    the test every clip is followed by its mirror image, unless `config.double` is false.

    Clips of image coordinates have their own scores, or 1 for joints and 0 for pairs of zeros; a joint of score 0 does
    not count for the square either, wherever it is said to be (it does in the released code). The square reaches
    beyond the image if need be, so the size of the image only matters for poses of fewer than 10 pixels; where it is
    unknown these are scaled up, so that normalised coordinates may serve as well. Clips in space become pictures by
    `config.projection`, turned and tilted at random in training.

    Args:
        stream: `j` for joint maps, `b` for limb maps.

    Raises:
        ValueError: another stream, or no projection for a clip in space, or one for a clip of image coordinates.
    """

    gives = "heatmaps"
    prepared_by = ("num_persons", "projection", "up")

    def __init__(self, config: PipelineConfig, skeleton: Skeleton, stream: str, mode: str, channels: str) -> None:
        super().__init__(config, skeleton, stream, mode, channels)
        if stream not in _MAPS:
            raise ValueError(
                f"protocol heatmap has the streams j (joint maps) and b (limb maps), got {stream!r}: set stream to j "
                "or b, or take a protocol of clips"
            )
        if config.maps and stream != "j":
            raise ValueError(
                f"pipeline.maps {config.maps} gives joints and limbs together, which would make stream {stream} a copy "
                "of stream j: set stream to j, or leave pipeline.maps empty"
            )
        if config.double and not skeleton.mirror:
            raise ValueError(
                f"pipeline.double needs the mirror of the skeleton, and {skeleton.name} defines none: set "
                "pipeline.double to false, or describe it in the skeleton's file"
            )
        self.solid = channels == "xyz"
        if self.solid and not config.projection:
            raise ValueError(
                "protocol heatmap draws pictures, and the clips hold 3-D coordinates: say from where to look at them "
                f"by pipeline.projection, one of {', '.join(PROJECTIONS)}"
            )
        if config.projection and not self.solid:
            raise ValueError(
                f"pipeline.projection {config.projection} is for 3-D clips, and these hold {channels!r}, which are "
                "pictures already: leave it out"
            )
        self.maps = config.maps or _MAPS[stream]
        self._num_maps = num_maps(skeleton, self.maps)
        self.views = 2 if mode == "test" and config.double else 1
        self.size = config.image_size if self.training else config.test_image_size
        self.like_mmaction2 = config.compat == "mmaction2"
        self.window = None if self.like_mmaction2 else config.p_interval
        self.out_shape = (self.num_clips, config.num_persons, config.clip_len, skeleton.num_joints, 3)

    @property
    def in_channels(self) -> int:
        """Number of heat maps."""
        return self._num_maps

    def prepare_keypoints(self, keypoints: NDArray[Any], image_shape: tuple[int, int] | None) -> NDArray[Any]:
        keypoints = keypoints[: self.config.num_persons]
        if not self.solid or not len(keypoints):
            return keypoints
        return upright(keypoints, self.skeleton, self.config.up, camera=self.config.projection == "camera")

    def fixed_draw(self, num_frames: int) -> Draw:
        return Draw(uniform_test_frames(num_frames, self.config.clip_len, self.num_clips, "spread", self.window))

    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        config = self.config
        frames = uniform_frames(shape[1], config.clip_len, rng, short="run", p_interval=self.window)
        draw = Draw(frames, crop=framing.draw_crop(rng, config.crop_area, config.crop_aspect), **self.draw_changes(rng))
        if not self.solid:
            return draw
        limits = (math.radians(config.tilt_degrees), math.radians(config.turn_degrees), 0.0)
        return replace(draw, angles=augment.draw_rotation(rng, limits))

    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        x = widened(prepared.keypoints[: self.config.num_persons, draw.frames]).astype(np.float32, copy=False)
        if not len(x):
            return np.zeros(self.out_shape, dtype=np.float32)
        image_shape = PICTURE if self.solid else prepared.image_shape
        x = self._projected(x, draw) if self.solid else self._scored(x)
        box = framing.pose_box(x, image_shape or PICTURE, aspect=(1, 1))
        if box is None and image_shape is None:
            x[..., :2] = in_pixels(x[..., :2], (x[..., 0] != 0) | (x[..., 1] != 0))
            box = framing.pose_box(x, PICTURE, aspect=(1, 1))
        if box is not None:
            x, image_shape = framing.crop(x, box, keep_unseen=True)
        x = self._fitted(x, image_shape or PICTURE, draw)
        if draw.flip:
            x = augment.flip_image(x, self.skeleton, self.size)
        x[..., 2:] = self.cleared(x[..., 2:], draw)
        return format_clips(x, self.num_clips, self.config.num_persons)

    def streams_of(self, positions: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        # All maps are drawn from the same joints.
        return dict.fromkeys(names, positions)

    def network_input(self, clips: Tensor) -> Tensor:
        """Heat maps (B * views, K, T, H, W) of joints on their pixels (B, M, T, V, 3), in the clips' precision."""
        # Half precision would move joints by a good part of sigma.
        points = clips if clips.dtype == torch.float64 else clips.float()
        maps = render(
            points[..., :2],
            points[..., 2],
            self.skeleton,
            (self.size, self.size),
            maps=self.maps,
            sigma=self.config.sigma,
            least_score=1e-4 if self.like_mmaction2 else 1e-3,
        )
        if self.views == 2:
            maps = torch.stack((maps, mirror_maps(maps, self.skeleton, self.maps)), dim=1).flatten(0, 1)
        return maps.transpose(1, 2).contiguous().to(clips.dtype)

    def _projected(self, x: NDArray[np.float32], draw: Draw) -> NDArray[np.float32]:
        """Joints in space (M, T, V, 3) as x, y in a `PICTURE` and whether they were seen."""
        mask = seen_joints(x, self.skeleton)
        points = in_pixels(project(x, mask, self.config.projection, draw.angles), mask)
        return np.concatenate([points, mask[..., None]], axis=-1, dtype=np.float32)

    def _scored(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Joints in pixels with the scores they are drawn by, (M, T, V, 3)."""
        if self.channels == "xys":
            # A score of 0 says that nobody saw the joint; where annotators put it, often into a corner, says nothing.
            x[x[..., 2] <= 0] = 0
            if self.config.use_score:
                return x
        mask = (x[..., 0] != 0) | (x[..., 1] != 0)
        return np.concatenate([x[..., :2], mask[..., None]], axis=-1, dtype=np.float32)

    def _fitted(self, x: NDArray[Any], image_shape: tuple[int, int], draw: Draw) -> NDArray[Any]:
        """The joints of a picture on the pixels of the heat maps."""
        square = (self.size, self.size)
        if draw.crop is not None:
            x, image_shape = framing.resize(x, image_shape, (-1, _SHORT_SIDE))
            x, image_shape = framing.crop(x, framing.placed_box(image_shape, draw.crop))
        elif self.like_mmaction2:
            x, image_shape = framing.resize(x, image_shape, (-1, self.size))
            return framing.crop(x, framing.centre_box(image_shape, square))[0]
        return framing.resize(x, image_shape, square, keep_ratio=False)[0]
