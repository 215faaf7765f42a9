"""Own clips as files: one ``.npy`` or ``.npz`` per clip, in one folder per class or with a table of labels."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data.npy_files import read_npy, read_npz
from protogcn.data.readers.labels import read_labels
from protogcn.data.readers.source import ClipSource, choose_channels, keep_channels, number_classes
from protogcn.data.store import Clip


def read_folder(
    path: str | Path, *, class_names: Sequence[str] | None = None, channels: str | None = None
) -> ClipSource:
    """Read one clip from every ``.npy`` and ``.npz`` file below a folder, in the order of their paths.

    A file holds (M, T, V, C) or, for one person, (T, V, C); an ``.npz`` names it ``keypoints`` and may add
    ``image_shape`` (height, width). The id of a clip is its path below the folder without suffix. Its class is the
    folder it lies in (``<class>/<clip>`` or ``<split>/<class>/<clip>``), or the one that ``labels.csv`` (columns
    ``clip,label`` and optionally ``split``) gives it.

    Args:
        path: the folder.
        class_names: names in label order; default: the labels in alphabetical order.
        channels: what the numbers of a joint mean, where C = 3 is not x, y, z.

    Raises:
        ValueError: no clip, a clip without a label, or a malformed file; the message names it.
    """
    path = Path(path)
    files = {file.relative_to(path).with_suffix("").as_posix(): file for file in _files(path)}
    if not files:
        raise ValueError(f"{path} holds no .npy or .npz file; one file per clip is expected (docs/own_data.md).")
    labels = read_labels(path, files)
    numbers, found, count = number_classes(labels.label_of.values(), class_names)
    first = _load(next(iter(files.values())))[0]
    kind = choose_channels(first.shape[-1], channels, str(next(iter(files.values()))))

    def clips() -> Iterator[Clip]:
        for name, file in files.items():
            keypoints, image_shape = _load(file)
            if keypoints.shape[-1] != first.shape[-1]:
                raise ValueError(
                    f"{file}: {keypoints.shape[-1]} numbers per joint, but {first.shape[-1]} in the first clip."
                )
            size = image_shape or labels.image_shape_of.get(name)
            yield Clip(keep_channels(keypoints, kind), numbers[labels.label_of[name]], name, size)

    return ClipSource(
        clips=clips(),
        channels=kind,
        num_joints=first.shape[-2],
        num_classes=count,
        class_names=found,
        splits=labels.splits(),
        notes={"left_out": "the score of each joint"} if first.shape[-1] > len(kind) else {},
        total=len(files),
    )


def holds_arrays(path: Path) -> bool:
    """Whether there is a ``.npy`` or ``.npz`` file below the folder."""
    return any(name.lower().endswith((".npy", ".npz")) for _, _, names in os.walk(path) for name in names)


def _files(path: Path) -> list[Path]:
    found: list[Path] = []
    for folder, _, names in os.walk(path):
        found += [Path(folder, name) for name in names if name.lower().endswith((".npy", ".npz")) and name[0] != "."]
    found.sort()
    stems: dict[Path, Path] = {}
    for file in found:
        if other := stems.get(file.with_suffix("")):
            raise ValueError(f"{other} and {file} would be the same clip; keep one of them.")
        stems[file.with_suffix("")] = file
    return found


def _load(file: Path) -> tuple[npt.NDArray[Any], tuple[int, int] | None]:
    shape = None
    if file.suffix.lower() == ".npz":
        with file.open("rb") as archive:
            arrays = read_npz(archive, str(file), ("keypoints", "image_shape"))
        if "keypoints" not in arrays:
            raise ValueError(f"{file} has no array 'keypoints'.")
        keypoints = arrays["keypoints"]
        if "image_shape" in arrays:
            if arrays["image_shape"].shape != (2,) or arrays["image_shape"].dtype.kind not in "iu":
                raise ValueError(f"{file}: image_shape must be two whole numbers (height, width).")
            shape = tuple(arrays["image_shape"].tolist())
    else:
        keypoints = read_npy(file)
    if keypoints.ndim not in (3, 4) or keypoints.dtype.kind not in "fiu":
        raise ValueError(
            f"{file}: expected numbers (T, V, C) or (M, T, V, C); got {keypoints.dtype} of shape {keypoints.shape}."
        )
    return keypoints if keypoints.ndim == 4 else keypoints[np.newaxis], shape
