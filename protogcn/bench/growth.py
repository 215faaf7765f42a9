"""Rows about growth: what a forward, a store and a training cost at several sizes of one thing."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphs.layouts import get_skeleton
from protogcn.bench.data import synthetic_store
from protogcn.bench.processes import seconds_per_clip
from protogcn.bench.rows import Call, Row, Settings
from protogcn.data.store import ClipStore
from protogcn.models import create_model

_USUAL: dict[str, Any] = {"samples": 8, "persons": 2, "frames": 100, "layout": "ntu25"}
_SMALL: dict[str, Any] = {"samples": 2, "persons": 2, "frames": 8, "layout": "ntu25"}
_LAYOUTS = ("penn13", "kinect15", "ucla20", "ntu25", "mediapipe33")
_READS = 1000


def growth_rows(settings: Settings) -> Iterator[Row]:
    """Cost against batch, frames, persons, joints, clips of a store, and processes."""
    quick = settings.quick
    usual = _SMALL if quick else _USUAL
    yield _forwards(settings, "N", "samples", (1, 2, 3) if quick else (1, 2, 4, 8, 16, 32, 64), usual)
    yield _forwards(settings, "T", "frames", (8, 12, 16) if quick else (20, 50, 100, 200, 400), usual)
    yield _forwards(settings, "M", "persons", (1, 2, 3) if quick else (1, 2, 5), usual)
    yield _layouts(settings, usual)
    yield from _stores(settings)
    yield Row(
        "growth/processes",
        "seconds of training per clip, a batch and a thread for each process",
        {str(world): partial(_constant, partial(seconds_per_clip, world, quick)) for world in (1, 2)},
        unit="clips",
        own_clock=True,
        sizes={"1": 1.0, "2": 2.0},
    )


def _forwards(settings: Settings, axis: str, key: str, sizes: tuple[int, ...], usual: Mapping[str, Any]) -> Row:
    fixed = " ".join(f"{letter}={usual[name]}" for letter, name in _LETTERS.items() if name != key)
    return Row(
        f"growth/{axis}",
        f"forward of protogcn, {fixed}",
        {str(size): partial(_forward, settings, **{**usual, key: size}) for size in sizes},
        unit="batches",
        sizes={str(size): float(size) for size in sizes},
    )


_LETTERS = {"N": "samples", "M": "persons", "T": "frames", "V": "layout"}


def _layouts(settings: Settings, usual: Mapping[str, Any]) -> Row:
    layouts = _LAYOUTS[:3] if settings.quick else _LAYOUTS
    fixed = " ".join(f"{letter}={usual[name]}" for letter, name in _LETTERS.items() if letter != "V")
    return Row(
        "growth/V",
        f"forward of protogcn, {fixed}",
        {layout: partial(_forward, settings, **{**usual, "layout": layout}) for layout in layouts},
        unit="batches",
        sizes={layout: float(get_skeleton(layout).num_joints) for layout in layouts},
    )


def _stores(settings: Settings) -> Iterator[Row]:
    largest = min(settings.clips, 200) if settings.quick else settings.clips
    sizes = sorted({max(2, largest // 100), max(2, largest // 10), largest})
    for what, build in (("open", _opening), ("read", _reading)):
        yield Row(
            f"growth/store-{what}",
            "opening a store" if what == "open" else f"{_READS:,} clips of a store at random",
            {f"{size} clips": partial(build, settings, size) for size in sizes},
            sizes={f"{size} clips": float(size) for size in sizes},
        )


def _constant(call: Call) -> Call:
    return call


def _forward(settings: Settings, *, samples: int, persons: int, frames: int, layout: str) -> Call:
    small: dict[str, Any] = {"base_channels": 16, "num_blocks": 3, "widen_at": (2,), "downsample_at": (2,)}
    torch.manual_seed(settings.seed)
    options = small if settings.quick else {}
    network = create_model("protogcn", skeleton=layout, num_classes=60, num_persons=persons, **options)
    network = network.to(settings.device).eval()
    joints = get_skeleton(layout).num_joints
    clips = torch.randn(samples, persons, frames, joints, 3, device=settings.device)

    def infer() -> Tensor:
        with torch.inference_mode():
            return network(clips)

    return infer


def _opening(settings: Settings, count: int) -> Call:
    path = synthetic_store(settings, count).path
    return partial(ClipStore.open, path)


def _reading(settings: Settings, count: int) -> Call:
    store = synthetic_store(settings, count)
    order = np.random.default_rng(settings.seed).integers(count, size=_READS).tolist()

    def read() -> None:
        for index in order:
            store[index]

    return read
