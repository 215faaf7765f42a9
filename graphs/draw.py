"""Pictures of skeletons, topologies and clips.

Every function returns a `matplotlib` figure (or animation) that belongs to no window: save it with
``figure.savefig``, or leave it as the last line of a notebook cell. Left is blue, right is orange, the middle dark;
further persons are paler.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs import streams as stream_functions
from graphs.arrays import is_torch
from graphs.artists import (
    FAINT,
    GRID,
    INK,
    QUIET,
    SIDE_COLOURS,
    Body,
    draw_stream,
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
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM_TITLES = {
    "j": "joint",
    "b": "bone",
    "k": "K-bone",
    "jm": "joint motion",
    "bm": "bone motion",
    "km": "K-bone motion",
}


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

    maps = topology.detach().cpu().numpy() if is_torch(topology) else np.asarray(topology)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or 0 in maps.shape:
        raise ValueError(f"expected a topology (V, V) or (K, V, V), got shape {maps.shape}")
    skeleton = get_skeleton(skeleton) if skeleton is not None else None
    joints = maps.shape[-1]
    if skeleton is not None and skeleton.num_joints != joints:
        raise ValueError(f"skeleton {skeleton.name!r} has {skeleton.num_joints} joints, the topology has {joints}")
    if titles is not None and len(titles) != len(maps):
        raise ValueError(f"expected {len(maps)} titles, one for each matrix, got {len(titles)}")
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
    panel = 2.6 if len(frames) == 1 else 1.7
    figure = Figure(figsize=(panel * columns, panel * tall * rows + 0.35 * rows), dpi=110)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    panels = [(name, t) for name in streams for t in frames]
    for ax, (name, t) in zip(grid.flat, panels, strict=False):
        prepare(ax, view)
        factor = motion_scale(values[name][:, frames], view) if name.endswith("m") else 1.0
        draw_stream(ax, skeleton, name, view, values[name], t, factor)
        if t == frames[0]:
            heading = f"{STREAM_TITLES[name]}{f'  × {factor:.0f}' if factor > 1 else ''}"
            ax.set_title(heading, color=INK, fontsize=10, loc="left" if len(frames) > 1 else "center")
    for column, t in enumerate(frames):
        place = grid[-1, column if len(frames) > 1 else columns // 2]
        place.text(
            0.5, -0.03, f"frame {t % count}", transform=place.transAxes, ha="center", va="top", fontsize=8, color=QUIET
        )
    return figure


def animate_clip(
    clip: Any,
    skeleton: str | Skeleton,
    fps: float = 30.0,
    path: str | Path | None = None,
    *,
    dims: int | None = None,
    channels: str | None = None,
    up: str | None = None,
    title: str | None = None,
    spin: float = 0.0,
) -> FuncAnimation:
    """A clip as a moving picture; persons that are absent in a frame vanish from it.

    Args:
        clip: (M, T, V, C) or (T, V, C), numpy or torch.
        skeleton: its layout.
        fps: frames per second.
        path: where to save it, ``.gif`` or ``.html`` (a page that needs no other file); None saves nothing.
        dims, channels, up: as for `draw_skeleton`.
        title: above the figure.
        spin: degrees that the camera turns over the whole clip, in three dimensions.

    Raises:
        ValueError: another file ending, or a clip that does not fit the skeleton.
    """
    from matplotlib import rc_context
    from matplotlib.animation import FuncAnimation, PillowWriter

    skeleton = get_skeleton(skeleton)
    target = None if path is None else Path(path)
    if target is not None and target.suffix.lower() not in (".gif", ".html"):
        raise ValueError(f"an animation is saved as .gif or .html, got {str(path)!r}")
    view = make_view(clip, skeleton, dims, channels, up)
    persons, frames = view.points.shape[:2]
    ax = new_axes(view)
    prepare(ax, view)
    ax.set_title(title or skeleton.name, color=INK, fontsize=11)
    bodies = [Body(ax, skeleton, person) for person in range(persons)]
    figure = ax.figure
    bar = figure.add_axes((0.08, 0.025, 0.84, 0.008))  # type: ignore[union-attr]
    bar.set(xlim=(0, frames), ylim=(0, 1), facecolor=FAINT, xticks=[], yticks=[])
    bar.spines[:].set_visible(False)
    (progress,) = bar.barh(0.5, 0, height=1, color=SIDE_COLOURS[0]["left"])
    azimuth = getattr(ax, "azim", 0.0)

    def show(t: int) -> list[Any]:
        for body, points in zip(bodies, view.points[:, t], strict=True):
            body.move(points)
        progress.set_width(t + 1)
        if spin and view.points.shape[-1] == 3:
            ax.view_init(elev=ax.elev, azim=azimuth + spin * t / frames)  # type: ignore[attr-defined]
        return []

    show(0)
    animation = FuncAnimation(figure, show, frames=frames, interval=1000 / fps, init_func=lambda: [])
    if target is not None and target.suffix.lower() == ".gif":
        animation.save(target, writer=PillowWriter(fps=fps))  # type: ignore[arg-type]
    elif target is not None:
        # The default limit would silently leave out the frames of long clips.
        with rc_context({"animation.embed_limit": 512}):
            target.write_text(animation.to_jshtml(fps=max(1, round(fps))), encoding="utf-8")
    return animation
