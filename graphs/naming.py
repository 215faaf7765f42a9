"""What the joint names of different layouts mean, so that one layout can be read as another.

Two names mean the same place when they differ only in spelling (``l_shoulder``, ``LShoulder``, ``left_shoulder``) or
are listed as synonyms: Kinect's ``spine_base`` and ``hip_centre`` are SMPL's ``pelvis`` and everybody's ``mid_hip``.
Places that a layout lacks may follow from those it has (`DERIVED`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphs.skeleton import Skeleton

_SYNONYMS = {
    "mid_hip": ("hip_centre", "spine_base", "pelvis", "hips", "root"),
    "mid_torso": ("spine_mid", "spine", "torso", "spine2"),
    "mid_shoulder": ("shoulder_centre", "spine_shoulder", "thorax"),
    "left_foot": ("left_foot_index", "left_toe"),
    "right_foot": ("right_foot_index", "right_toe"),
}
_PLACE = {name: place for place, names in _SYNONYMS.items() for name in names}
_SIDE = {"l": "left", "r": "right", "center": "centre"}


def _both(rule: dict[str, list[tuple[str, ...]]]) -> dict[str, list[tuple[str, ...]]]:
    """Copy the rules of the left side to the right side."""
    right = {
        place.replace("left", "right"): [tuple(name.replace("left", "right") for name in names) for names in ways]
        for place, ways in rule.items()
    }
    return rule | right


DERIVED: dict[str, list[tuple[str, ...]]] = {
    "mid_hip": [("left_hip", "right_hip")],
    "mid_shoulder": [("left_shoulder", "right_shoulder")],
    "mid_torso": [("mid_hip", "mid_shoulder")],
    "spine1": [("mid_hip", "mid_torso")],
    "spine3": [("mid_torso", "mid_shoulder")],
    "head": [("left_ear", "right_ear"), ("left_eye", "right_eye")],
    "neck": [("mid_shoulder", "head")],
    "neck_nose": [("nose",), ("mid_shoulder", "head")],
    **_both(
        {
            "left_collar": [("mid_shoulder", "left_shoulder")],
            "left_hand": [("left_index", "left_pinky")],
            "left_foot": [("left_big_toe", "left_small_toe")],
            "left_big_toe": [("left_foot",)],
        }
    ),
}
"""The ways to get a place where a layout has no such joint: the mean of the named places; the first way wins."""


def plain_name(name: str) -> str:
    """A joint name as the catalogue spells it: lower case, words joined by _, ``left_`` or ``right_`` in front."""
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name).lower()
    parts = [_SIDE.get(part, part) for part in re.split(r"[^a-z0-9]+", words) if part]
    sides = [part for part in parts if part in ("left", "right")]
    return "_".join(sides[:1] + [part for part in parts if part not in sides[:1]])


def places(skeleton: Skeleton) -> list[str]:
    """The place that each joint of a skeleton stands for.

    A ``neck`` that carries a shoulder is the point between the shoulders (COCO-20, OpenPose, Halpe, SBU); where another
    joint carries them it is the neck above that point (NTU RGB+D, SMPL).
    """
    names = [_PLACE.get(plain, plain) for plain in map(plain_name, skeleton.joints)]
    if "neck" in names and "mid_shoulder" not in names:
        neck = names.index("neck")
        neighbours = {a if b == neck else b for a, b in skeleton.edges if neck in (a, b)}
        if any(names[joint] == "left_shoulder" for joint in neighbours):
            names[neck] = "mid_shoulder"
    return names


def sides(skeleton: Skeleton) -> list[str]:
    """Which side of the body each joint is on: "left", "right" or "centre"."""
    side = ["centre"] * skeleton.num_joints
    for left, right in skeleton.mirror:
        side[left], side[right] = "left", "right"
    return side


def combine(place: str, known: dict[str, int], visited: frozenset[str] = frozenset()) -> dict[int, float] | None:
    """Weights over the known joints whose sum is the given place; None where neither it nor its parts are known."""
    if place in known:
        return {known[place]: 1.0}
    if place in visited:
        return None
    for names in DERIVED.get(place, ()):
        parts = [combine(name, known, visited | {place}) for name in names]
        if all(part is not None for part in parts):
            weights: dict[int, float] = {}
            for part in parts:
                for joint, weight in (part or {}).items():
                    weights[joint] = weights.get(joint, 0.0) + weight / len(parts)
            return weights
    return None
