"""The actions of the procedural human: each turns a `Take` into the posture of one person, or of two face to face.

Actions are written for a right-hander. Several resemble each other on purpose, as they do in recorded benchmarks: drink
and phone call, throw and wave, pick up and bow, walk and jog, push and handshake; sit down is stand up backwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protogcn.data.human.body import Array, Posture
from protogcn.data.human.mutual import handshake, push
from protogcn.data.human.performer import LEFT, RIGHT, Take, idle, reach


def _rise(take: Take, start: float = 0.02, top: float = 0.32, leave: float = 0.72, end: float = 0.98) -> Array:
    """Weight (T,) of a movement that is made, held and taken back; some takes begin or end while it is held."""
    before, after = (float(take.rng.random() < 0.12) for _ in range(2))
    return take.keys((start, before), (top, 1.0), (leave, 1.0), (end, after))


def _gait(
    take: Take, hertz: float, stride: float, lift: float, stance: float, swing: Array, elbow: tuple[float, float]
) -> Posture:
    """Legs that step ``hertz`` strides a second and arms that swing against them, on the spot or under way."""
    posture, angle = idle(take), take.swing(hertz)
    for side, phase in ((LEFT, 0.5), (RIGHT, 0.0)):
        cycle = (angle / (2 * np.pi) + phase) % 1.0
        air = np.clip((cycle - stance) / (1.0 - stance), 0.0, 1.0)
        front = np.where(air > 0, -np.cos(np.pi * air), 1.0 - 2.0 * np.minimum(cycle / stance, 1.0))
        posture.ankles[side, :, 2] += stride * front
        posture.ankles[side, :, 1] += lift * np.sin(np.pi * air) ** 2
        posture.toes[side] = 0.5 * lift / 0.15 * np.sin(2 * np.pi * np.clip(air * 0.9, 0, 1)) * (air > 0)
        sway = -elbow[1] * np.cos(angle + 2 * np.pi * phase)
        out = np.full_like(sway, 0.13 - 0.1 * elbow[0])
        posture.wrists[side] = np.stack([out, 0.5 * elbow[0] + sway**2 - 0.97, 0.5 * elbow[0] + sway], -1)
    posture.chest[:, 1] += swing * np.cos(angle)
    posture.hips[:, 1] += 0.6 * swing * np.cos(angle + np.pi)
    speed = 2 * stride * take.subject.body.leg / stance * hertz
    travel = speed * float(np.clip(take.rng.uniform(-0.3, 0.8), 0.0, 1.0)) * (take.time - take.time.mean())
    posture.path = np.outer(travel, [0.0, 0.0, 1.0])
    return posture


def walk(take: Take) -> list[Posture]:
    stride = 0.27 * take.size
    bent = float(np.clip(take.vary("walk arms", 0.12, 0.14), 0.0, 0.8))
    swing = max(take.vary("walk swing", 0.22, 0.1), 0.03)
    posture = _gait(
        take, take.vary("walk pace", 1.0, 0.1), stride, 0.09, 0.6, np.array(0.12 * take.size), (bent, swing)
    )
    posture.pelvis[:, 1] -= 0.02 + 0.5 * stride**2 * np.cos(2 * take.swing(1.0)) ** 2
    return [posture]


def jog(take: Take) -> list[Posture]:
    hertz = take.vary("jog pace", 1.3, 0.1)
    bent = float(np.clip(take.vary("jog arms", 0.65, 0.22), 0.1, 1.0))
    swing = max(take.vary("jog swing", 0.22, 0.08), 0.05)
    lift = max(take.vary("jog lift", 0.22, 0.05), 0.1)
    posture = _gait(take, hertz, 0.22 * take.size, lift, 0.45, np.array(0.15 * take.size), (bent, swing))
    posture.pelvis[:, 1] += -0.05 + 0.03 * take.size * np.cos(2 * take.swing(hertz) + 1.0)
    posture.hips[:, 0] += take.vary("jog lean", 0.1, 0.05)
    return [posture]


def wave(take: Take) -> list[Posture]:
    posture, weight = idle(take), _rise(take, top=0.25, leave=0.8)
    height = take.vary("wave height", 0.4, 0.22)
    beat = np.sin(take.swing(take.vary("wave beat", 1.7, 0.3)))
    sway = np.clip(take.vary("wave width", 0.2, 0.06), 0.06, 0.4) * take.size
    target = np.stack([0.35 + sway * beat, height - 0.15 * sway * beat**2, 0.35 - 0.1 * height + 0 * beat], -1)
    reach(posture, RIGHT, target, weight)
    posture.elbows[RIGHT] += weight * take.vary("wave elbow", 0.5, 0.3)
    posture.fists = np.stack([np.full_like(weight, 0.3), 0.3 - 0.3 * weight])
    posture.hand_pitch[RIGHT] += 0.3 * weight * beat
    return [posture]


def throw(take: Take) -> list[Posture]:
    posture, size = idle(take), take.size
    height, side = take.vary("throw height", 0.4, 0.22), take.vary("throw side", 0.35, 0.12)
    wind = take.rng.uniform(0.3, 0.45)
    rest = tuple(posture.wrists[RIGHT].mean(0))
    posture.wrists[RIGHT] = take.keys(
        (0.03, rest), (wind, (side, height, -0.25 * size)), (wind + 0.1, (side + 0.1, height + 0.1, -0.3 * size)),
        (wind + 0.22, (0.05, 0.35, 0.85)), (wind + 0.4, (-0.2, -0.45, 0.6)), (0.98, rest), shift=0.02,
    )  # fmt: skip
    turn = take.keys(
        (0.03, 0.0), (wind, -0.45 * size), (wind + 0.1, -0.5 * size), (wind + 0.25, 0.4 * size), (0.95, 0.0)
    )
    posture.chest[:, 1] += turn
    posture.hips[:, 1] += 0.4 * turn
    posture.chest[:, 0] += take.keys((0.1, 0.0), (wind, -0.08), (wind + 0.35, 0.22 * size), (0.95, 0.0))
    posture.elbows[RIGHT] += take.keys((0.1, 0.0), (wind, 0.9), (wind + 0.3, 0.4), (0.9, 0.0))
    step = max(take.vary("throw step", 0.2, 0.15), 0.0)
    posture.ankles[LEFT, :, 2] += take.keys((wind - 0.05, 0.0), (wind + 0.18, step), (1.0, step))
    posture.ankles[LEFT, :, 1] += 0.4 * step * take.keys((wind - 0.05, 0.0), (wind + 0.06, 1.0), (wind + 0.18, 0.0))
    posture.pelvis[:, 2] += 0.5 * take.keys((wind - 0.05, 0.0), (wind + 0.22, step), (1.0, step))
    return [posture]


def clap(take: Take) -> list[Posture]:
    posture, weight = idle(take), _rise(take, top=0.2, leave=0.82)
    gap = np.clip(take.vary("clap width", 0.22, 0.08), 0.08, 0.5) * take.size
    apart = gap * (0.5 - 0.5 * np.cos(take.swing(take.vary("clap beat", 2.2, 0.4))))
    body = take.subject.body
    height, front = take.vary("clap height", -0.3, 0.12), take.vary("clap front", 0.5, 0.06)
    for side in (LEFT, RIGHT):
        lateral = (0.03 - body.shoulder_width) / body.arm
        reach(posture, side, np.stack([lateral + apart, height + 0 * apart, front + 0 * apart], -1), weight)
        posture.elbows[side] += 0.3 * weight
    posture.fists = np.full((2, 1), 0.05)
    return [posture]


def _to_head(take: Take, across: float, up: float, front: float) -> tuple[Posture, Array, np.ndarray]:
    """Idle posture, weight of the raised hand, where it goes: inwards, up and front of the shoulder, metres."""
    body = take.subject.body
    miss = take.rng.normal(0.0, 0.03, 3) + [take.subject.trait(f"head {axis}", 0.022) for axis in "xyz"]
    place = (np.array([-across, up, front]) + miss) / body.arm
    return idle(take), _rise(take), place


def drink(take: Take) -> list[Posture]:
    posture, weight, place = _to_head(take, take.subject.body.shoulder_width - 0.05, 0.08, 0.24)
    tip = take.keys((0.25, 0.0), (0.5, 1.0), (0.6, 1.0), (0.85, 0.0))
    reach(posture, RIGHT, place, weight)
    posture.wrists[RIGHT, :, 1] += 0.07 * tip * weight
    posture.elbows[RIGHT] += weight * (take.vary("drink elbow", 0.35, 0.25) + 0.2 * tip)
    posture.head[:, 0] -= max(take.vary("drink tilt", 0.22, 0.12), 0.0) * tip * take.size
    posture.fists = np.stack([np.full_like(weight, 0.3), 0.3 + 0.4 * weight])
    return [posture]


def phone_call(take: Take) -> list[Posture]:
    posture, weight, place = _to_head(take, take.subject.body.shoulder_width - 0.12, 0.13, 0.08)
    reach(posture, RIGHT, place, weight)
    posture.elbows[RIGHT] += weight * take.vary("phone elbow", 0.35, 0.25)
    posture.head[:, 2] += take.vary("phone tilt", 0.1, 0.08) * weight
    posture.head[:, 0] += take.vary("phone nod", 0.03, 0.1) * weight
    posture.fists = np.stack([np.full_like(weight, 0.3), 0.3 + 0.4 * weight])
    return [posture]


def point(take: Take) -> list[Posture]:
    posture, weight = idle(take), _rise(take, top=0.35)
    aside, up = take.rng.uniform(-0.5, 0.9), take.vary("point up", 0.05, 0.15)
    target = 0.96 * np.array([np.sin(aside) * np.cos(up), np.sin(up), np.cos(aside) * np.cos(up)])
    reach(posture, RIGHT, target, weight)
    posture.head[:, 1] -= 0.6 * aside * weight
    posture.chest[:, 1] -= 0.25 * aside * weight
    posture.fists = np.stack([np.full_like(weight, 0.3), 0.3 + 0.6 * weight])
    posture.index = np.stack([0 * weight, weight])
    return [posture]


def _seat(take: Take, lowered: Array, folded: Array) -> list[Posture]:
    """Between standing (``lowered`` = 0) and sitting (1) on a seat behind; the trunk is folded forwards on the way."""
    posture = idle(take)
    depth, back = take.vary("seat depth", 0.46, 0.05), take.vary("seat back", 0.42, 0.05)
    posture.pelvis += lowered[:, None] * [0.0, -depth, -back]
    posture.hips[:, 0] += folded * take.vary("seat fold", 0.35, 0.12) * take.size - 0.05 * lowered
    posture.chest[:, 0] += 0.6 * folded * take.vary("seat curl", 0.45, 0.15)
    lap, support = take.vary("lap", 0.45, 0.08), take.subject.trait("support") > 0.5
    for side in (LEFT, RIGHT):
        reach(posture, side, (0.02, -0.72, lap), lowered)
        reach(posture, side, (0.2, -0.85, -0.25 if support else 0.4), 0.7 * folded)
    return [posture]


def sit_down(take: Take) -> list[Posture]:
    middle = take.rng.uniform(0.4, 0.6)
    return _seat(
        take, take.keys((middle - 0.3, 0.0), (middle + 0.25, 1.0)), take.keys((0.0, 0.0), (middle, 1.0), (1.0, 0.0))
    )


def stand_up(take: Take) -> list[Posture]:
    middle = take.rng.uniform(0.4, 0.6)
    return _seat(
        take, take.keys((middle - 0.25, 1.0), (middle + 0.3, 0.0)), take.keys((0.0, 0.0), (middle, 1.0), (1.0, 0.0))
    )


def jump(take: Take) -> list[Posture]:
    posture, size = idle(take), take.size
    crouch = float(np.clip(take.vary("jump crouch", 0.2, 0.06), 0.06, 0.4))
    height = float(np.clip(take.vary("jump height", 0.24, 0.08) * size, 0.06, 0.5))
    sunk = take.keys((0.05, 0.0), (0.32, crouch), (0.42, 0.0), (0.58, 0.0), (0.7, 0.8 * crouch), (0.95, 0.0), shift=0.0)
    flight = np.clip((take.phase - 0.42) / 0.18, 0.0, 1.0)
    air = 4.0 * height * flight * (1.0 - flight)
    posture.pelvis[:, 1] += air - sunk
    posture.pelvis[:, 2] -= 0.25 * sunk
    posture.hips[:, 0] += 1.6 * sunk
    posture.ankles[..., 1] += air
    posture.toes += 0.7 * np.sin(np.pi * flight)
    arms = np.clip(take.vary("jump arms", 0.7, 0.35), 0.0, 1.2)
    back = take.keys((0.05, 0.0), (0.3, 1.0), (0.45, 0.0), (1.0, 0.0), shift=0.0)
    up = take.keys((0.3, 0.0), (0.48, 1.0), (0.72, 0.0), (1.0, 0.0), shift=0.0)
    for side in (LEFT, RIGHT):
        reach(posture, side, (0.2, -0.85, -0.4), np.clip(back * arms, 0.0, 1.0))
        reach(posture, side, (0.25, -0.2 + 0.8 * arms, 0.55), np.clip(up * arms, 0.0, 1.0))
    return [posture]


def kick(take: Take) -> list[Posture]:
    posture, size = idle(take), take.size
    height, front = take.vary("kick height", 0.3, 0.13) * size, take.vary("kick front", 0.62, 0.1)
    hit = take.rng.uniform(0.45, 0.6)
    foot = ((0.05, (0.0, 0.0, 0.0)), (hit - 0.16, (0.0, 0.14, -0.38 * size)), (hit, (-0.05, max(height, 0.08), front)))
    posture.ankles[RIGHT] += take.keys(*foot, (hit + 0.25, (0.0, 0.05, 0.1)), (0.98, (0.0, 0.0, 0.0)), shift=0.015)
    strike = take.keys((hit - 0.16, 0.0), (hit, 1.0), (hit + 0.25, 0.0), shift=0.01)
    posture.toes[RIGHT] = take.keys((0.05, 0.0), (hit - 0.16, 0.7), (hit, -0.4), (hit + 0.3, 0.0))
    posture.hips[:, 0] -= strike * take.vary("kick lean", 0.2, 0.1) * size
    posture.hips[:, 1] += 0.25 * strike
    posture.pelvis[:, 0] += 0.06 * take.keys((0.05, 0.0), (hit - 0.16, 1.0), (hit + 0.25, 1.0), (1.0, 0.0))
    reach(posture, LEFT, (0.45, -0.55, 0.45), 0.7 * strike)
    reach(posture, RIGHT, (0.4, -0.7, -0.35), 0.7 * strike)
    return [posture]


def _stoop(take: Take, weight: Array, fold: float, knees: float) -> Posture:
    """Bend forwards by ``fold`` radians and sink by ``knees`` leg lengths; the hips go back to keep the balance."""
    posture = idle(take)
    posture.hips[:, 0] += 0.65 * fold * weight
    posture.chest[:, 0] += 0.35 * fold * weight
    posture.pelvis += weight[:, None] * [0.0, -knees - 0.02 * fold, -0.12 * fold - 0.3 * knees]
    return posture


def pick_up(take: Take) -> list[Posture]:
    weight = _rise(take, top=0.45, leave=0.58)
    squat = float(np.clip(take.vary("pick up squat", 0.35, 0.3), 0.0, 1.0))
    fold = take.vary("pick up fold", 1.25 - 0.35 * squat, 0.12)
    posture = _stoop(take, weight, fold, 0.06 + 0.38 * squat)
    down = np.array([0.1, -np.cos(fold), np.sin(fold)])
    reach(posture, RIGHT, 0.92 * down + [take.rng.uniform(-0.3, 0.2), 0.0, 0.15], weight)
    other = take.subject.trait("pick up other hand")
    reach(posture, LEFT, 0.9 * down if other > 0.3 else (0.15, -0.7, 0.45), weight)
    posture.fists = np.stack([np.full_like(weight, 0.3), take.keys((0.3, 0.1), (0.6, 0.8))])
    return [posture]


def bow(take: Take) -> list[Posture]:
    weight = _rise(take, top=0.4, leave=0.62)
    fold = take.vary("bow fold", 0.85, 0.22) * take.size
    posture = _stoop(take, weight, fold, max(take.vary("bow knees", 0.03, 0.04), 0.0))
    posture.head[:, 0] += 0.25 * weight
    manner = take.subject.trait("bow arms")
    down = np.array([0.08, -np.cos(fold), np.sin(fold)])
    for side in (LEFT, RIGHT):
        reach(posture, side, 0.95 * down, float(np.clip(0.45 + 0.4 * manner, 0.0, 1.0)) * weight)
    if manner < -0.8:
        reach(posture, RIGHT, (-0.3, -0.6, 0.3), weight)
    return [posture]


#: Action name -> how it is performed, in the order of the class labels.
ACTIONS: dict[str, Callable[[Take], list[Posture]]] = {
    "walk": walk,
    "jog": jog,
    "wave": wave,
    "throw": throw,
    "clap": clap,
    "drink": drink,
    "phone call": phone_call,
    "point": point,
    "sit down": sit_down,
    "stand up": stand_up,
    "jump": jump,
    "kick": kick,
    "pick up": pick_up,
    "bow": bow,
    "handshake": handshake,
    "push": push,
}

#: The actions of two persons.
MUTUAL = frozenset({"handshake", "push"})
