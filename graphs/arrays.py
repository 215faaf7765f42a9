"""The few operations that let one function serve numpy arrays and torch tensors, and the checks they share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphs.messages import unknown

if TYPE_CHECKING:
    from graphs.skeleton import Skeleton

Array: TypeAlias = Any
"""A floating numpy array or torch tensor; what goes in decides what comes out."""
Size: TypeAlias = int | tuple[int, ...] | None
"""How many parameters to draw: one for everything (None), one per sample, or one for each entry of leading axes."""


def is_torch(value: Any) -> bool:
    """Whether value is a torch tensor; does not import torch, since no tensor exists before someone did."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def namespace(x: Array) -> Any:
    """The module of functions for x: torch for a tensor, else numpy."""
    return sys.modules["torch"] if is_torch(x) else np


def like(value: Any, x: Array) -> Array:
    """A parameter as an array of the library, device and (for real numbers) floating type of x."""
    if not is_torch(x):
        value = np.asarray(value)
        return value.astype(x.dtype, copy=False) if value.dtype.kind == "f" else value
    value = namespace(x).as_tensor(value).to(x.device, non_blocking=True)
    return value.to(x.dtype) if value.is_floating_point() else value


def check_lead(lead: tuple[int, ...], x: Array, reserved: int = 2) -> tuple[int, ...]:
    """The leading axes of a parameter, which must be leading axes of x."""
    lead = tuple(lead)
    if len(lead) > x.ndim - reserved or tuple(x.shape[: len(lead)]) != lead:
        raise ValueError(
            f"parameters drawn for {lead} samples do not fit an array of shape {tuple(x.shape)}; "
            f"draw one for all (size=None) or with size={tuple(x.shape[: max(len(lead), 1)])}"
        )
    return lead


def place(value: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """View ``value`` so that its last axes line up with the given axes of x, and its first with the first of x."""
    split = value.ndim - len(axes)
    own = tuple(value.shape[max(split, 0) :])
    if split < 0 or any(have not in (1, x.shape[axis]) for have, axis in zip(own, axes, strict=True) if axis != -1):
        raise ValueError(f"a parameter of shape {tuple(value.shape)} does not fit a clip of shape {tuple(x.shape)}")
    lead = check_lead(value.shape[:split], x, reserved=-min(axes, default=-1))
    shape = [*lead, *[1] * (x.ndim - len(lead))]
    for have, axis in zip(own, axes, strict=True):
        shape[axis] = have
    return value.reshape(shape)


def leading(x: Array, channels: int) -> Array:
    """The leading channels of x, which must have that many."""
    if channels > x.shape[-1]:
        raise ValueError(f"parameters for {channels} channels do not fit a clip of {x.shape[-1]} channels")
    return x[..., :channels]


def with_rest(moved: Array, x: Array) -> Array:
    """Put the channels of x that a transform did not cover behind those it did."""
    done = moved.shape[-1]
    return moved if done == x.shape[-1] else namespace(x).concatenate([moved, x[..., done:]], -1)


def check_clip(x: Array, axes: int = 2) -> None:
    """Refuse what is no floating array with at least the given number of axes (2: V, C; 3: T too; 4: M too)."""
    if not (is_torch(x) or isinstance(x, np.ndarray)):
        raise ValueError(f"expected a numpy array or torch tensor (..., M, T, V, C), got {type(x).__name__}")
    floating = x.is_floating_point() if is_torch(x) else x.dtype.kind == "f"
    if not floating or x.ndim < axes:
        need = ("(..., V, C)", "(..., T, V, C)", "(..., M, T, V, C)")[axes - 2]
        raise ValueError(f"expected a floating array {need}, got {x.dtype} of shape {tuple(x.shape)}")


def check_joints(x: Array, skeleton: Skeleton) -> None:
    """Refuse a clip whose joint axis is not that of the skeleton."""
    check_clip(x)
    if x.shape[-2] != skeleton.num_joints:
        raise ValueError(
            f"skeleton {skeleton.name!r} has {skeleton.num_joints} joints, "
            f"but the clip of shape {tuple(x.shape)} has {x.shape[-2]} on its joint axis"
        )


def check_choice(what: str, got: str, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones."""
    known = list(known)
    if got not in known:
        raise ValueError(unknown(what, got, known, show_all=True))


def size_shape(size: Size) -> tuple[int, ...]:
    """The leading axes of what is drawn: none, one per sample, or the given ones."""
    return () if size is None else (size,) if isinstance(size, int) else tuple(size)
