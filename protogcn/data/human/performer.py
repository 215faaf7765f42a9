"""Who performs and how a performance runs: people with habits, and the timing of one take."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from protogcn.data.human.body import Array, Body, Posture

LEFT, RIGHT = 0, 1
_SPARE_HAND = np.array(
    [[0.1, -0.72, 0.12], [0.05, -0.85, 0.12], [-0.25, -0.6, 0.35], [-0.15, -0.8, -0.3], [0.0, -0.45, 0.5]]
)


@dataclass(frozen=True)
class Subject:
    """A person: proportions and habits.

    Attributes:
        number: from 1, part of the clip names.
        body: proportions.
        left_handed: performs in the mirror.
        tempo: speed of movements, 1 on average.
        amplitude: size of movements, 1 on average.
        seed: what the habits are derived from.
    """

    number: int
    body: Body
    left_handed: bool
    tempo: float
    amplitude: float
    seed: int
    _traits: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def draw(cls, number: int, seed: int = 0) -> Subject:
        """The person ``number`` of the population ``seed``; every fourth is left-handed."""
        rng = np.random.default_rng([seed, number, 1])
        tempo, amplitude = np.exp(rng.normal(0.0, [0.17, 0.14]))
        return cls(number, Body.draw(rng), number % 4 == 1, float(tempo), float(amplitude), seed)

    def trait(self, name: str, spread: float = 1.0) -> float:
        """Departure of this person from the average in the habit ``name``: normal, always the same."""
        if name not in self._traits:
            rng = np.random.default_rng([self.seed, self.number, zlib.crc32(name.encode())])
            self._traits[name] = float(np.clip(rng.normal(), -2.0, 2.0))
        return spread * self._traits[name]


class Take:
    """One performance of one action by one subject, sampled at 30 frames a second.

    Attributes:
        subject: who performs.
        partner: who faces the subject, in actions of two.
        frames: T.
        time: (T,) seconds, advancing with the tempo of the take.
        phase: (T,) from 0 before the action to 1 after it; starts and ends somewhere inside the clip.
        size: amplitude of this take, 1 on average.
    """

    def __init__(self, subject: Subject, frames: int, rng: np.random.Generator, partner: Subject | None = None) -> None:
        self.subject, self.partner, self.frames, self.rng = subject, partner, frames, rng
        tempo = subject.tempo * np.exp(rng.normal(0.0, 0.12))
        self.size = subject.amplitude * float(np.exp(rng.normal(0.0, 0.1)))
        self.time = np.arange(frames) / 30.0 * tempo + rng.uniform(0.0, 10.0)
        start, stop = rng.uniform(-0.08, 0.22), rng.uniform(0.78, 1.08)
        linear = np.clip((np.linspace(0.0, 1.0, frames) - start) / (stop - start), 0.0, 1.0)
        self.phase: Array = linear ** np.exp(rng.normal(0.0, 0.2))

    def vary(self, name: str, mean: float, spread: float) -> float:
        """A quantity that differs between people by ``spread`` and between takes of one person by half of it."""
        return mean + self.subject.trait(name, spread) + 0.5 * spread * float(self.rng.normal())

    def keys(self, *keys: tuple[float, float | tuple[float, ...]], shift: float = 0.03) -> Array:
        """Smooth (minimum-jerk) track (T,) or (T, C) through (phase, value) keys; their times shift in every take."""
        times = np.maximum.accumulate([k[0] for k in keys] + self.rng.normal(0.0, shift, len(keys)))
        values = np.array([k[1] for k in keys], dtype=float)
        span = np.clip(np.searchsorted(times, self.phase, side="right") - 1, 0, len(keys) - 2)
        step = np.clip((self.phase - times[span]) / np.maximum(times[span + 1] - times[span], 1e-3), 0.0, 1.0)
        step = step**3 * (10.0 - 15.0 * step + 6.0 * step**2)
        step = step.reshape(-1, *[1] * (values.ndim - 1))
        return values[span] + (values[span + 1] - values[span]) * step

    def wobble(self, size: float, *shape: int) -> Array:
        """Slow aimless movement (*shape, T) of standard deviation ``size``: nobody stands still."""
        speed = self.rng.uniform(0.8, 4.0, (*shape, 3, 1))
        return size * 0.8 * np.sin(speed * self.time + self.rng.uniform(0.0, 6.3, (*shape, 3, 1))).sum(-2)

    def swing(self, hertz: float) -> Array:
        """Angle (T,) in radians that advances ``hertz`` turns a second at the tempo of the take."""
        return 2 * np.pi * hertz * self.time


def idle(take: Take, subject: Subject | None = None) -> Posture:
    """Standing as this subject stands: the posture that every action starts from."""
    subject = subject or take.subject
    posture = Posture()
    posture.pelvis = np.array([take.rng.normal(0.0, 0.04), -0.025, 0.0]) + take.wobble(0.01, 3).T * [1.0, 0.2, 1.0]
    posture.hips = np.array([subject.trait("lean", 0.05), take.rng.normal(0.0, 0.12), 0.0]) + take.wobble(0.02, 3).T
    posture.chest = (
        np.array([subject.trait("slouch", 0.1), take.rng.normal(0.0, 0.1), subject.trait("tilt", 0.03)])
        + take.wobble(0.02, 3).T
    )
    posture.head = np.array([subject.trait("nod", 0.1), take.rng.normal(0.0, 0.25), subject.trait("head tilt", 0.05)])
    posture.head = posture.head + take.wobble(0.05, 3).T
    rest = np.array([0.13 + subject.trait("arms out", 0.03), -0.96, 0.07 + subject.trait("arms front", 0.04)])
    posture.wrists = rest + np.moveaxis(take.wobble(0.02, 2, 3), 1, 2)
    posture.elbows = 0.3 + subject.trait("elbows", 0.15) + take.wobble(0.03, 2)
    if take.rng.random() < 0.35:
        # A hand with nothing to do rests on the hip, in a pocket, at the belly, behind the back or holds something.
        place = _SPARE_HAND[int(take.rng.integers(len(_SPARE_HAND)))]
        posture.wrists[LEFT] += place + take.rng.normal(0.0, 0.03, 3) - rest
        posture.elbows[LEFT] += 0.5
    posture.fists = np.full((2, 1), 0.35 + subject.trait("fists", 0.1))
    posture.hand_pitch = take.wobble(0.05, 2)
    stance = np.array([0.03 + subject.trait("stance", 0.03), 0.0, 0.0])
    posture.ankles = stance + np.array([[[0.0, 0.0, 0.5]], [[0.0, 0.0, -0.5]]]) * subject.trait("foot ahead", 0.06)
    posture.toes = np.zeros((2, take.frames))
    posture.ankles = np.broadcast_to(posture.ankles, (2, take.frames, 3)).copy()
    return posture


def reach(posture: Posture, side: int, target: Array | tuple[float, float, float], weight: Array) -> None:
    """Blend the wrist of ``side`` to ``target`` (outward, up, front; arm lengths) by ``weight`` (T,)."""
    posture.wrists[side] += weight[:, None] * (np.asarray(target) - posture.wrists[side])
