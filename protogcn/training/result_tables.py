"""The tables of a page of results, in Markdown."""

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.streams import STREAMS
from protogcn.data.benchmarks import get_benchmark
from protogcn.data.repeated import Repeated
from protogcn.evaluation.report import Row, format_p
from protogcn.evaluation.stream_table import StreamTable
from protogcn.training.finished import Run

_PUBLISHED_KEYS = ("j", "b", "k", "jm", "bm", "km", "2", "4", "6", "all")


def split_line(finished: Sequence[Run]) -> str:
    """How many clips the runs were trained and tested on."""

    def describe(metrics: dict[str, Any]) -> str:
        trained = metrics.get("training_clips")
        learnt = f"{trained:,} training clips, " if isinstance(trained, int) else ""
        return f"{learnt}{metrics.get('clips', 0):,} test clips (split `{metrics.get('split', 'unknown')}`)"

    return "; ".join(_grouped(finished, describe)) + "."


def singles_table(finished: Sequence[Run], table: StreamTable | None, repeated: Repeated | None) -> str:
    """One line per stream and seed; the fused table pools folds and knows the clips behind each figure."""
    rows = {row.name: row for row in table.rows} if table else {}
    header = ["stream", "seed", "top-1", "folds", "95 % interval", "top-5", "mean class", "unseen"]
    header += ["published", "epochs", "training"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in finished:
        groups.setdefault(re.sub(r"-f\d+", "", run.folder.name), []).append(run.metrics or {})
    lines = []
    for name, members in groups.items():
        first, row = members[0], rows.get(name)
        if row and row.fold_top1:
            accuracies = _accuracies(row)
        elif len(members) == 1:
            low, high = first["top1_interval"]
            top5 = percent(first["top5"]) if "top5" in first else ""
            interval = f"{percent(low)} to {percent(high)}"
            accuracies = [percent(first["top1"]), "", interval, top5, percent(first["mean_class"])]
        else:
            accuracies = [""] * 5
        unseen = _unseen(row, table.scores.parts[name].ids, repeated) if row and table else ""
        # An older or hand-made file may lack what is not a result.
        found = [each.get("training_seconds") for each in members]
        seconds = [each for each in found if isinstance(each, int | float)]
        lines.append(
            [
                str(first.get("stream", name)),
                str(first.get("seed", "")),
                *accuracies,
                unseen,
                _published_cell(row),
                str(first.get("epochs", "")),
                f"{sum(seconds) / 60:.1f} min" if len(seconds) == len(members) else "",
            ]
        )
    return markdown_table(header, lines)


def _accuracies(row: Row) -> list[str]:
    """Top-1, that of each fold, interval, top-5 and mean class accuracy of a row of the table."""
    metrics = row.metrics
    top1 = statistics.mean(row.fold_top1) if row.fold_top1 else metrics.top1
    folds = " ".join(f"{100 * each:.1f}" for each in row.fold_top1)
    interval = " to ".join(percent(end) for end in metrics.top1_interval)
    return [percent(top1), folds, interval, percent(metrics.top5), percent(metrics.mean_class)]


def _unseen(row: Row, ids: NDArray[np.str_], repeated: Repeated | None) -> str:
    """Top-1 on the clips that the training split does not hold as well; empty where none is known to be in both."""
    return percent(float(row.metrics.correct[repeated.unseen(ids)].mean())) if repeated else ""


def fusion_parts(table: StreamTable, repeated: Repeated | None) -> list[str]:
    """The fusions of one model, and sentences that compare them."""
    lines = []
    for row in table.rows:
        if row.fusion:
            top1, folds, interval, _, mean_class = _accuracies(row)
            lines.append(
                [
                    row.name,
                    row.weights,
                    top1,
                    folds,
                    interval,
                    mean_class,
                    _unseen(row, row.fusion.scores.ids, repeated),
                    _published_cell(row),
                    f"{100 * row.fusion.gain:+.2f}",
                    format_p(row.fusion.mcnemar.p_mid),
                ]
            )
    if not lines:
        return ["No fusion yet: it takes at least the streams j and b."]
    header = ["fusion", "weights", "top-1", "folds", "95 % interval", "mean class", "unseen"]
    header += ["published", "over best", "p"]
    parts = [f"Fused by {table.rule}:", markdown_table(header, lines)]
    return [*parts, *(f"{line}." for line in table.comparisons)]


def _published_cell(row: Row | None) -> str:
    if row is None or row.published is None:
        return ""
    return f"{row.published:.2f}" + ("" if row.own else f" ({row.publisher})")


def circumstances(finished: Sequence[Run]) -> list[str]:
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
    commands = dict.fromkeys(portable(str((run.metrics or {}).get("command", ""))) for run in finished)
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


def published_table(name: str) -> str:
    """What others report on a benchmark."""
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
    return markdown_table(["model", *titles, "source"], lines)


def overview_table(tables: Mapping[str, StreamTable]) -> str:
    """Top-1 of every stream and fusion of several models side by side; empty where there is but one model."""
    if len(tables) < 2:
        return ""
    sizes = ("2", "4", "6")
    lines = []
    for name, table in tables.items():
        top1 = {row.name: _accuracies(row)[0] for row in table.rows if not row.fusion}
        fused: dict[str, str] = {}
        for (size, _), fusion in table.fusions.items():
            own = next(row for row in table.rows if row.fusion is fusion.fusion)
            # Of two readings of as many streams the one with motion comes first.
            fused.setdefault(size.split("-")[0], _accuracies(own)[0])
        lines.append([name, *(top1.get(key, "") for key in STREAMS), *(fused.get(size, "") for size in sizes)])
    return markdown_table(["model", *STREAMS, *(f"{size} streams" for size in sizes)], lines)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; columns without content are left out."""
    kept = [column for column in range(len(header)) if any(line[column] for line in lines)]

    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    escaped = [[line[column].replace("|", "\\|") for column in kept] for line in lines]
    rule = ["---" if column == 0 else "---:" for column in range(len(kept))]
    return "\n".join([row(header[column] for column in kept), row(rule), *map(row, escaped)])


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def portable(text: str) -> str:
    """Text in which paths of this machine are relative, or shortened to their last part."""

    def shorten(match: re.Match[str]) -> str:
        path = Path(match.group())
        here = Path.cwd()
        return path.relative_to(here).as_posix() if path.is_relative_to(here) else f".../{path.name}"

    return re.sub(r"(?<![\w.~/-])/[^\s'\"(),;]+", shorten, " ".join(text.split()))
