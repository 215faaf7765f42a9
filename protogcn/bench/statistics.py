"""Medians, quartiles and paired ratios of measurements that were taken in rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some figures."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How many times less an alternative takes than the reference of its row, from the ratio within every round.

    Attributes:
        median: of the ratios; above 1 the alternative is ahead.
        low, high: quartiles of the ratios.
        least, most: 95 % bootstrap interval of the median.
    """

    median: float
    low: float
    high: float
    least: float
    most: float


def spread(figures: Sequence[float]) -> Spread:
    """Median and quartiles, by linear interpolation."""
    low, median, high = np.quantile(np.asarray(figures, np.float64), (0.25, 0.5, 0.75)).tolist()
    return Spread(median, low, high)


def paired_ratio(reference: Sequence[float], figures: Sequence[float], seed: int = 0) -> Ratio:
    """The ratio of two alternatives, paired by round, so that what slows a whole round down cancels out.

    Args:
        reference, figures: one positive figure for each round, in the same order.
        seed: of the bootstrap.

    Raises:
        ValueError: the rounds differ in number, there are none, or a figure is not positive.
    """
    above, below = np.asarray(reference, np.float64), np.asarray(figures, np.float64)
    if above.shape != below.shape or above.ndim != 1 or not len(above):
        raise ValueError(f"paired figures must be one for each round; got {above.shape} and {below.shape}")
    if not (np.isfinite(above).all() and np.isfinite(below).all() and above.min() > 0 and below.min() > 0):
        raise ValueError("paired figures must be positive and finite")
    ratios = above / below
    rows = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    least, most = np.quantile(np.median(ratios[rows], axis=1), (0.025, 0.975)).tolist()
    middle = spread(ratios.tolist())
    return Ratio(middle.median, middle.low, middle.high, least, most)


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of the size that a cost grows with: the slope of a straight line through the logarithms.

    Raises:
        ValueError: fewer than two different sizes, or something that is not positive.
    """
    if len(set(sizes)) < 2 or len(sizes) != len(costs) or min(*sizes, *costs) <= 0:
        raise ValueError(f"an exponent needs positive costs of two sizes or more; got {list(sizes)}, {list(costs)}")
    x, y = np.log(np.asarray(sizes, np.float64)), np.log(np.asarray(costs, np.float64))
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))
