"""Memory that tensors free is kept for the next ones."""

import os
import platform
import subprocess
import sys

import pytest

# Pages that are touched for the first time, per round of three tensors of 64 MB that are made and freed.
FAULTS = """
import resource, sys
import torch
from protogcn.training.allocator import keep_freed_memory

def pages(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        held = [torch.ones(16 << 20) for _ in range(3)]
        del held
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds

kept = sys.argv[1] == "keep" and keep_freed_memory()
pages(10)
print(int(kept), pages(10))
"""


def faults(way: str, **settings: str) -> tuple[bool, float]:
    chosen = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(chosen)}
    words = [sys.executable, "-c", FAULTS, way]
    said = subprocess.run(words, env=environment | settings, capture_output=True, text=True, check=True).stdout.split()
    return said[0] == "1", float(said[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library glibc")
def test_large_tensors_take_few_fresh_pages() -> None:
    kept, few = faults("keep")
    assert kept
    # Every tensor is new to the system otherwise, in pages that may be large.
    assert faults("leave")[1] > 10 * max(few, 1)


def test_settings_of_the_environment_stand() -> None:
    assert not faults("keep", MALLOC_ARENA_MAX="2")[0]
