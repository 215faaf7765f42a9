"""The streams of one model and their fusions, beside published numbers.

Streams are fused in two ways. The motion reading fuses j, b, k with their motion streams (complementary); the seed
reading fuses them with a second training of each from another seed (stochastic). Both are shown and compared, run for
run: j+jm against j+j, j+jm+b+bm against j+j+b+b, and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from protogcn.evaluation.ensemble import PRESETS, RULES, Fusion, fuse, get_preset
from protogcn.evaluation.fitting import Evidence, fit_weights, gather_evidence
from protogcn.evaluation.metrics import bootstrap_difference, evaluate, mcnemar
from protogcn.evaluation.report import Row, format_comparison, format_table
from protogcn.evaluation.run_scores import HELD_OUT, SCORES, RunScores, load_runs, run_name
from protogcn.evaluation.scores import check_choice

__all__ = [
    "SCORES",
    "STREAMS",
    "FusedRuns",
    "OwnBenchmark",
    "PublishedBenchmark",
    "StreamTable",
    "find_model",
    "fuse_runs",
    "read_table",
]

STREAMS = ("j", "b", "k", "jm", "bm", "km")
_MOTION = {"2": ("j", "b"), "4": ("j", "b", "jm", "bm"), "6": STREAMS}
_SEEDS = {"2": "j", "4": "jb", "6": "jbk"}


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
class FusedRuns:
    """One fusion of runs.

    Attributes:
        runs: names of the runs, in the order of the parts.
        given: their weights of the preset or the user.
        fusion: the result.
        evidence: what its weights were fitted on, where they were fitted.
    """

    runs: tuple[str, ...]
    given: tuple[float, ...]
    fusion: Fusion
    evidence: Evidence | None = None


@dataclass(frozen=True, eq=False)
class StreamTable:
    """The streams of one model and all fusions that they allow.

    Attributes:
        runs: folder of the runs.
        rule: by which scores are fused.
        rows: single streams, then fusions; beside published numbers.
        comparisons: sentences that compare motion streams with second seeds.
        problems: why score files that are there were left out.
        first, second: run by stream, of the first trainings and of those from a second seed.
        scores: the score files behind the rows.
        held_out: those of a split to fit weights on, where there are any.
        fusions: by number of runs ("2", "4", "6") and reading ("streams", "motion", "seeds").
        notes: what else one has to know of the figures.
    """

    runs: Path
    rule: str
    rows: list[Row]
    comparisons: list[str]
    problems: list[str]
    first: Mapping[str, str]
    second: Mapping[str, str]
    scores: RunScores
    held_out: RunScores
    fusions: Mapping[tuple[str, str], FusedRuns]
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> frozenset[str]:
        """Runs whose scores are in the table."""
        return frozenset(self.scores.parts)

    def __str__(self) -> str:
        """The rows as text, with how many clips they are of; empty where there are none."""
        if not self.rows:
            return ""
        clips = len(self.rows[0].metrics.correct)
        return "\n".join(
            [f"{clips} test clips; fused by {self.rule}; figures in %", *self.notes, "", format_table(self.rows)]
        )


def read_table(
    benchmark: PublishedBenchmark,
    runs: Path,
    model: str | None = None,
    *,
    preset: str | None = None,
    rule: str | None = None,
    weights: Mapping[str, float] | None = None,
    fit: str | None = None,
    held_out: str = HELD_OUT,
    seed: int = 0,
    second_seed: int = 1,
    compare: str | None = None,
) -> StreamTable:
    """Read the score files of one model and fuse them in every published way.

    Args:
        benchmark: on what, with the published numbers.
        runs: folder with one run folder per stream, ``<stream>[-f<fold>][-s<seed>]``; folds are pooled.
        model: its name; the last part of `runs` by default.
        preset: published weights and rule; that of the model by default, else ``protogcn``.
        rule: instead of the preset's.
        weights: of single streams, instead of the preset's; a second seed weighs like its stream.
        fit: "held-out" fits the weights of each fusion on the `held_out` files of its runs or, where one is missing,
            by cross-fitting; "test" on the test labels. See protogcn.evaluation.fitting.
        held_out: name of the score files to fit on.
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
    by_stream = dict(zip(STREAMS, chosen.weights(STREAMS), strict=True)) | dict(weights or {})
    first = {stream: run_name(stream, seed) for stream in STREAMS}
    second = {stream: run_name(stream, second_seed) for stream in ("j", "b", "k")}
    names = [*first.values(), *second.values()]
    expected = len(getattr(benchmark, "splits", ()))
    scores = load_runs(runs, names, benchmark.name, several_folds=expected > 1)
    held = RunScores()
    if fit == "held-out":
        held = load_runs(runs, names, benchmark.name, file=held_out, several_folds=expected > 1)
    streams = {name: stream for stream, name in [*second.items(), *first.items()]}
    fusions = {
        (size, reading): fuse_runs(
            scores, held, chosen_runs, [by_stream[streams[run]] for run in chosen_runs], rule, fit
        )
        for size, reading, chosen_runs in _plans(scores, first, second)
    }
    rows = [
        (Row(name, "stream", evaluate(part.scores, part.labels)), name, name) for name, part in scores.parts.items()
    ]
    for (size, reading), fused in fusions.items():
        label = {"streams": "streams", "motion": "with motion", "seeds": "with second seeds"}[reading]
        name, group = f"{size} {label}: {'+'.join(fused.runs)}", "seeds" if reading == "seeds" else "motion"
        # The published fusion of two streams is that of j and b.
        key = "" if size == "2" and reading != "streams" else size
        rows.append((Row(name, group, fused.fusion.metrics, fused.fusion), fused.runs[0], key))
    return StreamTable(
        runs,
        rule,
        [
            _with_published(
                replace(row, fold_top1=scores.fold_top1(run, row.metrics)),
                key.split("-")[0],
                benchmark,
                compare or model,
                exact=bool(compare),
            )
            for row, run, key in rows
        ],
        _comparisons(fusions),
        [*scores.problems, *held.problems],
        first,
        second,
        scores,
        held,
        fusions,
        _notes(scores, fusions, expected),
    )


def fuse_runs(
    scores: RunScores, held_out: RunScores, runs: Sequence[str], weights: Sequence[float], rule: str, fit: str | None
) -> FusedRuns:
    """Fuse runs by given weights or, where `fit` is not None, by fitted ones (see `read_table`)."""
    parts = [scores.parts[run] for run in runs]
    evidence, used = None, np.asarray(weights, np.float64)
    if fit:
        others = [held_out.parts[run] for run in runs if run in held_out.parts]
        evidence = gather_evidence(parts, others if len(others) == len(parts) else None, on_test=fit == "test")
        used = fit_weights(evidence, rule).applied
    return FusedRuns(tuple(runs), tuple(weights), fuse(parts, used, rule, names=runs), evidence)


def _plans(
    scores: RunScores, first: Mapping[str, str], second: Mapping[str, str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """(number of runs, reading, runs) of every fusion whose runs are there."""
    plans = [
        (size, "streams" if size == "2" else "motion", tuple(first[stream] for stream in names))
        for size, names in _MOTION.items()
    ]
    for size, names in _SEEDS.items():
        plans.append((size, "seeds", tuple(runs[stream] for stream in names for runs in (first, second))))
    # Two runs of one modality are no published fusion; they stand last, for the comparison.
    plans.append(plans.pop(len(_MOTION)))
    if {first["jm"], second["j"]} <= set(scores.parts):
        plans.insert(-1, ("2", "motion", (first["j"], first["jm"])))
    return [plan for plan in plans if set(plan[2]) <= set(scores.parts) and len(set(plan[2])) == len(plan[2])]


def _notes(scores: RunScores, fusions: Mapping[tuple[str, str], FusedRuns], expected: int) -> tuple[str, ...]:
    notes = []
    if scores.folds:
        notes.append(f"clips of {len(scores.folds)} folds are pooled; intervals and tests are over all of them")
    if scores.folds and len(scores.folds) < expected:
        notes.append(f"ONLY {len(scores.folds)} OF {expected} FOLDS: {', '.join(map(str, scores.folds))}")
    fitted = dict.fromkeys(fused.evidence.how for fused in fusions.values() if fused.evidence)
    return (*notes, *(f"weights {how}" for how in fitted))


def _with_published(row: Row, key: str, benchmark: PublishedBenchmark, model: str, exact: bool) -> Row:
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
        return "".join(letter for letter in name.lower() if letter.isalnum() or letter == "+")

    return next((name for name in benchmark.published if plain(name) == plain(model)), None)


def _comparisons(fusions: Mapping[tuple[str, str], FusedRuns]) -> list[str]:
    """Motion reading against seed reading, clip by clip."""
    lines = []
    for size in _SEEDS:
        motion, seeds = fusions.get((size, "motion")), fusions.get((size, "seeds"))
        if motion and seeds:
            # Both start with the first training of j, so their clips are in the same order.
            a, b = motion.fusion.metrics, seeds.fusion.metrics
            low, high = bootstrap_difference(a.correct, b.correct)
            test = mcnemar(a.correct, b.correct)
            names = (f"{size} with motion", f"{size} with second seeds")
            lines.append(format_comparison(*names, a.top1 - b.top1, low, high, test.p_mid))
    return lines
