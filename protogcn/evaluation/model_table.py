"""Several models on one benchmark: each alone, and all of them fused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protogcn.evaluation.alignment import align
from protogcn.evaluation.analysis import Analysis, analyse
from protogcn.evaluation.contribution import MOST_PARTS
from protogcn.evaluation.evidence import Fitting
from protogcn.evaluation.metrics import bootstrap_difference, mcnemar
from protogcn.evaluation.published import PublishedBenchmark
from protogcn.evaluation.report import Row, format_comparison, format_table
from protogcn.evaluation.run_fusions import NOTHING, FusedRuns, fuse_runs
from protogcn.evaluation.run_scores import SCORES
from protogcn.evaluation.scores import ScoreFile
from protogcn.evaluation.stream_table import StreamTable, read_table

__all__ = ["ModelsTable", "find_runs", "read_models"]

_READINGS = {"streams": "streams", "motion": "with motion", "seeds": "with second seeds"}


@dataclass(frozen=True, eq=False)
class ModelsTable:
    """Tables of models, and the fusions of all of them.

    Attributes:
        tables: by name of the model.
        rule: by which models are fused with each other.
        together: rows of the fusions that hold every model.
        fusions: the same by number of runs per model and reading, as in `StreamTable`.
        comparisons: sentences that compare those with the best model alone.
    """

    tables: Mapping[str, StreamTable]
    rule: str
    together: list[Row]
    fusions: Mapping[tuple[str, str], FusedRuns]
    comparisons: list[str]

    @property
    def rows(self) -> list[Row]:
        """All rows; with several models each says of which it is."""
        if len(self.tables) == 1:
            (table,) = self.tables.values()
            return table.rows
        return [replace(row, model=name) for name, table in self.tables.items() for row in table.rows] + self.together

    def __str__(self) -> str:
        """What the models give together as text; empty where no fusion holds all of them."""
        if not self.together:
            return ""
        return f"all models, fused by {self.rule}\n\n{format_table(self.together)}"

    def analyses(self, fitting: Fitting = NOTHING, subsets: bool = False) -> list[Analysis]:
        """Of each model's largest fusion, and of the largest of all models.

        Args:
            fitting: as the table was read with.
            subsets: fuse all subsets too, where there are at most six parts.
        """
        several = len(self.tables) > 1
        chosen = [
            (f"{name}: " if several else "", table.rule, table.fusions)
            for name, table in self.tables.items()
            if table.fusions
        ]
        if self.fusions:
            chosen.append(("all models: ", self.rule, self.fusions))
        found = []
        for prefix, rule, fusions in chosen:
            size, reading = max(fusions, key=lambda key: (int(key[0]), key[1] != "seeds"))
            fused = fusions[size, reading]
            found.append(
                analyse(
                    list(fused.parts.values()),
                    fused.given,
                    rule,
                    evidence=fused.evidence,
                    fit=fitting.weights,
                    heat=fitting.temperatures,
                    subsets=subsets and len(fused.parts) <= MOST_PARTS,
                    name=f"{prefix}{size} {_READINGS[reading]}",
                    names=list(fused.parts),
                )
            )
        return found


def read_models(
    benchmark: PublishedBenchmark,
    models: Sequence[str],
    roots: Sequence[Path] = (),
    *,
    preset: str | None = None,
    rule: str | None = None,
    weights: Mapping[str, float] | None = None,
    fitting: Fitting = NOTHING,
    seed: int = 0,
    second_seed: int = 1,
    compare: str | None = None,
) -> ModelsTable:
    """Read models and fuse each alone and all together.

    Together, every model counts alike: its own weights are divided by their sum. Where the models' rules differ and
    none is given, probabilities are averaged.

    Args:
        benchmark: on what.
        models: their names.
        roots: folders to look for runs in, see `find_runs`.
        preset, rule, weights, fitting, seed, second_seed, compare: as in `read_table`.

    Raises:
        ValueError: as in `read_table`, or a model named twice.
    """
    if len(set(models)) < len(models) or not models:
        raise ValueError(f"--models takes different names separated by commas, got {','.join(models)!r}")
    tables = {
        model: read_table(
            benchmark,
            find_runs(benchmark.name, model, roots),
            model,
            preset=preset,
            rule=rule,
            weights=weights,
            fitting=fitting,
            seed=seed,
            second_seed=second_seed,
            compare=compare,
        )
        for model in models
    }
    rules = {table.rule for table in tables.values()}
    common = rule or (rules.pop() if len(rules) == 1 else "probabilities")
    fusions: dict[tuple[str, str], FusedRuns] = {}
    keys = [
        key for key in next(iter(tables.values())).fusions if all(key in table.fusions for table in tables.values())
    ]
    for key in keys if len(tables) > 1 else ():
        parts: dict[str, ScoreFile] = {}
        held: dict[str, ScoreFile] = {}
        given: list[float] = []
        for model, table in tables.items():
            own = table.fusions[key]
            parts |= {f"{model}/{run}": part for run, part in own.parts.items()}
            held |= {f"{model}/{run}": part for run, part in table.held_out.parts.items()}
            given += [weight / sum(own.given) for weight in own.given]
        fusions[key] = fuse_runs(parts, held, given, common, fitting)
    first = tables[models[0]].scores
    together = []
    for (size, reading), fused in fusions.items():
        run, metrics = next(iter(fused.parts)).partition("/")[2], fused.fusion.metrics
        name = f"{size} {_READINGS[reading]} of each: {' + '.join(models)}"
        together.append(Row(name, "models", metrics, fused.fusion, fold_top1=first.fold_top1(run, metrics)))
    return ModelsTable(tables, common, together, fusions, _comparisons(tables, fusions))


def find_runs(benchmark: str, model: str, roots: Sequence[Path] = ()) -> Path:
    """Folder with the run folders of a model: the first that has scores, else the one to train into.

    Looked for are, below each root, ``<benchmark>/<model>`` and ``<model>``, then the root itself if it bears the
    model's name or is the only one; without roots, below ``runs``.
    """
    below = [place for root in roots or [Path("runs")] for place in (root / benchmark / model, root / model)]
    themselves = [root for root in roots if root.name == model or len(roots) == 1]
    for place in [*themselves, *below]:
        if any(place.glob(f"*/{SCORES}")):
            return place
    return themselves[0] if themselves and themselves[0].name == model else below[0]


def _comparisons(tables: Mapping[str, StreamTable], together: Mapping[tuple[str, str], FusedRuns]) -> list[str]:
    lines = []
    for key, fused in together.items():
        best = max(tables, key=lambda model: tables[model].fusions[key].fusion.metrics.top1)
        alone = tables[best].fusions[key].fusion
        # The models' clips may lie in different orders.
        order = align([fused.fusion.scores, alone.scores])[1]
        first, second = fused.fusion.metrics.correct, alone.metrics.correct[order]
        low, high = bootstrap_difference(first, second)
        lines.append(
            format_comparison(
                f"{key[0]} {_READINGS[key[1]]} of all models",
                f"those of {best}, the best alone",
                fused.fusion.metrics.top1 - alone.metrics.top1,
                low,
                high,
                mcnemar(first, second).p_mid,
            )
        )
    return lines
