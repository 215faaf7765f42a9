"""Rows whose alternatives are processes of their own."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench.test_bench_suite import QUICK, check

from protogcn.bench import memory, subjects
from protogcn.bench.suite import run_suite

PEAKS = [f"memory/{task}/protogcn" for task in ("forward", "train")]


def test_peak_memory_in_small(tmp_path: Path) -> None:
    check(run_suite(["memory"], QUICK, tmp_path), PEAKS)


def test_starts_in_small(tmp_path: Path) -> None:
    document = run_suite(["startup"], QUICK, tmp_path)
    check(document, ["startup"])
    seconds = {way["name"]: way["figures"][0] for way in document["rows"][0]["alternatives"]}
    assert seconds["import protogcn"] < seconds["import torch"]


def test_growth_in_small(tmp_path: Path) -> None:
    document = run_suite(["growth"], QUICK, tmp_path)
    names = [f"growth/{axis}" for axis in ("N", "T", "M", "V", "store-open", "store-read", "processes")]
    check(document, names)
    assert all(isinstance(row["exponent"], float) for row in document["rows"])
    assert [way["size"] for way in document["rows"][3]["alternatives"]] == [13, 15, 20]


def test_memory_grows_with_the_batch() -> None:
    case = subjects.Case("stgcnpp", quick=True, frames=64, samples=4)
    few, many = (memory.measure(replace(case, samples=samples), "forward", "ours") for samples in (4, 64))
    expected = 4 * 60 * 2 * 64 * 25 * 14 / 2**20
    assert many - few > expected


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="unknown model 'protogn'"):
        memory.peak_in_child(subjects.Case("protogn"), "forward", "ours")
