"""Pictures of skeletons, topologies and clips.

Every function returns a `matplotlib` figure (or animation) that belongs to no window: save it with
``figure.savefig``, or leave it as the last line of a notebook cell. Left is blue, right is orange, the middle dark;
further persons are paler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs import streams as stream_functions
from graphs.animation import animate_clip, animate_streams
from graphs.arrays import is_torch
from graphs.artists import (
    FAINT,
    GRID,
    INK,
    QUIET,
    STREAM_TITLES,
    Body,
    StreamPanel,
    draw_link,
    joint_colours,
    motion_scale,
    name_ticks,
    new_axes,
    prepare,
    topology_colours,
    write_names,
)
from graphs.layouts import get_skeleton
from graphs.poses import reference_pose
from graphs.skeleton import Skeleton
from graphs.views import as_clip, guess_channels, make_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "STREAM_TITLES",
    "animate_clip",
    "animate_streams",
    "draw_links",
    "draw_skeleton",
    "draw_streams",
    "draw_topology",
]


def draw_skeleton(
    clip: Any,
    skeleton: str | Skeleton,
    frame: int = 0,
    ax: Axes | None = None,
    *,
    dims: int | None = None,
    channels: str | None = None,
    up: str | None = None,
    names: bool = False,
    title: str | None = None,
) -> Figure:
    """One frame of a clip, or the layout itself as a standing figure.

    Args:
        clip: (M, T, V, C), (T, V, C) or (V, C), numpy or torch; None draws the layout.
        skeleton: its layout.
        frame: which frame; negative counts from the end. The limits are those of the whole clip.
        ax: where to draw; a new figure by default. Three dimensions need an axes with ``projection="3d"``.
        dims: 2 or 3; by default what the channels are (the layout itself, and an ordinary ``ax``, are drawn flat).
        channels: ``"xyz"``, ``"xy"`` or ``"xys"``; guessed from C and the layout.
        up: ``"y"``, ``"-y"``, ``"z"``, ...; guessed, see `graphs.views.make_view`.
        names: write the joint names beside the figure.
        title: above the figure; by default the layout or the frame.

    Raises:
        ValueError: a clip that does not fit the skeleton, a frame it does not have, or an unknown option.
    """
    skeleton = get_skeleton(skeleton)
    layout_only = clip is None
    if layout_only or (ax is not None and not hasattr(ax, "get_zlim")):
        dims = dims or 2
    view = (
        make_view(reference_pose(skeleton), skeleton, dims, "xyz", "y")
        if layout_only
        else make_view(clip, skeleton, dims, channels, up)
    )
    frames = view.points.shape[1]
    if not -frames <= frame < frames:
        raise ValueError(f"the clip has frames 0..{frames - 1}, got frame {frame}")
    ax = ax if ax is not None else new_axes(view, names)
    prepare(ax, view)
    for person, points in enumerate(view.points[:, frame]):
        Body(ax, skeleton, person).move(points)
    if names:
        write_names(ax, skeleton, view.points[0, frame], view)
    if title is None:
        title = f"{skeleton.name} · {skeleton.num_joints} joints" if layout_only else f"frame {frame % frames}"
    ax.set_title(title, color=INK, fontsize=11)
    return ax.figure  # type: ignore[return-value]


def draw_topology(
    topology: Any, skeleton: str | Skeleton | None = None, *, names: bool = True, titles: Sequence[str] | None = None
) -> Figure:
    """Heat maps of a topology (V, V) or of several, (K, V, V), in one colour scale.

    With a skeleton the joints are named, in the colour of their side. A topology without negative entries is drawn
    from white to dark blue, another one from blue through white (zero) to red. ``titles`` gives one heading for each of
    the K maps.

    Raises:
        ValueError: no square matrices, or not of the size of the skeleton; a wrong number of titles.
    """
    from matplotlib.figure import Figure

    skeleton = get_skeleton(skeleton) if skeleton is not None else None
    maps = _matrices(topology, skeleton, titles)
    joints = maps.shape[-1]
    columns = min(len(maps), 4)
    rows = -(-len(maps) // columns)
    named = skeleton is not None and names
    side = float(np.clip(0.17 * joints, 2.2, 5.0) if columns > 1 else np.clip(0.22 * joints, 3.0, 8.0))
    extra = (1.9, 1.15) if named else (0.9, 0.3)
    figure = Figure(figsize=(side * columns + extra[0], (side + 0.25) * rows + extra[1]), dpi=110)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    bound = float(np.nanmax(np.abs(maps))) or 1.0
    signed = bool((maps < 0).any())
    image = None
    for k, ax in enumerate(grid.flat):
        if k >= len(maps):
            ax.set_axis_off()
            continue
        image = ax.imshow(
            maps[k], cmap="RdBu_r" if signed else topology_colours(), vmin=-bound if signed else 0, vmax=bound
        )
        ax.set_title(titles[k] if titles else f"k = {k}" if len(maps) > 1 else "", color=INK, fontsize=10)
        ax.set_xticks(np.arange(-0.5, joints), minor=True)
        ax.set_yticks(np.arange(-0.5, joints), minor=True)
        ax.grid(which="minor", color=GRID, linewidth=0.5)
        ax.tick_params(which="both", length=0, labelsize=6.5, labelcolor=INK)
        ax.spines[:].set_color(FAINT)
        if named and skeleton is not None:
            name_ticks(ax, skeleton, rows=k % columns == 0, columns=k // columns == rows - 1)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.7, pad=0.015, aspect=28)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=7, length=0, labelcolor=INK)
    return figure


def draw_links(
    topology: Any,
    skeleton: str | Skeleton,
    clip: Any = None,
    frame: int = 0,
    *,
    count: int = 24,
    titles: Sequence[str] | None = None,
    channels: str | None = None,
    up: str | None = None,
) -> Figure:
    """The strongest links of a topology, or of several, as arrows over a body.

    An arrow goes from the joint that is read (the row) to the joint that listens (the column); the larger its entry
    beside the largest of the same map, the wider and darker it is. Where there are negative entries, they are blue and
    the others red, as in `draw_topology`. The links of a joint to itself are left out.

    Args:
        topology: (V, V) or (K, V, V), numpy or torch; a panel for each of the K.
        skeleton: its layout.
        clip: whose body is shown, (M, T, V, C), (T, V, C) or (V, C), the first person; None shows a standing figure.
        frame: of the clip.
        count: arrows in each panel.
        titles: a heading for each panel.
        channels, up: as for `draw_skeleton`.

    Raises:
        ValueError: topology, titles or clip that do not fit, or a frame the clip does not have.
    """
    from matplotlib.figure import Figure

    skeleton = get_skeleton(skeleton)
    maps = _matrices(topology, skeleton, titles)
    view = (
        make_view(reference_pose(skeleton), skeleton, 2, "xyz", "y")
        if clip is None
        else make_view(as_clip(clip, skeleton)[:1], skeleton, 2, channels, up)
    )
    frames = view.points.shape[1]
    if not -frames <= frame < frames:
        raise ValueError(f"the clip has frames 0..{frames - 1}, got frame {frame}")
    points, view, signed = view.points[0, frame], view.around([frame]), bool((maps < 0).any())
    columns = min(len(maps), 4)
    rows = -(-len(maps) // columns)
    width, height = view.high - view.low
    tall = float(np.clip(height / width, 0.5, 2.2))
    wide = 2.4 if tall > 1 else 3.2
    figure = Figure(figsize=(wide * columns, wide * tall * rows + 0.3 * rows * bool(titles)), dpi=110)
    figure.set_layout_engine("constrained")
    for k, ax in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        ax.set_axis_off()
        if k >= len(maps):
            continue
        prepare(ax, view)
        Body(ax, skeleton, ghost=True, weight=0.8).move(points)
        strength = np.where(np.eye(len(points), dtype=bool), 0, np.nan_to_num(maps[k]))
        strongest = np.argsort(-np.abs(strength), axis=None)[:count]
        for cell in strongest[::-1]:
            read, listens = divmod(int(cell), len(points))
            share = strength[read, listens] / (np.abs(strength).max() or 1)
            draw_link(ax, points[read], points[listens], share, signed)
        ax.scatter(*points.T, s=26, c=joint_colours(skeleton), edgecolors="white", linewidths=0.7, zorder=6)
        if titles:
            ax.set_title(titles[k], color=INK, fontsize=10)
    return figure


def _matrices(topology: Any, skeleton: Skeleton | None, titles: Sequence[str] | None) -> np.ndarray:
    """A topology as (K, V, V), if it fits the skeleton and the titles."""
    maps = topology.detach().cpu().numpy() if is_torch(topology) else np.asarray(topology)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or 0 in maps.shape:
        raise ValueError(f"expected a topology (V, V) or (K, V, V), got shape {maps.shape}")
    joints = maps.shape[-1]
    if skeleton is not None and skeleton.num_joints != joints:
        raise ValueError(f"skeleton {skeleton.name!r} has {skeleton.num_joints} joints, the topology has {joints}")
    if titles is not None and len(titles) != len(maps):
        raise ValueError(f"expected {len(maps)} titles, one for each matrix, got {len(titles)}")
    return maps


def draw_streams(
    clip: Any,
    skeleton: str | Skeleton,
    frame: int | Sequence[int] | None = None,
    *,
    streams: Sequence[str] = stream_functions.STREAMS,
    kbone: str = "grandparent",
    channels: str | None = None,
    up: str | None = None,
) -> Figure:
    """The streams of a clip as arrows on its bodies: one frame, or a strip with one row for each stream.

    Bones point from the parent (K-bones from the grandparent) to the joint. Motions start at their joint and are
    lengthened, all by the factor in the heading. Without a frame the one with most motion is taken.

    Raises:
        ValueError: an unknown stream, a frame the clip does not have, or a clip that does not fit the skeleton.
    """
    from matplotlib.figure import Figure

    skeleton = get_skeleton(skeleton)
    x = as_clip(clip, skeleton)
    channels = channels or guess_channels(x.shape[-1], skeleton)
    view = make_view(x, skeleton, 2, channels, up)
    # Differences of paper coordinates are the paper coordinates of differences, and unseen joints stay NaN.
    values = {name: stream_functions.compute(view.points, name, skeleton, kbone=kbone) for name in streams}
    if frame is None:
        speed = np.nan_to_num(stream_functions.compute(view.points, "jm", skeleton))
        frame = int(np.abs(speed).sum((0, 2, 3)).argmax())
    frames = [frame] if isinstance(frame, int) else list(frame)
    count = x.shape[1]
    if not frames or not all(-count <= t < count for t in frames):
        raise ValueError(f"the clip has frames 0..{count - 1}, got {frames}")
    view = view.around(frames)
    columns = min(len(streams), 3) if len(frames) == 1 else len(frames)
    rows = -(-len(streams) // columns) if len(frames) == 1 else len(streams)
    width, height = view.high - view.low
    tall = float(np.clip(height / width, 0.5, 2.2))
    wide = 2.6 if len(frames) == 1 else 1.7
    figure = Figure(figsize=(wide * columns, wide * tall * rows + 0.35 * rows), dpi=110)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    panels = [(name, t) for name in streams for t in frames]
    for ax, (name, t) in zip(grid.flat, panels, strict=False):
        prepare(ax, view)
        factor = motion_scale(values[name][:, frames], view) if name.endswith("m") else 1.0
        panel = StreamPanel(ax, skeleton, name, view, values[name], factor)
        panel.show(t)
        if t == frames[0]:
            ax.set_title(panel.title, color=INK, fontsize=10, loc="left" if len(frames) > 1 else "center")
    for column, t in enumerate(frames):
        place = grid[-1, column if len(frames) > 1 else columns // 2]
        place.text(
            0.5, -0.03, f"frame {t % count}", transform=place.transAxes, ha="center", va="top", fontsize=8, color=QUIET
        )
    return figure
