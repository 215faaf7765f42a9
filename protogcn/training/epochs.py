"""Which clips one epoch of training shows, and how often: every clip alike, or by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.messages import unknown
from protogcn.training.sections import DataConfig


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """What an epoch shows of n clips.

    Items are counted through passes over the clips: item turn * n + i is clip i, shown for the turn-th time. What is
    drawn depends on the generator alone.

    Attributes:
        labels: class of each clip, (n,).
        whole: how often an epoch shows each clip of a class, (classes,).
        extra: how many clips of a class it shows once more, drawn anew for every epoch, (classes,).
        rounds: classes take turns, in rounds of one clip of each class; otherwise all items are shuffled.
    """

    labels: NDArray[np.int64]
    whole: NDArray[np.int64]
    extra: NDArray[np.int64]
    rounds: bool = False

    @property
    def size(self) -> int:
        """Items of an epoch."""
        return int((self.whole * np.bincount(self.labels, minlength=len(self.whole)) + self.extra).sum())

    @property
    def passes(self) -> int:
        """How often an epoch shows a clip at most."""
        return max(1, int((self.whole + (self.extra > 0)).max()))

    def items(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The items of an epoch in the order they are shown, (size,)."""
        if not self.rounds and (self.whole == self.whole[0]).all() and not self.extra.any():
            return rng.permutation(self.size)
        n = len(self.labels)
        by_class = []
        for label in np.flatnonzero(self.whole + self.extra):
            clips = np.flatnonzero(self.labels == label)
            turns = [rng.permutation(clips) + turn * n for turn in range(self.whole[label])]
            turns.append(rng.permutation(clips)[: self.extra[label]] + self.whole[label] * n)
            by_class.append(np.concatenate(turns))
        if self.rounds:
            return rng.permuted(np.stack(by_class, axis=1), axis=1).reshape(-1)
        return rng.permutation(np.concatenate(by_class))


def plan_epoch(config: DataConfig, labels: NDArray[np.int64], class_names: Sequence[str]) -> EpochPlan:
    """The plan of a recipe for the training clips with the given labels.

    Raises:
        ValueError: ``class_repeat`` names an unknown class, or leaves nothing to train on.
    """
    clips = np.bincount(labels, minlength=len(class_names))
    if config.sampling == "class_balanced":
        share = len(labels) * config.repeat // np.count_nonzero(clips)
        whole, extra = np.divmod(np.where(clips > 0, share, 0), np.maximum(clips, 1))
        return EpochPlan(labels, whole, extra, rounds=True)
    passes = config.repeat * class_passes(config.class_repeat, class_names)
    whole = np.floor(passes).astype(np.int64)
    extra = np.rint((passes - whole) * clips).astype(np.int64)
    plan = EpochPlan(labels, whole, extra)
    if not plan.size:
        raise ValueError("data.class_repeat shows no training clip at all; raise the number of a class above 0")
    return plan


def class_passes(repeat: Mapping[Any, float] | Sequence[float], class_names: Sequence[str]) -> NDArray[np.float64]:
    """``data.class_repeat`` as one number per class, (classes,).

    Raises:
        ValueError: a list of another length, or a key that names no class.
    """
    if not isinstance(repeat, Mapping):
        if len(repeat) != len(class_names):
            raise ValueError(f"data.class_repeat lists {len(repeat)} numbers for {len(class_names)} classes")
        return np.array(repeat, dtype=np.float64)
    passes = np.ones(len(class_names))
    for key, value in repeat.items():
        passes[_classes(str(key).strip(), class_names)] = value
    return passes


def _classes(key: str, class_names: Sequence[str]) -> slice:
    """The classes that a name, an index or a range of indices stands for."""
    names = [name.lower() for name in class_names]
    if key.lower() in names:
        place = names.index(key.lower())
        return slice(place, place + 1)
    first, _, last = key.partition("-")
    if first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < len(names):
        return slice(int(first), int(last or first) + 1)
    message = unknown("class in data.class_repeat", key, class_names)
    raise ValueError(f"{message} Classes are named, or counted from 0 to {len(names) - 1}: 3, or 60-119")
