"""Where the joints of a layout lie on the procedural human, told by their names and, failing that, by the tree."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from graphs.skeleton import Skeleton
from protogcn.data.human.body import FINGERS, INDEX, POINTS

# Common names of a joint -> the point of the body; names without a side first.
_MIDDLE = {
    "pelvis": "pelvis hip hips hip_centre spine_base mid_hip root waist body",
    "spine_lower": "spine1 spine_lower lower_spine abdomen",
    "spine": "spine spine_mid spine2 torso mid_torso trunk back",
    "chest": "chest spine_shoulder shoulder_centre mid_shoulder spine3 thorax sternum upper_chest spine_chest",
    "neck": "neck neck_base",
    "head": "head skull",
    "head_top": "head_top top_head head_end vertex crown",
    "chin": "chin jaw",
    "nose": "nose neck_nose face",
}
_SIDED = {
    "collar": "collar clavicle",
    "shoulder": "shoulder arm upper_arm",
    "elbow": "elbow forearm fore_arm lower_arm",
    "wrist": "wrist",
    "hand": "hand palm",
    "middle_4": "hand_tip handtip fingertip finger_tip finger",
    "thumb_4": "thumb",
    "index_1": "index",
    "pinky_1": "pinky little",
    "hip": "hip thigh upleg up_leg upper_leg",
    "knee": "knee leg shin calf lower_leg",
    "ankle": "ankle",
    "heel": "heel",
    "foot": "foot",
    "big_toe": "big_toe toe toes toe_base foot_index toe_end",
    "small_toe": "small_toe",
    "eye": "eye",
    "eye_inner": "eye_inner inner_eye",
    "eye_outer": "eye_outer outer_eye",
    "ear": "ear",
    "mouth": "mouth",
}
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_FINGER_BONES = ("mcp", "pip", "dip", "tip")
_THUMB_BONES = ("cmc", "mcp", "ip", "tip")


def _by_name(table: dict[str, str]) -> dict[str, str]:
    return {name: point for point, names in table.items() for name in names.split()}


def _fingers() -> dict[str, str]:
    names = {}
    for finger in FINGERS:
        bones = _THUMB_BONES if finger == "thumb" else _FINGER_BONES
        for k, bone in enumerate(bones, 1):
            for called in (finger, "little") if finger == "pinky" else (finger,):
                names[f"{called}_{bone}"] = names[f"{called}_{k}"] = names[f"{called}{k}"] = f"{finger}_{k}"
    return names


_MIDDLE_NAMES = _by_name(_MIDDLE)
_SIDED_NAMES = _by_name(_SIDED) | _fingers()
# The way up the body from the end of each limb, followed by joints of a layout whose names say nothing.
_LIMBS = (
    ("chest", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    ("chest", "left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    ("right_hip", "right_knee", "right_ankle", "right_foot"),
    ("left_hip", "left_knee", "left_ankle", "left_foot"),
    ("spine", "chest", "neck", "head"),
)


def point_of(joint: str, hand: str = "right") -> str | None:
    """The point of the body that a joint name means, or None: ``"l_shoulder"``, ``"LeftArm"`` -> ``"left_shoulder"``.

    A limb that is named without a side (a hand alone) is that of ``hand``.
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", joint).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", name.replace("center", "centre")) if word]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    base = "_".join(word for word in words if word not in _SIDES)
    if not sides:
        for prefix, side in _SIDES.items():
            if base not in _MIDDLE_NAMES and base not in _SIDED_NAMES and base.removeprefix(prefix) in _SIDED_NAMES:
                sides, base = [side], base.removeprefix(prefix)
    if not sides and base in _MIDDLE_NAMES:
        return _MIDDLE_NAMES[base]
    return f"{sides[0] if sides else hand}_{_SIDED_NAMES[base]}" if base in _SIDED_NAMES else None


@lru_cache(maxsize=64)
def placement(skeleton: Skeleton, hand: str = "right") -> npt.NDArray[np.float64]:
    """Weights (V, P) that make the joints of a layout from the points of the body: ``joints = weights @ points``.

    A joint lies on the point that its name means (`point_of`); a neck in a layout without a joint between the shoulders
    lies there, as pose estimators define it. A joint of unknown name lies

    1. between its nearest named ancestor and its nearest named descendant, in proportion to the steps;
    2. without such a descendant, beyond that ancestor: the last bone prolonged by 0.3 of its length per step;
    3. without such an ancestor, on its nearest named descendant;
    4. in a layout without any known name, on the pelvis (root), or along the right arm, left arm, right leg, left leg
       and spine, which the branches of the root follow in turn.

    Args:
        skeleton: any layout.
        hand: the side of limbs that are named without one.
    """
    points = [point_of(joint, hand) for joint in skeleton.joints]
    if not any(points):
        return _along_limbs(skeleton)
    weights = np.zeros((skeleton.num_joints, len(POINTS)))
    for joint, point in enumerate(points):
        if point == "neck" and "chest" not in points:
            weights[joint, [INDEX["left_shoulder"], INDEX["right_shoulder"]]] = 0.5
        elif point is not None:
            weights[joint, INDEX[point]] = 1.0
    named = [point is not None for point in points]
    for joint in np.argsort(skeleton.depths, kind="stable"):
        if points[joint] is None:
            weights[joint] = _beside(skeleton, int(joint), named, weights)
    return weights


def _beside(
    skeleton: Skeleton, joint: int, named: list[bool], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights (P,) of a joint of unknown name; joints above it are already placed."""
    above, up = skeleton.parents[joint], 1
    while above >= 0 and not named[above]:
        above, up = skeleton.parents[above], up + 1
    below, down = _named_below(skeleton, joint, named)
    if above >= 0 and below >= 0:
        return (down * weights[above] + up * weights[below]) / (up + down)
    if above < 0:
        return weights[below]
    before = skeleton.parents[above] if skeleton.parents[above] >= 0 else above
    return weights[above] + 0.3 * up * (weights[above] - weights[before])


def _named_below(skeleton: Skeleton, joint: int, named: list[bool]) -> tuple[int, int]:
    """Nearest named descendant and its distance in steps; (-1, 0) when there is none."""
    level, steps = [joint], 0
    while level:
        level, steps = [child for child, parent in enumerate(skeleton.parents) if parent in level], steps + 1
        for child in level:
            if named[child]:
                return child, steps
    return -1, 0


def _along_limbs(skeleton: Skeleton) -> npt.NDArray[np.float64]:
    weights = np.zeros((skeleton.num_joints, len(POINTS)))
    weights[skeleton.centre, INDEX["pelvis"]] = 1.0
    branches = [joint for joint, parent in enumerate(skeleton.parents) if parent == skeleton.centre]
    for number, branch in enumerate(branches):
        members, level = [branch], [branch]
        while level := [child for child, parent in enumerate(skeleton.parents) if parent in level]:
            members += level
        limb = ("pelvis", *_LIMBS[number % len(_LIMBS)])
        longest = max(int(skeleton.depths[member]) for member in members)
        for member in members:
            place = (len(limb) - 1) * skeleton.depths[member] / longest
            below = min(int(place), len(limb) - 2)
            weights[member, INDEX[limb[below]]] += 1.0 - (place - below)
            weights[member, INDEX[limb[below + 1]]] += place - below
    return weights
