"""Rows about starting: importing torch, this package and its networks, and the help of the command line."""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from protogcn.bench.rows import Call, Row, Settings

_PROGRAMS = {
    "import torch": ("-c", "import torch"),
    "import protogcn": ("-c", "import protogcn"),
    "import protogcn.models": ("-c", "import protogcn.models"),
    "protogcn --help": ("-m", "protogcn.cli", "--help"),
}
_LONGEST = 120


def startup_rows(settings: Settings) -> Iterator[Row]:
    """Seconds from starting a Python process to its end."""
    yield Row(
        "startup",
        "a Python process each",
        {name: partial(_constant, partial(_seconds, words)) for name, words in _PROGRAMS.items()},
        unit="starts",
        own_clock=True,
    )


def _constant(call: Call) -> Call:
    return call


def _seconds(words: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True, timeout=_LONGEST)
    return time.perf_counter() - started
