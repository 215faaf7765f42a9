"""A standing figure for every layout, so that a skeleton can be looked at without data."""

from __future__ import annotations

import numpy as np

from graphs.naming import combine, places
from graphs.skeleton import Skeleton

# Metres, facing the viewer: x to the viewer's right (the figure's left), y up, z away from the viewer.
_BODY: dict[str, tuple[float, float, float]] = {
    "head": (0, 1.70, 0),
    "nose": (0, 1.635, -0.10),
    "neck_nose": (0, 1.60, -0.06),
    "neck": (0, 1.54, 0),
    "mid_shoulder": (0, 1.45, 0),
    "spine3": (0, 1.32, 0),
    "mid_torso": (0, 1.20, 0),
    "spine1": (0, 1.07, 0),
    "mid_hip": (0, 0.95, 0),
}
_LEFT: dict[str, tuple[float, float, float]] = {
    "eye_inner": (0.020, 1.675, -0.09),
    "eye": (0.040, 1.678, -0.09),
    "eye_outer": (0.060, 1.675, -0.08),
    "ear": (0.085, 1.655, 0),
    "mouth": (0.030, 1.590, -0.09),
    "collar": (0.08, 1.42, 0),
    "shoulder": (0.19, 1.43, 0),
    "elbow": (0.33, 1.19, 0.02),
    "wrist": (0.44, 0.97, -0.04),
    "hand": (0.475, 0.89, -0.05),
    "hand_tip": (0.510, 0.805, -0.06),
    "thumb": (0.425, 0.875, -0.12),
    "index": (0.475, 0.845, -0.09),
    "pinky": (0.525, 0.87, -0.03),
    "hip": (0.10, 0.92, 0),
    "knee": (0.13, 0.51, -0.02),
    "ankle": (0.15, 0.09, 0.02),
    "heel": (0.135, 0.03, 0.06),
    "foot": (0.20, 0.025, -0.13),
    "big_toe": (0.18, 0.015, -0.15),
    "small_toe": (0.23, 0.02, -0.12),
}
_FINGERS = {"thumb": -52.0, "index": -18.0, "middle": -1.0, "ring": 15.0, "little": 32.0, "pinky": 32.0}
_PHALANGES = {"cmc": 0.30, "mcp": 0.50, "pip": 0.72, "ip": 0.68, "dip": 0.86, "tip": 1.0}


def _positions() -> dict[str, tuple[float, float, float]]:
    positions = dict(_BODY)
    for name, (x, y, z) in _LEFT.items():
        positions[f"left_{name}"], positions[f"right_{name}"] = (x, y, z), (-x, y, z)
    return positions


def _hand() -> dict[str, tuple[float, float, float]]:
    """A left hand with spread fingers, palm to the viewer, 20 cm long."""
    positions = {"wrist": (0.0, 0.0, 0.0)}
    for finger, degrees in _FINGERS.items():
        length = {"thumb": 0.15, "index": 0.185, "middle": 0.2, "ring": 0.185}.get(finger, 0.16)
        for bone, share in _PHALANGES.items():
            if finger == "thumb" and bone == "mcp":
                share = 0.5
            angle = np.deg2rad(degrees)
            positions[f"{finger}_{bone}"] = (-length * share * np.sin(-angle), length * share * np.cos(angle), 0.0)
    return positions


def reference_pose(skeleton: Skeleton) -> np.ndarray:
    """Coordinates (V, 3) in metres of a figure that stands upright and faces the viewer.

    Joints are placed by the meaning of their names (`graphs.naming`); a joint with an unknown name continues the limb
    it hangs on, and a root with one stands amid the joints that hang on it. A skeleton of which fewer than half the
    names are known is laid out as a tree around its root instead.
    """
    want = places(skeleton)
    positions = _hand() if "wrist" in want and "thumb_tip" in want else _positions()
    names = list(positions)
    table = np.array([positions[name] for name in names], dtype=np.float64)
    known = {name: row for row, name in enumerate(names)}
    rows = [combine(place, known) for place in want]
    if 2 * sum(row is not None for row in rows) < len(rows):
        return _radial(skeleton)
    found = {
        joint: sum(weight * table[index] for index, weight in row.items())
        for joint, row in enumerate(rows)
        if row is not None
    }
    pose = np.zeros((skeleton.num_joints, 3))
    for joint in np.argsort(skeleton.depths, kind="stable"):
        parent = skeleton.parents[joint]
        if joint in found:
            pose[joint] = found[joint]
        elif parent < 0:
            around = [found[child] for child, above in skeleton.edges if above == joint and child in found]
            pose[joint] = np.mean(around or list(found.values()), axis=0)
        else:
            above = skeleton.parents[parent]
            pose[joint] = pose[parent] + (0.5 * (pose[parent] - pose[above]) if above >= 0 else (0, 0.1, 0))
    return pose


def _radial(skeleton: Skeleton) -> np.ndarray:
    """The tree with its root in the middle, each depth on a circle, each subtree in a sector as wide as its leaves."""
    children: list[list[int]] = [[] for _ in skeleton.joints]
    for child, parent in skeleton.edges:
        children[parent].append(child)
    order = np.argsort(skeleton.depths, kind="stable")
    leaves = np.zeros(skeleton.num_joints)
    for joint in order[::-1]:
        leaves[joint] = sum(leaves[child] for child in children[joint]) or 1
    start, pose = np.zeros(skeleton.num_joints), np.zeros((skeleton.num_joints, 3))
    for joint in order:
        turn = 2 * np.pi * (start[joint] + leaves[joint] / 2) / leaves[skeleton.centre]
        pose[joint, :2] = 0.3 * skeleton.depths[joint] * np.array([np.sin(turn), np.cos(turn)])
        offset = start[joint]
        for child in children[joint]:
            start[child], offset = offset, offset + leaves[child]
    return pose
