"""A store in one picture: lengths of the clips, persons, missing joints, classes of each split. Needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protogcn.data.check_clips import pairs_of
from protogcn.data.check_facts import Facts
from protogcn.data.store import ClipStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d9822b", "#c8ccd2"
_MOST_NAMES = 60
_LONG_TAIL = 8


def plot_check(store: ClipStore, facts: Facts, path: str | Path) -> Path:
    """Draw what a check gathered, and write the picture.

    Raises:
        OSError: it cannot be written.
    """
    # A figure of its own, outside pyplot: no window system is asked for, and nothing stays open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = min(store.num_classes, _MOST_NAMES)
    height = max(7.0, 1.6 + 0.19 * max(store.skeleton.num_joints, classes))
    figure = Figure(figsize=(13.0, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic(
        [["lengths", "joints", "classes"], ["persons", "joints", "classes"]], width_ratios=[1, 1, 1.25]
    )
    _lengths(axes["lengths"], store, facts)
    _persons(axes["persons"], facts)
    _joints(axes["joints"], store, facts)
    _classes(axes["classes"], store)
    for panel in axes.values():
        panel.spines[["top", "right"]].set_visible(False)
    title = f"{store.path.name}: {len(store):,} clips of {store.num_classes} classes, {store.skeleton.name}"
    figure.suptitle(f"{title}, {store.channels}", x=0.01, ha="left", fontsize=11)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _lengths(axes: "Axes", store: ClipStore, facts: Facts) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = int(store.lengths.min()), int(store.lengths.max())
    edges = np.histogram_bin_edges(store.lengths, bins=min(40, high - low + 1))
    if high > _LONG_TAIL * np.median(store.lengths):
        edges = np.geomspace(max(1, min(low, facts.valid.min())), high + 1, 40)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.hist(store.lengths, bins=edges.tolist(), color=_GREY, label="all frames")
    if (facts.valid < store.lengths).any():
        axes.hist(facts.valid, bins=edges.tolist(), histtype="step", color=_BLUE, lw=1.5, label="frames with somebody")
        axes.legend(fontsize=8, frameon=False)
    axes.set_title("length of the clips", loc="left", fontsize=10)
    axes.set_xlabel("frames")
    axes.set_ylabel("clips")


def _persons(axes: "Axes", facts: Facts) -> None:
    numbers, clips = np.unique(facts.present, return_counts=True)
    bars = axes.bar([str(number) for number in numbers], clips, color=_BLUE, width=0.6)
    axes.bar_label(bars, [f"{count:,}" for count in clips], fontsize=8)
    axes.set_title("persons", loc="left", fontsize=10)
    axes.set_xlabel("in a clip")
    axes.set_ylabel("clips")
    axes.margins(x=max(0.05, 0.5 - 0.1 * len(numbers)))


def _joints(axes: "Axes", store: ClipStore, facts: Facts) -> None:
    missing = 100 * (1 - facts.seen.sum(axis=0) / max(1, int(facts.appearances.sum())))
    rows = np.arange(store.skeleton.num_joints)
    axes.barh(rows, missing, color=[_ORANGE if share > 50 else _BLUE for share in missing])
    axes.set_yticks(rows, store.skeleton.joints, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(5.0, 1.05 * float(missing.max())))
    axes.set_title("joints missing where somebody is seen", loc="left", fontsize=10)
    axes.set_xlabel("%")
    if not missing.any():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="0.4")


def _classes(axes: "Axes", store: ClipStore) -> None:
    pairs = pairs_of(store)
    names = list(pairs[0]) if pairs else list(store.splits)[:2]
    parts = [(name, np.bincount(store.labels[store.split(name)], minlength=store.num_classes)) for name in names]
    if not parts:
        parts = [("all", np.bincount(store.labels, minlength=store.num_classes))]
    rows = np.arange(store.num_classes)
    begin = np.zeros(store.num_classes)
    for (name, counts), colour in zip(parts, (_BLUE, _ORANGE), strict=False):
        axes.barh(rows, counts, left=begin, color=colour, label=name, height=0.8)
        begin += counts
    if store.num_classes <= _MOST_NAMES:
        axes.set_yticks(
            rows, [_shortened(name) for name in store.class_names], fontsize=8 if store.num_classes <= 40 else 6
        )
    axes.set_ylim(store.num_classes - 0.4, -0.6)
    fold = f" (the first of {len(pairs)} pairs of splits)" if len(pairs) > 1 else ""
    axes.set_title(f"classes{fold}", loc="left", fontsize=10)
    axes.set_xlabel("clips")
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)


def _shortened(name: str, most: int = 32) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
