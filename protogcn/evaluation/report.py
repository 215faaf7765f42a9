"""Tables of results: on the console, as CSV, beside published numbers."""

import csv
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protogcn.evaluation.ensemble import Fusion
from protogcn.evaluation.metrics import Metrics

__all__ = [
    "Row",
    "format_columns",
    "format_comparison",
    "format_p",
    "format_table",
    "format_weights",
    "markdown_rows",
    "markdown_table",
    "write_csv",
    "write_records",
]

# More would push the figures off the screen.
_MOST_WEIGHTS = 9


@dataclass(frozen=True, eq=False)
class Row:
    """One line of a table: a single stream, or a fusion of several.

    Attributes:
        name: what is shown first, such as "j" or "6 streams, motion".
        group: "stream", "motion", "seeds", "fused" or "models"; plots colour by it.
        metrics: its figures.
        fusion: where it is a fusion.
        published: top-1 in percent that `publisher` reports; `own` if that is the same model.
        fold_top1: of each fold, where the clips are those of several.
        model: whose row it is, where there are several models.
    """

    name: str
    group: str
    metrics: Metrics
    fusion: Fusion | None = None
    published: float | None = None
    publisher: str = ""
    own: bool = True
    fold_top1: tuple[float, ...] = ()
    model: str = ""

    @property
    def difference(self) -> float | None:
        """Top-1 minus the published number, in points; over folds it is the mean that others publish."""
        if self.published is None:
            return None
        top1 = statistics.mean(self.fold_top1) if self.fold_top1 else self.metrics.top1
        return round(100 * top1, 2) - self.published

    @property
    def weights(self) -> str:
        """Weights as "2:2:1:1", all ones if they are equal, empty for a single stream."""
        if not self.fusion:
            return ""
        return format_weights(self.fusion.weights)


def format_weights(weights: Sequence[float], most: int | None = None) -> str:
    """Weights as "2:2:1", to two decimals, all ones if they are equal; a word for more than `most` of them."""
    equal = len(set(weights)) == 1
    if most is not None and len(weights) > most:
        return "equal" if equal else f"{len(weights)} weights"
    return ":".join("1" if equal else f"{round(weight, 2):g}" for weight in weights)


def format_columns(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Plain text in aligned columns, the first `left` of them flush left; columns without content are dropped."""
    kept = [column for column in range(len(header)) if any(line[column] for line in lines)]
    table = [[line[column] for column in kept] for line in (header, *lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, cell, width in zip(kept, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(text)


def format_table(rows: Sequence[Row]) -> str:
    """The table in percent; "over best" is the gain over the best part, with the mid-p value of McNemar's test."""
    return format_columns(_header(rows), [_cells(row) for row in rows], left=2)


def markdown_rows(rows: Sequence[Row]) -> str:
    """The same table in Markdown."""
    return markdown_table(_header(rows), [_cells(row) for row in rows], left=2)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, the first `left` columns flush left; columns without content are dropped."""
    kept = [column for column in range(len(header)) if any(line[column] for line in lines)]
    rule = ["---" if column < left else "---:" for column in range(len(kept))]
    cells = [[line[column].replace("|", "\\|") for column in kept] for line in (header, *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))


def _header(rows: Sequence[Row]) -> list[str]:
    k = rows[0].metrics.k if rows else 5
    folds = max((len(row.fold_top1) for row in rows), default=0)
    header = ["", "weights", "top-1", "95 % interval", f"mean of {folds} folds", f"top-{k}", "mean class"]
    return [*header, "published", "difference", "over best", "p"]


def _cells(row: Row) -> tuple[str, ...]:
    metrics, fusion = row.metrics, row.fusion
    low, high = metrics.top1_interval
    published = "" if row.published is None else f"{row.published:.2f}" + ("" if row.own else f" ({row.publisher})")
    return (
        f"{row.model}: {row.name}" if row.model else row.name,
        format_weights(fusion.weights, most=_MOST_WEIGHTS) if fusion else "",
        f"{100 * metrics.top1:.2f}",
        f"{100 * low:.1f} - {100 * high:.1f}",
        _mean_of_folds(row.fold_top1),
        f"{100 * metrics.top5:.2f}",
        f"{100 * metrics.mean_class:.2f}",
        published,
        "" if row.difference is None else f"{row.difference + 0.0:+.2f}",
        f"{100 * fusion.gain:+.2f}" if fusion else "",
        format_p(fusion.mcnemar.p_mid) if fusion else "",
    )


def _mean_of_folds(top1: Sequence[float]) -> str:
    if not top1:
        return ""
    spread = f" ± {100 * statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
    return f"{100 * statistics.mean(top1):.2f}{spread}"


def format_p(p: float) -> str:
    """p-value with three decimals, "<0.001" below."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_comparison(first: str, second: str, gain: float, low: float, high: float, p: float) -> str:
    """Sentence that compares two models on the same clips; `gain`, `low` and `high` as fractions of one."""
    return (
        f"{first} against {second}: {100 * gain:+.2f} points "
        f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f}, McNemar mid-p {format_p(p)})"
    )


def write_csv(rows: Sequence[Row], path: str | Path) -> Path:
    """Write the table with full precision (percent), whole or not at all, and return its path."""
    return write_records([_record(row) for row in rows], path)


def write_records(records: Sequence[Mapping[str, object]], path: str | Path) -> Path:
    """Write records that share their keys as CSV, whole or not at all, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _record(row: Row) -> dict[str, object]:
    metrics, fusion = row.metrics, row.fusion
    return {
        "model": row.model,
        "name": row.name,
        "group": row.group,
        "parts": "+".join(fusion.names) if fusion else "",
        "weights": row.weights,
        "rule": fusion.rule if fusion else "",
        "clips": len(metrics.correct),
        "top1": _percent(metrics.top1),
        "top1_low": _percent(metrics.top1_interval[0]),
        "top1_high": _percent(metrics.top1_interval[1]),
        "folds": len(row.fold_top1) or "",
        "mean_of_folds": _percent(statistics.mean(row.fold_top1)) if row.fold_top1 else "",
        f"top{metrics.k}": _percent(metrics.top5),
        "mean_class": _percent(metrics.mean_class),
        "published": "" if row.published is None else row.published,
        "publisher": row.publisher,
        "difference": "" if row.difference is None else round(row.difference, 4),
        "over_best": _percent(fusion.gain) if fusion else "",
        "over_best_low": _percent(fusion.gain_interval[0]) if fusion else "",
        "over_best_high": _percent(fusion.gain_interval[1]) if fusion else "",
        "mcnemar_exact": fusion.mcnemar.p_exact if fusion else "",
        "mcnemar_mid": fusion.mcnemar.p_mid if fusion else "",
    }


def _percent(value: float) -> float:
    return round(100 * value, 4)
