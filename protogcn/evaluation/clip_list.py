"""Lists of clips with their true classes, for score files that carry neither."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protogcn import safe_pickle
from protogcn.evaluation.scores import DAMAGED, read_npz

__all__ = [
    "CLIP_KEYS",
    "ClipList",
    "class_names_of",
    "ids_of",
    "labels_of",
    "load_npy",
    "magic_of",
    "read_clip_list",
    "stream_names_of",
]

_NAME_KEYS = ("frame_dir", "filename", "file_name")
_LABEL_KEYS = ("labels", "label", "y_test", "y")
_ID_KEYS = ("ids", "names", "sample_name", "sample_names")
_STREAM_KEYS = ("stream", "streams", "stream_names", "names")
# What an .npz is asked for when only its clips are wanted: beside them may lie gigabytes.
CLIP_KEYS = (*_LABEL_KEYS, *_ID_KEYS, "class_names")


@dataclass(frozen=True, eq=False)
class ClipList:
    """Labels of clips, 0-based int64 (n,), with their ids (n,) and class names where they are known."""

    labels: np.ndarray
    ids: np.ndarray | None = None
    class_names: tuple[str, ...] = ()


def read_clip_list(path: str | Path, split: str | None = None) -> ClipList:
    """Read labels, and ids where there are any.

    Known are an .npz with labels and ids (or names), such as any score file, or with one-hot labels y_test (CTR-GCN's
    NTU); an .npy of labels; a .csv with the columns id,label; a .txt with a label, or an id and a label, in each line;
    and pickles: a list of labels, a pair (names, labels), the list of NW-UCLA (val_label.pkl, which counts classes from
    1) and PYSKL annotations.

    Args:
        path: the file.
        split: which split of PYSKL annotations. Their order is kept, because score files follow it.

    Raises:
        ValueError: the format is not known or the labels are not whole numbers.
        OSError: the file cannot be read.
    """
    path = Path(path)
    magic = magic_of(path)
    if magic == b"\x93NUMPY":
        return ClipList(_labels(load_npy(path), path))
    if magic.startswith(b"PK"):
        arrays = read_npz(path, CLIP_KEYS)
        labels = labels_of(arrays, path)
        if labels is None:
            raise ValueError(f"{path} has no array called {' or '.join(_LABEL_KEYS)}.")
        return ClipList(labels, ids_of(arrays), class_names_of(arrays))
    if path.suffix == ".csv":
        return _from_csv(path)
    if path.suffix == ".txt":
        return _from_text(path)
    return _from_pickle(safe_pickle.load(path), path, split)


def magic_of(path: Path) -> bytes:
    """First bytes of a file, which tell its format.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        return file.read(6)


def load_npy(path: Path) -> np.ndarray:
    """Array of an .npy of plain numbers; a ValueError names the path where it is damaged or holds objects."""
    try:
        return np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(f"{path} is not an intact .npy of numbers ({error}).") from None


def labels_of(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray | None:
    """Labels among the arrays of an .npz, int64 (n,)."""
    found = next((arrays[key] for key in _LABEL_KEYS if key in arrays), None)
    return None if found is None else _labels(found, path)


def ids_of(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Clip names among the arrays of an .npz, unicode (n,)."""
    found = next((arrays[key] for key in _ID_KEYS if key in arrays), None)
    return None if found is None else found.astype(np.str_)


def stream_names_of(arrays: Mapping[str, np.ndarray], count: int) -> list[str] | None:
    """Names of `count` streams among the arrays of an .npz, if there are as many different ones."""
    for key in _STREAM_KEYS:
        if key in arrays and arrays[key].shape == (count,) and len(set(arrays[key].tolist())) == count:
            return [str(name) for name in arrays[key].tolist()]
    return None


def class_names_of(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Class names among the arrays of an .npz, empty if there are none."""
    return tuple(map(str, arrays["class_names"].reshape(-1).tolist())) if "class_names" in arrays else ()


def _labels(values: Any, path: Path) -> np.ndarray:
    labels = np.asarray(values)
    if labels.ndim == 2 and labels.dtype.kind in "fiub" and min(labels.shape) > 1:
        if not (np.count_nonzero(labels, axis=1) == 1).all():
            raise ValueError(f"{path}: labels of shape {labels.shape} must be one-hot, one entry per clip.")
        labels = labels.argmax(axis=1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)):
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(f"{path}: expected one whole-number label per clip, got {labels.dtype} {labels.shape}.")
    return labels.astype(np.int64)


def _from_csv(path: Path) -> ClipList:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} needs the columns id,label in its first line; got {reader.fieldnames}.")
        rows = [(row["id"], row["label"]) for row in reader]
    for number, (_, label) in enumerate(rows, start=2):
        if not re.fullmatch(r"\s*\d{1,9}\s*", label or ""):
            raise ValueError(f"{path}, line {number}: label {label!r} is not a whole number from 0.")
    return ClipList(_labels([int(label) for _, label in rows], path), np.array([name for name, _ in rows]))


def _from_text(path: Path) -> ClipList:
    lines = [
        line.split() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()
    ]
    for number, words in enumerate(lines, start=1):
        if not re.fullmatch(r"\d{1,9}", words[-1]) or len({len(words) > 1, len(lines[0]) > 1}) > 1:
            raise ValueError(
                f"{path}, entry {number}: expected a label, or an id and a label; got {' '.join(words)!r}."
            )
    labels = _labels([int(words[-1]) for words in lines], path)
    named = lines and len(lines[0]) > 1
    return ClipList(labels, np.array([" ".join(words[:-1]) for words in lines]) if named else None)


def _from_pickle(data: Any, path: Path, split: str | None) -> ClipList:
    if isinstance(data, dict) and isinstance(data.get("annotations"), list) and isinstance(data.get("split"), dict):
        data = _annotations_of(data, path, split)
    if isinstance(data, list) and data and all(isinstance(entry, dict) for entry in data):
        names = [next((str(entry[key]) for key in _NAME_KEYS if key in entry), None) for entry in data]
        labels = _labels([entry.get("label", -1) for entry in data], path)
        ids = None if None in names else np.array(names)
        return ClipList(labels - 1 if "file_name" in data[0] else labels, ids)
    if isinstance(data, list | tuple) and len(data) == 2 and all(isinstance(part, list | tuple) for part in data):
        return ClipList(_labels(data[1], path), np.array([str(name) for name in data[0]]))
    if isinstance(data, list | np.ndarray) and len(data) and isinstance(data[0], int | np.integer):
        return ClipList(_labels(data, path))
    raise ValueError(
        f"{path} holds no labels in a known form: PYSKL annotations, (names, labels), or a list of labels."
    )


def _annotations_of(data: dict, path: Path, split: str | None) -> list:
    splits = data["split"]
    if split not in splits:
        raise ValueError(f"{path} has the splits {', '.join(map(str, splits))}; say which one the scores are of.")
    if not all(isinstance(entry, dict) for entry in data["annotations"]):
        raise ValueError(f"{path}: annotations must be dicts with frame_dir and label.")
    wanted = {str(name) for name in splits[split]}
    return [entry for entry in data["annotations"] if str(entry.get("frame_dir", entry.get("filename"))) in wanted]
