"""The windows of heat maps that are not zero, computed in torch on the device of the poses; see `heatmap_windows`.

All persons are painted at once, by a scatter that keeps the maximum.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protogcn.data.heatmap_windows import FARTHEST

# They bound the memory that is needed beside the maps.
_LIMBS_AT_ONCE = 2**16
_PIXELS_AT_ONCE = 2**24


class DeviceCanvas:
    """The flat memory of maps of one size on some device, see `heatmap_windows.Canvas`.

    Args:
        memory: all pixels of all maps, float32, zero.
        size: (height, width) of a map.
        sigma: standard deviation in pixels.
        least_score: what is below it is not drawn.
    """

    def __init__(self, memory: Tensor, size: tuple[int, int], sigma: float, least_score: float) -> None:
        self.memory, self.size, self.sigma, self.least_score = memory, size, sigma, least_score

    def discs(self, points: Tensor, scores: Tensor, place: Tensor) -> None:
        """Paint a joint into each map: points (..., 2), scores and place (number of the map) (...)."""
        seen = _near(points) & (scores >= self.least_score) & (scores < math.inf)
        points, scores, place = points[seen], scores[seen], place[seen]
        height, width = self.size
        reach = math.ceil(6 * self.sigma) + 1
        across = torch.arange(min(reach, width), device=points.device)
        down = torch.arange(min(reach, height), device=points.device)
        at_once = max(1, _PIXELS_AT_ONCE // (len(across) * len(down)))
        for some, score, maps in zip(*(part.split(at_once) for part in (points, scores, place)), strict=True):
            (left, right), (top, bottom) = (self._window(some[:, axis], some[:, axis], axis) for axis in range(2))
            columns, rows = left[:, None] + across, top[:, None] + down
            squared = (columns.to(some.dtype) - some[:, :1]).square()[:, None]
            squared = squared + (rows.to(some.dtype) - some[:, 1:]).square()[:, :, None]
            patch = self._gaussian(squared) * score[:, None, None]
            where = (maps[:, None] * height + rows)[:, :, None] * width + columns[:, None]
            inside = (columns < right[:, None])[:, None] & (rows < bottom[:, None])[:, :, None]
            self._paint(where[inside], patch[inside])

    def ridges(self, points: Tensor, scores: Tensor, limbs: Tensor, place: Tensor) -> None:
        """Paint a limb into each map: points (..., V, 2), scores (..., V), limbs (L, 2), place (..., L)."""
        start, end = points[..., limbs[:, 0], :], points[..., limbs[:, 1], :]
        start_score, end_score = scores[..., limbs[:, 0]], scores[..., limbs[:, 1]]
        score = torch.minimum(start_score, end_score)
        seen = _near(start) & _near(end) & (score >= self.least_score) & (score < math.inf)
        start, end, start_score, score, place = (part[seen] for part in (start, end, start_score, score, place))
        length = (end - start).square().sum(-1)
        short, long = length < 1, length >= 1
        self.discs(start[short], start_score[short], place[short])
        parts = (part[long].split(_LIMBS_AT_ONCE) for part in (start, end, score, length, place))
        for some in zip(*parts, strict=True):
            self._ridges(*some)

    def _ridges(self, start: Tensor, end: Tensor, score: Tensor, length: Tensor, place: Tensor) -> None:
        """Paint limbs of at least a pixel: start and end (n, 2), score, squared length and place (n)."""
        least, most = torch.minimum(start, end), torch.maximum(start, end)
        (left, right), (top, bottom) = (self._window(least[:, axis], most[:, axis], axis) for axis in range(2))
        wide = (right - left).clamp(min=0)
        counts = wide * (bottom - top).clamp(min=0)
        # One entry for every pixel of every window.
        limb = torch.repeat_interleave(counts)
        pixel = torch.arange(len(limb), device=limb.device) - (counts.cumsum(0) - counts)[limb]
        wide = wide[limb]
        row = torch.div(pixel, wide, rounding_mode="floor")
        column = pixel - row * wide + left[limb]
        row += top[limb]
        where = (place[limb] * self.size[0] + row) * self.size[1] + column
        pixels = torch.stack([column, row], -1).to(start.dtype)
        a, along, length = start[limb], (end - start)[limb], length[limb]
        share = (pixels - a).square().sum(-1) - (pixels - end[limb]).square().sum(-1)
        share = (share + length) / (2 * length)
        # The foot of the perpendicular, kept between the ends.
        foot = torch.minimum(torch.maximum(a + share[:, None] * along, least[limb]), most[limb])
        self._paint(where, self._gaussian((pixels - foot).square().sum(-1)) * score[limb])

    def _window(self, low: Tensor, high: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        side, reach = self.size[1 - axis], 3 * self.sigma
        return (low - reach).trunc().clamp(0, side).long(), ((high + reach).trunc() + 1).clamp(0, side).long()

    def _gaussian(self, squared: Tensor) -> Tensor:
        return torch.exp(squared / (-2 * self.sigma**2))

    def _paint(self, where: Tensor, values: Tensor) -> None:
        self.memory.scatter_reduce_(0, where, values.to(self.memory.dtype), "amax")


def paint(
    points: Tensor,
    scores: Tensor,
    limbs: NDArray[np.int64],
    *,
    joints: bool,
    size: tuple[int, int],
    sigma: float,
    least_score: float,
) -> Tensor:
    """The maps (B, T, K, H, W) of points (B, M, T, V, 2) and scores (B, M, T, V): joints if asked for, then limbs."""
    clips, _, frames, num_joints, _ = points.shape
    first_limb = num_joints if joints else 0
    channels = first_limb + len(limbs)
    volume = torch.zeros(clips, frames, channels, *size, device=points.device)
    canvas = DeviceCanvas(volume.view(-1), size, sigma, least_score)
    place = torch.arange(clips * frames * channels, device=points.device).view(clips, 1, frames, channels)
    place = place.expand(-1, points.shape[1], -1, -1)
    if joints:
        canvas.discs(points, scores, place[..., :first_limb])
    if len(limbs):
        canvas.ridges(points, scores, torch.from_numpy(limbs).to(points.device), place[..., first_limb:])
    return volume


def _near(points: Tensor) -> Tensor:
    return (points.abs() < FARTHEST).all(-1)
