"""The six streams of a clip: joint, bone, K-bone and the motion of each.

Bones are differences over joints and motions differences over time, so every stream is a linear map of the clip: one
gather and one subtraction. All functions take numpy arrays or torch tensors (..., T, V, C) with any leading axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from graphs.adjacency import k_mode
from graphs.arrays import Array, check_joints, is_torch, like
from graphs.messages import unknown

if TYPE_CHECKING:
    from graphs.skeleton import Skeleton

STREAMS = ("j", "b", "k", "jm", "bm", "km")
"""Joint, bone, K-bone, joint motion, bone motion, K-bone motion."""

_SCORE_RULES = (None, "mean", "difference")
_COMPATS = (None, "protogcn", "infogcn_ucla")
# The released code averages the confidence channel of these layouts and subtracts it in all others.
_RELEASED_MEANS = {
    "bone": {"openpose18", "openpose18_pyskl", "openpose20", "coco17", "coco20", "hand21"},
    "kbone": {"openpose18", "openpose18_pyskl", "coco17"},
    "motion": {"openpose18", "openpose18_pyskl", "coco17"},
}


def check_stream(name: str) -> str:
    """The name itself if it is one of `STREAMS`.

    Raises:
        ValueError: no such stream; lists near matches.
    """
    if name not in STREAMS:
        raise ValueError(unknown("stream", name, STREAMS, show_all=True))
    return name


def compute(
    x: Array,
    stream: str,
    skeleton: Skeleton,
    *,
    kbone: str = "grandparent",
    score_rule: str | None = None,
    compat: str | None = None,
) -> Array:
    """One stream of a clip or of a batch of clips.

    Args:
        x: floating numpy array or torch tensor (..., T, V, C); channels are x, y, then z or nothing, then a score or
            nothing, so C is 2, 3 or 4. It is not written to; the joint stream is x itself, not a copy.
        stream: ``"j"``, ``"b"`` (joint - parent), ``"k"`` (K-bone) or one of them followed by ``"m"`` for its motion,
            s[t+1] - s[t] with zeros in the last frame.
        skeleton: the layout of x; bones follow its bone tree and the root's bone is zero.
        kbone: ``"grandparent"``, joint - grandparent and zero where there is none (ProtoGCN), or ``"infogcn:<k>"``,
            joint - k-th ancestor and the joint itself where there is none (InfoGCN, section 3.4).
        score_rule: what becomes of the last channel when it is a detection score: ``"mean"`` of the two joints (frames)
            that are subtracted; ``"difference"`` or None treat it as a coordinate.
        compat: ``"protogcn"`` reproduces the released ProtoGCN and PYSKL features bit by bit: bones and K-bones are
            subtracted in the type of x and stored in single precision, and the third channel follows the rule that the
            code has for this layout and stream, unless ``score_rule`` says otherwise. ``"infogcn_ucla"`` reproduces
            the K modes of InfoGCN's NW-UCLA code, which subtract the descendants of a joint instead of its ancestor.

    Returns:
        Same shape and library as x, same type except for ``compat="protogcn"``.

    Raises:
        ValueError: an unknown stream or option, integer input, or V or C that do not fit.
    """
    return compute_all(x, skeleton, (stream,), kbone=kbone, score_rule=score_rule, compat=compat)[stream]


def compute_all(
    x: Array,
    skeleton: Skeleton,
    streams: Iterable[str] = STREAMS,
    *,
    kbone: str = "grandparent",
    score_rule: str | None = None,
    compat: str | None = None,
) -> dict[str, Array]:
    """Several streams at once, each base stream computed once; arguments as in `compute`.

    Returns:
        Stream name -> array, in the order asked for.
    """
    wanted = [check_stream(name) for name in streams]
    mode = parse_kbone(kbone)
    _check_options(score_rule, compat, mode)
    _check_clip(x, skeleton, score_rule)
    bases: dict[str, Array] = {}
    for base in {name[0] for name in wanted}:
        if base == "j":
            bases[base] = x
            continue
        if base == "k" and compat == "infogcn_ucla" and mode is not None:
            bones = like(k_mode(skeleton, mode, towards_children=True), x) @ x
        elif base == "k" and mode is not None:
            bones = _subtract(x, skeleton.ancestors(mode), _takes_mean("kbone", x, skeleton, score_rule, compat))
        else:
            pairs, step = (skeleton.bone_pairs, "bone") if base == "b" else (skeleton.kbone_pairs, "kbone")
            above = tuple(parent for _, parent in pairs)
            bones = _subtract(x, above, _takes_mean(step, x, skeleton, score_rule, compat))
        bases[base] = _single(bones) if compat == "protogcn" else bones
    mean = _takes_mean("motion", x, skeleton, score_rule, compat)
    return {name: _motion(bases[name[0]], mean) if name.endswith("m") else bases[name] for name in wanted}


def parse_kbone(kbone: str) -> int | None:
    """The k of ``"infogcn:<k>"``, None for ``"grandparent"``.

    Raises:
        ValueError: neither of the two.
    """
    if kbone == "grandparent":
        return None
    family, _, number = str(kbone).partition(":")
    if family == "infogcn" and number.isascii() and number.isdigit() and int(number) >= 1:
        return int(number)
    raise ValueError(f"unknown K-bone {kbone!r}; expected 'grandparent' or 'infogcn:<k>' with k >= 1, e.g. 'infogcn:2'")


def _subtract(x: Array, above: tuple[int, ...], mean_score: bool) -> Array:
    """x[v] - x[above[v]], or x[v] alone where above[v] is -1; with ``mean_score`` the last channel is their mean."""
    index = [joint if parent < 0 else parent for joint, parent in enumerate(above)]
    other = x.index_select(-2, like(index, x)) if is_torch(x) else x.take(index, axis=-2)
    bones = x - other
    if mean_score:
        bones[..., -1] = (x[..., -1] + other[..., -1]) / 2
    alone = [joint for joint, parent in enumerate(above) if parent < 0]
    if alone:
        rows = like(alone, x)
        bones[..., rows, :] = x[..., rows, :]
    return bones


def _motion(x: Array, mean_score: bool) -> Array:
    """x[t+1] - x[t], zero in the last frame; the last channel is their mean where it is a score."""
    now, following = x[..., :-1, :, :], x[..., 1:, :, :]
    if is_torch(x):
        import torch

        out = torch.zeros_like(x)
    else:
        out = np.zeros_like(x)
    out[..., :-1, :, :] = following - now
    if mean_score:
        out[..., :-1, :, -1] = (following[..., -1] + now[..., -1]) / 2
    return out


def _takes_mean(step: str, x: Array, skeleton: Skeleton, score_rule: str | None, compat: str | None) -> bool:
    if compat == "protogcn" and score_rule is None:
        return x.shape[-1] == 3 and skeleton.name in _RELEASED_MEANS[step]
    return score_rule == "mean"


def _single(x: Array) -> Array:
    return x.float() if is_torch(x) else x.astype(np.float32)


def _check_options(score_rule: str | None, compat: str | None, mode: int | None) -> None:
    for what, value, known in (("score_rule", score_rule, _SCORE_RULES), ("compat", compat, _COMPATS)):
        if value not in known:
            raise ValueError(unknown(what, value, [str(name) for name in known], show_all=True))
    if compat == "infogcn_ucla" and (mode is None or score_rule == "mean"):
        raise ValueError(
            "compat='infogcn_ucla' is about K modes without scores: give kbone='infogcn:<k>' and no score_rule"
        )


def _check_clip(x: Array, skeleton: Skeleton, score_rule: str | None) -> None:
    check_joints(x, skeleton)
    shape = tuple(x.shape)
    if len(shape) < 3:
        raise ValueError(f"a clip needs the axes (..., T, V, C); got shape {shape}")
    if shape[-1] not in (2, 3, 4):
        raise ValueError(
            f"the clip of shape {shape} has {shape[-1]} channels; expected 2 (x, y), 3 (x, y, z or x, y, score) or "
            "4 (x, y, z, score), with the channels on the last axis"
        )
    if score_rule == "mean" and shape[-1] == 2:
        raise ValueError(
            f"score_rule='mean' needs a score behind the coordinates, but the clip of shape {shape} has x, y only"
        )
