"""How the coordinates of a clip are laid on paper: which joints were seen, which way is up, what the limits are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphs.arrays import check_choice, is_torch
from graphs.naming import combine, places
from graphs.skeleton import Skeleton

CHANNELS = ("xyz", "xy", "xys")
_UP = {"x": (0, 1), "-x": (0, -1), "y": (1, 1), "-y": (1, -1), "z": (2, 1), "-z": (2, -1)}
_IMAGE_LAYOUTS = ("coco", "openpose", "penn", "halpe")
_Y_DOWN = ("mediapipe", "hand")


@dataclass(frozen=True)
class View:
    """Paper coordinates of a clip.

    Attributes:
        points: (M, T, V, 2) as right, up, or (M, T, V, 3) as right, depth, up; NaN where a joint was not seen.
        low, high: the corners of everything that was seen, with a margin.
    """

    points: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def size(self) -> float:
        """Diagonal of the box around everything that was seen."""
        return float(np.linalg.norm(self.high - self.low))

    def around(self, frames: list[int]) -> View:
        """The same points with the corners of what was seen in some frames."""
        return View(self.points, *_corners(self.points[:, frames]))


def _corners(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not np.isfinite(points).any():
        return -np.ones(points.shape[-1]), np.ones(points.shape[-1])
    low, high = np.nanmin(points, (0, 1, 2)), np.nanmax(points, (0, 1, 2))
    margin = 0.06 * max(float((high - low).max()), 1e-6)
    return low - margin, high + margin


def as_clip(clip: Any, skeleton: Skeleton) -> np.ndarray:
    """A pose (V, C), a track (T, V, C) or a clip (M, T, V, C) as a float array (M, T, V, C).

    Raises:
        ValueError: other shapes, or a number of joints that is not that of the skeleton.
    """
    x = clip.detach().cpu().numpy() if is_torch(clip) else np.asarray(clip)
    if not 2 <= x.ndim <= 4 or x.shape[-2] != skeleton.num_joints or x.shape[-1] < 2 or 0 in x.shape:
        raise ValueError(
            f"expected a clip (M, T, V, C), a track (T, V, C) or a pose (V, C) with the "
            f"{skeleton.num_joints} joints of {skeleton.name!r} and C >= 2, got shape {x.shape}"
        )
    return x.reshape((1,) * (4 - x.ndim) + x.shape).astype(np.float64)


def guess_channels(channels: int, skeleton: Skeleton) -> str:
    """What the channels are: layouts of 2-D detectors have x, y, score; all others x, y, z."""
    return "xy" if channels == 2 else "xys" if skeleton.name.startswith(_IMAGE_LAYOUTS) else "xyz"


def seen(clip: np.ndarray, channels: str) -> np.ndarray:
    """Which joints were seen, bool (M, T, V).

    Not finite never is; a person of zeros is absent; a joint at the corner of an image, or of score 0, was not
    detected. In three dimensions a single joint at the origin counts, since a centred clip puts its centre there.
    """
    mask = np.isfinite(clip).all(-1) & np.any(clip != 0, axis=(-1, -2), keepdims=True)[..., 0]
    if channels != "xyz":
        mask &= (clip[..., :2] != 0).any(-1)
    return mask & (clip[..., 2] > 0) if channels == "xys" else mask


def guess_up(clip: np.ndarray, mask: np.ndarray, skeleton: Skeleton) -> str:
    """The direction from feet to head, averaged over a clip in space; the custom of the layout where it is unclear."""
    custom = "-y" if skeleton.name.startswith(_Y_DOWN) else "y"
    have = places(skeleton)
    known = {place: joint for joint, place in enumerate(have)}
    ends = []
    for names in (("head", "nose", "neck", "mid_shoulder"), ("left_ankle", "left_foot", "left_knee", "mid_hip")):
        weights = next((row for name in names if (row := combine(name, known))), None)
        if weights is None:
            return custom
        joints = list(weights)
        value = (clip[..., joints, :3] * np.array(list(weights.values()))[:, None]).sum(-2)
        ends.append(np.where(mask[..., joints].all(-1, keepdims=True), value, np.nan))
    rise = (ends[0] - ends[1]).reshape(-1, 3)
    rise = rise[np.isfinite(rise).all(-1)]
    if not len(rise):
        return custom
    mean = rise.mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) <= 1.5 * np.abs(np.delete(mean, axis)).max():
        return custom
    return ("-" if mean[axis] < 0 else "") + "xyz"[axis]


def make_view(
    clip: Any, skeleton: Skeleton, dims: int | None = None, channels: str | None = None, up: str | None = None
) -> View:
    """Lay a clip on paper.

    Args:
        clip: (M, T, V, C), (T, V, C) or (V, C).
        skeleton: its layout.
        dims: 2 for a front view, 3 for space; by default 3 for x, y, z and 2 for images.
        channels: ``"xyz"``, ``"xy"`` or ``"xys"`` (a score); guessed from C and the layout.
        up: ``"y"``, ``"-y"``, ``"z"``, ...; guessed: images have y down, bodies their head above their feet.
    """
    x = as_clip(clip, skeleton)
    channels = channels or guess_channels(x.shape[-1], skeleton)
    check_choice("channels", channels, CHANNELS)
    if len(channels) > x.shape[-1]:
        raise ValueError(f"channels {channels!r} need C >= {len(channels)}, got a clip of shape {x.shape}")
    flat = channels != "xyz"
    dims = dims or (2 if flat else 3)
    if dims not in ((2,) if flat else (2, 3)):
        raise ValueError(
            f"a clip of channels {channels!r} can be drawn in {'2' if flat else '2 or 3'} dimensions, got {dims}"
        )
    mask = seen(x, channels)
    up = up or ("-y" if flat else guess_up(x, mask, skeleton))
    check_choice("up direction", up, ("y", "-y") if flat else tuple(_UP))
    axis, sign = _UP[up]
    right = 1 if axis == 0 else 0
    order = [right, axis] if dims == 2 else [right, 3 - right - axis, axis]
    points = x[..., order].copy()
    points[..., -1] *= sign
    points[~mask] = np.nan
    return View(points, *_corners(points))
