"""Random transforms of clips, each split into a draw (host, needs a generator) and a pure apply (numpy or torch).

Shapes: a clip is (M, T, V, C), a batch (N, M, T, V, C); further leading axes are allowed. A drawn parameter is one
value for everything, or has the leading axes of what it is applied to: draw with ``size=N`` for a batch of N clips.

No apply function writes into its input, changes its floating type, or waits for the device. A parameter for fewer
channels than the clip has acts on the leading ones, so a score that follows the coordinates is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs.arrays import (
    Array,
    Size,
    check_choice,
    check_clip,
    check_joints,
    check_lead,
    is_torch,
    leading,
    like,
    namespace,
    place,
    size_shape,
    with_rest,
)
from graphs.occlusion import (
    NO_PART,
    draw_frame_dropout,
    draw_joint_dropout,
    draw_part_drop,
    frame_dropout,
    joint_dropout,
    part_drop,
)

if TYPE_CHECKING:
    from graphs.skeleton import Skeleton

__all__ = [
    "NO_PART",
    "draw_flip",
    "draw_frame_dropout",
    "draw_joint_dropout",
    "draw_noise",
    "draw_part_drop",
    "draw_rotation",
    "draw_scale",
    "draw_shear",
    "flip",
    "flip_image",
    "frame_dropout",
    "joint_dropout",
    "linear",
    "noise",
    "part_drop",
    "rotate",
    "rotation_matrix",
    "scale",
    "shear",
]


def draw_rotation(
    rng: np.random.Generator, max_angle: float | Sequence[float], dims: int = 3, size: Size = None
) -> Any:
    """Angles in radians, uniform on [-max_angle, max_angle]; one bound, or one for each of the axes x, y, z.

    Returns (*size, 3) for dims=3 and (*size,), or a float without a size, for dims=2.
    """
    _check_dims(dims)
    shape = size_shape(size) + ((3,) if dims == 3 else ())
    return rng.uniform(-np.asarray(max_angle), np.asarray(max_angle), shape or None)


def rotation_matrix(angles: Any, dims: int = 3) -> Array:
    """R = Rz Ry Rx of angles (..., 3) for dims=3, or the plane rotation of angles (...) for dims=2.

    The convention is that of the published recipes (ProtoGCN, PYSKL, CTR-GCN): a positive angle turns clockwise in 3-D,
    counter-clockwise in 2-D. Returns (..., dims, dims), in double precision for numpy and plain numbers.
    """
    _check_dims(dims)
    xp = namespace(angles)
    angles = angles if is_torch(angles) else np.asarray(angles, dtype=np.float64)
    if dims == 2:
        c, s = xp.cos(angles), xp.sin(angles)
        return _matrix(xp, [[c, -s], [s, c]])
    if angles.ndim == 0 or angles.shape[-1] != 3:
        raise ValueError(
            f"a rotation in 3-D needs angles of shape (..., 3), got {tuple(angles.shape)}; pass dims=2 for plane angles"
        )
    cx, cy, cz = (xp.cos(angles[..., axis]) for axis in range(3))
    sx, sy, sz = (xp.sin(angles[..., axis]) for axis in range(3))
    zero, one = xp.zeros_like(cx), xp.ones_like(cx)
    about_x = _matrix(xp, [[one, zero, zero], [zero, cx, sx], [zero, -sx, cx]])
    about_y = _matrix(xp, [[cy, zero, -sy], [zero, one, zero], [sy, zero, cy]])
    about_z = _matrix(xp, [[cz, sz, zero], [-sz, cz, zero], [zero, zero, one]])
    return about_z @ about_y @ about_x


def rotate(x: Array, angles: Any, dims: int | None = None) -> Array:
    """Turn every joint about the origin: y = R x with ``rotation_matrix(angles)``.

    ``dims`` is how many leading channels are coordinates (default: all of them); say 2 for (x, y, score).
    """
    check_clip(x)
    return linear(x, rotation_matrix(angles, x.shape[-1] if dims is None else dims))


def linear(x: Array, matrix: Any) -> Array:
    """Map the leading d channels of every joint by matrix (..., d, d): y_k = sum_i matrix[k, i] x_i."""
    check_clip(x)
    matrix = like(matrix, x)
    dims = matrix.shape[-1]
    lead = check_lead(matrix.shape[:-2], x)
    points = leading(x, dims)
    # One tall product per sample: broadcasting over persons and frames would make a small product for every frame.
    tall = points.reshape(*lead, math.prod(x.shape[len(lead) : -1]), dims)
    moved = (tall @ matrix.swapaxes(-1, -2)).reshape(points.shape)
    return with_rest(moved, x)


def draw_scale(
    rng: np.random.Generator, amount: float, dims: int = 3, size: Size = None, *, isotropic: bool = False
) -> np.ndarray:
    """Factors 1 + uniform(-amount, amount), shape (*size, dims): one per axis, or the same for all axes."""
    factors = 1 + rng.uniform(-amount, amount, (*size_shape(size), 1 if isotropic else dims))
    return np.broadcast_to(factors, (*size_shape(size), dims)).copy()


def scale(x: Array, factors: Any) -> Array:
    """Multiply the leading channels by factors (..., d); a plain number scales every channel."""
    check_clip(x)
    factors = like(factors, x)
    if factors.ndim == 0:
        return x * factors
    return with_rest(leading(x, factors.shape[-1]) * place(factors, x, (-1,)), x)


def draw_shear(rng: np.random.Generator, amount: float, dims: int = 3, size: Size = None) -> np.ndarray:
    """Matrices (*size, dims, dims) with ones on the diagonal and uniform(-amount, amount) elsewhere."""
    matrix = rng.uniform(-amount, amount, (*size_shape(size), dims, dims))
    matrix[..., np.arange(dims), np.arange(dims)] = 1
    return matrix


def shear(x: Array, matrix: Any) -> Array:
    """Slant the clip by a matrix of ``draw_shear``."""
    return linear(x, matrix)


def draw_noise(
    rng: np.random.Generator,
    persons: int,
    frames: int,
    joints: int,
    dims: int = 3,
    size: Size = None,
    *,
    shared: bool = False,
) -> np.ndarray:
    """Unit noise (*size, M, T, V, dims): a normal amplitude along a random direction for every joint.

    With ``shared`` one vector per joint serves all persons and frames, shape (*size, 1, 1, V, dims): a systematic
    error of the sensor instead of jitter.
    """
    shape = (*size_shape(size), *((1, 1) if shared else (persons, frames)), joints)
    direction = rng.uniform(-1, 1, (*shape, dims))
    return rng.standard_normal(shape)[..., None] * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def noise(x: Array, draw: Any, sigma: float | Any = 0.01, base: str = "frame") -> Array:
    """Add sigma * person size * draw to a clip (..., M, T, V, C), as PYSKL's RandomGaussianNoise.

    The person size is the diagonal of the box around the joints: of each person in each frame (``base="frame"``), or of
    all persons and frames together (``base="video"``). Frames without a person get no noise. ``sigma`` may have one
    entry per sample.
    """
    check_clip(x, axes=4)
    check_choice("base", base, ("frame", "video"))
    xp, draw = namespace(x), like(draw, x)
    points = leading(x, draw.shape[-1])
    low, high = xp.amin(points, -2), xp.amax(points, -2)
    present = (low**2).sum(-1) > 1e-4
    if base == "video":
        unknown = ~present[..., None]
        low = xp.amin(xp.where(unknown, math.inf, low), (-3, -2))[..., None, None, :]
        high = xp.amax(xp.where(unknown, -math.inf, high), (-3, -2))[..., None, None, :]
    # An empty clip has infinite extremes; the mask keeps their difference out of the sum.
    size = xp.where(present, xp.sqrt(((high - low) ** 2).sum(-1)), xp.zeros_like(points[..., 0, 0]))
    amplitude = place(like(sigma, x), x, ()) * size[..., None, None]
    return with_rest(points + amplitude * place(draw, x, (-4, -3, -2, -1)), x)


def draw_flip(rng: np.random.Generator, probability: float = 0.5, size: Size = None) -> Any:
    """Whether to flip: a bool, or a bool array of the given size."""
    hit = rng.random(size) < probability
    return bool(hit) if size is None else hit


def flip(
    x: Array, skeleton: Skeleton, flipped: Any = True, *, mirror: bool = True, axis: int = 0, centre: Any = None
) -> Array:
    """Exchange the left and right joints of the samples where ``flipped`` is true.

    With ``mirror`` the coordinate ``axis`` is reflected as well, so that the result is what a mirror shows. The mirror
    passes through the origin, or through ``centre`` (one number, or one per sample); in the latter case a joint whose
    channels are all zero counts as unseen and stays zero. ``mirror=False`` only exchanges labels, which is what the
    published ProtoGCN recipes train with.
    """
    check_joints(x, skeleton)
    if flipped is False:
        return x
    swapped = _swap_sides(x, skeleton)
    if mirror:
        value = swapped[..., axis]
        if centre is None:
            value = -value
        else:
            seen = (swapped != 0).any(-1)
            value = namespace(x).where(seen, 2 * place(like(centre, x), value, ()) - value, value)
        swapped[..., axis] = value
    return _choose(flipped, swapped, x)


def flip_image(x: Array, skeleton: Skeleton, width: Any, flipped: Any = True) -> Array:
    """Mirror a clip in pixels: x becomes width - x and sides are exchanged; x = 0 marks an unseen joint and stays 0.

    ``width`` is the width of the image in pixels, one number or one per sample; y and score keep their values.
    """
    check_joints(x, skeleton)
    if flipped is False:
        return x
    swapped = _swap_sides(x, skeleton)
    column = swapped[..., 0]
    swapped[..., 0] = namespace(x).where(column != 0, place(like(width, x), column, ()) - column, column)
    return _choose(flipped, swapped, x)


def _swap_sides(x: Array, skeleton: Skeleton) -> Array:
    order = skeleton.mirror_permutation
    return x.index_select(-2, like(order.copy(), x)) if is_torch(x) else x[..., order, :]


def _choose(condition: Any, changed: Array, x: Array) -> Array:
    if isinstance(condition, bool | np.bool_):
        return changed if condition else x
    xp = namespace(x)
    return xp.where(place(like(condition, x), x, ()), changed, x)


def _matrix(xp: Any, rows: list[list[Array]]) -> Array:
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def _check_dims(dims: int) -> None:
    if dims not in (2, 3):
        raise ValueError(
            f"a rotation is defined for 2 or 3 coordinates, got {dims}; name the coordinates with dims=2 or dims=3"
        )
