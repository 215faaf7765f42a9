"""The windows of heat maps that are not zero, computed and written in numpy, many at once."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

_FARTHEST = 1e6
# exp(-104) is less than half of the least positive float32.
_VANISHING = 104.0
_LIMBS_AT_ONCE = 1024


class Canvas:
    """The flat memory of maps of one size, on which the windows of one person are painted.

    Args:
        memory: all pixels of all maps, float32.
        size: (height, width) of a map.
        sigma: standard deviation in pixels.
        least_score: what is below it is not drawn.
        empty: whether nothing was painted yet, so that nothing has to be compared.
    """

    def __init__(
        self, memory: NDArray[np.float32], size: tuple[int, int], sigma: float, least_score: float, *, empty: bool
    ) -> None:
        self.memory, self.size, self.sigma, self.least_score, self.empty = memory, size, sigma, least_score, empty

    def discs(self, points: Floats, scores: Floats, place: Ints) -> None:
        """Paint a joint into each map: points (..., 2), scores and place (number of the map) (...)."""
        seen = self._seen(points) & (scores >= self.least_score) & (scores < math.inf)
        points, scores, place = points[seen], scores[seen], place[seen]
        (left, right), (top, bottom) = (self._window(points[:, axis], points[:, axis], axis) for axis in range(2))
        inside = (left < right) & (top < bottom)
        points, scores, place, left, right, top, bottom = (
            part[inside] for part in (points, scores, place, left, right, top, bottom)
        )
        # Offsets lie on the leading axes, so that the innermost loop of numpy runs over many joints.
        reach = math.ceil(6 * self.sigma) + 1
        height, width = self.size
        columns = left + np.arange(min(reach, width))[:, None]
        rows = top + np.arange(min(reach, height))[:, None]
        across = np.square(columns.astype(points.dtype) - points[:, 0])
        down = np.square(rows.astype(points.dtype) - points[:, 1])
        patch = self._gaussian(across + down[:, None]) * scores
        where = columns + (rows * width + place * (height * width))[:, None]
        kept = (columns < right) & (rows < bottom)[:, None]
        self._paint(where[kept], patch[kept])

    def ridges(self, points: Floats, scores: Floats, limbs: Ints, place: Ints) -> None:
        """Paint a limb into each map: points (..., V, 2), scores (..., V), limbs (L, 2), place (..., L)."""
        start, end = points[..., limbs[:, 0], :], points[..., limbs[:, 1], :]
        start_score, end_score = scores[..., limbs[:, 0]], scores[..., limbs[:, 1]]
        score = np.minimum(start_score, end_score)
        seen = self._seen(start) & self._seen(end) & (score >= self.least_score) & (score < math.inf)
        length = np.square(end - start).sum(-1)
        short = seen & (length < 1)
        self.discs(start[short], start_score[short], place[short])
        seen &= length >= 1
        start, end, score, place, length = start[seen], end[seen], score[seen], place[seen], length[seen]
        for first in range(0, len(place), _LIMBS_AT_ONCE):
            part = slice(first, first + _LIMBS_AT_ONCE)
            self._ridges(start[part], end[part], score[part], length[part], place[part])

    def _ridges(self, start: Floats, end: Floats, score: Floats, length: Floats, place: Ints) -> None:
        """Paint limbs of at least a pixel: start and end (n, 2), score, squared length and place (n)."""
        (left, right), (top, bottom) = (
            self._window(np.minimum(start, end)[:, axis], np.maximum(start, end)[:, axis], axis) for axis in range(2)
        )
        # One entry for every row of every window, y being its row.
        counts = np.maximum(bottom - top, 0) * (right > left)
        limb = np.repeat(np.arange(len(counts)), counts)
        y = np.arange(len(limb)) - np.repeat(np.cumsum(counts) - counts - top, counts)
        left, right = self._near(start, end, left, right, limb, y)
        order = np.argsort(left - right, kind="stable")
        limb, y, left, wide = limb[order], y[order], left[order], (right - left)[order]
        column = (place * self.size[0])[limb] + y
        where = column * self.size[1] + left
        ax, ay, bx, by = (part[limb] for part in (*start.T, *end.T))
        along = (end - start)[limb]
        abx, aby = along[:, 0].copy(), along[:, 1].copy()
        length, score = length[limb], score[limb]
        x, y = left.astype(start.dtype), y.astype(start.dtype)
        down_a, down_b, twice = np.square(y - ay), np.square(y - by), 2 * length
        # Rows are sorted by width, so the ones that have a pixel in this column come first.
        for offset, many in enumerate(np.cumsum(np.bincount(wide)[::-1])[::-1][1:] if len(wide) else ()):
            here = x[:many] + start.dtype.type(offset)
            from_start = np.square(here - ax[:many]) + down_a[:many]
            from_end = np.square(here - bx[:many]) + down_b[:many]
            share = (from_start - from_end + length[:many]) / twice[:many]
            line = np.square(here - (ax[:many] + share * abx[:many]))
            line += np.square(y[:many] - (ay[:many] + share * aby[:many]))
            distance = np.where(share <= 0, from_start, np.where(share >= 1, from_end, line))
            self._paint(where[:many] + offset, self._gaussian(distance) * score[:many])

    def _near(self, start: Floats, end: Floats, left: Ints, right: Ints, limb: Ints, y: Ints) -> tuple[Ints, Ints]:
        """First and last + 1 column of each row where the limb is more than zero in single precision."""
        a, ab = start.astype(np.float64), (end.astype(np.float64) - start)
        length = np.hypot(ab[:, 0], ab[:, 1])
        # A limb that lies almost flat is near in all of its columns.
        steep = np.abs(ab[:, 1]) > 1e-3 * length
        rise = np.where(steep, ab[:, 1], 1.0)
        slope = ab[:, 0] / rise
        half = np.where(steep, math.sqrt(2 * _VANISHING) * self.sigma * length / np.abs(rise), math.inf)
        centre = (a[:, 0] - a[:, 1] * slope)[limb] + y * slope[limb]
        left, right, half = left[limb], right[limb], half[limb]
        first = np.clip(np.floor(centre - half), left, right).astype(np.int64)
        last = np.clip(np.ceil(centre + half) + 1, first, right).astype(np.int64)
        return first, last

    def _seen(self, points: Floats) -> NDArray[np.bool_]:
        return (np.abs(points) < _FARTHEST).all(-1)

    def _window(self, low: Floats, high: Floats, axis: int) -> tuple[Ints, Ints]:
        """First and last + 1 pixel of windows; the released code cuts towards zero, not down."""
        side, reach = self.size[1 - axis], 3 * self.sigma
        first = np.clip(np.trunc(low - reach), 0, side)
        last = np.clip(np.trunc(high + reach) + 1, 0, side)
        return first.astype(np.int64), last.astype(np.int64)

    def _gaussian(self, squared: Floats) -> Floats:
        squared /= -2 * self.sigma**2
        return np.exp(squared, out=squared)

    def _paint(self, where: Ints, values: Floats) -> None:
        self.memory[where] = values if self.empty else np.maximum(self.memory[where], values)
