"""The strokes that the pictures of `graphs.draw` are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphs.naming import places, sides
from graphs.skeleton import Skeleton
from graphs.views import View

SIDE_COLOURS = (
    {"left": "#1f6fd1", "right": "#e8622a", "centre": "#2b2f3a"},
    {"left": "#17a398", "right": "#c2477f", "centre": "#7a8194"},
    {"left": "#8ab6e8", "right": "#f0b08c", "centre": "#b3b8c4"},
)
"""Colours of the sides for the first, the second and every further person."""
INK, QUIET, FAINT, GRID = "#3c4250", "#8a90a0", "#d9dce3", "#eef0f4"
STREAM_TITLES = {
    "j": "joint",
    "b": "bone",
    "k": "K-bone",
    "jm": "joint motion",
    "bm": "bone motion",
    "km": "K-bone motion",
}
_LINK_COLOURS = {"plain": (0.07, 0.27, 0.56), "positive": (0.65, 0.06, 0.14), "negative": (0.10, 0.36, 0.63)}
_PART_COLOURS = ("#e8622a", "#1f6fd1", "#17a398", "#8a5bd6", "#d9a514")
_HEADS = ("head", "nose")


def joint_colours(skeleton: Skeleton, person: int = 0) -> np.ndarray:
    """Colour (V,) of each joint: by its side, or by its part in a layout without sides, such as one hand."""
    palette = SIDE_COLOURS[min(person, len(SIDE_COLOURS) - 1)]
    colours = np.array([palette[side] for side in sides(skeleton)])
    if not skeleton.mirror:
        for number, joints in enumerate(skeleton.parts.values()):
            colours[list(joints)] = _PART_COLOURS[number % len(_PART_COLOURS)]
    return colours


def new_axes(view: View, named: bool = False) -> Any:
    """Axes for a view in a figure of its own, as wide as the body (and the names beside it) asks for."""
    from matplotlib.figure import Figure

    if view.points.shape[-1] == 3:
        figure = Figure(figsize=(5.2, 5.2), dpi=110)
        return figure.add_axes((0.0, 0.03, 1.0, 0.92), projection="3d")
    width, height = view.high - view.low
    wide = float(np.clip((width + (2 * _name_room(view) if named else 0)) / height, 0.55, 2.2))
    figure = Figure(figsize=(6.0 * wide**0.5, 6.0 / wide**0.5 + 0.4), dpi=110)
    return figure.add_axes((0.03, 0.05, 0.94, 0.88))


def prepare(ax: Any, view: View) -> None:
    """Equal scales, the limits of the view, no box; a floor under bodies in space."""
    ax.set_axis_off()
    if view.points.shape[-1] == 2:
        ax.set_aspect("equal", adjustable="box")
        ax.set(xlim=(view.low[0], view.high[0]), ylim=(view.low[1], view.high[1]))
        return
    middle, span = (view.low + view.high) / 2, np.maximum(view.high - view.low, 0.4 * (view.high - view.low).max())
    low, high = middle - span / 2, middle + span / 2
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(tuple(span), zoom=1.12 if span[2] > 1.2 * span[:2].max() else 1.0)
    # Joints lie on their bones, which a sort by depth would not know.
    ax.computed_zorder = False
    ax.view_init(elev=14, azim=-68)
    for share in np.linspace(0, 1, 7):
        x, y = low[:2] + share * span[:2]
        ax.plot([x, x], [low[1], high[1]], [low[2]] * 2, color=FAINT, linewidth=0.7, zorder=0)
        ax.plot([low[0], high[0]], [y, y], [low[2]] * 2, color=FAINT, linewidth=0.7, zorder=0)


class Body:
    """One person: bones in the colours of their sides and joints as dots, to be moved from frame to frame."""

    def __init__(
        self, ax: Any, skeleton: Skeleton, person: int = 0, *, ghost: bool = False, weight: float = 1.0
    ) -> None:
        colours = np.array([FAINT] * skeleton.num_joints) if ghost else joint_colours(skeleton, person)
        self.edges = np.array(skeleton.edges, dtype=np.int64).reshape(-1, 2)
        self.extra = np.array(skeleton.extra_edges, dtype=np.int64).reshape(-1, 2)
        flat = not hasattr(ax, "get_zlim")
        # Smaller dots where joints crowd, so that hands and faces stay readable.
        small = 5.5 if skeleton.num_joints <= 28 else 4.0
        sizes = weight * np.where(np.isin(places(skeleton), _HEADS), 9.0, small)
        order = 2 * person
        self.links = self._lines(ax, flat, FAINT, 1.2 * weight, order + 1, linestyles=(0, (2, 2)))
        self.bones = self._lines(ax, flat, colours[self.edges[:, 0]], 3.4 * weight, order + 1.5)
        self.dots = []
        for colour, size in () if ghost else sorted(set(zip(colours, sizes, strict=True))):
            joints = np.flatnonzero((colours == colour) & (sizes == size))
            style = {"color": colour, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.8 * weight}
            (dots,) = ax.plot(*np.full((2 if flat else 3, 1), np.nan), "o", zorder=order + 2, **style)
            self.dots.append((joints, dots))

    @staticmethod
    def _lines(ax: Any, flat: bool, colours: Any, width: float, order: float, **options: Any) -> Any:
        from matplotlib.collections import LineCollection
        from mpl_toolkits.mplot3d.art3d import Line3DCollection

        kind: Any = LineCollection if flat else Line3DCollection
        empty = np.full((1, 2, 2 if flat else 3), np.nan)
        lines = kind(empty, colors=colours, linewidths=width, capstyle="round", zorder=order, **options)
        return ax.add_collection(lines, autolim=False) if flat else ax.add_collection3d(lines, autolim=False)

    def move(self, points: np.ndarray) -> None:
        """Put the joints at points (V, 2 or 3); NaN hides a joint and its bones."""
        self.bones.set_segments(points[self.edges])
        self.links.set_segments(points[self.extra])
        for joints, dots in self.dots:
            (dots.set_data if points.shape[-1] == 2 else dots.set_data_3d)(*points[joints].T)


def write_names(ax: Any, skeleton: Skeleton, points: np.ndarray, view: View) -> None:
    """Joint names: beside the joints in space; flat, in two columns with a thin line to each joint."""
    colours = joint_colours(skeleton)
    visible = [joint for joint in range(skeleton.num_joints) if np.isfinite(points[joint]).all()]
    if points.shape[-1] == 3:
        for joint in visible:
            ax.text(*points[joint], f" {skeleton.joints[joint]}", fontsize=6.5, color=colours[joint], zorder=9)
        return
    middle = (view.low[0] + view.high[0]) / 2
    on_axis = sorted((j for j in visible if abs(points[j, 0] - middle) < 1e-9), key=lambda j: points[j, 1])
    right = {joint for joint in visible if points[joint, 0] > middle + 1e-9} | set(on_axis[::2])
    span = view.high - view.low
    for align, x in (("left", view.high[0] + 0.1 * span[0]), ("right", view.low[0] - 0.1 * span[0])):
        joints = sorted((j for j in visible if (j in right) == (align == "left")), key=lambda j: points[j, 1])
        for joint, y in zip(joints, _spread(points[joints, 1], view.low[1], view.high[1]), strict=True):
            ax.plot([points[joint, 0], x], [points[joint, 1], y], color=FAINT, linewidth=0.7, zorder=0)
            words = (str(joint), skeleton.joints[joint])
            text = " " + "  ".join(words if align == "left" else words[::-1]) + " "
            ax.text(x, y, text, fontsize=7, color=colours[joint], ha=align, va="center")
    ax.set_xlim(view.low[0] - _name_room(view), view.high[0] + _name_room(view))


def _name_room(view: View) -> float:
    """Width of a column of names beside a flat body."""
    width, height = view.high - view.low
    return float(0.1 * width + 0.28 * height)


def _spread(heights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Move sorted heights apart until labels of one line each do not overlap, as little as one pass allows."""
    if not len(heights):
        return heights
    gap = min((high - low) / max(len(heights), 1), 0.042 * (high - low))
    placed = heights.astype(np.float64).copy()
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    placed -= max(0.0, (placed - heights).mean())
    placed[-1] = min(placed[-1], high)
    for k in range(len(placed) - 2, -1, -1):
        placed[k] = min(placed[k], placed[k + 1] - gap)
    return placed


def topology_colours() -> Any:
    """Colour map from white, which no edge is, to dark blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("topology", ["#ffffff", "#cfe3f8", "#5aa0e6", "#1b5fb8", "#0b2545"])


def name_ticks(ax: Any, skeleton: Skeleton, rows: bool, columns: bool) -> None:
    """Joint names at the rows and columns of a heat map, in the colour of their side."""
    for axis, wanted in ((ax.yaxis, rows), (ax.xaxis, columns)):
        axis.set_ticks(range(skeleton.num_joints), skeleton.joints if wanted else [""] * skeleton.num_joints)
        for label, colour in zip(axis.get_ticklabels(), joint_colours(skeleton), strict=True):
            label.set_color(colour)
    if columns:
        ax.tick_params(axis="x", rotation=90)


class StreamPanel:
    """One stream of a clip on an axes: the body itself, or arrows on a pale body, to be shown frame by frame.

    Args:
        ax: where.
        skeleton: the layout.
        name: of the stream.
        view: the clip on paper.
        values: the stream of its points (M, T, V, 2).
        factor: by which arrows are lengthened.
    """

    def __init__(self, ax: Any, skeleton: Skeleton, name: str, view: View, values: np.ndarray, factor: float) -> None:
        self.ax, self.skeleton, self.name, self.view = ax, skeleton, name, view
        self.vectors = values * factor
        self.title = f"{STREAM_TITLES[name]}{f'  × {factor:.0f}' if factor > 1 else ''}"
        persons = range(len(view.points))
        self.bodies = [Body(ax, skeleton, person, ghost=name != "j", weight=0.72) for person in persons]
        self.arrows: list[Any] = []

    def show(self, frame: int) -> None:
        """Draw a frame in place of the one before."""
        for arrows in self.arrows:
            arrows.remove()
        self.arrows = []
        for person, body in enumerate(self.bodies):
            body.move(self.view.points[person, frame])
            if self.name != "j":
                self._point(person, frame)

    def _point(self, person: int, frame: int) -> None:
        vectors = self.vectors[person, frame]
        points = self.view.points[person, frame]
        tails = points if self.name.endswith("m") else points - vectors
        drawn = np.isfinite(tails).all(-1) & (np.linalg.norm(vectors, axis=-1) > 0.004 * self.view.size)
        arrows = self.ax.quiver(
            *tails[drawn].T,
            *vectors[drawn].T,
            color=joint_colours(self.skeleton, person)[drawn],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.013,
            headwidth=3.6,
            headlength=4.2,
            headaxislength=3.8,
            zorder=5,
            clip_on=False,
        )
        # A long arrow may leave its panel; the panels do not shrink for it.
        arrows.set_in_layout(False)
        self.arrows.append(arrows)


def draw_link(ax: Any, tail: np.ndarray, head: np.ndarray, strength: float, signed: bool) -> None:
    """A bent arrow between two joints; ``strength`` from -1 to 1 decides colour and width."""
    from matplotlib.patches import FancyArrowPatch

    if not np.isfinite([tail, head]).all():
        return
    share = min(abs(strength), 1.0)
    colour = np.array(_LINK_COLOURS["plain" if not signed else "negative" if strength < 0 else "positive"])
    arrow = FancyArrowPatch(
        tuple(tail),
        tuple(head),
        connectionstyle="arc3,rad=0.22",
        arrowstyle=f"-|>,head_length={2 + 3 * share:.1f},head_width={1 + 1.6 * share:.1f}",
        color=tuple(1 - (1 - colour) * (0.15 + 0.85 * share)),
        linewidth=0.5 + 2.0 * share,
        shrinkA=3,
        shrinkB=4,
        zorder=3 + share,
        clip_on=False,
    )
    arrow.set_in_layout(False)
    ax.add_patch(arrow)


def motion_scale(values: np.ndarray, view: View) -> float:
    """A whole factor at which the longest motion is a quarter of the picture long; 1 where nothing moves."""
    length = np.linalg.norm(values, axis=-1)
    longest = float(length[np.isfinite(length)].max(initial=0))
    return float(np.clip(np.round(view.size / 4 / longest), 1, 50)) if longest > 0 else 1.0
