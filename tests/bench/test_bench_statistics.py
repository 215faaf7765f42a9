"""Medians, paired ratios and exponents on made-up figures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn.bench.statistics import growth_exponent, paired_ratio, spread

figures = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


@given(figures)
def test_the_median_lies_between_the_quartiles(values: list[float]) -> None:
    middle = spread(values)
    assert min(values) <= middle.low <= middle.median <= middle.high <= max(values)
    assert middle.median == pytest.approx(np.median(values))


@settings(max_examples=30)
@given(figures, st.floats(0.01, 100))
def test_a_constant_factor_is_found_exactly_whatever_the_noise(values: list[float], factor: float) -> None:
    """Noise that falls on whole rounds cancels out, which unpaired medians would not manage."""
    ratio = paired_ratio([factor * value for value in values], values)
    for found in (ratio.median, ratio.low, ratio.high, ratio.least, ratio.most):
        assert found == pytest.approx(factor)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=20))
def test_ratios_are_paired_by_round(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    found = paired_ratio(above, below)
    assert found.median == pytest.approx(np.median(ratios))
    assert min(ratios) * (1 - 1e-12) <= found.least <= found.most <= max(ratios) * (1 + 1e-12)
    assert found.low <= found.median <= found.high
    assert found == paired_ratio(above, below), "the bootstrap must be seeded"


def test_the_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        load = np.exp(rng.normal(0, 1, 25))
        noise = np.exp(rng.normal(0, 0.1, (2, 25)))
        found = paired_ratio((3 * load * noise[0]).tolist(), (load * noise[1]).tolist(), seed)
        covered += found.least <= 3 <= found.most
        assert found.most / found.least < 1.5
    assert covered >= 32


@pytest.mark.parametrize(
    ("above", "below"), [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0]), ([1.0], [-1.0]), ([math.inf], [1.0])]
)
def test_figures_without_a_ratio_are_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match="paired figures must be"):
        paired_ratio(above, below)


@given(st.floats(-3, 3), st.floats(1e-3, 1e3))
def test_a_power_is_found(power: float, factor: float) -> None:
    sizes = [1.0, 2.0, 5.0, 40.0]
    assert growth_exponent(sizes, [factor * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(("sizes", "costs"), [([1.0], [1.0]), ([2.0, 2.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 1.0])])
def test_points_without_a_line_are_refused(sizes: list[float], costs: list[float]) -> None:
    with pytest.raises(ValueError, match="two sizes or more"):
        growth_exponent(sizes, costs)
