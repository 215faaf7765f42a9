"""Score files of other projects, turned into ours.

Read are, by their content and not by their name:

    PYSKL, ProtoGCN   pickled list of one score vector per clip, in the order of the annotations
    CTR-GCN, InfoGCN  pickled dict {clip name: logits}
    .npy              matrix (clips, classes)
    .npz              named matrices; one is picked by writing "file.npz:name"

Labels come from the file itself where it has them, else from a second one (protogcn.evaluation.clip_list).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protogcn import safe_pickle
from protogcn.evaluation.clip_list import ClipList, class_names_of, ids_of, labels_of, load_npy, magic_of
from protogcn.evaluation.scores import KINDS, ScoreFile, check_choice, parse_scores, read_npz

__all__ = ["clips_in", "import_scores", "read_scores", "split_array"]

_NUMBERED = re.compile(r"(?:test_|val_)?(\d+)")


@dataclass(frozen=True, eq=False)
class _Content:
    form: str
    scores: np.ndarray
    ids: np.ndarray | None = None
    clips: ClipList | None = None


def read_scores(
    path: str | Path, *, clips: ClipList | None = None, kind: str | None = None, name: str | None = None
) -> ScoreFile:
    """Score file of ours or, if it is not one, a foreign file by way of `import_scores`.

    `path` may end in ":array" to pick one array of an .npz.
    """
    file, array = split_array(path)
    if array is None and magic_of(file).startswith(b"PK"):
        arrays = read_npz(file)
        if "kind" in arrays and "meta" in arrays:
            return parse_scores(arrays, file)
    return import_scores(path, clips=clips, kind=kind, name=name)


def split_array(path: str | Path) -> tuple[Path, str | None]:
    """Split "file.npz:array" into the file and the name of the array."""
    match = re.fullmatch(r"(.+\.npz):(.+)", str(path), flags=re.DOTALL)
    return (Path(match[1]), match[2]) if match else (Path(path), None)


def clips_in(path: str | Path) -> ClipList | None:
    """Labels that a score file carries itself, which only an .npz can; None where there are none."""
    file, _ = split_array(path)
    if not magic_of(file).startswith(b"PK"):
        return None
    arrays = read_npz(file)
    labels = labels_of(arrays, file)
    return None if labels is None else ClipList(labels, ids_of(arrays), class_names_of(arrays))


def import_scores(
    path: str | Path,
    *,
    clips: ClipList | None = None,
    kind: str | None = None,
    name: str | None = None,
    class_names: Sequence[str] = (),
) -> ScoreFile:
    """Read scores that another project wrote.

    Args:
        path: pickle, .npy or .npz; "file.npz:array" picks an array.
        clips: labels, and ids where the file has none of its own, in the order of the file. A dict of scores whose
            names are those of `clips` is matched by name; one that merely counts (test_0, test_1 or 0, 1) by number.
        kind: "logits" or "probabilities". If not given, rows that are non-negative and sum to one are probabilities;
            the verdict is kept in `meta["kind_from"]`.
        name: stream name for tables; the file's own name if not given.

    Raises:
        ValueError: the format is not known, or labels are missing or do not fit; the message says what to add.
        OSError: the file cannot be read.
    """
    file, array = split_array(path)
    content = _read(file, array)
    scores = content.scores
    clips = clips or content.clips
    if clips is None:
        raise ValueError(
            f"{path} ({content.form}, {len(scores)} clips) holds no labels; add them with --labels FILE: a score "
            "file of the same split, an .npz with ids and labels, a .csv with columns id,label or an .npy of labels."
        )
    try:
        ids, labels = _match(content, clips)
        own = content.clips.labels if content.clips else labels
        if not np.array_equal(own, labels):
            raise ValueError("its own labels are not those given; are they of the same split, and counted from 0?")
        if kind is None:
            sums = scores.sum(axis=1, dtype=np.float64)
            summing = bool(scores.min() >= 0 and np.abs(sums - 1).max() < 2e-3)
            kind, origin = KINDS[summing], "detected: rows " + ("sum to 1" if summing else "do not sum to 1")
        else:
            check_choice(kind, KINDS, "kind of scores")
            origin = "given"
        meta = {"stream": name or array or file.stem, "source": str(path), "format": content.form, "kind_from": origin}
        return ScoreFile(ids, scores, kind, labels, tuple(class_names or clips.class_names), meta)
    except ValueError as error:
        raise ValueError(f"{path} ({content.form}): {error}") from None


def _match(content: _Content, clips: ClipList) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels in the order of the scores."""
    count = len(content.scores)
    if content.ids is not None and clips.ids is not None:
        row = {name: index for index, name in enumerate(clips.ids.tolist())}
        rows = [row.get(name, -1) for name in content.ids.tolist()]
        if -1 not in rows:
            return content.ids, clips.labels[rows]
    if len(clips.labels) != count:
        raise ValueError(f"got {len(clips.labels)} labels for {count} rows of scores; are they of the same split?")
    if content.ids is None:
        return clips.ids if clips.ids is not None else _numbers(count), clips.labels
    numbers = [_NUMBERED.fullmatch(name) for name in content.ids.tolist()]
    order = np.array([int(number[1]) for number in numbers if number and len(number[1]) < 10])
    if sorted(order.tolist()) != list(range(count)):
        if clips.ids is None:
            raise ValueError("its clips have names, so the labels need names too; give a file with ids and labels")
        unknown = np.setdiff1d(content.ids, clips.ids)
        raise ValueError(
            f"{len(unknown)} of its {count} clips are not among the labels, such as {', '.join(unknown[:3])}"
        )
    return (content.ids if clips.ids is None else clips.ids[order]), clips.labels[order]


def _numbers(count: int) -> np.ndarray:
    return np.array([str(index) for index in range(count)])


def _read(path: Path, array: str | None) -> _Content:
    magic = magic_of(path)
    if magic == b"\x93NUMPY":
        return _Content("npy matrix", _matrix(load_npy(path), path))
    if magic.startswith(b"PK"):
        return _from_npz(path, array)
    data = safe_pickle.load(path)
    if isinstance(data, dict) and data:
        ids = np.array([str(key) for key in data])
        return _Content("dict of scores by clip name", _matrix(list(data.values()), path), ids)
    if (isinstance(data, list) and data) or (isinstance(data, np.ndarray) and data.ndim):
        return _Content("list of scores", _matrix(data, path))
    raise ValueError(
        f"{path} holds a {type(data).__name__}; expected a list of score vectors or a dict of them by clip name."
    )


def _matrix(rows: Any, path: Path) -> np.ndarray:
    """Scores (clips, classes) from vectors; vectors with leading axes of length one are taken too."""
    if not isinstance(rows, np.ndarray):
        shapes = {getattr(row, "shape", None) for row in rows}
        if len(shapes) != 1 or None in shapes:
            listed = ", ".join(sorted(map(str, shapes))[:3])
            raise ValueError(
                f"{path} does not hold one score vector of equal length per clip (found shapes: {listed})."
            )
        rows = np.stack(rows)
    squeezed = rows.reshape(len(rows), -1) if rows.ndim > 2 and rows[0].size == rows.shape[-1] else rows
    if squeezed.ndim != 2 or squeezed.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} holds {rows.dtype} of shape {rows.shape}; expected numbers of shape (clips, classes). "
            "Average several clips of a sample first (protogcn.evaluation.metrics.average_clips)."
        )
    return squeezed


def _from_npz(path: Path, array: str | None) -> _Content:
    arrays = read_npz(path)
    labels, ids = labels_of(arrays, path), ids_of(arrays)
    matrices = {key: value for key, value in arrays.items() if value.ndim == 2 and value.dtype.kind == "f"}
    streams = arrays.get("stream", np.empty(0))
    stacked = arrays.get("scores", np.empty(0))
    if stacked.ndim == 3 and len(stacked) == len(streams):
        matrices |= dict(zip(map(str, streams.tolist()), stacked, strict=True))
    if array is None and len(matrices) == 1:
        (array,) = matrices
    if array not in matrices:
        wanted = f"no matrix {array!r}" if array else f"{len(matrices)} matrices"
        raise ValueError(
            f"{path} holds {wanted}; write {path.name}:NAME with NAME one of {', '.join(matrices) or 'none'}."
        )
    clips = None if labels is None else ClipList(labels, ids, class_names_of(arrays))
    return _Content("npz matrix", matrices[array], ids, clips)
