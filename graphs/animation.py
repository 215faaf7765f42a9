"""Moving pictures of clips and of their streams; `graphs.draw` offers them beside the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs import streams as stream_functions
from graphs.artists import FAINT, INK, SIDE_COLOURS, Body, StreamPanel, motion_scale, new_axes, prepare
from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from graphs.views import as_clip, guess_channels, make_view

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

_ENDINGS = (".gif", ".png", ".html")
_COLOURS = 64


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
        path: where to save it, ``.gif``, ``.png`` (animated as well) or ``.html`` (a page that needs no other file);
            None saves nothing.
        dims, channels, up: as for `draw_skeleton`.
        title: above the figure.
        spin: degrees that the camera turns over the whole clip, in three dimensions.

    Raises:
        ValueError: another file ending, or a clip that does not fit the skeleton.
    """
    skeleton = get_skeleton(skeleton)
    target = _target(path)
    view = make_view(clip, skeleton, dims, channels, up)
    persons, frames = view.points.shape[:2]
    ax = new_axes(view)
    prepare(ax, view)
    ax.set_title(title or skeleton.name, color=INK, fontsize=11)
    bodies = [Body(ax, skeleton, person) for person in range(persons)]
    azimuth = getattr(ax, "azim", 0.0)

    def show(t: int) -> None:
        for body, points in zip(bodies, view.points[:, t], strict=True):
            body.move(points)
        if spin and view.points.shape[-1] == 3:
            ax.view_init(elev=ax.elev, azim=azimuth + spin * t / frames)

    return _animate(ax.figure, show, frames, fps, target)


def animate_streams(
    clip: Any,
    skeleton: str | Skeleton,
    fps: float = 30.0,
    path: str | Path | None = None,
    *,
    streams: Sequence[str] = stream_functions.STREAMS,
    kbone: str = "grandparent",
    channels: str | None = None,
    up: str | None = None,
    width: float = 7.2,
) -> FuncAnimation:
    """The streams of a clip side by side, moving: the arrows of `graphs.draw.draw_streams` in every frame.

    Args:
        clip: (M, T, V, C) or (T, V, C), numpy or torch.
        skeleton: its layout.
        fps: frames per second.
        path: where to save it, as for `animate_clip`.
        streams: one panel each.
        kbone: definition of the K-bone stream, see `graphs.streams.compute`.
        channels, up: as for `graphs.draw.draw_skeleton`.
        width: of the picture in inches, at 100 dots per inch.

    Raises:
        ValueError: an unknown stream, another file ending, or a clip that does not fit the skeleton.
    """
    from matplotlib.figure import Figure

    skeleton = get_skeleton(skeleton)
    target = _target(path)
    x = as_clip(clip, skeleton)
    view = make_view(x, skeleton, 2, channels or guess_channels(x.shape[-1], skeleton), up)
    columns = min(len(streams), 3)
    rows = -(-len(streams) // columns)
    box = view.high - view.low
    panel, heading, foot = width / columns, 0.26, 0.1
    height = rows * (panel * float(np.clip(box[1] / box[0], 0.5, 2.2)) + heading) + foot
    figure = Figure(figsize=(width, height), dpi=100)
    panels = []
    for place, name in enumerate(streams):
        row, column = divmod(place, columns)
        step = (height - foot) / rows
        ax = figure.add_axes((column / columns, 1 - (row + 1) * step / height, 1 / columns, (step - heading) / height))
        prepare(ax, view)
        values = stream_functions.compute(view.points, name, skeleton, kbone=kbone)
        factor = motion_scale(values, view) if name.endswith("m") else 1.0
        panels.append(StreamPanel(ax, skeleton, name, view, values, factor))
        ax.set_title(panels[-1].title, color=INK, fontsize=10, pad=3)

    def show(t: int) -> None:
        for each in panels:
            each.show(t)

    return _animate(figure, show, x.shape[1], fps, target)


def _target(path: str | Path | None) -> Path | None:
    if path is None or Path(path).suffix.lower() in _ENDINGS:
        return None if path is None else Path(path)
    *others, last = _ENDINGS
    raise ValueError(f"an animation is saved as {', '.join(others)} or {last}, got {str(path)!r}")


def _animate(
    figure: Figure, show: Callable[[int], None], frames: int, fps: float, target: Path | None
) -> FuncAnimation:
    """Put a line that shows the time below a figure, let it run, and save it."""
    from matplotlib import rc_context
    from matplotlib.animation import FuncAnimation

    bar = figure.add_axes((0.08, 0.012, 0.84, 0.008))
    bar.set(xlim=(0, frames), ylim=(0, 1), facecolor=FAINT, xticks=[], yticks=[])
    bar.spines[:].set_visible(False)
    (progress,) = bar.barh(0.5, 0, height=1, color=SIDE_COLOURS[0]["left"])

    def update(t: int) -> list[Any]:
        show(t)
        progress.set_width(t + 1)
        return []

    update(0)
    animation = FuncAnimation(figure, update, frames=frames, interval=1000 / fps, init_func=lambda: [])
    if target is not None and target.suffix.lower() == ".html":
        # The default limit would silently leave out the frames of long clips.
        with rc_context({"animation.embed_limit": 512}):
            target.write_text(animation.to_jshtml(fps=max(1, round(fps))), encoding="utf-8")
    elif target is not None:
        _save(figure, update, frames, fps, target)
    return animation


def _save(figure: Figure, update: Callable[[int], Any], frames: int, fps: float, target: Path) -> None:
    """Write frames in few colours and without dithering, which keeps lines clean and files small."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)

    def picture(t: int) -> Image.Image:
        update(t)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])

    some = [np.asarray(picture(t)) for t in sorted({round(share * (frames - 1)) for share in np.linspace(0, 1, 6)})]
    pixels = np.concatenate(some).reshape(-1, 3)
    inked = pixels[pixels.min(1) < 230]
    # The paper, most of every picture, would else pull the palette towards itself and come out grey.
    colours = Image.fromarray(inked[None]).quantize(_COLOURS - 1).getpalette() if len(inked) else []
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 255, 255, *(colours or [])])
    first, *rest = (picture(t).quantize(palette=palette, dither=Image.Dither.NONE) for t in range(frames))
    # A GIF counts in hundredths of a second.
    first.save(target, save_all=True, append_images=rest, duration=10 * max(1, round(100 / fps)), loop=0)
