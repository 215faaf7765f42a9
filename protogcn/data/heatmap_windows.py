"""The windows of heat maps that are not zero, computed and written in numpy, many at once."""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]
Ints: TypeAlias = NDArray[Any]

FARTHEST = 1e6
# exp(-23) is 1e-10, hundreds of times less than the rounding of single precision.
_VANISHING = 23.0
# What is worked on at once should fit the cache of a processor.
_LIMBS_AT_ONCE = 1024
_PIXELS_AT_ONCE = 2**17


def paint(
    points: Floats,
    scores: Floats,
    limbs: Ints,
    *,
    joints: bool,
    size: tuple[int, int],
    sigma: float,
    least_score: float,
) -> NDArray[np.float32]:
    """The maps (B, T, K, H, W) of points (B, M, T, V, 2) and scores (B, M, T, V): joints if asked for, then limbs."""
    clips, persons, frames, num_joints, _ = points.shape
    first_limb = num_joints if joints else 0
    channels = first_limb + len(limbs)
    volume = np.zeros((clips, frames, channels, *size), dtype=np.float32)
    place = np.arange(clips * frames * channels).reshape(clips, frames, channels)
    for person in range(persons):
        canvas = Canvas(volume.reshape(-1), size, sigma, least_score, empty=person == 0)
        if joints:
            canvas.discs(points[:, person], scores[:, person], place[..., :first_limb])
        if len(limbs):
            canvas.ridges(points[:, person], scores[:, person], limbs, place[..., first_limb:])
    return volume


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
        kept = (left < right) & (top < bottom)
        points, scores, place, left, right, top, bottom = (
            part[kept] for part in (points, scores, place, left, right, top, bottom)
        )
        height, width = self.size
        reach = math.ceil(6 * self.sigma) + 1
        across, down = np.arange(min(reach, width))[:, None], np.arange(min(reach, height))[:, None]
        at_once = max(1, _PIXELS_AT_ONCE // (len(across) * len(down)))
        for first in range(0, len(place), at_once):
            some = slice(first, first + at_once)
            # Offsets lie on the leading axes, so that the innermost loop of numpy runs over many joints.
            columns, rows = left[some] + across, top[some] + down
            squared = np.square(columns.astype(points.dtype) - points[some, 0])
            squared = squared + np.square(rows.astype(points.dtype) - points[some, 1])[:, None]
            patch = self._gaussian(squared) * scores[some]
            where = columns + (rows * width + place[some] * (height * width))[:, None]
            inside = (columns < right[some]) & (rows < bottom[some])[:, None]
            self._paint(self.memory, where[inside], patch[inside])

    def ridges(self, points: Floats, scores: Floats, limbs: Ints, place: Ints) -> None:
        """Paint a limb into each map: points (..., V, 2), scores (..., V), limbs (L, 2), place (..., L)."""
        start, end = points[..., limbs[:, 0], :], points[..., limbs[:, 1], :]
        start_score, end_score = scores[..., limbs[:, 0]], scores[..., limbs[:, 1]]
        score = np.minimum(start_score, end_score)
        seen = self._seen(start) & self._seen(end) & (score >= self.least_score) & (score < math.inf)
        start, end, start_score, score, place = (part[seen] for part in (start, end, start_score, score, place))
        length = np.square(end[:, 0] - start[:, 0]) + np.square(end[:, 1] - start[:, 1])
        short = length < 1
        self.discs(start[short], start_score[short], place[short])
        start, end, score, length, place = (part[~short] for part in (start, end, score, length, place))
        height, width = self.size
        place = place * (height * width)
        upright = np.abs(end - start)[:, 1] >= np.abs(end - start)[:, 0]
        # Lines cross a limb where it is narrow: rows an upright one, columns a flat one.
        for chosen, axis, strides in ((upright, 1, (width, 1)), (~upright, 0, (1, width))):
            which = np.flatnonzero(chosen)
            for first in range(0, len(which), _LIMBS_AT_ONCE):
                some = which[first : first + _LIMBS_AT_ONCE]
                self._ridges(start[some], end[some], score[some], length[some], place[some], axis, strides)

    def _ridges(
        self,
        start: Floats,
        end: Floats,
        score: Floats,
        length: Floats,
        place: Ints,
        axis: int,
        strides: tuple[int, int],
    ) -> None:
        """Paint limbs of at least a pixel, all rather upright (axis 1) or all rather flat (axis 0).

        Args:
            start: (n, 2) in pixels, like end.
            end: the other end.
            score: (n,), like what follows.
            length: squared.
            place: first pixel of the map in memory.
            axis: the coordinate that numbers the lines.
            strides: from line to line in memory, and from pixel to pixel of one line.
        """
        low, high = np.minimum(start, end), np.maximum(start, end)
        first, last = self._window(low[:, axis], high[:, axis], axis)
        left, right = self._window(low[:, 1 - axis], high[:, 1 - axis], 1 - axis)
        counts = (last - first).clip(0) * (left < right)
        limb = np.repeat(np.arange(len(counts)), counts)
        line = np.arange(len(limb)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        u, stop = self._near(start, end, left, right, counts, line, axis)
        # Short integers are sorted many times faster.
        wide: Ints = (stop - u).astype(np.int16 if max(self.size) < 2**15 else np.int64)
        # Sorted by length, so that the lines which have a pixel at some offset are the first ones.
        order = np.argsort(-wide, kind="stable")
        limb, line, u = limb[order], line[order], u[order]
        where = place[limb] + line * strides[0] + u.astype(np.int64) * strides[1]
        v = line.astype(u.dtype)
        au, av, bu, bv = (side[limb] for side in (start[:, 1 - axis], start[:, axis], end[:, 1 - axis], end[:, axis]))
        abu, abv, length, score = bu - au, bv - av, length[limb], score[limb]
        twice, across_a, across_b = 2 * length, np.square(v - av), np.square(v - bv)
        least_u, most_u = np.minimum(au, bu), np.maximum(au, bu)
        least_v, most_v = np.minimum(av, bv), np.maximum(av, bv)
        scratch = [np.empty_like(u) for _ in range(3)]
        for offset, many in enumerate(np.cumsum(np.bincount(wide)[:0:-1])[::-1]):
            here, share, foot = (part[:many] for part in scratch)
            np.add(u[:many], u.dtype.type(offset), out=here)
            np.subtract(here, bu[:many], out=foot)
            foot *= foot
            foot += across_b[:many]
            np.subtract(here, au[:many], out=share)
            share *= share
            share += across_a[:many]
            # The foot of the perpendicular, from the squared distances to both ends, kept between the ends.
            share -= foot
            share += length[:many]
            share /= twice[:many]
            np.multiply(share, abu[:many], out=foot)
            foot += au[:many]
            np.maximum(foot, least_u[:many], out=foot)
            np.minimum(foot, most_u[:many], out=foot)
            here -= foot
            here *= here
            np.multiply(share, abv[:many], out=foot)
            foot += av[:many]
            np.maximum(foot, least_v[:many], out=foot)
            np.minimum(foot, most_v[:many], out=foot)
            np.subtract(v[:many], foot, out=foot)
            foot *= foot
            here += foot
            patch = self._gaussian(here)
            patch *= score[:many]
            self._paint(self.memory[offset * strides[1] :], where[:many], patch)

    def _near(
        self, start: Floats, end: Floats, left: Ints, right: Ints, counts: Ints, line: Ints, axis: int
    ) -> tuple[Floats, Floats]:
        """First and last + 1 pixel that the limb reaches, of each of its many (counts) lines."""
        along = end - start
        slope = along[:, 1 - axis] / along[:, axis]
        reach = math.sqrt(2 * _VANISHING) * self.sigma * np.sqrt(1 + slope**2)
        origin = start[:, 1 - axis] - start[:, axis] * slope
        least, most = (side.astype(slope.dtype) for side in (left, right))
        slope, reach, origin, least, most = (part.repeat(counts) for part in (slope, reach, origin, least, most))
        centre = origin + slope * line.astype(slope.dtype)
        first = np.minimum(np.maximum(np.ceil(centre - reach), least), most)
        return first, np.maximum(np.minimum(np.floor(centre + reach) + 1, most), first)

    def _seen(self, points: Floats) -> NDArray[np.bool_]:
        near: NDArray[np.bool_] = np.abs(points) < FARTHEST
        return near[..., 0] & near[..., 1]

    def _window(self, low: Floats, high: Floats, axis: int) -> tuple[Ints, Ints]:
        """First and last + 1 pixel of windows; the released code cuts towards zero, not down."""
        side, reach = self.size[1 - axis], 3 * self.sigma
        first = np.clip(np.trunc(low - reach), 0, side)
        last = np.clip(np.trunc(high + reach) + 1, 0, side)
        return first.astype(np.int64), last.astype(np.int64)

    def _gaussian(self, squared: Floats) -> Floats:
        squared /= -2 * self.sigma**2
        return np.exp(squared, out=squared)

    def _paint(self, memory: NDArray[np.float32], where: Ints, values: Floats) -> None:
        memory[where] = values if self.empty else np.maximum(memory[where], values)
