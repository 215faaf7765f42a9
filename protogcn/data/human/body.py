"""The procedural human: proportions, and the named points of a posture in metres.

Axes of a person: x to the left, y up, z to the front (right-handed); the floor is y = 0. Trunk, head, hands and feet
follow joint angles (forward kinematics); elbows and knees follow from where wrists and ankles go (analytic two-bone
inverse kinematics), so feet stay on the floor and hands meet what they reach for while bones keep their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_MIDDLE = ("pelvis", "spine_lower", "spine", "chest", "neck", "head", "head_top", "chin", "nose")
_HEAD_SIDE = {
    "eye_inner": (0.015, 0.035, 0.095),
    "eye": (0.032, 0.035, 0.09),
    "eye_outer": (0.048, 0.035, 0.08),
    "ear": (0.075, 0.01, 0.005),
    "mouth": (0.025, -0.045, 0.09),
}
_HEAD_MIDDLE = {"head_top": (0.0, 0.12, -0.01), "chin": (0.0, -0.085, 0.08), "nose": (0.0, 0.0, 0.11)}
_FOOT = {
    "heel": (0.0, 0.0, -0.05),
    "foot": (0.0, 0.0, 0.12),
    "big_toe": (-0.03, 0.0, 0.18),
    "small_toe": (0.04, 0.0, 0.15),
}
_FINGER_ROOT = {"thumb": 0.25, "index": 0.55, "middle": 0.56, "ring": 0.53, "pinky": 0.48}
_FINGER_LENGTH = {"thumb": 0.36, "index": 0.40, "middle": 0.44, "ring": 0.41, "pinky": 0.33}
_FINGER_SPREAD = {"thumb": 0.32, "index": 0.20, "middle": 0.05, "ring": -0.09, "pinky": -0.21}
_SIDE = (
    *("collar", "shoulder", "elbow", "wrist", "hand"),
    *(f"{finger}_{k}" for finger in FINGERS for k in range(1, 5)),
    *("hip", "knee", "ankle", *_FOOT, *_HEAD_SIDE),
)
SIDES = ("left", "right")

#: Names of the P points of a posture, in the order of the arrays.
POINTS: tuple[str, ...] = (*_MIDDLE, *(f"{side}_{name}" for side in SIDES for name in _SIDE))
INDEX = {name: i for i, name in enumerate(POINTS)}
_MIRROR = [
    INDEX[name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")]
    for name in POINTS
]


@dataclass(frozen=True)
class Body:
    """Lengths in metres; the defaults are the mean adult (Drillis and Contini's proportions of a stature of 1.70 m)."""

    upper_arm: float = 0.31
    forearm: float = 0.25
    hand: float = 0.18
    thigh: float = 0.42
    shank: float = 0.42
    foot: float = 0.07
    lower_trunk: float = 0.26
    upper_trunk: float = 0.25
    neck: float = 0.08
    head: float = 1.0
    shoulder_width: float = 0.19
    hip_width: float = 0.10

    @property
    def arm(self) -> float:
        """Shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        """Hip to ankle."""
        return self.thigh + self.shank

    @property
    def shoulder_height(self) -> float:
        """Height of the shoulders above the floor, standing."""
        return self.leg + self.foot + self.lower_trunk + self.upper_trunk

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        """Proportions of one person: a stature, and limbs, breadths and head that depart from it a little."""
        stature = np.clip(rng.normal(1.0, 0.065), 0.82, 1.17)
        arms, legs, trunk, shoulders, hips, head = np.clip(rng.normal(1.0, 0.045, 6), 0.88, 1.12)
        mean = cls()
        return cls(
            upper_arm=stature * arms * mean.upper_arm,
            forearm=stature * arms * mean.forearm,
            hand=stature * arms * mean.hand,
            thigh=stature * legs * mean.thigh,
            shank=stature * legs * mean.shank,
            foot=stature * legs * mean.foot,
            lower_trunk=stature * trunk * mean.lower_trunk,
            upper_trunk=stature * trunk * mean.upper_trunk,
            neck=stature * trunk * mean.neck,
            head=head,
            shoulder_width=stature * shoulders * mean.shoulder_width,
            hip_width=stature * hips * mean.hip_width,
        )


def _resting_hands() -> Array:
    return np.array([[[0.13, -0.96, 0.07]], [[0.13, -0.96, 0.07]]])


@dataclass
class Posture:
    """What the parts of a body do over T frames; limbs have a leading axis of two sides, left first.

    Constant tracks may keep a frame axis of length 1. Angles are radians.

    Attributes:
        path: (T, 3) displacement of the whole body, metres.
        pelvis: (T, 3) of the pelvis from upright standing: left, up, front, in leg lengths; feet stay where they are.
        hips, chest, head: (T, 3) forward pitch, twist to the left, bend to the right, relative to the part below.
        wrists: (2, T, 3) wrist from its shoulder along outward, up, front of the chest, in arm lengths.
        elbows: (2, T) how far the elbow points outwards instead of down.
        hand_pitch: (2, T) bend of the hand against the forearm.
        fists: (2, T) 0 open hand, 1 fist.
        index: (2, T) how much the index finger stays straight in a fist.
        ankles: (2, T, 3) ankle from its place in standing: outward, up, front, in leg lengths.
        toes: (2, T) toe-down angle of the foot.
    """

    path: Array = field(default_factory=lambda: np.zeros((1, 3)))
    pelvis: Array = field(default_factory=lambda: np.array([[0.0, -0.015, 0.0]]))
    hips: Array = field(default_factory=lambda: np.zeros((1, 3)))
    chest: Array = field(default_factory=lambda: np.zeros((1, 3)))
    head: Array = field(default_factory=lambda: np.zeros((1, 3)))
    wrists: Array = field(default_factory=_resting_hands)
    elbows: Array = field(default_factory=lambda: np.full((2, 1), 0.25))
    hand_pitch: Array = field(default_factory=lambda: np.zeros((2, 1)))
    fists: Array = field(default_factory=lambda: np.full((2, 1), 0.3))
    index: Array = field(default_factory=lambda: np.zeros((2, 1)))
    ankles: Array = field(default_factory=lambda: np.zeros((2, 1, 3)))
    toes: Array = field(default_factory=lambda: np.zeros((2, 1)))


def rotation(angles: Array) -> Array:
    """Rotations (..., 3, 3) by angles (..., 3) about x, y and z; the one about z acts first, then x, then y."""
    (sx, sy, sz), (cx, cy, cz) = (np.moveaxis(f(angles), -1, 0) for f in (np.sin, np.cos))
    rows = (
        *(cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx),
        *(cx * sz, cx * cz, -sx),
        *(cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx),
    )
    return np.stack(rows, -1).reshape(*angles.shape[:-1], 3, 3)


def pose(body: Body, posture: Posture, frames: int) -> Array:
    """Points (T, P, 3) in metres of ``body`` in the ``frames`` = T frames of ``posture``, in the order of `POINTS`."""
    out = np.empty((frames, len(POINTS), 3))
    out[:, INDEX["pelvis"]] = np.array([0.0, body.leg + body.foot, 0.0]) + posture.pelvis * body.leg
    pelvis = out[:, INDEX["pelvis"]]
    hips = np.broadcast_to(rotation(posture.hips), (frames, 3, 3))
    loin = hips @ rotation(posture.chest / 2)
    chest = hips @ rotation(posture.chest)
    head = chest @ rotation(posture.head)
    out[:, INDEX["spine_lower"]] = pelvis + loin[..., 1] * (0.4 * body.lower_trunk)
    out[:, INDEX["spine"]] = pelvis + loin[..., 1] * body.lower_trunk
    out[:, INDEX["chest"]] = out[:, INDEX["spine"]] + chest[..., 1] * body.upper_trunk
    out[:, INDEX["neck"]] = out[:, INDEX["chest"]] + chest @ np.array([0.0, body.neck, 0.01])
    out[:, INDEX["head"]] = skull = out[:, INDEX["neck"]] + head @ (np.array([0.0, 0.11, 0.02]) * body.head)
    for name, offset in _HEAD_MIDDLE.items():
        out[:, INDEX[name]] = skull + head @ (np.array(offset) * body.head)
    for side, name in enumerate(SIDES):
        outward = np.array([1.0 if name == "left" else -1.0, 1.0, 1.0])
        for part, offset in _HEAD_SIDE.items():
            out[:, INDEX[f"{name}_{part}"]] = skull + head @ (np.array(offset) * outward * body.head)
        _arm(out, body, posture, side, chest, outward)
        _leg(out, body, posture, side, hips, outward)
    out += posture.path[:, None]
    return out


def mirror(points: Array) -> Array:
    """The same person as a left-hander: points (..., P, 3) reflected at the plane x = 0, left and right exchanged."""
    return points[..., _MIRROR, :] * np.array([-1.0, 1.0, 1.0])


def _two_bones(root: Array, target: Array, upper: float, lower: float, pole: Array) -> tuple[Array, Array]:
    """Middle and end joint (T, 3) of a two-bone limb that reaches for ``target`` and bends towards ``pole``."""
    reach = target - root
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    direction = reach / np.maximum(distance, 1e-9)
    distance = np.clip(distance, abs(upper - lower) + 0.02, 0.998 * (upper + lower))
    along = (distance**2 + upper**2 - lower**2) / (2 * distance)
    across = pole - (pole * direction).sum(-1, keepdims=True) * direction
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    middle = root + along * direction + np.sqrt(np.maximum(upper**2 - along**2, 0.0)) * across
    return middle, root + distance * direction


def _arm(out: Array, body: Body, posture: Posture, side: int, chest: Array, outward: Array) -> None:
    name = SIDES[side]
    top = out[:, INDEX["chest"]]
    out[:, INDEX[f"{name}_collar"]] = top + chest @ (np.array([0.35 * body.shoulder_width, -0.01, 0.02]) * outward)
    shoulder = top + chest @ (np.array([body.shoulder_width, -0.03, 0.0]) * outward)
    target = shoulder + np.einsum(
        "tij,tj->ti", chest, posture.wrists[side] * outward * body.arm + np.zeros((len(out), 3))
    )
    swivel = posture.elbows[side][:, None]
    pole = np.cos(swivel) * np.array([0.15, -1.0, -0.45]) + np.sin(swivel) * np.array([1.0, 0.1, -0.25])
    pole = np.einsum("tij,tj->ti", chest, pole * outward + np.zeros((len(out), 3)))
    elbow, wrist = _two_bones(shoulder, target, body.upper_arm, body.forearm, pole)
    out[:, INDEX[f"{name}_shoulder"]], out[:, INDEX[f"{name}_elbow"]] = shoulder, elbow
    out[:, INDEX[f"{name}_wrist"]] = wrist

    along = (wrist - elbow) / body.forearm
    # At rest the thumb points the way the elbow opens: forwards in a hanging arm, up in a handshake.
    thumb = (shoulder - elbow) / body.upper_arm
    thumb = thumb - (thumb * along).sum(-1, keepdims=True) * along + 1e-6 * chest[..., 2]
    thumb /= np.linalg.norm(thumb, axis=-1, keepdims=True)
    palm = np.cross(along, thumb) * outward[0]
    pitch = posture.hand_pitch[side][:, None]
    along, palm = np.cos(pitch) * along + np.sin(pitch) * palm, np.cos(pitch) * palm - np.sin(pitch) * along
    out[:, INDEX[f"{name}_hand"]] = wrist + 0.45 * body.hand * along
    for finger in FINGERS:
        spread, length = _FINGER_SPREAD[finger] * body.hand, _FINGER_LENGTH[finger] * body.hand
        point = wrist + _FINGER_ROOT[finger] * body.hand * along + spread * thumb
        out[:, INDEX[f"{name}_{finger}_1"]] = point
        curl = posture.fists[side][:, None] * (0.6 if finger == "thumb" else 1.0)
        if finger == "index":
            curl = curl * (1 - posture.index[side][:, None])
        for k, share in ((2, 0.45), (3, 0.30), (4, 0.25)):
            bend = 1.4 * curl * (k - 1)
            lean = 0.5 if finger == "thumb" else 0.0
            step = np.cos(bend) * (along + lean * thumb) / np.hypot(1.0, lean) + np.sin(bend) * palm
            point = point + share * length * step
            out[:, INDEX[f"{name}_{finger}_{k}"]] = point


def _leg(out: Array, body: Body, posture: Posture, side: int, hips: Array, outward: Array) -> None:
    name = SIDES[side]
    hip = out[:, INDEX["pelvis"]] + hips @ (np.array([body.hip_width, -0.03, 0.0]) * outward)
    stance = np.array([body.hip_width, body.foot, 0.0]) + posture.ankles[side] * body.leg
    # Knees open a little outwards and follow the twist of the pelvis.
    pole = hips[..., 2] + 0.15 * outward[0] * hips[..., 0]
    knee, ankle = _two_bones(hip, stance * outward + np.zeros((len(out), 3)), body.thigh, body.shank, pole)
    for part, value in (("hip", hip), ("knee", knee), ("ankle", ankle)):
        out[:, INDEX[f"{name}_{part}"]] = value
    toes = posture.toes[side]
    sole = rotation(np.stack([toes, np.full_like(toes, 0.15 * outward[0]), np.zeros_like(toes)], -1))
    for part, offset in _FOOT.items():
        down = np.array([0.0, -0.9 * body.foot, 0.0])
        out[:, INDEX[f"{name}_{part}"]] = ankle + sole @ (np.array(offset) * outward * body.leg / 0.84 + down)
