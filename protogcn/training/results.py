"""``protogcn results``: a page of results, every figure of which comes from a file that a run has written."""

from pathlib import Path

from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.repeated import REPEATED
from protogcn.evaluation.stream_table import OwnBenchmark, PublishedBenchmark, StreamTable, read_table
from protogcn.training.finished import Run, read_run
from protogcn.training.pair_table import pair_parts
from protogcn.training.result_tables import (
    circumstances,
    fusion_parts,
    overview_table,
    portable,
    published_table,
    singles_table,
    split_line,
)
from protogcn.training.run_folder import CONFIG, write_atomically
from protogcn.training.zero_shot_table import leaves_classes_out, zero_shot_parts

_INTRODUCTION = """\
# Results

Written by `protogcn results` from the run folders; every figure comes from a file that a run has left there. Accuracies
are in percent on the whole test split, intervals are 95 % bootstrap intervals over its clips. Where a benchmark
averages over folds, top-1 is the mean over them; the interval and what follows are of all their test clips together. A
fusion is compared with its best single stream on the same clips: "over best" is the gain in points, p that of
McNemar's test (mid-p)."""


def write_results_page(runs: Path, out: Path) -> Path:
    """Write a Markdown page on all runs below a folder; the same runs give the same page.

    Args:
        runs: folder of all runs.
        out: file to write.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: there are no runs.
    """
    models: dict[tuple[str, str], list[Run]] = {}
    for config in sorted(runs.glob(f"*/*/*/{CONFIG}")):
        run = read_run(config.parent)
        models.setdefault((run.folder.parts[-3], run.folder.parts[-2]), []).append(run)
    if not models:
        raise FileNotFoundError(f"there are no runs in {runs}; make some with `protogcn train`, or name another --runs")
    known = list_benchmarks()
    parts = [_INTRODUCTION]
    for name in sorted({name for name, _ in models}, key=lambda name: (name not in known, name)):
        own = {model: members for (benchmark, model), members in models.items() if benchmark == name}
        parts += _benchmark(name, own, runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, "\n\n".join(parts) + "\n")
    return out


def _benchmark(name: str, models: dict[str, list[Run]], runs: Path) -> list[str]:
    known: PublishedBenchmark = get_benchmark(name) if name in list_benchmarks() else OwnBenchmark(name, name)
    tables: dict[str, StreamTable] = {}
    details = []
    narrowed = [run for members in models.values() for run in members if leaves_classes_out(run)]
    for model in sorted(models):
        members = sorted((run for run in models[model] if run not in narrowed), key=lambda run: run.order)
        if not members:
            continue
        details += [f"### {model}", *_model(known, model, members, runs, tables)]
    parts = [f"## {known.title}"]
    if name in REPEATED:
        parts.append(f"{REPEATED[name].note} Figures under *unseen* leave those clips out.")
    if overview := overview_table(tables):
        parts += ["Top-1 of all models; details, intervals and passes of each are below.", overview]
    parts += [*details, *pair_parts(known, tables, runs)]
    if narrowed:
        parts += ["### Classes that training left out", *zero_shot_parts(narrowed)]
    if known.published:
        parts += ["### Published", published_table(name)]
    return parts


def _model(
    benchmark: PublishedBenchmark, name: str, members: list[Run], runs: Path, tables: dict[str, StreamTable]
) -> list[str]:
    """The parts of one model; its fused table is entered into ``tables``."""
    finished = [run for run in members if run.metrics is not None]
    parts = []
    if finished:
        seeds = sorted({run.recipe.seed for run in finished if run.recipe})
        first, second = seeds[0], seeds[1] if len(seeds) > 1 else seeds[0] + 1
        recipe = finished[0].recipe
        table, problem = None, ""
        try:
            model = recipe.model.name if recipe else name
            table = read_table(benchmark, finished[0].folder.parent, model, seed=first, second_seed=second)
            tables[name] = table
        except ValueError as error:
            problem = str(error)
        repeated = REPEATED.get(benchmark.name)
        parts += [split_line(finished), singles_table(finished, table, repeated)]
        parts += fusion_parts(table, repeated) if table else []
        for text in [problem] if problem else table.problems if table else []:
            parts.append(f"Left out of the fusions: {portable(text)}")
        parts += circumstances(finished)
    if broken := [run for run in members if run.metrics is None]:
        lines = [f"- `{run.folder.relative_to(runs).as_posix()}`: {portable(run.problem)}" for run in broken]
        parts.append("Without results:\n\n" + "\n".join(lines))
    return parts
