"""How a performance is seen: the camera's frame, and what a depth sensor or pose estimator makes of it."""

from __future__ import annotations

import numpy as np

from graphs.skeleton import Skeleton
from protogcn.data.human.body import Array, rotation

#: (height, width) in pixels of the picture.
IMAGE_SHAPE = (1080, 1920)
_FOCAL = 1060.0


def camera_frame(points: Array, yaw: float, distance: float, height: float) -> Array:
    """World points (..., 3) in the frame of a camera that looks at the place 0.95 m above the origin.

    Args:
        yaw: radians from the front of a person who faces +z, positive towards the person's left.
        distance: metres along the floor.
        height: metres above the floor.

    Returns:
        x to the left of the camera, y up, z away from it: right-handed, as Kinect.
    """
    pitch = np.arctan2(height - 0.95, distance)
    # The camera looks back at the stage, half a turn from its own place.
    turn = rotation(np.array([pitch, yaw + np.pi, 0.0]))
    place = np.array([distance * np.sin(yaw), height, distance * np.cos(yaw)])
    return (points - place) @ turn


def project(points: Array) -> Array:
    """Pixels (..., 2), x to the right and y down, of points (..., 3) in the camera's frame."""
    depth = np.maximum(points[..., 2:], 0.2)
    centre = np.array([IMAGE_SHAPE[1] / 2, IMAGE_SHAPE[0] / 2])
    return centre - _FOCAL * points[..., :2] / depth


class Sensor:
    """Measurement errors of one recording.

    Joints jitter, and wander slowly; the ends of limbs and what lies behind the trunk do so more. Now and then a joint
    and all that hangs on it is lost for some frames, freezes, or is found in a wrong place.

    Args:
        skeleton: layout of the joints.
        noise: strength, 1 for about 1 cm of jitter and 2 cm of wander.
        occlusion: mean number of lost limbs per person and 60 frames.
        rng: source of the errors.
    """

    def __init__(self, skeleton: Skeleton, noise: float, occlusion: float, rng: np.random.Generator) -> None:
        self.noise, self.occlusion, self.rng = noise, occlusion, rng
        depths = skeleton.depths
        self.looseness = 0.7 + 0.6 * depths / max(int(depths.max()), 1)
        self.limbs = [limb for limb in _subtrees(skeleton) if len(limb) <= max(skeleton.num_joints // 3, 1)]

    def measure(self, joints: Array) -> tuple[Array, Array]:
        """Measured positions (T, V, 3) in metres and scores (T, V) in 0..1, 0 where a joint is lost, of one person."""
        frames, num_joints, _ = joints.shape
        hidden = 1.0 / (
            1.0
            + np.exp(
                -np.clip((joints[..., 2] - np.median(joints[..., 2], axis=1, keepdims=True) - 0.18) / 0.04, -30, 30)
            )
        )
        strength = self.noise * self.looseness * (1.0 + 1.2 * hidden)
        jitter = 0.014 * self.rng.standard_normal(joints.shape)
        knots = self.rng.standard_normal((frames // 12 + 3, num_joints, 3))
        place = np.arange(frames) / 12.0 + self.rng.uniform()
        before, share = place.astype(int), (place % 1.0)[:, None, None]
        wander = 0.024 * (knots[before] * (1.0 - share) + knots[before + 1] * share)
        measured = joints + strength[..., None] * (jitter + wander) * [1.0, 1.0, 1.4]
        scores = np.clip(
            0.92 - 0.25 * hidden - 0.06 * strength * np.abs(self.rng.standard_normal(hidden.shape)), 0.05, 1.0
        )
        for _ in range(self.rng.poisson(self.occlusion * frames / 60.0) if self.limbs else 0):
            self._lose(measured, scores)
        return measured, scores

    def _lose(self, measured: Array, scores: Array) -> None:
        limb = self.limbs[self.rng.integers(len(self.limbs))]
        start = int(self.rng.integers(len(measured)))
        stop = min(start + int(self.rng.integers(3, 22)), len(measured))
        kind = self.rng.random()
        where = np.s_[start:stop, limb]
        if kind < 0.35:
            scores[where] = 0.0
        elif kind < 0.65:
            measured[where] = measured[start, limb]
            scores[where] *= 0.6
        else:
            measured[where] += 0.07 * self.rng.standard_normal((1, len(limb), 3)) + 0.03 * self.rng.standard_normal(
                measured[where].shape
            )
            scores[where] *= 0.4


def _subtrees(skeleton: Skeleton) -> list[list[int]]:
    """Every joint but the root with all joints that hang on it."""
    members: list[list[int]] = [[joint] for joint in range(skeleton.num_joints)]
    for joint in np.argsort(-skeleton.depths, kind="stable"):
        if skeleton.parents[joint] >= 0:
            members[skeleton.parents[joint]] += members[joint]
    return [sorted(limb) for joint, limb in enumerate(members) if skeleton.parents[joint] >= 0]
