"""What several test files of the skeleton share."""

from collections.abc import Callable

import numpy as np
import pytest

from graphs import Skeleton


@pytest.fixture(scope="session")
def random_tree() -> Callable[[int, int], Skeleton]:
    """(number of joints, seed) -> a skeleton with a random tree, random numbering and some mirror pairs."""

    def build(size: int, seed: int) -> Skeleton:
        rng = np.random.default_rng(seed)
        number = rng.permutation(size)
        parents = [-1] * size
        for child in range(1, size):
            parents[number[child]] = int(number[rng.integers(child)])
        pairs = rng.permutation(size)[: 2 * rng.integers(size // 2 + 1)].reshape(-1, 2).tolist()
        names = tuple(f"joint {index}" for index in range(size))
        return Skeleton("random", names, tuple(parents), mirror=tuple((a, b) for a, b in pairs))

    return build
