"""Tiny runs of the rows about networks."""

from pathlib import Path

import pytest
from bench.test_bench_suite import QUICK, check

from protogcn.bench.networks import models
from protogcn.bench.suite import run_suite


@pytest.mark.parametrize("model", models())
def test_forward_and_training_step_run_in_small(model: str, tmp_path: Path) -> None:
    words = [f"forward/{model}", f"train/{model}"]
    document = run_suite(words, QUICK, tmp_path)
    assert {row["name"] for row in document["rows"]} >= set(words)
    check(document, [row["name"] for row in document["rows"]])


def test_six_streams_run_in_small(tmp_path: Path) -> None:
    check(run_suite(["six/protogcn"], QUICK, tmp_path), ["six/protogcn"])
