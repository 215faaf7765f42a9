"""The clip store: every clip of a data set in one memory-mapped array, with its index beside it.

A store is a folder of three files:

==================  ==============================================================================================
``keypoints.npy``   float32 or float16 rows (sum of M_i * T_i, V, C); clip ``i`` is a run of rows, person by person
``index.npz``       offsets, persons, lengths, labels, ids, image_shapes, and the clip indices of each split
``store.json``      format version, skeleton, class names, channels, checksums, source, what was dropped or repaired
==================  ==============================================================================================

Opening costs milliseconds whatever the size, a clip is a view into the map, and worker processes share the pages.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.layouts import get_skeleton
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.data import store_files as files
from protogcn.data.store_writer import StoreWriter

CHANNELS = ("xyz", "xy", "xys")
_MOST_CLASSES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One labelled clip.

    Attributes:
        keypoints: (M, T, V, C): persons, frames, joints, channels.
        label: class index from 0.
        id: name of the clip, unique within its store.
        image_shape: (height, width) in pixels of the video, where the joints are pixels and it is known.
    """

    keypoints: npt.NDArray[Any] = field(repr=False)
    label: int
    id: str
    image_shape: tuple[int, int] | None = None


class ClipStore:
    """Random access to the clips of a store; iterating, indexing and pickling never copy keypoints.

    Attributes:
        path: the folder.
        skeleton: the layout of the joints.
        class_names: one name per class.
        channels: ``"xyz"``, ``"xy"`` or ``"xys"`` (x, y, score).
        ids: n clip names.
        labels, persons, lengths: int64 (n,), read only: class, M and T of each clip.
        splits: split name -> int64 clip indices, read only.
        meta: the content of ``store.json``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = files.read_meta(self.path)
        index = files.read_index(self.path, self.meta)
        self._rows = files.map_rows(self.path, self.meta)
        try:
            self.skeleton: Skeleton = _skeleton_from(self.meta["skeleton"])
        except (ValueError, TypeError, LookupError) as error:
            raise files.damaged(self.path, f"its skeleton cannot be read ({error})", self.meta) from error
        self.class_names: tuple[str, ...] = tuple(self.meta["class_names"])
        self.channels: str = self.meta["channels"]
        self.labels: npt.NDArray[np.int64] = index["labels"]
        self.persons: npt.NDArray[np.int64] = index["persons"]
        self.lengths: npt.NDArray[np.int64] = index["lengths"]
        self.ids: tuple[str, ...] = tuple(index["ids"].tolist())
        self.splits: Mapping[str, npt.NDArray[np.int64]] = MappingProxyType(
            {key.removeprefix("split/"): value for key, value in index.items() if key.startswith("split/")}
        )
        if not self._consistent(index):
            raise files.damaged(self.path, "its three files do not fit together", self.meta)
        # Plain lists: indexing numpy arrays once per clip would cost more than the clip itself.
        offsets = index["offsets"].tolist()
        self._spans = list(zip(offsets[:-1], offsets[1:], self.persons.tolist(), self.lengths.tolist(), strict=True))
        self._labels = self.labels.tolist()
        self._image_shapes = [(h, w) if h and w else None for h, w in index["image_shapes"].tolist()]

    @classmethod
    def open(cls, path: str | Path) -> "ClipStore":
        """Open the store in the folder ``path``.

        Raises:
            FileNotFoundError: there is no store there.
            ValueError: the store is truncated, altered or of another version; the message says what to type.
        """
        return cls(path)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, i: int) -> Clip:
        """Clip ``i``; its keypoints (M, T, V, C) are a read-only view into the file."""
        start, stop, persons, length = self._spans[i]
        rows = self._rows
        # Most clips show one person, and a new axis costs a tenth of what a new shape does.
        one = persons == 1
        keypoints = rows[None, start:stop] if one else rows[start:stop].reshape(persons, length, *rows.shape[1:])
        return Clip(keypoints, self._labels[i], self.ids[i], self._image_shapes[i])

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"ClipStore({str(self.path)!r}: {len(self)} clips, {self.num_classes} classes, {self.skeleton.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process maps the file again instead of receiving a copy of it.
        return ClipStore, (self.path,)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float16."""
        return self._rows.dtype

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """Clip indices of the split ``name``.

        Raises:
            ValueError: there is no such split; the message lists those there are.
        """
        if name not in self.splits:
            raise ValueError(f"The store {self.path}: {unknown('split', name, self.splits, show_all=True)}")
        return self.splits[name]

    def verify(self) -> None:
        """Compare every byte of the keypoints with the checksum of the conversion (opening compares sizes only).

        Raises:
            ValueError: the bytes are not those that were written.
        """
        digest = hashlib.sha256()
        step = max(1, (1 << 22) // max(1, self._rows[:1].nbytes))
        for start in range(0, len(self._rows), step):
            digest.update(self._rows[start : start + step].data)
        if digest.hexdigest() != self.meta["checksums"].get("keypoints"):
            raise files.damaged(self.path, "keypoints.npy has another checksum than when it was written", self.meta)

    def _consistent(self, index: dict[str, npt.NDArray[Any]]) -> bool:
        """Whether the three files tell the same story; if not, a view could show the rows of another clip."""
        n, offsets = len(self.labels), index["offsets"]
        shapes = {"offsets": (n + 1,), "persons": (n,), "lengths": (n,), "ids": (n,), "image_shapes": (n, 2)}
        return bool(
            n > 0
            and n == self.meta["clips"] == len(set(self.ids))
            and all(index[key].shape == shape for key, shape in shapes.items())
            and self._rows.shape[1:] == (self.skeleton.num_joints, len(self.channels))
            and self.channels in CHANNELS
            and offsets[0] == 0
            and offsets[-1] == len(self._rows)
            and min(self.persons.min(), self.lengths.min()) >= 1
            and np.array_equal(np.diff(offsets), self.persons * self.lengths)
            and 0 <= self.labels.min() <= self.labels.max() < self.num_classes
            and all(len(s) == 0 or 0 <= s.min() <= s.max() < n for s in self.splits.values())
        )


def write_store(
    path: str | Path,
    clips: Iterable[Clip],
    *,
    skeleton: str | Path | Skeleton,
    class_names: Sequence[str] | int,
    splits: Mapping[str, Sequence[str] | Sequence[int]] | None = None,
    channels: str = "xyz",
    overwrite: bool = False,
    dtype: str | None = None,
    benchmark: str | None = None,
    source: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> ClipStore:
    """Write clips into a new store, one at a time, and open it.

    The store appears complete or not at all. Clips of zeros only (nobody was seen) are dropped and listed under
    ``dropped`` in ``store.json``; a joint with a NaN becomes a missing joint (zeros) and is counted under ``repaired``.

    Args:
        path: the folder to make.
        clips: any iterable of :class:`Clip`; it is read once.
        skeleton: layout name, YAML path or :class:`Skeleton`.
        class_names: one name per class, or their number where the names are not known.
        splits: split name -> clip ids, or positions in ``clips``. Read after the last clip, so that a generator of
            clips may still fill it. Dropped clips leave their splits.
        channels: ``"xyz"``, ``"xy"`` or ``"xys"`` (x, y, score).
        overwrite: replace a store that is already there.
        dtype: ``"float32"`` or ``"float16"``; default: float16 if the first clip has it, else float32.
        benchmark, source, notes: where the data comes from; kept in ``store.json``.

    Raises:
        ValueError: a clip is malformed; the message names its id.
        FileExistsError: ``path`` is taken.
    """
    layout = get_skeleton(skeleton)
    if channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(CHANNELS)}; got {channels!r}")
    names = _check_class_names(class_names)
    path = Path(path)
    description = {
        "channels": channels,
        "skeleton": _skeleton_entry(layout),
        "class_names": names,
        "benchmark": benchmark,
        "source": source,
    }
    with (
        files.new_folder(path, overwrite) as folder,
        StoreWriter(folder, layout.num_joints, len(channels), len(names), dtype) as writer,
    ):
        for clip in clips:
            writer.add(clip.keypoints, clip.label, clip.id, clip.image_shape)
        # Like the splits, notes may be filled while the clips are read.
        writer.finish(splits or {}, {**description, "notes": dict(notes or {})})
    return ClipStore.open(path)


def _check_class_names(class_names: Sequence[str] | int) -> list[str]:
    if isinstance(class_names, int):
        if not 0 < class_names <= _MOST_CLASSES:
            raise ValueError(f"the number of classes must be 1 to {_MOST_CLASSES}; got {class_names}")
        class_names = [f"class {i}" for i in range(class_names)]
    if isinstance(class_names, str) or not class_names or not all(isinstance(n, str) and n for n in class_names):
        raise ValueError(f"class_names must be a list of non-empty names or a positive number; got {class_names!r}")
    if twice := sorted({name for name in class_names if list(class_names).count(name) > 1}):
        raise ValueError(f"class_names must differ from each other; more than once: {', '.join(twice)}")
    return list(class_names)


def _skeleton_entry(skeleton: Skeleton) -> str | dict[str, Any]:
    """The name where the catalogue has this very skeleton, else everything, so that the store stands alone."""
    try:
        if get_skeleton(skeleton.name) == skeleton:
            return skeleton.name
    except (ValueError, OSError):
        pass
    return skeleton.to_dict()


def _skeleton_from(entry: str | dict[str, Any]) -> Skeleton:
    return get_skeleton(entry) if isinstance(entry, str) else Skeleton.from_dict(entry)
