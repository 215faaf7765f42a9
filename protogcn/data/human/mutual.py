"""The actions of two persons; who faces whom at which distance is decided where they perform."""

from __future__ import annotations

import numpy as np

from protogcn.data.human.body import Posture
from protogcn.data.human.performer import LEFT, RIGHT, Subject, Take, idle, reach


def _partner(take: Take) -> Subject:
    if take.partner is None:
        raise ValueError("this action takes two: give the take a partner")
    return take.partner


def _mean_shoulder(take: Take) -> float:
    """Height above the floor in metres, between the shoulders of the two."""
    return 0.5 * (take.subject.body.shoulder_height + _partner(take).body.shoulder_height)


def handshake(take: Take) -> list[Posture]:
    first, second, height = idle(take), idle(take, _partner(take)), _mean_shoulder(take)
    shake = np.sin(take.swing(take.vary("shake beat", 1.9, 0.35))) * np.clip(
        take.vary("shake size", 0.05, 0.025), 0.0, 0.12
    )
    meet = 0.8 * height + take.rng.normal(0.0, 0.05)
    firm = take.keys((0.3, 0.0), (0.38, 1.0), (0.7, 1.0), (0.76, 0.0))
    for posture, subject, lag in ((first, take.subject, 0.0), (second, _partner(take), take.rng.uniform(-0.03, 0.12))):
        body = subject.body
        start = 0.02 + max(lag, 0.0)
        weight = take.keys((start, 0.0), (0.33 + 0.3 * lag, 1.0), (0.72, 1.0), (0.97, 0.0))
        up = (meet - body.shoulder_height + shake * firm) / body.arm
        front = np.full_like(up, 0.62 + 0.05 * subject.trait("shake front"))
        reach(posture, RIGHT, np.stack([front * 0 - body.shoulder_width / body.arm, up, front], -1), weight)
        posture.hips[:, 0] += weight * (0.07 + 0.06 * subject.trait("shake lean"))
    return [first, second]


def push(take: Take) -> list[Posture]:
    first, second, height = idle(take), idle(take, _partner(take)), _mean_shoulder(take)
    both = take.subject.trait("push both hands") + 0.7 * take.rng.normal() > 0.6
    hit = take.rng.uniform(0.35, 0.5)
    aim = take.vary("push height", 0.88, 0.05) * height
    body = take.subject.body
    up = (aim - body.shoulder_height) / body.arm
    for side in (LEFT, RIGHT) if both else (RIGHT,):
        inward = -0.1 if both else -0.8 * body.shoulder_width / body.arm
        reach(first, side, (inward, up - 0.15, 0.4), take.keys((0.05, 0.0), (hit - 0.12, 1.0)))
        reach(first, side, (inward, up, 0.9), take.keys((hit - 0.12, 0.0), (hit, 1.0)))
        reach(first, side, (0.13, -0.96, 0.07), take.keys((hit + 0.15, 0.0), (hit + 0.4, 1.0)))
    first.hips[:, 0] += take.keys((0.1, 0.0), (hit, 0.18 * take.size), (hit + 0.35, 0.0))
    step = max(take.vary("push step", 0.28, 0.12), 0.0)
    first.ankles[LEFT, :, 2] += take.keys((0.1, 0.0), (hit, step))
    first.pelvis[:, 2] += 0.6 * take.keys((0.1, 0.0), (hit + 0.02, step))
    force = float(np.clip(take.vary("push force", 0.4, 0.25) * take.size, 0.05, 1.2))
    second.path = np.outer(take.keys((hit - 0.01, 0.0), (hit + 0.25, -0.35 * force), shift=0.0), [0.0, 0.0, 1.0])
    second.hips[:, 0] -= force * take.keys((hit - 0.02, 0.0), (hit + 0.1, 0.25), (hit + 0.4, 0.0), shift=0.0)
    second.chest[:, 0] -= force * take.keys((hit - 0.02, 0.0), (hit + 0.08, 0.2), (hit + 0.35, 0.0), shift=0.0)
    for side, delay in ((LEFT, 0.0), (RIGHT, 0.08)):
        second.ankles[side, :, 1] += (
            0.12 * force * take.keys((hit + delay, 0.0), (hit + 0.1 + delay, 1.0), (hit + 0.2 + delay, 0.0))
        )
        reach(second, side, (0.4, -0.6, 0.45), 0.6 * take.keys((hit, 0.0), (hit + 0.15, 1.0), (hit + 0.5, 0.0)))
    return [first, second]
