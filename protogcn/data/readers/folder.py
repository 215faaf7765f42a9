"""Own clips as files: one ``.npy`` or ``.npz`` per clip, in one folder per class or with a table of labels."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data.npy_files import read_npy, read_npz
from protogcn.data.readers.source import ClipSource, choose_channels, keep_channels, number_classes
from protogcn.data.store import Clip

LABELS = "labels.csv"


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
    table = path / LABELS
    labels, split_of = _from_table(table, files) if table.is_file() else _from_folders(path, files)
    numbers, found, count = number_classes(labels.values(), class_names)
    first = _load(next(iter(files.values())))[0]
    kind = choose_channels(first.shape[-1], channels, str(next(iter(files.values()))))

    def clips() -> Iterator[Clip]:
        for name, file in files.items():
            keypoints, image_shape = _load(file)
            if keypoints.shape[-1] != first.shape[-1]:
                raise ValueError(
                    f"{file}: {keypoints.shape[-1]} numbers per joint, but {first.shape[-1]} in the first clip."
                )
            yield Clip(keep_channels(keypoints, kind), numbers[labels[name]], name, image_shape)

    splits: dict[str, list[str]] = {}
    for name, split in split_of.items():
        splits.setdefault(split, []).append(name)
    return ClipSource(
        clips=clips(),
        channels=kind,
        num_joints=first.shape[-2],
        num_classes=count,
        class_names=found,
        splits=splits,
        notes={"left_out": "the score of each joint"} if first.shape[-1] > len(kind) else {},
        total=len(files),
    )


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


def _from_folders(path: Path, files: dict[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    labels, split_of = {}, {}
    for name in files:
        parts = name.split("/")
        if len(parts) not in (2, 3):
            raise ValueError(
                f"{files[name]} has no class: put clips into {path}/<class>/ or {path}/<split>/<class>/, "
                f"or write {path / LABELS} with the columns clip,label."
            )
        labels[name] = parts[-2]
        if len(parts) == 3:
            split_of[name] = parts[0]
    return labels, split_of


def _from_table(table: Path, files: dict[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    labels: dict[str, str] = {}
    split_of: dict[str, str] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if not {"clip", "label"} <= set(rows.fieldnames or ()):
                raise ValueError(f"{table}: the first line must name the columns clip,label (and optionally split).")
            for row in rows:
                name, label = (row["clip"] or "").strip(), (row["label"] or "").strip()
                name = name.removesuffix(".npy").removesuffix(".npz")
                if name not in files:
                    raise ValueError(f"{table}, line {rows.line_num}: there is no clip file {name!r} below the folder.")
                if not label or name in labels:
                    reason = "it is listed twice" if label else "its label is empty"
                    raise ValueError(f"{table}, line {rows.line_num}: clip {name!r}: {reason}.")
                labels[name] = label
                if split := (row.get("split") or "").strip():
                    split_of[name] = split
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{table} is not a readable csv file in UTF-8 ({error}).") from error
    if missing := [name for name in files if name not in labels]:
        raise ValueError(f"{table} has no label for {len(missing)} clips, the first of them {missing[0]!r}.")
    return labels, {name: split_of[name] for name in files if name in split_of}
