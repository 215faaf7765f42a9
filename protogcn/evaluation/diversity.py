"""How different the mistakes of several models are (Kuncheva and Whitaker, Measures of Diversity, 2003)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

__all__ = ["Diversity", "diversity"]


@dataclass(frozen=True, eq=False)
class Diversity:
    """Pairwise measures of S models on the same clips, matrices (S, S), from which clips each gets right.

    Attributes:
        names: of the models.
        disagreement: share of clips that exactly one of the two gets right; zero on the diagonal.
        q: Yule's Q, from -1 (never wrong together) to 1; NaN where it is not defined, as for two faultless models.
        error_correlation: correlation of being wrong; NaN for a model that is never, or always, wrong.
        oracle: share of clips that at least one of the two gets right.
        oracle_all: share of clips that at least one of all gets right: no fusion of these answers is better.
        unanimous: share of clips that all get right.
    """

    names: tuple[str, ...]
    disagreement: np.ndarray
    q: np.ndarray
    error_correlation: np.ndarray
    oracle: np.ndarray
    oracle_all: float
    unanimous: float

    def pairs(self) -> list[tuple[str, str, float, float, float, float]]:
        """(first, second, disagreement, Q, error correlation, oracle) of every pair, the most diverse first."""
        found = [
            (
                self.names[a],
                self.names[b],
                float(self.disagreement[a, b]),
                float(self.q[a, b]),
                float(self.error_correlation[a, b]),
                float(self.oracle[a, b]),
            )
            for a, b in combinations(range(len(self.names)), 2)
        ]
        return sorted(found, key=lambda pair: -pair[2])


def diversity(correct: Sequence[np.ndarray] | np.ndarray, names: Sequence[str]) -> Diversity:
    """Measure the diversity of models by their right answers, boolean (n,) each, on the same clips in the same order.

    Raises:
        ValueError: there are no models, or not a name for each.
    """
    right = np.array(correct, np.float64)
    if right.ndim != 2 or not right.size or len(names) != len(right):
        raise ValueError(f"expected a name and the right answers of each model, got {len(names)} and {right.shape}")
    wrong, clips = 1 - right, right.shape[1]
    both, neither = right @ right.T / clips, wrong @ wrong.T / clips
    first, second = right @ wrong.T / clips, wrong @ right.T / clips
    odds = both * neither
    with np.errstate(invalid="ignore", divide="ignore"):
        q = (odds - first * second) / (odds + first * second)
        rate = wrong.mean(axis=1)
        deviation = np.sqrt(rate * (1 - rate))
        correlation = (neither - np.outer(rate, rate)) / np.outer(deviation, deviation)
    correlation[:, deviation == 0] = correlation[deviation == 0] = np.nan
    return Diversity(
        tuple(names),
        first + second,
        q,
        correlation,
        1 - neither,
        float(right.max(axis=0).mean()),
        float(right.min(axis=0).mean()),
    )
