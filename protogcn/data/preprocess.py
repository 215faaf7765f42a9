"""Deterministic preprocessing of the ProtoGCN and PYSKL protocols: centring, turning, image scaling, virtual joints."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protogcn.data.half import narrowed, widened

EMPTY = 1e-8
"""Coordinates up to this size count as zero when asking whether a frame shows a person."""

SURE = 0.01
"""Image joints with a score up to this are hidden."""

_HIPS, _SHOULDERS = (11, 12), (5, 6)
_TINY = 1e-6
_LEAST_SIDE = 10


def pre_normalize_3d(
    keypoints: NDArray[Any],
    centre_joint: int,
    *,
    align_spine: bool = False,
    align_shoulders: bool | None = None,
    spine: tuple[int, int] = (0, 1),
    shoulders: tuple[int, int] = (8, 4),
) -> NDArray[Any]:
    """Drop empty frames, put the best seen person first, centre, and on request turn upright (PYSKL's PreNormalize3D).

    1. The leading person is the first of those with the most frames; it changes places with person 0. Frames in which
       it is absent are dropped, whoever else they show.
    2. Its `centre_joint` in the first frame left is subtracted from all joints, except those that are exactly zero:
       unseen joints stay zero. This happens in the input's type: float16 clips are centred with float16 rounding.
    3. With `align_spine` the whole clip is turned so that in that frame spine[0] -> spine[1] points along z, then, with
       `align_shoulders`, so that shoulders[1] -> shoulders[0] points along x.

    Args:
        keypoints: (M, T, V, 3).
        centre_joint: index of the joint to centre on.
        align_shoulders: None does as `align_spine` says; MMAction2 has two switches.

    Returns:
        (M, T', V, 3), float64 if turned, otherwise of the input's type. A clip that shows nobody is returned unchanged.
        (The reference also gives up on clips whose coordinates happen to add up to zero.)
    """
    x = widened(keypoints)
    present = (np.abs(x) > EMPTY).any(axis=(2, 3))
    if not present.any():
        return keypoints
    leader = int(present.sum(axis=1).argmax())
    kept = present[leader]
    if leader:
        order = np.arange(len(x))
        order[[0, leader]] = leader, 0
        x = x[order]
    if not kept.all():
        x = x[:, kept]
    centred = _shifted(x, x[0, 0, centre_joint])
    if keypoints.dtype == np.float16:
        # One difference of two half numbers, rounded once: what half-precision arithmetic gives.
        centred = narrowed(centred)
    turns = []
    if align_spine:
        turns.append((spine[0], spine[1], np.array([0.0, 0.0, 1.0])))
    if align_spine if align_shoulders is None else align_shoulders:
        turns.append((shoulders[1], shoulders[0], np.array([1.0, 0.0, 0.0])))
    if not turns:
        return centred
    first = centred[0, 0]
    points = widened(centred).astype(np.float64).reshape(-1, 3)
    for tail, head, direction in turns:
        rotation = _rotation_onto(first[head] - first[tail], direction)
        first = first @ rotation.T
        # Contiguous factors: the product with a transposed view takes several times as long.
        points = points @ np.ascontiguousarray(rotation.T)
    return points.reshape(centred.shape)


def _shifted(x: NDArray[Any], centre: NDArray[Any]) -> NDArray[Any]:
    """x (M, T, V, C) - centre (C,), except for joints that are exactly zero.

    Joints and channels are handled as one long axis: numpy loops over a last axis of three are ten times slower.
    """
    nonzero = x != 0
    shift = np.tile(centre, x.shape[2])
    if not nonzero.all():
        seen = nonzero[..., 0]
        for channel in range(1, x.shape[3]):
            seen = seen | nonzero[..., channel]
        shift = np.repeat(seen, x.shape[3], axis=-1) * shift
    return (x.reshape(*x.shape[:2], -1) - shift).reshape(x.shape)


def pre_normalize_2d(
    keypoints: NDArray[Any], image_shape: tuple[int, int] | None = None, *, threshold: float = SURE, auto: bool = False
) -> NDArray[np.float32]:
    """Map image coordinates to [-1, 1] and hide unsure joints (PYSKL PreNormalize2D).

    Args:
        keypoints: (M, T, V, 2) or, with scores behind the coordinates, (M, T, V, 3).
        image_shape: (height, width) in pixels; (1080, 1920) if unknown.
        threshold: joints whose score is not above it get the coordinates 0, 0; minus infinity hides none (MMAction2).
        auto: map the box around the sure joints to [-1, 1] instead of the image, if both its sides exceed 10 pixels.

    Returns:
        float32, same shape.
    """
    height, width = image_shape or (1080, 1920)
    out = keypoints.astype(np.float32)
    sure = out[..., 2] > threshold if out.shape[-1] == 3 else np.ones(out.shape[:-1], dtype=bool)
    centre = np.array([width / 2, height / 2], dtype=np.float32)
    half = centre
    if auto and sure.any():
        seen = out[sure][:, :2]
        low, high = seen.min(axis=0), seen.max(axis=0)
        if (high - low > _LEAST_SIDE).all():
            centre, half = (low + high) / 2, (high - low) / 2
    out[..., :2] = (out[..., :2] - centre) / half
    out[~sure, :2] = 0
    return out


def add_virtual_joints(keypoints: NDArray[Any]) -> NDArray[np.float32]:
    """Extend COCO's 17 joints to coco20: 17 mid-hip, 18 mid-torso, 19 neck (ProtoGCN Kinetics_Transform).

    Mid-hip and neck are averaged in the input's type, the mid-torso of the two in double precision. A score is averaged
    like a coordinate.

    Args:
        keypoints: (..., 17, C).

    Returns:
        float32 (..., 20, C).
    """
    out = np.empty((*keypoints.shape[:-2], 20, keypoints.shape[-1]), dtype=np.float32)
    mid_hip, neck = ((keypoints[..., a, :] + keypoints[..., b, :]) / 2 for a, b in (_HIPS, _SHOULDERS))
    out[..., :17, :] = keypoints
    out[..., 17, :] = mid_hip
    out[..., 18, :] = (mid_hip.astype(np.float64) + neck) / 2
    out[..., 19, :] = neck
    return out


def _rotation_onto(vector: NDArray[Any], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation (3, 3) of column vectors that turns `vector` into the direction of the unit vector `target`.

    The identity for vectors too short to have a direction and, as in the reference, for the opposite direction.
    """
    axis = np.cross(vector, target)
    if np.abs(vector).sum() < _TINY or np.abs(axis).sum() < _TINY:
        return np.eye(3)
    # In the type of the vector: the reference finds the angle of float16 clips in half precision.
    angle = np.arccos(np.clip(np.dot(vector / np.linalg.norm(vector), target), -1.0, 1.0))
    if abs(angle) < _TINY:
        return np.eye(3)
    a = np.cos(angle / 2)
    b, c, d = -axis / np.linalg.norm(axis) * np.sin(angle / 2)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
            [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
            [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
        ]
    )
