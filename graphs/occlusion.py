"""Augmentations that lose data, as occlusion and failing detectors do: body parts, joints, frames.

Each is a draw (host, needs a generator) and a pure apply; `graphs.augment` says what they have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphs.arrays import (
    Array,
    Size,
    check_choice,
    check_clip,
    check_joints,
    is_torch,
    like,
    namespace,
    place,
    size_shape,
)

if TYPE_CHECKING:
    from graphs.skeleton import Skeleton

NO_PART = -1
"""The drawn part index that drops nothing."""


def draw_part_drop(rng: np.random.Generator, skeleton: Skeleton, probability: float = 0.2, size: Size = None) -> Any:
    """Index of the body part to drop, in the order of ``skeleton.parts``, or -1 for none; an int or an int array."""
    _check_parts(skeleton)
    part = rng.integers(len(skeleton.parts), size=size)
    hit = rng.random(size) < probability
    return np.where(hit, part, NO_PART) if size is not None else int(part) if hit else NO_PART


def part_drop(x: Array, skeleton: Skeleton, part: Any) -> Array:
    """Set the joints of one body part to zero in all persons and frames (ProtoGCN's Part_Drop, for every layout).

    ``part`` is a name or an index in ``skeleton.parts``, None or -1 for no part, or an array with one index per sample.
    """
    check_joints(x, skeleton)
    _check_parts(skeleton)
    names = list(skeleton.parts)
    if isinstance(part, str):
        check_choice("body part", part, names)
        part = names.index(part)
    keep = np.ones((len(names) + 1, skeleton.num_joints), dtype=bool)
    for row, joints in enumerate(skeleton.parts.values()):
        keep[row, list(joints)] = False
    if is_torch(part):
        return joint_dropout(x, like(keep, part)[part])
    index = np.asarray(NO_PART if part is None else part)
    if index.size and (index.min() < NO_PART or index.max() >= len(names)):
        raise ValueError(
            f"{skeleton.name} has body parts 0..{len(names) - 1} ({', '.join(names)}) and -1 for none, got {part}"
        )
    return joint_dropout(x, keep[index])


def draw_joint_dropout(
    rng: np.random.Generator, num_joints: int, probability: float = 0.1, size: Size = None
) -> np.ndarray:
    """Which joints to keep, bool (*size, V); each is lost with the given probability."""
    return rng.random((*size_shape(size), num_joints)) >= probability


def joint_dropout(x: Array, keep: Any) -> Array:
    """Set the joints that are not kept to zero in all persons and frames; ``keep`` is bool (..., V)."""
    check_clip(x)
    keep = place(like(keep, x), x, (-2,))
    return namespace(x).where(keep, x, 0)


def draw_frame_dropout(
    rng: np.random.Generator, num_frames: int, probability: float = 0.1, size: Size = None
) -> np.ndarray:
    """Which frames to keep, bool (*size, T); each is lost with the given probability, but one always stays."""
    lucky = rng.integers(num_frames, size=size_shape(size))
    return (rng.random((*size_shape(size), num_frames)) >= probability) | (np.arange(num_frames) == lucky[..., None])


def frame_dropout(x: Array, keep: Any, fill: str = "zero") -> Array:
    """Lose the frames that are not kept; ``keep`` is bool (..., T).

    ``fill="zero"`` empties them, as where a detector failed; ``fill="hold"`` repeats the last kept frame (before it,
    the first kept one), so that motion streams see a stutter instead of a jump to the origin.
    """
    check_clip(x, axes=3)
    check_choice("fill", fill, ("zero", "hold"))
    xp = namespace(x)
    if fill == "zero":
        return xp.where(place(like(keep, x), x, (-3,)), x, 0)
    if is_torch(keep):
        torch = namespace(keep)
        ramp = torch.arange(keep.shape[-1], device=keep.device)
        latest = torch.cummax(torch.where(keep, ramp, -1), -1).values
        latest = torch.where(latest < 0, keep.int().argmax(-1, keepdim=True), latest)
    else:
        keep = np.asarray(keep)
        latest = np.maximum.accumulate(np.where(keep, np.arange(keep.shape[-1]), -1), -1)
        latest = np.where(latest < 0, keep.argmax(-1, keepdims=True), latest)
    index = place(like(latest, x), x, (-3,))
    return xp.take_along_dim(x, index, -3) if is_torch(x) else np.take_along_axis(x, index, -3)


def _check_parts(skeleton: Skeleton) -> None:
    if not skeleton.parts:
        raise ValueError(
            f"skeleton {skeleton.name!r} defines no body parts; add 'parts' to its description to drop them"
        )
