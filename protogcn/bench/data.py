"""Rows about data: training pipelines, workers, random access to a store, heat maps, fusion of scores."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs.layouts import get_skeleton
from protogcn.bench import plain
from protogcn.bench.clips import skeleton_clips, write_clips
from protogcn.bench.rows import Call, Row, Settings
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.data.store import ClipStore

_CLIPS, _FEW = 32, 3
_CLIP_LEN, _SHORT_LEN = 100, 8
_OTHERS = {
    "pyskl_3d": PipelineConfig(protocol="pyskl_3d"),
    "ctrgcn": PipelineConfig(protocol="ctrgcn", clip_len=64, rotation=0.3, p_interval=(0.5, 1.0)),
    "heatmap": PipelineConfig(protocol="heatmap", clip_len=48, rotation=0.0, projection="front", flip=0.5),
}
_WORKERS = (0, 1, 2)
_FUSION = (60_000, 400)
_READS = 10_000


def pipeline_rows(settings: Settings) -> Iterator[Row]:
    """Training input of one clip, from what the store holds and from what is kept of its preprocessing."""
    count = _FEW if settings.quick else _CLIPS
    length = _SHORT_LEN if settings.quick else _CLIP_LEN
    what = f"{count} clips of 40 to 120 frames, 18 % with two persons"
    missing = plain.missing()
    for stream in ("j", "b", "k", "jm"):
        config = PipelineConfig(clip_len=length)
        alternatives = _pipelines(settings, config, stream)
        if not missing:
            alternatives = {"plain": partial(_plain_pipeline, settings, length, stream), **alternatives}
        left_out = {"plain": missing} if missing else {}
        name = f"pipeline/protogcn_3d/{stream}"
        yield Row(name, what, alternatives, items=count, unit="clips", left_out=left_out)
    for protocol, config in _OTHERS.items():
        yield Row(f"pipeline/{protocol}/j", what, _pipelines(settings, config, "j"), items=count, unit="clips")


def worker_rows(settings: Settings) -> Iterator[Row]:
    """An epoch of training batches by the number of worker processes, with preprocessing kept."""
    count = 2 * _FEW if settings.quick else 512
    alternatives: dict[str, Callable[[], Call]] = {
        f"{number} workers": partial(_epoch, settings, count, number) for number in _WORKERS
    }
    yield Row(
        "workers/protogcn_3d/j", f"{count} clips in batches of 16 or fewer", alternatives, items=count, unit="clips"
    )


def store_rows(settings: Settings) -> Iterator[Row]:
    """Clips of a store in random order, and opening it."""
    count = min(settings.clips, 200) if settings.quick else settings.clips
    reads = min(_READS, count)

    def store() -> ClipStore:
        return synthetic_store(settings, count)

    def random_access(copied: bool) -> Call:
        clips = store()
        order = np.random.default_rng(settings.seed).permutation(count)[:reads].tolist()

        def read() -> None:
            for index in order:
                clip = clips[index]
                if copied:
                    clip.keypoints.copy()

        return read

    yield Row(
        "store/random-access",
        f"{reads:,} of {count:,} clips of 4 to 12 frames, float16",
        {"copied": partial(random_access, True), "views": partial(random_access, False)},
        items=reads,
        unit="clips",
    )
    yield Row(
        "store/open",
        f"{count:,} clips",
        {"ours": lambda: partial(ClipStore.open, store().path)},
        items=count,
        unit="clips",
    )


def synthetic_store(settings: Settings, count: int) -> ClipStore:
    """A store of that many short clips in the scratch folder, written once."""
    path = settings.scratch / f"clips{count}"
    return ClipStore.open(path) if path.exists() else write_clips(path, count, seed=settings.seed, short=True)


def heatmap_rows(settings: Settings) -> Iterator[Row]:
    """Joint and limb maps of a clip of COCO's joints."""
    frames, side = (3, 16) if settings.quick else (48, 56)
    rng = np.random.default_rng(settings.seed)
    points = rng.uniform(0, side, (2, frames, 17, 2)).astype(np.float32)
    scores = rng.uniform(0.3, 1, (2, frames, 17)).astype(np.float32)
    missing = plain.missing()
    for maps in ("joint", "limb"):
        alternatives: dict[str, Callable[[], Call]] = {
            "numpy": partial(_maps, points, scores, side, maps, "cpu", False),
            "torch": partial(_maps, points, scores, side, maps, settings.device, True),
        }
        if not missing:
            alternatives = {"plain": partial(_plain_maps, points, scores, side, maps), **alternatives}
        yield Row(
            f"heatmaps/{maps}",
            f"M=2 T={frames} V=17, {side} x {side} pixels",
            alternatives,
            unit="clips",
            compare=True,
            left_out={"plain": missing} if missing else {},
        )


def fusion_rows(settings: Settings) -> Iterator[Row]:
    """Probabilities of six streams added with weights."""
    clips, classes = (50, 7) if settings.quick else _FUSION
    weights = (2.0, 2.0, 2.0, 1.0, 1.0, 1.0)

    def scores() -> list[NDArray[np.float32]]:
        rng = np.random.default_rng(settings.seed)
        return [rng.standard_normal((clips, classes), np.float32) for _ in weights]

    def whole() -> Call:
        parts = scores()

        def fuse() -> NDArray[Any]:
            total = np.zeros((clips, classes))
            for part, weight in zip(parts, weights, strict=True):
                shifted = np.exp(part.astype(np.float64) - part.max(1, keepdims=True))
                total += weight * shifted / shifted.sum(1, keepdims=True)
            return total

        return fuse

    def ours() -> Call:
        from protogcn.evaluation.ensemble import weighted_sum

        return partial(weighted_sum, scores(), weights, None, [True] * len(weights))

    yield Row(
        "fusion/six-streams",
        f"6 x {clips:,} clips x {classes} classes, softmax and sum",
        {"whole matrices": whole, "ours": ours},
        items=clips,
        unit="clips",
        compare=True,
    )


def _pipelines(settings: Settings, config: PipelineConfig, stream: str) -> dict[str, Callable[[], Call]]:
    return {
        "ours": partial(_pipeline, settings, config, stream, kept=False),
        "ours, prepared": partial(_pipeline, settings, config, stream, kept=True),
    }


def _pipeline(settings: Settings, config: PipelineConfig, stream: str, *, kept: bool) -> Call:
    clips: list[Any] = list(skeleton_clips(_FEW if settings.quick else _CLIPS, seed=settings.seed))
    pipeline = build_pipeline(config, "ntu25", stream, "train")
    if kept:
        clips = [pipeline.prepare(clip) for clip in clips]
    rng = np.random.default_rng(settings.seed)

    def run() -> None:
        for clip in clips:
            pipeline(clip, rng)

    return run


def _plain_pipeline(settings: Settings, length: int, stream: str) -> Call:
    clips = skeleton_clips(_FEW if settings.quick else _CLIPS, seed=settings.seed)
    training_clip = plain.part("pipeline_plain").training_clip
    rng = np.random.RandomState(settings.seed)

    def run() -> None:
        for clip in clips:
            training_clip(clip, stream, rng, clip_len=length)

    return run


def _epoch(settings: Settings, count: int, workers: int) -> Call:
    from torch.utils.data import DataLoader

    from protogcn.data.dataset import ClipDataset

    path: Path = settings.scratch / f"epoch{count}"
    store = ClipStore.open(path) if path.exists() else write_clips(path, count, seed=settings.seed)
    config = PipelineConfig(clip_len=_SHORT_LEN if settings.quick else _CLIP_LEN)
    dataset = ClipDataset(store, store.split("train"), build_pipeline(config, "ntu25", "j", "train"))
    loader = DataLoader(
        dataset, batch_size=min(16, count), shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def run() -> None:
        for _ in loader:
            pass

    return run


def _maps(points: Any, scores: Any, side: int, maps: str, device: str, as_torch: bool) -> Call:
    from protogcn.data.heatmaps import render

    if as_torch:
        import torch

        points, scores = (torch.from_numpy(each).to(device) for each in (points, scores))
    return partial(render, points, scores, get_skeleton("coco17"), (side, side), maps=maps)


def _plain_maps(points: Any, scores: Any, side: int, maps: str) -> Call:
    limbs = get_skeleton("coco17").limbs if maps == "limb" else None
    return partial(plain.part("heatmap_plain").render_slowly, points, scores, limbs, (side, side))
