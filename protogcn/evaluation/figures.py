"""Figures without a window system: made, stripped of what says nothing, and written."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "ORANGE", "bare", "new_figure", "save_figure"]

BLUE, ORANGE, GREY = "#1f6fb4", "#d9822b", "#7a7f87"


def new_figure(width: float, height: float) -> "Figure":
    """Empty figure of this size in inches."""
    # A figure of its own, outside pyplot: no window system is asked for, and nothing stays open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write a figure, making folders as needed, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def bare(axes: "Axes") -> None:
    """Leave the lines at the left and the bottom only."""
    axes.spines[["top", "right"]].set_visible(False)
