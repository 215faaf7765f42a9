"""Pictures of 3-D poses, for networks that look at images of joints.

`upright` puts the axes of a store into one order, `project` lets one camera look, and `in_pixels` makes a picture of
what it sees. Points are (M, T, V, 3) as right, up, depth.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs import augment
from graphs.skeleton import Skeleton
from graphs.views import guess_up, seen

PICTURE = (320, 320)
"""(height, width) of the picture of a clip."""

_MARGIN = 32
_FRAMES_TO_GUESS = 32
_NEAREST = 0.1
_ASTRAY = 0.1
_PLANES = {"front": (0, 1), "side": (2, 1), "top": (0, 2), "camera": (0, 1)}


def upright(clip: NDArray[Any], skeleton: Skeleton, up: str = "", *, camera: bool = False) -> NDArray[Any]:
    """The axes of a clip (M, T, V, 3) as right, up, depth.

    Args:
        clip: x, y, z of the joints; all zeros where a joint was not seen.
        skeleton: their layout.
        up: the axis that points up, such as `y` or `-z`; empty tells it from heads and feet (`graphs.views.guess_up`).
        camera: the third axis is that of a depth camera, so that only `y` and `-y` can be up unless `up` says so.

    Returns:
        the same numbers, of the same type.
    """
    if not up:
        part = clip[:, :: max(1, clip.shape[1] // _FRAMES_TO_GUESS)].astype(np.float64)
        mask = seen(part, "xyz")
        up = guess_up(part, mask, skeleton)
        if camera and "y" not in up:
            up = guess_up(part, np.zeros_like(mask), skeleton)
    axis = "xyz".index(up[-1])
    right = 1 if axis == 0 else 0
    out = clip[..., [right, axis, 3 - right - axis]]
    if up[0] == "-":
        out[..., 1] *= -1
    return out


def seen_joints(points: NDArray[Any], skeleton: Skeleton) -> NDArray[np.bool_]:
    """Which joints were seen, bool (M, T, V): those that are not all zeros.

    A body that was moved to the origin has its centre there: that joint counts where the rest of the body surrounds it.
    """
    mask: Any = points.any(axis=-1)
    for joint in {skeleton.centre, skeleton.body_centre}:
        if mask[..., joint].all() or not mask.any():
            continue
        low, high = points.min(axis=-2), points.max(axis=-2)
        around = ((low < 0) & (high > 0)) | ((low == 0) & (high == 0))
        mask[..., joint] |= around.all(axis=-1) & mask.any(axis=-1)
    return mask


def project(
    points: NDArray[Any], mask: NDArray[np.bool_], view: str, angles: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """What a camera sees of a clip: right and down, in metres or, for `camera`, by the distance.

    Args:
        points: (M, T, V, 3) as right, up, depth.
        mask: the joints that were seen, (M, T, V).
        view: `front`, `side`, `top` (parallel rays), or `camera`: perspective with the camera at the origin.
        angles: radians (tilt, turn, 0) by which the clip is turned about its middle first: about the axis to the right
            after the vertical one.

    Returns:
        float64 (M, T, V, 2); what an unseen joint becomes has no meaning.

    Raises:
        ValueError: `camera`, and the clip is not in front of one.
    """
    x = points.astype(np.float64)
    if not mask.any():
        return x[..., :2]
    if view == "camera":
        _look_ahead(x, mask)
    if angles is not None:
        middle = x[mask].mean(axis=0)
        # The transpose of the opposite turn: it tilts after turning, where `rotate` would tilt first.
        x = augment.linear(x - middle, augment.rotation_matrix(-np.asarray(angles)).T) + middle
    plane = x[..., _PLANES[view]]
    if view == "camera":
        # A turned clip may reach behind the camera: what is too near is seen from afar enough instead.
        depth = x[..., 2]
        plane = plane / np.maximum(depth, _NEAREST * np.median(depth[mask]))[..., None]
    plane[..., 1] *= -1
    return plane


def in_pixels(plane: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The points (..., 2) as pixels of a `PICTURE`: the larger extent of the clip fills it but for a margin.

    One scale and one shift serve the clip, so its movement is kept. Seen joints have positive coordinates, unseen ones
    zero.
    """
    out = np.zeros(plane.shape, dtype=np.float32)
    if not mask.any():
        return out
    points = plane[mask]
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    room = np.array(PICTURE[::-1]) - 2 * _MARGIN
    scale = float(room.min()) / extent if extent > 0 else 0.0
    out[mask] = (points - (low + high) / 2) * scale + room / 2 + _MARGIN
    return out


def _look_ahead(x: NDArray[np.float64], mask: NDArray[np.bool_]) -> None:
    """Make the axis of the camera point at the clip, in place.

    Raises:
        ValueError: the camera stands amid the joints.
    """
    depth = x[..., 2][mask]
    ahead = float((depth > 0).mean())
    if ahead < 0.5:
        x[..., 2] *= -1
        ahead = float((depth < 0).mean())
    if ahead < 1 - _ASTRAY:
        raise ValueError(
            f"projection camera needs clips in front of a depth camera at the origin, and one reaches from "
            f"{depth.min():.3g} to {depth.max():.3g} along its axis, as bodies moved to the origin do: set "
            "pipeline.projection to front"
        )
