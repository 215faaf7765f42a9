"""Published numbers beside rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from protogcn.evaluation.report import Row
from protogcn.evaluation.scores import check_choice

__all__ = ["OwnBenchmark", "PublishedBenchmark", "find_model", "with_published"]


class PublishedBenchmark(Protocol):
    """What the table needs to know of a benchmark; `published` maps model -> stream or "2", "4", "6" -> top-1 in %."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def published(self) -> Mapping[str, Mapping[str, float]]: ...


@dataclass(frozen=True)
class OwnBenchmark:
    """A benchmark on which nobody has published anything, such as own or synthetic clips."""

    name: str
    title: str
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def with_published(row: Row, key: str, benchmark: PublishedBenchmark, model: str, exact: bool) -> Row:
    """The row beside the model's own published number or, failing that, the best that anyone has published."""
    own = find_model(benchmark, model)
    if exact and own is None:
        check_choice(model, tuple(benchmark.published), f"model with published numbers on {benchmark.name}")
    candidates = {own: benchmark.published[own]} if own else benchmark.published
    found = {name: numbers[key] for name, numbers in candidates.items() if key in numbers}
    if not found:
        return row
    best = max(found, key=lambda name: found[name])
    return replace(row, published=found[best], publisher=best, own=own is not None)


def find_model(benchmark: PublishedBenchmark, model: str) -> str | None:
    """The name under which results of `model` are published on `benchmark`, however it is spelled there."""

    def plain(name: str) -> str:
        return "".join(letter for letter in name.lower().replace("+", "p") if letter.isalnum())

    return next((name for name in benchmark.published if plain(name) == plain(model)), None)
