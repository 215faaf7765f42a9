"""Pictures of an analysis: weights, contributions, diversity, reliability, confusion. Needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from protogcn.evaluation.analysis import Analysis
from protogcn.evaluation.calibration import BINS, Reliability
from protogcn.evaluation.figures import BLUE, GREY, ORANGE, bare, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_both_confusions",
    "plot_confused_pairs",
    "plot_contributions",
    "plot_diversity",
    "plot_reliability",
    "plot_weights",
]

_MOST_NUMBERS = 8
_PANELS_PER_ROW = 5


def plot_weights(analysis: Analysis, path: str | Path) -> Path:
    """Bars of the weights, as shares of their sum; where they were fitted, with their range over the folds."""
    fusion = analysis.fusion
    shares = np.array(fusion.weights) / sum(fusion.weights)
    figure = new_figure(7.5, 1.3 + 0.34 * len(shares))
    axes = figure.subplots()
    places = np.arange(len(shares))[::-1]
    axes.barh(places, shares, height=0.6, color=BLUE, alpha=0.85)
    if analysis.weights:
        low, high = analysis.weights.spread
        axes.hlines(places, low, high, color="#16324a", lw=2.2)
    axes.set_yticks(places, fusion.names)
    axes.set_xlim(0, 1.15 * float(max(shares.max(), analysis.weights.spread[1].max() if analysis.weights else 0)))
    axes.set_xlabel("share of the weight" + (", with its range over the folds" if analysis.weights else ""))
    axes.set_title(_title(analysis, f"weights of the parts, fused by {fusion.rule}"), loc="left", fontsize=11)
    _grid(axes)
    return save_figure(figure, path)


def plot_contributions(analysis: Analysis, path: str | Path) -> Path:
    """Top-1 that is lost without each part, with 95 % intervals."""
    parts = analysis.contributions
    figure = new_figure(7.5, 1.3 + 0.34 * len(parts))
    axes = figure.subplots()
    places = np.arange(len(parts))[::-1]
    axes.axvline(0, color="0.5", lw=1)
    for place, part in zip(places, parts, strict=True):
        low, high = part.interval
        colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
        axes.plot([100 * low, 100 * high], [place, place], color=colour, lw=2.5, alpha=0.5, solid_capstyle="round")
        axes.plot(100 * part.drop, place, "o", color=colour, ms=7)
        axes.text(
            1.02, place, f"{100 * part.drop + 0.0:+.2f}", transform=axes.get_yaxis_transform(), va="center", fontsize=9
        )
    axes.set_yticks(places, [part.name for part in parts])
    axes.set_ylim(-0.7, len(parts) - 0.3)
    axes.set_xlabel("top-1 lost without the part (points), 95 % interval; grey: may be chance")
    axes.set_title(_title(analysis, "what each part adds"), loc="left", fontsize=11)
    _grid(axes)
    return save_figure(figure, path)


def plot_diversity(analysis: Analysis, path: str | Path) -> Path:
    """Heat maps of disagreement, Q and error correlation of all pairs."""
    from matplotlib import colormaps

    measured = analysis.diversity
    count = len(measured.names)
    side = 1.5 + max(1.9, (0.42 if count <= _MOST_NUMBERS else 0.28) * count)
    figure = new_figure(3 * side + 0.6, side + 0.7)
    panels = (
        ("disagreement (%)", 100 * measured.disagreement, "Blues", 0.0, None, "{:.1f}"),
        ("Q statistic", measured.q, "Oranges", 0.0, 1.0, "{:.2f}"),
        ("error correlation", measured.error_correlation, "Oranges", 0.0, 1.0, "{:.2f}"),
    )
    grid = figure.subplots(1, 3, sharey=True)
    for axes, (title, values, colours, low, high, form) in zip(grid, panels, strict=True):
        shown = np.where(np.eye(count, dtype=bool), np.nan, values)
        top = high if high is not None else max(float(np.nanmax(shown)), 1e-9)
        palette = colormaps[colours].with_extremes(bad="#eeeeee")
        low = min(low, float(np.nanmin(np.append(shown, low))))
        image = axes.imshow(shown, cmap=palette, vmin=low, vmax=top)
        axes.set_xticks(range(count), measured.names, rotation=90, fontsize=8)
        axes.set_yticks(range(count), measured.names, fontsize=8)
        axes.set_title(title, loc="left", fontsize=10)
        axes.tick_params(length=0)
        if count <= _MOST_NUMBERS:
            for (row, column), value in np.ndenumerate(shown):
                if np.isfinite(value):
                    dark = value > 0.6 * top
                    text = form.format(value)
                    axes.text(column, row, text, ha="center", va="center", fontsize=7, color="w" if dark else "#333333")
        figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03).ax.tick_params(labelsize=7)
    figure.suptitle(
        _title(analysis, f"diversity of the parts; oracle of all {100 * measured.oracle_all:.2f} %"),
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return save_figure(figure, path)


def plot_reliability(analysis: Analysis, path: str | Path) -> Path:
    """Reliability diagrams of each part and of the fusion, before and after temperatures."""
    calibration = analysis.calibration
    panels = [*zip(calibration.names, calibration.before, calibration.after, strict=True)]
    panels.append(("fused", calibration.fused_before, calibration.fused_after))
    lines = -(-len(panels) // _PANELS_PER_ROW)
    columns = -(-len(panels) // lines)
    figure = new_figure(max(2.3 * columns + 0.4, 6.0), 2.65 * lines + 1.0)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (axes, (name, before, after)) in enumerate(zip(grid, panels, strict=False)):
        axes.plot([0, 100], [0, 100], color="0.75", lw=1, zorder=1)
        _reliability_line(axes, before, GREY, "as it is")
        _reliability_line(axes, after, BLUE, "with temperatures")
        axes.set_title(f"{name}\nECE {100 * before.ece:.1f} → {100 * after.ece:.1f} %", loc="left", fontsize=9)
        axes.set_xlim(0, 104)
        axes.set_ylim(0, 104)
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(0, 101, 25))
        axes.set_box_aspect(1)
        axes.tick_params(labelsize=8, labelbottom=place + columns >= len(panels))
        _grid(axes, "both")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(_title(analysis, "reliability"), x=0.01, ha="left", fontsize=11)
    figure.supxlabel(f"probability of the answer (%), {BINS} bins, larger dots for more clips", fontsize=9)
    figure.supylabel("right answers (%)", fontsize=9)
    return save_figure(figure, path)


def _reliability_line(axes: "Axes", measured: Reliability, colour: str, label: str) -> None:
    filled = measured.count > 0
    x, y = 100 * measured.confidence[filled], 100 * measured.accuracy[filled]
    sizes = 3 + 120 * measured.count[filled] / measured.count.sum()
    axes.plot(x, y, color=colour, lw=1, alpha=0.6, label=label, marker="o", ms=1, zorder=2)
    axes.scatter(x, y, s=sizes, color=colour, alpha=0.75, zorder=3, lw=0)


def plot_both_confusions(analysis: Analysis, path: str | Path) -> Path:
    """Confusion matrices of the best part and of the fusion side by side, and what changed."""
    from matplotlib.colors import Normalize, PowerNorm

    fusion = analysis.fusion
    before, after = (_shares(m.confusion) for m in (fusion.part_metrics[fusion.best], fusion.metrics))
    names = fusion.scores.class_names or tuple(str(index) for index in range(len(before)))
    count = len(before)
    side = 2.6 + 0.2 * min(count, 30) if count <= 60 else 7.0
    figure = new_figure(3 * side + 1.2, side + (0.5 if count <= 60 else 0.2))
    grid = figure.subplots(1, 3, sharey=True)
    change = after - before
    # A few cells of rare classes would pale all others.
    most = float(np.percentile(np.abs(change[change != 0]), 98)) if change.any() else 1.0
    best = f"best part, {fusion.names[fusion.best]}: {100 * fusion.part_metrics[fusion.best].top1:.2f} %"
    panels = (
        (before, best, "Blues", PowerNorm(0.5, 0, 100), "neither"),
        (after, f"{analysis.name}: {100 * fusion.metrics.top1:.2f} %", "Blues", PowerNorm(0.5, 0, 100), "neither"),
        (change, "change by fusing", "RdBu", Normalize(-most, most), "both"),
    )
    for axes, (values, title, colours, norm, extend) in zip(grid, panels, strict=True):
        image = axes.imshow(values, cmap=colours, norm=norm, interpolation="nearest")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("predicted class")
        if count <= 60:
            size = 8 if count <= 20 else 6 if count <= 30 else 4
            axes.set_xticks(range(count), names, rotation=90, fontsize=size)
            axes.set_yticks(range(count), names, fontsize=size)
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, extend=extend)
        bar.ax.tick_params(labelsize=8)
        bar.set_label("points" if values is change else "share of the true class (%)", fontsize=8)
    grid[0].set_ylabel("true class")
    return save_figure(figure, path)


def plot_confused_pairs(analysis: Analysis, path: str | Path) -> Path:
    """The most confused pairs of classes, before and after fusing."""
    pairs = analysis.pairs
    figure = new_figure(8.5, 1.5 + 0.42 * max(len(pairs), 1))
    axes = figure.subplots()
    places = np.arange(len(pairs))[::-1]
    best = analysis.fusion.names[analysis.fusion.best]
    for shift, colour, label, values in (
        (0.19, GREY, f"best part, {best}", [pair.before for pair in pairs]),
        (-0.19, BLUE, analysis.name, [pair.after for pair in pairs]),
    ):
        bars = axes.barh(places + shift, values, height=0.36, color=colour, label=label)
        axes.bar_label(bars, padding=3, fontsize=8, color=colour)
    axes.set_yticks(places, [f"{_short(pair.true)} → {_short(pair.taken_for)}" for pair in pairs], fontsize=9)
    axes.set_xlabel("clips of the first class taken for the second")
    axes.set_title(_title(analysis, "most confused pairs of classes"), loc="left", fontsize=11)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", integer=True)
    _grid(axes)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save_figure(figure, path)


def _title(analysis: Analysis, text: str) -> str:
    return text[0].upper() + text[1:] if analysis.name == "fused" else f"{analysis.name}: {text}"


def _shares(confusion: np.ndarray) -> np.ndarray:
    support = confusion.sum(axis=1, keepdims=True)
    return 100 * np.divide(confusion, support, out=np.zeros(confusion.shape), where=support > 0)


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _grid(axes: "Axes", axis: Literal["both", "x", "y"] = "x") -> None:
    axes.grid(axis=axis, color="0.92")
    axes.set_axisbelow(True)
    bare(axes)
