"""The streams of one model and their fusions, beside published numbers.

Six streams are read in two ways. The motion reading fuses j, b, k with their motion streams (complementary); the seed
reading fuses j, b, k with a second training of each from another seed (stochastic). Both are shown and compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from protogcn.evaluation.ensemble import PRESETS, RULES, Fusion, fuse, get_preset
from protogcn.evaluation.metrics import bootstrap_difference, evaluate, mcnemar
from protogcn.evaluation.report import Row, format_comparison, format_table
from protogcn.evaluation.scores import ScoreFile, check_choice, load_scores

__all__ = ["SCORES", "STREAMS", "OwnBenchmark", "PublishedBenchmark", "StreamTable", "find_model", "read_table"]

STREAMS = ("j", "b", "k", "jm", "bm", "km")
SCORES = "scores_test.npz"
_MOTION = {"2": ("j", "b"), "4": ("j", "b", "jm", "bm"), "6": STREAMS}


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


@dataclass(frozen=True, eq=False)
class StreamTable:
    """The streams of one model and all fusions that they allow.

    Attributes:
        runs: folder of the runs.
        rule: by which scores are fused.
        rows: single streams, then fusions; beside published numbers.
        comparisons: sentences that compare motion streams with second seeds.
        problems: why score files that are there were left out.
        first, second: run folder by stream, of the first trainings and of those from a second seed.
        found: run folders whose scores are in the table.
    """

    runs: Path
    rule: str
    rows: list[Row]
    comparisons: list[str]
    problems: list[str]
    first: Mapping[str, str]
    second: Mapping[str, str]
    found: frozenset[str]

    def __str__(self) -> str:
        """The rows as text, with how many clips they are of; empty where there are none."""
        if not self.rows:
            return ""
        clips = len(self.rows[0].metrics.correct)
        return f"{clips} test clips; fused by {self.rule}; figures in %\n\n{format_table(self.rows)}"


def read_table(
    benchmark: PublishedBenchmark,
    runs: Path,
    model: str | None = None,
    *,
    preset: str | None = None,
    rule: str | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    second_seed: int = 1,
    compare: str | None = None,
) -> StreamTable:
    """Read the score files of one model and fuse them in every published way.

    Args:
        benchmark: on what, with the published numbers.
        runs: folder with one run folder per stream, ``<stream>[-s<seed>]``.
        model: its name; the last part of `runs` by default.
        preset: published weights and rule; that of the model by default, else ``protogcn``.
        rule: instead of the preset's.
        weights: of single streams, instead of the preset's; a second seed weighs like its stream.
        seed, second_seed: of the first and of the second trainings.
        compare: the model whose published numbers stand beside; by default `model` or, where it has none, the best of
            others.

    Raises:
        ValueError: an unknown preset, rule or model to compare with, or scores that do not fit together.
    """
    model = model or runs.name
    chosen = get_preset(preset or (model if model in PRESETS else "protogcn"))
    rule = rule or chosen.rule
    check_choice(rule, RULES, "fusion rule")
    all_weights = dict(zip(STREAMS, chosen.weights(STREAMS), strict=True)) | dict(weights or {})
    first = {stream: _folder(stream, seed) for stream in STREAMS}
    second = {stream: _folder(stream, second_seed) for stream in ("j", "b", "k")}
    parts, problems = _load(runs, [*first.values(), *second.values()], benchmark.name)
    rows, fusions = _rows(parts, first, second, all_weights, rule)
    rows = [_with_published(row, benchmark, compare or model, exact=bool(compare)) for row in rows]
    return StreamTable(runs, rule, rows, _comparisons(fusions), problems, first, second, frozenset(parts))


def _folder(stream: str, seed: int) -> str:
    return f"{stream}-s{seed}" if seed else stream


def _load(runs: Path, folders: Sequence[str], benchmark: str) -> tuple[dict[str, ScoreFile], list[str]]:
    """Score files by run folder, and what is wrong with those that could not be used."""
    parts: dict[str, ScoreFile] = {}
    problems = []
    for folder in dict.fromkeys(folders):
        path = runs / folder / SCORES
        if not path.exists():
            continue
        try:
            part = load_scores(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if part.meta.get("benchmark", benchmark) != benchmark:
            problems.append(f"{path} is of {part.meta['benchmark']}, not of {benchmark}")
            continue
        parts[folder] = part
    return parts, problems


def _rows(
    parts: Mapping[str, ScoreFile],
    first: Mapping[str, str],
    second: Mapping[str, str],
    weights: Mapping[str, float],
    rule: str,
) -> tuple[list[Row], dict[tuple[str, str], Fusion]]:
    """Single streams, then every fusion whose parts are there, also by (size, reading)."""
    streams = {folder: stream for stream, folder in [*second.items(), *first.items()]}
    rows = [Row(folder, "stream", evaluate(part.scores, part.labels)) for folder, part in parts.items()]
    plans = [(size, "motion", [first[stream] for stream in names]) for size, names in _MOTION.items()]
    for size, names in (("4", "jb"), ("6", "jbk")):
        plans.append((size, "seeds", [folders[stream] for stream in names for folders in (first, second)]))
    fusions = {}
    for size, reading, folders in plans:
        if all(folder in parts for folder in folders) and len(set(folders)) == len(folders):
            chosen = [parts[folder] for folder in folders]
            fusion = fuse(chosen, [weights[streams[folder]] for folder in folders], rule)
            fusions[size, reading] = fusion
            label = "streams" if size == "2" else "with motion" if reading == "motion" else "with second seeds"
            rows.append(Row(f"{size} {label}: {'+'.join(folders)}", reading, fusion.metrics, fusion))
    return rows, fusions


def _with_published(row: Row, benchmark: PublishedBenchmark, model: str, exact: bool) -> Row:
    """The row beside the model's own published number or, failing that, the best that anyone has published."""
    key = row.name.split()[0].split("-")[0]
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
        return "".join(letter for letter in name.lower() if letter.isalnum() or letter == "+")

    return next((name for name in benchmark.published if plain(name) == plain(model)), None)


def _comparisons(fusions: Mapping[tuple[str, str], Fusion]) -> list[str]:
    """Motion reading against seed reading, clip by clip."""
    lines = []
    for size in ("4", "6"):
        motion, seeds = fusions.get((size, "motion")), fusions.get((size, "seeds"))
        if motion and seeds:
            # Both start with the first training of j, so their clips are in the same order.
            a, b = motion.metrics, seeds.metrics
            low, high = bootstrap_difference(a.correct, b.correct)
            test = mcnemar(a.correct, b.correct)
            names = (f"{size} with motion", f"{size} with second seeds")
            lines.append(format_comparison(*names, a.top1 - b.top1, low, high, test.p_mid))
    return lines
