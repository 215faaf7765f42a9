"""``protogcn results``: a page of results, every figure of which comes from a file that a run has written."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphs.streams import STREAMS
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.evaluation.report import Row, format_p
from protogcn.evaluation.stream_table import OwnBenchmark, PublishedBenchmark, StreamTable, read_table
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import CONFIG, HISTORY, METRICS, is_finished, read_config, write_atomically

_INTRODUCTION = """\
# Results

Written by `protogcn results` from the run folders; every figure comes from a file that a run has left there. Accuracies
are in percent on the whole test split, intervals are 95 % bootstrap intervals over its clips. A fusion is compared with
its best single stream on the same clips: "over best" is the gain in points, p that of McNemar's test (mid-p)."""

_PUBLISHED_KEYS = ("j", "b", "k", "jm", "bm", "km", "limb", "2", "4", "6", "all")


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: ``<runs>/<benchmark>/<name>/<stream>[-s<seed>]``.
        recipe: its resolved recipe, or None where that cannot be read.
        metrics: content of its ``metrics.json``; None where it is not finished.
        problem: why there are no metrics; empty where there are.
    """

    folder: Path
    recipe: Recipe | None
    metrics: dict[str, Any] | None
    problem: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """Place in a table: by seed, then by stream."""
        return (self.recipe.seed, STREAMS.index(self.recipe.stream)) if self.recipe else (0, 0)


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


def read_run(folder: Path) -> Run:
    """What a run folder tells; a damaged or unfinished one tells what is wrong instead."""
    try:
        recipe = read_config(folder)
    except ValueError as error:
        return Run(folder, None, None, str(error))
    if not is_finished(folder):
        done = 0
        if (folder / HISTORY).is_file():
            done = max(0, len((folder / HISTORY).read_text(encoding="utf-8").splitlines()) - 1)
        return Run(folder, recipe, None, f"unfinished, {done} of {recipe.trainer.epochs} epochs")
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        float(metrics["top1"]), float(metrics["mean_class"]), [float(end) for end in metrics["top1_interval"]]
    except (ValueError, TypeError, KeyError) as error:
        return Run(folder, recipe, None, f"its {METRICS} cannot be read ({type(error).__name__}: {error})")
    return Run(folder, recipe, metrics)


def _benchmark(name: str, models: dict[str, list[Run]], runs: Path) -> list[str]:
    known: PublishedBenchmark = get_benchmark(name) if name in list_benchmarks() else OwnBenchmark(name, name)
    parts = [f"## {known.title}"]
    for model in sorted(models):
        parts += [f"### {model}", *_model(known, model, sorted(models[model], key=lambda run: run.order), runs)]
    if known.published:
        parts += ["### Published", _published(name)]
    return parts


def _model(benchmark: PublishedBenchmark, name: str, members: list[Run], runs: Path) -> list[str]:
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
        except ValueError as error:
            problem = str(error)
        rows = {row.name: row for row in table.rows} if table else {}
        parts += [_split(finished), _singles(finished, rows)]
        parts += _fusions(table) if table else []
        for text in [problem] if problem else table.problems if table else []:
            parts.append(f"Left out of the fusions: {_portable(text)}")
        parts += _circumstances(finished)
    if broken := [run for run in members if run.metrics is None]:
        lines = [f"- `{run.folder.relative_to(runs).as_posix()}`: {_portable(run.problem)}" for run in broken]
        parts.append("Without results:\n\n" + "\n".join(lines))
    return parts


def _split(finished: Sequence[Run]) -> str:
    def describe(metrics: dict[str, Any]) -> str:
        trained = metrics.get("training_clips")
        learnt = f"{trained:,} training clips, " if isinstance(trained, int) else ""
        return f"{learnt}{metrics.get('clips', 0):,} test clips (split `{metrics.get('split', 'unknown')}`)"

    return "; ".join(_grouped(finished, describe)) + "."


def _singles(finished: Sequence[Run], rows: dict[str, Row]) -> str:
    header = ["stream", "seed", "top-1", "95 % interval", "top-5", "mean class", "published", "epochs", "training"]
    lines = []
    for run in finished:
        metrics, row = run.metrics or {}, rows.get(run.folder.name)
        low, high = metrics["top1_interval"]
        # An older or hand-made file may lack what is not a result.
        seconds = metrics.get("training_seconds")
        lines.append(
            [
                str(metrics.get("stream", run.folder.name)),
                str(metrics.get("seed", "")),
                _percent(metrics["top1"]),
                f"{_percent(low)} to {_percent(high)}",
                _percent(metrics["top5"]) if "top5" in metrics else "",
                _percent(metrics["mean_class"]),
                _published_cell(row),
                str(metrics.get("epochs", "")),
                f"{seconds / 60:.1f} min" if isinstance(seconds, int | float) else "",
            ]
        )
    return _markdown(header, lines)


def _fusions(table: StreamTable) -> list[str]:
    lines = []
    for row in table.rows:
        if row.fusion:
            metrics = row.metrics
            lines.append(
                [
                    row.name,
                    row.weights,
                    _percent(metrics.top1),
                    " to ".join(_percent(end) for end in metrics.top1_interval),
                    _percent(metrics.mean_class),
                    _published_cell(row),
                    f"{100 * row.fusion.gain:+.2f}",
                    format_p(row.fusion.mcnemar.p_mid),
                ]
            )
    if not lines:
        return ["No fusion yet: it takes at least the streams j and b."]
    header = ["fusion", "weights", "top-1", "95 % interval", "mean class", "published", "over best", "p"]
    parts = [f"Fused by {table.rule}:", _markdown(header, lines)]
    return [*parts, *(f"{line}." for line in table.comparisons)]


def _published_cell(row: Row | None) -> str:
    if row is None or row.published is None:
        return ""
    return f"{row.published:.2f}" + ("" if row.own else f" ({row.publisher})")


def _circumstances(finished: Sequence[Run]) -> list[str]:
    """Hardware, software and commands; what several runs share is said once."""

    def hardware(metrics: dict[str, Any]) -> str:
        machine = metrics.get("hardware", {})
        threads = metrics.get("threads")
        return ", ".join(
            [
                f"{machine.get('cpu', 'unknown processor')} with {machine.get('cores', '?')} cores",
                str(machine.get("devices", "unknown devices")),
                *([f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []),
            ]
        )

    def software(metrics: dict[str, Any]) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())
        git = metrics.get("git") or {}
        commit = (
            f", commit {str(git.get('commit'))[:12]}{' with changes' if git.get('modified') else ''}" if git else ""
        )
        return (versions or "unknown versions") + commit

    def weights(metrics: dict[str, Any]) -> str:
        size = metrics.get("parameters")
        return f"{metrics.get('checkpoint', 'unknown')} epoch" + (f", {size:,} parameters" if size else "")

    lines = []
    for title, describe in (("Tested weights", weights), ("Hardware", hardware), ("Software", software)):
        lines += [f"- {title}: {text}" for text in _grouped(finished, describe)]
    commands = dict.fromkeys(_portable(str((run.metrics or {}).get("command", ""))) for run in finished)
    parts = ["\n".join(lines)]
    if typed := [command for command in commands if command]:
        parts.append("Made by\n\n```\n" + "\n".join(typed) + "\n```")
    return parts


def _grouped(finished: Sequence[Run], describe: Callable[[dict[str, Any]], str]) -> list[str]:
    """Descriptions of all runs, each once, with the runs it holds for where they differ."""
    groups: dict[str, list[str]] = {}
    for run in finished:
        groups.setdefault(describe(run.metrics or {}), []).append(run.folder.name)
    if len(groups) == 1:
        return list(groups)
    return [f"{text} ({', '.join(names)})" for text, names in groups.items()]


def _published(name: str) -> str:
    benchmark = get_benchmark(name)
    lines = [
        [
            model,
            *(f"{numbers[key]:.2f}" if key in numbers else "" for key in _PUBLISHED_KEYS),
            benchmark.published_sources[model],
        ]
        for model, numbers in benchmark.published.items()
    ]
    titles = [f"{key} streams" if key.isdigit() else "best fusion" if key == "all" else key for key in _PUBLISHED_KEYS]
    return _markdown(["model", *titles, "source"], lines)


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; columns without content are left out."""
    kept = [column for column in range(len(header)) if any(line[column] for line in lines)]

    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    escaped = [[line[column].replace("|", "\\|") for column in kept] for line in lines]
    rule = ["---" if column == 0 else "---:" for column in range(len(kept))]
    return "\n".join([row(header[column] for column in kept), row(rule), *map(row, escaped)])


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _portable(text: str) -> str:
    """Text in which paths of this machine are relative, or shortened to their last part."""

    def shorten(match: re.Match[str]) -> str:
        path = Path(match.group())
        here = Path.cwd()
        return path.relative_to(here).as_posix() if path.is_relative_to(here) else f".../{path.name}"

    return re.sub(r"(?<![\w.~/-])/[^\s'\"(),;]+", shorten, " ".join(text.split()))
