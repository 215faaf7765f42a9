"""What a row of the suite is, and what was measured of it."""

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from protogcn.bench.statistics import Ratio, Spread, growth_exponent

Call = Callable[[], Any]
FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, subprocess.SubprocessError),
)
"""What an alternative may end with without stopping the others."""


@dataclass(frozen=True)
class Settings:
    """How the suite runs.

    Attributes:
        quick: tiny sizes, one round: whether everything works, not how fast it is.
        device: ``cpu`` or ``cuda``.
        repeat: rounds of a row, 0 for as many as fit into `seconds`, up to 30.
        seconds: that a row may take once it is warm; it gets three rounds in any case.
        seed: of the order within each round, of weights and of clips.
        clips: of the largest synthetic store.
        alternatives: names of those to measure; empty for all. The reference of a row always is.
        scratch: folder for stores and the like; deleted by whoever made it.
    """

    quick: bool = False
    device: str = "cpu"
    repeat: int = 0
    seconds: float = 20.0
    seed: int = 0
    clips: int = 100_000
    alternatives: tuple[str, ...] = ()
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))


@dataclass(frozen=True)
class Row:
    """Several ways to the same result, or one way at several sizes.

    Attributes:
        name: unique, with slashes.
        what: sizes of the input, in words.
        alternatives: name -> builder of what is timed; the first one is the reference of the ratios. Builders run just
            before the warm-up, so that a row that is not asked for costs nothing.
        items: clips or whatever else one call deals with, for the rate.
        unit: what the items are.
        quantity: ``seconds``, ``megabytes`` or ``operations``.
        own_clock: the call returns its figure itself, as child processes do.
        compare: results are compared with that of the reference.
        sizes: of each alternative, where the row shows how cost grows; there are no ratios then.
        left_out: alternatives that cannot be measured here -> why.
    """

    name: str
    what: str
    alternatives: Mapping[str, Callable[[], Call]]
    items: int = 1
    unit: str = "calls"
    quantity: str = "seconds"
    own_clock: bool = False
    compare: bool = False
    sizes: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """One alternative of a row.

    Attributes:
        name: of the alternative.
        figures: one for each round: seconds or megabytes of one call.
        spread: of the figures; None where it failed or was left out.
        ratio: reference by this one; None for the reference itself.
        per_second: items by the median of the seconds.
        deviation: largest difference of its result from the reference's, relative to the largest of that.
        warm_up: seconds of building and warming up, compilation included.
        error: why there are no figures.
        size: for growth.
    """

    name: str
    figures: tuple[float, ...] = ()
    spread: Spread | None = None
    ratio: Ratio | None = None
    per_second: float | None = None
    deviation: float | None = None
    warm_up: float | None = None
    error: str | None = None
    size: float | None = None


@dataclass(frozen=True)
class Result:
    """A row with its figures, in the order of its alternatives."""

    name: str
    what: str
    unit: str
    quantity: str
    items: int
    rounds: int
    alternatives: tuple[Measured, ...]

    @property
    def exponent(self) -> float | None:
        """The power of the size that the cost grows with, where the row is about that."""
        points = [(each.size, each.spread.median) for each in self.alternatives if each.size and each.spread]
        return growth_exponent(*zip(*points, strict=True)) if len(points) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "exponent": self.exponent}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Result":
        """What :meth:`as_dict` gave, read from JSON."""
        parts = []
        for each in entry["alternatives"]:
            own = dict(each, figures=tuple(each["figures"]))
            own["spread"] = Spread(**own["spread"]) if own["spread"] else None
            own["ratio"] = Ratio(**own["ratio"]) if own["ratio"] else None
            parts.append(Measured(**own))
        kept = {key: entry[key] for key in ("name", "what", "unit", "quantity", "items", "rounds")}
        return cls(alternatives=tuple(parts), **kept)
