"""Poses as pseudo heat maps, the input of PoseC3D: one Gaussian for every joint, or one ridge for every limb.

A map is zero but for a small window, so only the windows are computed and written. Same numbers as the generator of
PYSKL and MMAction2 (Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022, section 3.2), whose Gaussians
end three standard deviations from the joint.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.arrays import Array, check_choice, check_clip, is_torch, like, namespace
from graphs.skeleton import Skeleton

MAPS = ("joint", "limb", "joint+limb")
"""What the channels of a volume are: joints, limbs, or the joints followed by the limbs."""


def num_maps(skeleton: Skeleton, maps: str = "joint") -> int:
    """Number of channels K of a volume: V joints, L limbs, or both.

    Raises:
        ValueError: unknown kind of maps, or limb maps of a layout without limbs.
    """
    return sum(len(lines) for lines in _lines(skeleton, maps))


def render(
    points: Array,
    scores: Array | None,
    skeleton: Skeleton,
    size: tuple[int, int],
    *,
    maps: str = "joint",
    sigma: float = 0.6,
    scaling: float = 1.0,
    least_score: float = 1e-3,
) -> Array:
    """The heat maps of poses, all persons in one volume by the element-wise maximum.

    A joint is ``score * exp(-d^2 / (2 sigma^2))`` with d the distance of a pixel from it, a limb the same with d the
    distance from the line between its two ends and the lesser of their scores; both in the window that reaches
    3 sigma beyond the joint or the ends, cut at whole pixels, and zero outside. A limb shorter than a pixel is drawn as
    the joint it starts from. Values of limbs below 1e-10 may be left at zero.

    Args:
        points: floating numpy array or torch tensor (..., M, T, V, 2), x and y in pixels of the image. It is not
            written to. A joint that is no number, infinite or a million pixels away counts as unseen.
        scores: (..., M, T, V), how sure each joint is; None takes 1 for all.
        skeleton: layout of the joints, which also says what the limbs are.
        size: (height, width) of the image in pixels.
        maps: ``"joint"``, ``"limb"`` or ``"joint+limb"``.
        sigma: standard deviation in pixels of the maps.
        scaling: size of the maps by that of the image; their sides are rounded half up.
        least_score: joints and limbs below it are not drawn.

    Returns:
        (..., T, K, height, width), float32, of the library and on the device of `points`; no gradient flows through it.

    Raises:
        ValueError: shapes that do not fit each other or the skeleton, an option out of range, or limb maps of a layout
            without limbs.
    """
    _check_points(points, scores, skeleton)
    height, width = map_size(size, scaling)
    for name, value, positive in (("sigma", sigma, sigma > 0), ("least_score", least_score, least_score >= 0)):
        if not (positive and math.isfinite(value)):
            raise ValueError(f"{name} must be {'0 or more' if name == 'least_score' else 'above 0'}; got {value}")
    joints, limbs = _lines(skeleton, maps)
    options: dict[str, Any]
    paint: Callable[..., Array]
    if is_torch(points) and points.device.type == "cpu":
        import torch

        # Numpy is the faster one on a processor.
        dtype = _working_type(points)
        plain, sure = (None if part is None else part.detach().to(dtype).numpy() for part in (points, scores))
        options = {"maps": maps, "sigma": sigma, "scaling": scaling, "least_score": least_score}
        return torch.from_numpy(render(plain, sure, skeleton, size, **options))
    *lead, persons, frames, num_joints, _ = points.shape
    points, scores = _flat(points, scores, (math.prod(lead), persons, frames, num_joints))
    if is_torch(points):
        from protogcn.data.heatmaps_torch import paint
    else:
        from protogcn.data.heatmap_windows import paint
    joint_maps = len(joints) > 0
    options = {"joints": joint_maps, "size": (height, width), "sigma": sigma, "least_score": least_score}
    volume = paint(points * scaling, scores, limbs, **options)
    return volume.reshape(*lead, *volume.shape[1:])


def map_size(size: tuple[int, int], scaling: float = 1.0) -> tuple[int, int]:
    """(height, width) of the maps of an image of that size.

    Raises:
        ValueError: no two positive whole numbers, or a scaling that leaves no pixel.
    """
    if len(size) != 2 or any(side != int(side) or side < 1 for side in size):
        raise ValueError(f"size must be the (height, width) of the image in whole pixels, at least 1; got {size}")
    if not (scaling > 0 and math.isfinite(scaling)):
        raise ValueError(f"scaling must be above 0; got {scaling}")
    height, width = (int(side * scaling + 0.5) for side in size)
    if not (height and width):
        raise ValueError(f"scaling={scaling} leaves no pixel of an image of height {size[0]} and width {size[1]}")
    return height, width


def mirror_maps(volume: Array, skeleton: Skeleton, maps: str = "joint") -> Array:
    """A volume seen in the mirror: flipped along the width, the maps of left and right exchanged.

    Args:
        volume: numpy array or torch tensor (..., K, H, W).
        skeleton: the layout it was rendered from.
        maps: what its channels are.

    Returns:
        A new volume of the same shape and type.

    Raises:
        ValueError: K is not the number of maps of the layout.
    """
    joints, limbs = _lines(skeleton, maps)
    if volume.ndim < 3 or volume.shape[-3] != len(joints) + len(limbs):
        raise ValueError(
            f"skeleton {skeleton.name!r} has {len(joints) + len(limbs)} {maps} maps, so a volume is (..., "
            f"{len(joints) + len(limbs)}, height, width); got shape {tuple(volume.shape)}"
        )
    order = [*skeleton.mirror_permutation[: len(joints)], *(skeleton.limb_mirror[: len(limbs)] + len(joints))]
    if is_torch(volume):
        return volume.index_select(-3, like(np.array(order), volume)).flip(-1)
    return volume[..., ::-1].take(order, axis=-3)


def _lines(skeleton: Skeleton, maps: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The joints (V,) and the limbs (L, 2) that have a map, empty where maps has none of them."""
    check_choice("maps", maps, MAPS)
    if "limb" in maps and not skeleton.limbs:
        raise ValueError(
            f"skeleton {skeleton.name!r} has no limbs to draw; take maps='joint', or name pairs of its joints under "
            "'limbs' in its description"
        )
    joints = np.arange(skeleton.num_joints if "joint" in maps else 0)
    return joints, np.array(skeleton.limbs if "limb" in maps else (), dtype=np.int64).reshape(-1, 2)


def _check_points(points: Array, scores: Array | None, skeleton: Skeleton) -> None:
    check_clip(points, axes=4)
    shape = tuple(points.shape)
    if shape[-1] != 2 or shape[-2] != skeleton.num_joints:
        raise ValueError(
            f"heat maps of skeleton {skeleton.name!r} are rendered from points (..., M, T, {skeleton.num_joints}, 2), "
            f"x and y in pixels; got shape {shape}"
        )
    if scores is None:
        return
    if is_torch(scores) != is_torch(points):
        raise ValueError(f"points and scores must be of one library; got {type(points)} and {type(scores)}")
    if tuple(scores.shape) != shape[:-1]:
        raise ValueError(f"points of shape {shape} need scores of shape {shape[:-1]}; got {tuple(scores.shape)}")


def _working_type(points: Array) -> Any:
    """Single precision, or double for points in double."""
    types = namespace(points)
    return types.float64 if points.dtype == types.float64 else types.float32


def _flat(points: Array, scores: Array | None, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Points (*shape, 2) and scores of that shape, in the working type and without history."""
    dtype = _working_type(points)
    if is_torch(points):
        points = points.detach().to(dtype)
        scores = points.new_ones(shape) if scores is None else scores.detach().to(points.device, dtype)
    else:
        points = points.astype(dtype, copy=False)
        scores = np.ones(shape, dtype) if scores is None else scores.astype(dtype, copy=False)
    return points.reshape(*shape, 2), scores.reshape(shape)
