"""Clips after the deterministic part of a pipeline, kept in the folder of their store and mapped by every process."""

import contextlib
import hashlib
import json
import shutil
import sys
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from protogcn.data.npy_files import read_header, read_npy
from protogcn.data.pipeline_base import Pipeline
from protogcn.data.store import ClipStore
from protogcn.data.store_files import header_bytes

FOLDER = "prepared"
_KEYPOINTS, _SHAPES = "keypoints.npy", "shapes.npy"
LEAST_BYTES = 256 << 20
"""Clips that are smaller than this altogether are kept in memory instead."""
_COMPARED = 16


class PreparedClips:
    """The results of `pipeline.prepare` for all clips of a store.

    Args:
        path: the folder with the files.

    Raises:
        OSError, ValueError: there are no files, or they are not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shapes = read_npy(path / _SHAPES)
        with (path / _KEYPOINTS).open("rb") as file:
            shape, fortran, dtype = read_header(file)
            start = file.tell()
        if fortran or dtype.kind != "f" or len(shape) != 3 or 0 in shape:
            raise ValueError(f"{path / _KEYPOINTS} holds no frames of joints")
        if shapes.dtype != np.int64 or shapes.ndim != 2 or shapes.shape[1] != 2 or shapes.min(initial=0) < 0:
            raise ValueError(f"{path / _SHAPES} holds no sizes of clips")
        ends = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))]).tolist()
        size = start + dtype.itemsize * int(np.prod(shape))
        if ends[-1] != shape[0] or (path / _KEYPOINTS).stat().st_size != size:
            raise ValueError(f"{path / _KEYPOINTS} is not whole")
        self._rows = np.asarray(np.memmap(path / _KEYPOINTS, dtype=dtype, mode="r", offset=start, shape=shape))
        self._spans = list(pairwise(ends))
        self._shapes = shapes.tolist()

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Keypoints (M, T, V, C) of a row of the store: a read-only view into the file."""
        start, stop = self._spans[row]
        return self._rows[start:stop].reshape(*self._shapes[row], *self._rows.shape[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the file again instead of receiving a copy of it.
        return PreparedClips, (self.path,)


def open_prepared(store: ClipStore, pipeline: Pipeline) -> PreparedClips | None:
    """What `prepare_ahead` has kept for a pipeline, or None where there is nothing that can be used.

    Some clips are prepared again and compared, lest what another version of this library has kept be taken for ours.
    """
    path = _folder(store, pipeline)
    if path is None:
        return None
    try:
        clips = PreparedClips(path)
    except (OSError, ValueError):
        return None
    if len(clips) != len(store):
        return None
    for row in np.linspace(0, len(store) - 1, min(_COMPARED, len(store)), dtype=int).tolist():
        fresh, kept = pipeline.prepare(store[row]).keypoints, clips[row]
        if fresh.dtype != kept.dtype or fresh.shape != kept.shape or fresh.tobytes() != kept.tobytes():
            return None
    return clips


def prepare_ahead(store: ClipStore, pipeline: Pipeline) -> PreparedClips | None:
    """Prepare all clips of a large store once for this and later trainings, and keep them in `<store>/prepared`.

    Nothing is written for a store that memory takes whole, for clips that a pipeline leaves as they are, and where the
    disk is full or may not be written to: clips are then prepared when they are needed.
    """
    path = _folder(store, pipeline)
    if path is None or _bytes(store) < LEAST_BYTES:
        return None
    if clips := open_prepared(store, pipeline):
        return clips
    first = store[0]
    if np.may_share_memory(pipeline.prepare(first).keypoints, first.keypoints):
        return None
    with contextlib.suppress(OSError, ValueError):
        if shutil.disk_usage(store.path).free > 3 * _bytes(store):
            _write(store, pipeline, path)
            print(f"prepared all {len(store):,} clips once: {path}", file=sys.stderr, flush=True)
            return open_prepared(store, pipeline)
    return None


def _folder(store: ClipStore, pipeline: Pipeline) -> Path | None:
    """Where the clips of a store are kept for all pipelines that prepare them alike; None where that is not known."""
    # A part of a store has rows of its own.
    if type(store) is not ClipStore or pipeline.prepared_by is None:
        return None
    facts = {
        "pipeline": type(pipeline).__name__,
        "options": {name: getattr(pipeline.config, name) for name in pipeline.prepared_by},
        "skeleton": pipeline.skeleton.to_dict(),
        "channels": pipeline.channels,
        "clips": store.meta["checksums"],
    }
    words = json.dumps(facts, sort_keys=True, default=list)
    return store.path / FOLDER / hashlib.sha256(words.encode()).hexdigest()[:16]


def _bytes(store: ClipStore) -> int:
    rows = int((store.persons * store.lengths).sum())
    return rows * store.skeleton.num_joints * len(store.channels) * store.dtype.itemsize


def _write(store: ClipStore, pipeline: Pipeline, path: Path) -> None:
    """Write both files, complete or not at all; another process may do the same at the same time."""
    partial = path.with_name(f"{path.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    shapes = np.zeros((len(store), 2), np.int64)
    try:
        with (partial / _KEYPOINTS).open("wb") as file:
            like = pipeline.prepare(store[0]).keypoints
            file.write(header_bytes((0, *like.shape[2:]), like.dtype))
            bar = tqdm(range(len(store)), "preparing clips", leave=False, disable=not sys.stderr.isatty())
            for row in bar:
                keypoints = pipeline.prepare(store[row]).keypoints
                if keypoints.dtype != like.dtype or keypoints.shape[2:] != like.shape[2:]:
                    raise ValueError(f"clip {store.ids[row]!r} comes out unlike the others")
                shapes[row] = keypoints.shape[:2]
                file.write(np.ascontiguousarray(keypoints).data)
            file.seek(0)
            file.write(header_bytes((int(shapes.prod(axis=1).sum()), *like.shape[2:]), like.dtype))
        np.save(partial / _SHAPES, shapes)
        if open_prepared(store, pipeline) is None:
            # What is there, if anything, is damaged or of another version.
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
