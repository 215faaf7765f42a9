"""Rows whose alternatives are processes of their own."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from bench.test_bench_suite import QUICK, check

from protogcn.bench import alone, subjects
from protogcn.bench.suite import run_suite

PEAKS = [f"memory/{task}/protogcn" for task in ("forward", "train")]


def test_peak_memory_in_small(tmp_path: Path) -> None:
    check(run_suite(["memory"], QUICK, tmp_path), PEAKS)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library glibc")
def test_training_processes_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))]:
        monkeypatch.delenv(name)
    document = run_suite(["process"], QUICK, tmp_path)
    check(document, ["process/protogcn"])
    assert [way["name"] for way in document["rows"][0]["alternatives"]] == ["plain", "ours", "memory kept"]


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
    few, many = (alone.peak(replace(case, samples=samples), "forward", "ours") for samples in (4, 64))
    expected = 4 * 60 * 2 * 64 * 25 * 14 / 2**20
    assert many - few > expected


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="unknown model 'protogn'"):
        alone.peak_in_child(subjects.Case("protogn"), "forward", "ours")
