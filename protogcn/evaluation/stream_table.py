"""The streams of one model and their fusions, beside published numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from protogcn.evaluation.ensemble import RULES, get_preset
from protogcn.evaluation.evidence import Fitting
from protogcn.evaluation.metrics import evaluate
from protogcn.evaluation.presets import preset_of
from protogcn.evaluation.published import OwnBenchmark, PublishedBenchmark, find_model, with_published
from protogcn.evaluation.report import Row, format_table
from protogcn.evaluation.run_fusions import (
    NOTHING,
    SEEDED,
    STREAMS,
    FusedRuns,
    compare_readings,
    fuse_runs,
    plan_fusions,
)
from protogcn.evaluation.run_scores import SCORES, RunScores, load_runs, run_name
from protogcn.evaluation.scores import check_choice

__all__ = [
    "SCORES",
    "STREAMS",
    "OwnBenchmark",
    "PublishedBenchmark",
    "StreamTable",
    "find_model",
    "read_table",
]


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
    fitting: Fitting = NOTHING,
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
        fitting: what of each fusion is fitted instead of given.
        seed, second_seed: of the first and of the second trainings.
        compare: the model whose published numbers stand beside; by default `model` or, where it has none, the best of
            others.

    Raises:
        ValueError: an unknown preset, rule or model to compare with, or scores that do not fit together.
    """
    model = model or runs.name
    chosen = get_preset(preset) if preset else preset_of(model)
    rule = rule or chosen.rule
    check_choice(rule, RULES, "fusion rule")
    by_stream = dict(zip(STREAMS, chosen.weights(STREAMS), strict=True)) | dict(weights or {})
    first = {stream: run_name(stream, seed) for stream in STREAMS}
    second = {stream: run_name(stream, second_seed) for stream in SEEDED}
    names, folds = [*first.values(), *second.values()], len(getattr(benchmark, "splits", ()))
    scores, held = load_runs(runs, names, benchmark.name, several_folds=folds > 1), RunScores()
    if fitting and not fitting.on_test:
        held = load_runs(runs, names, benchmark.name, file=fitting.held_out, several_folds=folds > 1)
    by_run = {name: by_stream[stream] for stream, name in [*second.items(), *first.items()]}
    fusions = {
        (size, reading): fuse_runs(
            {run: scores.parts[run] for run in members},
            held.parts,
            [by_run[run] for run in members],
            rule,
            fitting,
        )
        for size, reading, members in plan_fusions(scores.parts, first, second)
    }
    rows = [
        (Row(name, "stream", evaluate(part.scores, part.labels)), name, name) for name, part in scores.parts.items()
    ]
    for (size, reading), fused in fusions.items():
        label = {"streams": "streams", "motion": "with motion", "seeds": "with second seeds"}[reading]
        name, group = f"{size} {label}: {'+'.join(fused.parts)}", "seeds" if reading == "seeds" else "motion"
        # The published fusion of two streams is that of j and b.
        key = "" if size == "2" and reading != "streams" else size
        rows.append((Row(name, group, fused.fusion.metrics, fused.fusion), next(iter(fused.parts)), key))
    return StreamTable(
        runs,
        rule,
        [
            with_published(
                replace(row, fold_top1=scores.fold_top1(run, row.metrics)),
                key.split("-")[0],
                benchmark,
                compare or model,
                exact=bool(compare),
            )
            for row, run, key in rows
        ],
        compare_readings(fusions),
        [*scores.problems, *held.problems],
        first,
        second,
        scores,
        held,
        fusions,
        _notes(scores, fusions, folds, fitting),
    )


def _notes(
    scores: RunScores, fusions: Mapping[tuple[str, str], FusedRuns], expected: int, fitting: Fitting
) -> tuple[str, ...]:
    notes = []
    if scores.folds:
        notes.append(f"clips of {len(scores.folds)} folds are pooled; intervals and tests are over all of them")
    if scores.folds and len(scores.folds) < expected:
        notes.append(f"ONLY {len(scores.folds)} OF {expected} FOLDS: {', '.join(map(str, scores.folds))}")
    fitted = dict.fromkeys(fused.evidence.how for fused in fusions.values() if fused.evidence)
    return (*notes, *(f"{fitting} {how}" for how in fitted))
