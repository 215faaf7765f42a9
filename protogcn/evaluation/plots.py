"""Pictures of results: the table of streams, a confusion matrix, training curves. Needs matplotlib."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protogcn.evaluation.figures import bare, new_figure, save_figure
from protogcn.evaluation.report import Row

__all__ = ["plot_confusion", "plot_curves", "plot_table"]

_COLOURS = {"stream": "#7a7f87", "motion": "#1f6fb4", "seeds": "#d9822b", "fused": "#1f6fb4", "models": "#3a923a"}
_LEGEND = {
    "stream": "single stream",
    "motion": "fused, motion streams",
    "seeds": "fused, second seeds",
    "fused": "fused",
    "models": "all models fused",
}
_CURVE_COLOURS = ("#1f6fb4", "#d9822b", "#3a923a", "#a14fa1", "#7a7f87", "#b03a2e")

_ACCURACY = "accuracy (%)"
_PANELS = ("loss", _ACCURACY, "learning rate", "other")


def plot_table(rows: Sequence[Row], path: str | Path, title: str = "") -> Path:
    """Draw top-1 of each row with its 95 % interval, and the published number where there is one."""
    figure = new_figure(8.5, 1.4 + 0.34 * len(rows))
    axes = figure.subplots()
    positions = np.arange(len(rows))[::-1]
    labelled: set[str] = set()
    for position, row in zip(positions, rows, strict=True):
        colour, top1 = _COLOURS[row.group], 100 * row.metrics.top1
        low, high = (100 * value for value in row.metrics.top1_interval)
        label = None if row.group in labelled else _LEGEND[row.group]
        labelled.add(row.group)
        axes.plot([low, high], [position, position], color=colour, lw=2.5, alpha=0.45, solid_capstyle="round")
        axes.plot(top1, position, "o", color=colour, ms=7, label=label, zorder=3)
        beside = axes.get_yaxis_transform()
        axes.text(1.02, position, f"{top1:.2f}", transform=beside, va="center", fontsize=9, color=colour)
        if row.published is not None:
            axes.plot(row.published, position, "D", mfc="none", mec="black", ms=6, zorder=4)
    if any(row.published is not None for row in rows):
        axes.plot([], [], "D", mfc="none", mec="black", ms=6, label="published")
    axes.set_yticks(positions, [f"{row.model}: {row.name}" if row.model else row.name for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("top-1 accuracy (%), 95 % bootstrap interval")
    if title:
        axes.set_title(title, loc="left", fontsize=11)
    bare(axes)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return save_figure(figure, path)


def plot_confusion(
    confusion: np.ndarray, path: str | Path, class_names: Sequence[str] = (), title: str = "Confusion matrix"
) -> Path:
    """Draw a confusion matrix (true, predicted) as shares of each true class, with counts in it up to 20 classes."""
    count = len(confusion)
    support = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, support, out=np.zeros(confusion.shape), where=support > 0)
    names = list(class_names) or [str(index) for index in range(count)]
    size = min(14.0, 3.2 + 0.3 * min(count, 36))
    figure = new_figure(size + 0.9, size)
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if count <= 60:
        size = 8 if count <= 30 else 6
        axes.set_xticks(range(count), names, rotation=90 if count > 12 else 40, fontsize=size)
        if count <= 12:
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), names, fontsize=size)
    if count <= 20:
        for (true, predicted), clips in np.ndenumerate(confusion):
            if clips:
                colour = "white" if shares[true, predicted] > 0.5 else "#333333"
                axes.text(predicted, true, str(clips), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title, loc="left", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", fraction=0.046, pad=0.02)
    return save_figure(figure, path)


def plot_curves(metrics_csv: str | Path, path: str | Path, title: str = "") -> Path:
    """Draw the columns of a training log: losses, accuracies and learning rates, a panel each.

    The log has a column `epoch` (or `step`) and one line per report; empty cells are skipped, one epoch is averaged.
    Accuracies are shown in percent, whether the log has fractions of one or percent.

    Raises:
        ValueError: there is nothing to draw.
        OSError: the log cannot be read.
    """
    axis, series = _read_log(Path(metrics_csv))
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, points in series.items():
        panels.setdefault(_panel(name), {})[name] = points
    if not panels:
        raise ValueError(f"{metrics_csv} holds no curve: expected columns such as epoch, train/loss, val/top1.")
    figure = new_figure(4.6 * len(panels), 3.4)
    shown = [(label, panels[label]) for label in _PANELS if label in panels]
    for axes, (label, curves) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        scale = 100 if label == _ACCURACY and max(y.max() for _, y in curves.values()) <= 1 else 1
        for index, (name, (x, y)) in enumerate(sorted(curves.items())):
            colour = _CURVE_COLOURS[index % len(_CURVE_COLOURS)]
            axes.plot(x, scale * y, color=colour, lw=1.6, marker="o" if len(x) < 3 else None, ms=4, label=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(axis)
        axes.set_title(label, loc="left", fontsize=10)
        axes.grid(color="0.92")
        axes.legend(fontsize=8, frameon=False)
        bare(axes)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return save_figure(figure, path)


def _panel(name: str) -> str:
    name = name.lower()
    if "loss" in name:
        return "loss"
    if name.startswith("lr") or "learning_rate" in name:
        return "learning rate"
    return _ACCURACY if any(word in name for word in ("top", "acc", "mean_class")) else "other"


def _read_log(path: Path) -> tuple[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    axis = "epoch" if lines and "epoch" in lines[0] else "step"
    values: dict[str, dict[float, list[float]]] = {}
    for line in lines:
        position = _number(line.get(axis))
        for name, cell in line.items():
            value = _number(cell)
            if name not in (None, "epoch", "step", "time", "seconds") and position is not None and value is not None:
                values.setdefault(name, {}).setdefault(position, []).append(value)
    return axis, {
        name: (np.array(sorted(points)), np.array([np.mean(points[x]) for x in sorted(points)]))
        for name, points in values.items()
    }


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
