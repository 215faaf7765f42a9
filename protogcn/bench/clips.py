"""Synthetic clips of the shapes of NTU RGB+D, and stores of as many as are asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protogcn.data.store import Clip, ClipStore, write_store

_TWO_PERSONS = 0.18
_CLASSES = 60
_FRAMES = (40, 120)
_SHORT = (4, 12)


def skeleton_clips(count: int, *, seed: int = 0, frames: tuple[int, int] = _FRAMES) -> list[NDArray[np.float16]]:
    """Clips (M, T, 25, 3) of random walks: 18 % with two persons, as in NTU RGB+D, and between the two lengths."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        persons, length = 1 + int(rng.random() < _TWO_PERSONS), int(rng.integers(frames[0], frames[1] + 1))
        steps = rng.standard_normal((persons, length, 25, 3)) / 20
        clips.append((rng.standard_normal((persons, 1, 25, 3)) / 3 + steps.cumsum(1)).astype(np.float16))
    return clips


def write_clips(path: Path, count: int, *, seed: int = 0, short: bool = False) -> ClipStore:
    """A store of that many clips, all in the split ``train`` and a tenth in ``test``.

    Args:
        path: of the store.
        count: clips.
        seed: of the clips.
        short: clips of 4 to 12 frames, so that many fit on a disk.
    """
    kinds = skeleton_clips(64, seed=seed, frames=_SHORT if short else _FRAMES)

    def clips() -> Iterator[Clip]:
        for number in range(count):
            yield Clip(kinds[number % len(kinds)], number % _CLASSES, f"S{number:06d}")

    splits = {"train": list(range(count)), "test": list(range(0, count, 10))}
    return write_store(path, clips(), skeleton="ntu25", class_names=_CLASSES, splits=splits)
