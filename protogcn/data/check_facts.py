"""What a check knows of a store: one pass over all clips, a few numbers of each."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.naming import places
from graphs.skeleton import Skeleton
from protogcn.data.store import Clip, ClipStore

Array = npt.NDArray[np.float64]

_HEADS = ("head", "nose", "neck", "mid_shoulder", "left_ear", "left_shoulder")
_HIPS = ("mid_hip", "left_hip", "mid_torso")
_SAMPLED_FRAMES = 4
_LEAST_SCORE = 0.01
_FEET = (("foot", "ankle"), ("foot_index", "heel"), ("big_toe", "heel"))


@dataclass
class Facts:
    """Numbers of n clips, in store order; NaN where a clip does not tell.

    Attributes:
        valid: frames that show somebody.
        present: persons with a joint somewhere in the clip.
        copied: whether the second person is the first one again.
        digest: 16 bytes that are the same for the same clip only.
        bad: numbers that are not finite.
        appearances: frames times persons that show somebody.
        seen: (n, V) appearances in which each joint was seen: it is not all zeros, and has a score where there is one.
        low, high: (n, C) smallest and largest number of the joints that were seen.
        sized: whether the size of the image is known.
        outside: share of the seen joints that lie outside the image.
        up: (n, axes) mean direction from the hips to the head, as a unit vector.
        sided: share of the appearances in which the left side is on the left of where the person faces.
        bones: (n, V) median distance of each joint to its parent; NaN for the root.
        distances: (V, V) mean distance of each pair of joints, in units of the clip's mean pair.
    """

    valid: npt.NDArray[np.int64]
    present: npt.NDArray[np.int64]
    copied: npt.NDArray[np.bool_]
    digest: list[bytes]
    bad: npt.NDArray[np.int64]
    appearances: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    low: Array
    high: Array
    sized: npt.NDArray[np.bool_]
    outside: Array
    up: Array
    sided: Array
    bones: Array
    distances: Array


def gather(store: ClipStore, clips: Iterable[Clip] | None = None) -> Facts:
    """Read every clip once.

    Args:
        store: where the skeleton and the channels are.
        clips: its clips, where the caller wants to see them pass; default: all of the store.
    """
    n, joints, channels = len(store), store.skeleton.num_joints, len(store.channels)
    axes = 3 if store.channels == "xyz" else 2
    marks = _Marks(store.skeleton, axes, store.channels == "xys")
    facts = Facts(
        valid=np.zeros(n, dtype=np.int64),
        present=np.zeros(n, dtype=np.int64),
        copied=np.zeros(n, dtype=bool),
        digest=[b""] * n,
        bad=np.zeros(n, dtype=np.int64),
        appearances=np.zeros(n, dtype=np.int64),
        seen=np.zeros((n, joints), dtype=np.int64),
        low=np.full((n, channels), np.nan),
        high=np.full((n, channels), np.nan),
        sized=np.zeros(n, dtype=bool),
        outside=np.full(n, np.nan),
        up=np.full((n, axes), np.nan),
        sided=np.full(n, np.nan),
        bones=np.full((n, joints), np.nan),
        distances=np.zeros((joints, joints)),
    )
    total = np.zeros((joints, joints))
    for i, clip in enumerate(store if clips is None else clips):
        _one(facts, i, clip, marks, total)
    facts.distances = np.divide(facts.distances, total, out=np.full_like(total, np.nan), where=total > 0)
    return facts


class _Marks:
    """Joints that tell up from down and front from back."""

    def __init__(self, skeleton: Skeleton, axes: int, scored: bool) -> None:
        found = places(skeleton)
        self.axes, self.scored = axes, scored
        self.parents = np.array(skeleton.parents)
        self.head = next((found.index(place) for place in _HEADS if place in found), None)
        self.hip = next((found.index(place) for place in _HIPS if place in found), None)
        pairs = [("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")]
        self.sides = [(found.index(a), found.index(b)) for a, b in pairs if a in found and b in found]
        toes = [(f"{side}_{toe}", f"{side}_{heel}") for side in ("left", "right") for toe, heel in _FEET]
        self.fronts = [(found.index(a), found.index(b)) for a, b in toes if a in found and b in found]


def _one(facts: Facts, i: int, clip: Clip, marks: _Marks, total: Array) -> None:
    x: npt.NDArray[Any] = np.asarray(clip.keypoints)
    facts.digest[i] = hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=16, key=str(x.shape).encode()).digest()
    facts.sized[i] = clip.image_shape is not None
    finite = np.isfinite(x)
    facts.bad[i] = int(x.size - finite.sum())
    x = np.where(finite, x, 0).astype(np.float64) if facts.bad[i] else x.astype(np.float64)
    seen = np.logical_or.reduce(x != 0, axis=-1)
    here = np.logical_or.reduce(seen, axis=-1)
    if marks.scored:
        seen = seen & (x[..., 2] > _LEAST_SCORE)
    facts.valid[i] = int(here.any(axis=0).sum())
    facts.present[i] = int(here.any(axis=1).sum())
    facts.copied[i] = len(x) > 1 and bool(here.any()) and np.array_equal(x[0], x[1])
    facts.appearances[i] = int(here.sum())
    facts.seen[i] = seen.sum(axis=(0, 1))
    points = x[seen]
    if not len(points):
        return
    facts.low[i], facts.high[i] = points.min(axis=0), points.max(axis=0)
    if clip.image_shape is not None:
        size = np.array([clip.image_shape[1], clip.image_shape[0]])
        beyond = (points[:, :2] < -0.1 * size) | (points[:, :2] > 1.1 * size)
        facts.outside[i] = beyond.any(axis=1).mean()
    bodies, known = x[here][..., : marks.axes], seen[here]
    _direction(facts, i, bodies, known, marks)
    _lengths(facts, i, bodies, known, marks, total)


def _direction(facts: Facts, i: int, bodies: Array, known: npt.NDArray[np.bool_], marks: _Marks) -> None:
    if marks.head is None or marks.hip is None:
        return
    both = known[:, marks.head] & known[:, marks.hip]
    if not both.any():
        return
    up = bodies[:, marks.head] - bodies[:, marks.hip]
    mean = up[both].mean(axis=0)
    if length := float(np.linalg.norm(mean)):
        facts.up[i] = mean / length
    if marks.axes == 3 and marks.sides and marks.fronts:
        joints = [joint for pair in marks.sides + marks.fronts for joint in pair]
        both &= known[:, joints].all(axis=1)
        left = np.sum([bodies[:, a] - bodies[:, b] for a, b in marks.sides], axis=0)
        front = np.sum([bodies[:, a] - bodies[:, b] for a, b in marks.fronts], axis=0)
        turn = np.einsum("ti,ti->t", np.cross(up, front), left)[both]
        if len(turn):
            facts.sided[i] = (turn > 0).mean()


def _lengths(facts: Facts, i: int, bodies: Array, known: npt.NDArray[np.bool_], marks: _Marks, total: Array) -> None:
    child = np.flatnonzero(marks.parents >= 0)
    parent = marks.parents[child]
    lengths = np.linalg.norm(bodies[:, child] - bodies[:, parent], axis=-1)
    lengths[~(known[:, child] & known[:, parent])] = np.nan
    some = ~np.isnan(lengths).all(axis=0)
    facts.bones[i, child[some]] = np.nanmedian(lengths[:, some], axis=0)
    rows = np.unique(np.linspace(0, len(bodies) - 1, _SAMPLED_FRAMES).astype(int))
    apart = np.linalg.norm(bodies[rows, :, None] - bodies[rows, None], axis=-1)
    pairs = known[rows, :, None] & known[rows, None]
    if pairs.any() and (unit := float(apart[pairs].mean())) > 0:
        facts.distances += np.where(pairs, apart, 0).sum(axis=0) / unit
        total += pairs.sum(axis=0)
