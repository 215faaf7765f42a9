"""How a row is timed: in turn, in another order each round, and whatever fails is told without stopping the rest."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from protogcn.bench.rows import Result, Row, Settings
from protogcn.bench.timing import time_row


def told(figures: dict[str, list[float]], log: list[str] | None = None) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Alternatives that say figures prepared beforehand; the first one goes to the warm-up."""

    def build(name: str) -> Callable[[], float]:
        left = iter(figures[name])

        def call() -> float:
            if log is not None:
                log.append(name)
            return next(left)

        return call

    return {name: partial(build, name) for name in figures}


def by_name(result: Result) -> dict[str, Any]:
    return {each.name: each for each in result.alternatives}


def test_ratios_are_of_the_same_round() -> None:
    figures = {"plain": [0.0, 2.0, 20.0, 4.0], "ours": [0.0, 1.0, 5.0, 4.0]}
    row = Row("row", "what", told(figures), own_clock=True, items=8)
    found = by_name(time_row(row, Settings(repeat=3)))
    assert found["plain"].figures == (2.0, 20.0, 4.0)
    assert found["plain"].ratio is None
    assert found["ours"].ratio.median == pytest.approx(2.0)
    assert found["ours"].spread.median == 4.0
    assert found["ours"].per_second == 2.0


def test_every_round_has_all_in_a_seeded_order() -> None:
    def order(seed: int) -> list[str]:
        log: list[str] = []
        row = Row("row", "what", told({name: [1.0] * 9 for name in "abcd"}, log), own_clock=True)
        time_row(row, Settings(repeat=8, seed=seed))
        return log[4:]

    first = order(0)
    rounds = [tuple(first[start : start + 4]) for start in range(0, 32, 4)]
    assert all(sorted(each) == list("abcd") for each in rounds)
    assert len(set(rounds)) > 3
    assert first == order(0)
    assert first != order(1)


def test_what_fails_is_told_and_the_rest_goes_on() -> None:
    def broken() -> Callable[[], Any]:
        raise ImportError("nothing of that name\nmore")

    def late() -> Callable[[], float]:
        left = [1.0, 1.0]

        return lambda: left.pop()

    alternatives = {
        "ours": told({"ours": [1.0] * 5})["ours"],
        "unbuilt": broken,
        "late": late,
        "wrong": lambda: lambda: 1 / 0,
    }
    found = by_name(time_row(Row("row", "what", alternatives, own_clock=True), Settings(repeat=3)))
    assert found["ours"].figures == (1.0, 1.0, 1.0)
    assert found["ours"].error is None
    assert found["unbuilt"].error == "ImportError: nothing of that name"
    assert found["late"].error == "IndexError: pop from empty list"
    assert found["wrong"].error.startswith("ZeroDivisionError")
    assert all(found[name].spread is None and found[name].ratio is None for name in ("unbuilt", "late", "wrong"))


def test_without_its_reference_a_row_has_figures_and_no_ratios() -> None:
    def broken() -> Callable[[], Any]:
        raise RuntimeError

    row = Row("row", "what", {"plain": broken, **told({"ours": [1.0] * 5})}, own_clock=True)
    found = by_name(time_row(row, Settings(repeat=3)))
    assert found["plain"].error == "RuntimeError: "
    assert found["ours"].spread.median == 1.0
    assert found["ours"].ratio is None


def test_the_clock_is_right() -> None:
    row = Row("row", "what", {"short": lambda: lambda: time.sleep(0.01), "long": lambda: lambda: time.sleep(0.03)})
    found = by_name(time_row(row, Settings(repeat=5)))
    assert found["short"].spread.median >= 0.01
    assert found["long"].spread.median >= 0.03
    assert found["long"].ratio.median < 0.9


def test_short_calls_are_repeated_within_a_sample() -> None:
    calls = []
    row = Row("row", "what", {"quick": lambda: lambda: calls.append(1)})
    result = time_row(row, Settings(repeat=3))
    assert len(calls) > 300
    assert result.rounds == 3
    assert by_name(result)["quick"].spread.median < 1e-3


def test_rounds_stop_with_the_time() -> None:
    row = Row("row", "what", {"slow": lambda: lambda: time.sleep(0.02)})
    assert time_row(row, Settings(seconds=0.0)).rounds == 3
    assert time_row(Row("row", "what", {"quick": lambda: lambda: None}), Settings(seconds=60.0)).rounds == 30


def test_results_are_compared_with_the_reference() -> None:
    right = torch.tensor([1.0, -4.0])
    alternatives: dict[str, Any] = {
        "plain": lambda: lambda: right,
        "same": lambda: lambda: right.numpy().copy(),
        "off": lambda: lambda: right + torch.tensor([0.0, 0.4]),
        "other": lambda: lambda: np.zeros(3),
        "none": lambda: lambda: None,
    }
    found = by_name(time_row(Row("row", "what", alternatives, compare=True), Settings(quick=True)))
    assert found["same"].deviation == 0
    assert found["off"].deviation == pytest.approx(0.1)
    assert found["plain"].deviation is found["other"].deviation is found["none"].deviation is None


def test_alternatives_can_be_chosen_and_left_out() -> None:
    row = Row("row", "what", told({name: [1.0] * 5 for name in "abc"}), own_clock=True, left_out={"d": "no compiler"})
    found = by_name(time_row(row, Settings(repeat=2, alternatives=("c",))))
    assert list(found) == ["a", "c", "d"]
    assert found["d"].error == "left out: no compiler"


def test_sizes_give_a_power_instead_of_ratios() -> None:
    figures = {str(size): [size**2.0] * 4 for size in (1, 2, 4)}
    row = Row("row", "what", told(figures), own_clock=True, sizes={name: float(name) for name in figures})
    result = time_row(row, Settings(repeat=3))
    assert result.exponent == pytest.approx(2.0)
    assert all(each.ratio is None for each in result.alternatives)
