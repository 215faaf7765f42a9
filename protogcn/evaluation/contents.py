"""What is inside a score file of another project: named matrices of scores, and perhaps clips with labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protogcn import safe_pickle
from protogcn.evaluation.clip_list import (
    CLIP_KEYS,
    ClipList,
    class_names_of,
    ids_of,
    labels_of,
    load_npy,
    magic_of,
    stream_names_of,
)
from protogcn.evaluation.scores import read_npz

__all__ = ["Contents", "from_npz", "read_contents"]

# Keys of one sample in the results that MMAction2 dumps.
_SAMPLE_SCORES = ("pred_score", "pred_scores", "scores")
_SAMPLE_LABEL = ("gt_label", "gt_labels", "label")


@dataclass(frozen=True, eq=False)
class Contents:
    """Score matrices (clips, classes) of one file.

    Attributes:
        form: the kind of file, for messages.
        matrices: by stream; a file of a single stream has one, called by the name of the file.
        ids: clip names (n,) where the file has them.
        clips: labels where the file has them.
    """

    form: str
    matrices: Mapping[str, np.ndarray]
    ids: np.ndarray | None = None
    clips: ClipList | None = None


def read_contents(path: Path) -> Contents:
    """Read a score file by its content: .npy, .npz or pickle.

    Raises:
        ValueError: the format is not known, or the arrays are no scores.
        OSError: the file cannot be read.
    """
    magic = magic_of(path)
    if magic == b"\x93NUMPY":
        return Contents("npy matrix", {path.stem: _matrix(load_npy(path), path)})
    if magic.startswith(b"PK"):
        return from_npz(read_npz(path), path)
    data = safe_pickle.load(path)
    if isinstance(data, dict) and data:
        return _from_dict(data, path)
    if isinstance(data, list | tuple) and data and all(isinstance(sample, dict) for sample in data):
        return _from_samples(data, path)
    if (isinstance(data, list | tuple) and data) or (isinstance(data, np.ndarray) and data.ndim):
        return Contents("list of scores", {path.stem: _matrix(data, path)})
    raise ValueError(
        f"{path} holds a {type(data).__name__}; expected a list of score vectors or a dict of them by clip name."
    )


def from_npz(arrays: Mapping[str, np.ndarray], path: Path) -> Contents:
    """Every two-dimensional array of numbers is a stream; so is every layer of `scores` (streams, clips, classes).

    Raises:
        ValueError: there is none.
    """
    labels, ids = labels_of(arrays, path), ids_of(arrays)
    # One-hot labels are a matrix too, and some files hold other matrices, such as a confusion, beside the scores.
    floats = {key: array for key, array in arrays.items() if array.dtype.kind == "f" and key not in CLIP_KEYS}

    def fits(clips: int) -> bool:
        return labels is None or clips == len(labels)

    matrices = {key: array for key, array in floats.items() if array.ndim == 2 and fits(array.shape[0])}
    for key, stack in floats.items():
        if stack.ndim == 3 and fits(stack.shape[1]):
            names = stream_names_of(arrays, len(stack)) or [f"{key}{index}" for index in range(len(stack))]
            matrices |= dict(zip(names, stack, strict=True))
    if not matrices:
        found = ", ".join(f"{key} {value.dtype} {value.shape}" for key, value in arrays.items())
        whose = "" if labels is None else f" of its {len(labels)} clips"
        raise ValueError(f"{path} holds no matrix of scores (clips, classes){whose}; it holds {found or 'nothing'}.")
    if ids is not None and len(ids) != len(next(iter(matrices.values()))):
        ids = None
    clips = None if labels is None else ClipList(labels, ids, class_names_of(arrays))
    return Contents("npz matrix", matrices, ids, clips)


def _from_dict(data: Mapping[Any, Any], path: Path) -> Contents:
    """Vectors by clip name (CTR-GCN, InfoGCN), or matrices by stream."""
    values = list(data.values())
    if all(isinstance(value, np.ndarray) and value.ndim == 2 and len(value) > 1 for value in values):
        streams = {str(key): _matrix(value, path) for key, value in data.items()}
        return Contents("dict of matrices by stream", streams)
    ids = np.array([str(key) for key in data])
    return Contents("dict of scores by clip name", {path.stem: _matrix(values, path)}, ids)


def _from_samples(samples: Sequence[Mapping[Any, Any]], path: Path) -> Contents:
    """A list of one dict per clip, as MMAction2 dumps it, with the true class inside."""
    scores = [_pick(sample, _SAMPLE_SCORES) for sample in samples]
    labels = [_pick(sample, _SAMPLE_LABEL) for sample in samples]
    if any(score is None for score in scores):
        raise ValueError(f"{path} holds a list of dicts without {' or '.join(_SAMPLE_SCORES)}.")
    known = [np.asarray(label).reshape(-1) for label in labels if label is not None]
    clips = None
    if len(known) == len(samples) and all(label.size == 1 and label.dtype.kind in "iu" for label in known):
        clips = ClipList(np.concatenate(known).astype(np.int64))
    return Contents("list of results", {path.stem: _matrix(scores, path)}, None, clips)


def _pick(sample: Mapping[Any, Any], keys: Sequence[str]) -> Any:
    value = next((sample[key] for key in keys if key in sample), None)
    return value.get("item") if isinstance(value, dict) else value


def _matrix(rows: Any, path: Path) -> np.ndarray:
    """Scores (clips, classes) from vectors; axes of length one beside these two are dropped."""
    if not isinstance(rows, np.ndarray):
        rows = [np.asarray(row) if _is_numbers(row) else row for row in rows]
        shapes = {getattr(row, "shape", None) for row in rows}
        if len(shapes) != 1 or None in shapes or () in shapes:
            listed = ", ".join(sorted(map(str, shapes))[:3])
            raise ValueError(
                f"{path} does not hold one score vector of equal length per clip (found shapes: {listed})."
            )
        rows = np.stack(rows)
    longer = [size for size in rows.shape[1:] if size != 1]
    squeezed = rows.reshape(len(rows), longer[0]) if rows.ndim > 2 and len(longer) == 1 else rows
    if squeezed.ndim != 2 or squeezed.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} holds {rows.dtype} of shape {rows.shape}; expected numbers of shape (clips, classes). "
            "Average several clips of a sample first (protogcn.evaluation.metrics.average_clips), and save several "
            "streams under a name each in an .npz."
        )
    return squeezed


def _is_numbers(row: Any) -> bool:
    return isinstance(row, list | tuple) and bool(row) and all(isinstance(value, int | float) for value in row)
