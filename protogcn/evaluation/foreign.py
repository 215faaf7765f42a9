"""Score files of other projects, turned into ours.

Read are, by their content and not by their name:

    PYSKL, ProtoGCN   pickled list of one score vector per clip, in the order of the annotations
    CTR-GCN, InfoGCN  pickled dict {clip name: logits}
    MMAction2         pickled list of one dict per clip
    .npy              matrix (clips, classes)
    .npz              named matrices, or `scores` (streams, clips, classes) with the names in `stream`

Labels come from the file itself where it has them, else from a second one (protogcn.evaluation.clip_list).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protogcn.evaluation.clip_list import CLIP_KEYS, ClipList, class_names_of, ids_of, labels_of, magic_of
from protogcn.evaluation.contents import Contents, from_npz, read_contents
from protogcn.evaluation.scores import KINDS, ScoreFile, check_choice, parse_scores, read_npz

__all__ = ["clips_in", "import_scores", "label_contents", "open_scores", "read_scores", "split_array"]

_NUMBERED = re.compile(r"(?:test_|val_)?(\d+)")


def read_scores(
    path: str | Path, *, clips: ClipList | None = None, kind: str | None = None, name: str | None = None
) -> ScoreFile:
    """Score file of ours or, if it is not one, a foreign file by way of `import_scores`.

    `path` may end in ":array" to pick one array of an .npz.
    """
    opened = open_scores(path)
    if isinstance(opened, ScoreFile):
        return opened
    return _import(opened, path, clips, kind, name, ())


def open_scores(path: str | Path) -> ScoreFile | Contents:
    """Read a file once: a score file of ours, or what is inside a foreign one."""
    file, array = split_array(path)
    if not magic_of(file).startswith(b"PK"):
        return read_contents(file)
    arrays = read_npz(file)
    ours = array is None and "kind" in arrays and "meta" in arrays
    return parse_scores(arrays, file) if ours else from_npz(arrays, file)


def split_array(path: str | Path) -> tuple[Path, str | None]:
    """Split "file.npz:array" into the file and the name of the array."""
    match = re.fullmatch(r"(.+\.npz):(.+)", str(path), flags=re.DOTALL)
    return (Path(match[1]), match[2]) if match else (Path(path), None)


def clips_in(path: str | Path) -> ClipList | None:
    """Labels that an .npz carries itself; None where there are none."""
    file, _ = split_array(path)
    if not magic_of(file).startswith(b"PK"):
        return None
    arrays = read_npz(file, CLIP_KEYS)
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
    return _import(read_contents(split_array(path)[0]), path, clips, kind, name, class_names)


def _import(
    contents: Contents,
    path: str | Path,
    clips: ClipList | None,
    kind: str | None,
    name: str | None,
    class_names: Sequence[str],
) -> ScoreFile:
    file, array = split_array(path)
    if array is None and len(contents.matrices) == 1:
        (array,) = contents.matrices
    if array is None or array not in contents.matrices:
        wanted = f"no matrix {array!r}" if array else f"{len(contents.matrices)} matrices"
        raise ValueError(
            f"{file} holds {wanted}; write {file.name}:NAME with NAME one of {', '.join(contents.matrices)}."
        )
    return label_contents(contents, array, path, clips=clips, kind=kind, name=name, class_names=class_names)


def label_contents(
    contents: Contents,
    stream: str,
    path: str | Path,
    *,
    clips: ClipList | None = None,
    kind: str | None = None,
    name: str | None = None,
    class_names: Sequence[str] = (),
) -> ScoreFile:
    """One stream of a file that has been read, with its labels; arguments and errors as in `import_scores`."""
    scores = contents.matrices[stream]
    clips = clips or contents.clips
    if clips is None:
        raise ValueError(
            f"{path} ({contents.form}, {len(scores)} clips) holds no labels; add them with --labels FILE: a score "
            "file of the same split, an .npz with ids and labels, a .csv with columns id,label or an .npy of labels."
        )
    try:
        ids, labels = _match(contents, len(scores), clips)
        own = contents.clips.labels if contents.clips else labels
        if not np.array_equal(own, labels):
            raise ValueError("its own labels are not those given; are they of the same split, and counted from 0?")
        if kind is None:
            with np.errstate(over="ignore", invalid="ignore"):
                sums = scores.sum(axis=1, dtype=np.float64)
                summing = bool(scores.min() >= 0 and np.abs(sums - 1).max() < 2e-3)
            kind, origin = KINDS[summing], "detected: rows " + ("sum to 1" if summing else "do not sum to 1")
        else:
            check_choice(kind, KINDS, "kind of scores")
            origin = "given"
        meta = {"stream": name or stream, "source": str(path), "format": contents.form, "kind_from": origin}
        if contents.ids is None and clips.ids is None:
            meta["ids_from"] = "position"
        return ScoreFile(ids, scores, kind, labels, tuple(class_names or clips.class_names), meta)
    except ValueError as error:
        raise ValueError(f"{path} ({contents.form}): {error}") from None


def _match(contents: Contents, count: int, clips: ClipList) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels in the order of the scores."""
    if contents.ids is not None and clips.ids is not None:
        row = {name: index for index, name in enumerate(clips.ids.tolist())}
        rows = [row.get(name, -1) for name in contents.ids.tolist()]
        if -1 not in rows:
            return contents.ids, clips.labels[rows]
    if len(clips.labels) != count:
        raise ValueError(f"got {len(clips.labels)} labels for {count} rows of scores; are they of the same split?")
    if contents.ids is None:
        return clips.ids if clips.ids is not None else _numbers(count), clips.labels
    numbers = [_NUMBERED.fullmatch(name) for name in contents.ids.tolist()]
    order = np.array([int(number[1]) for number in numbers if number and len(number[1]) < 10])
    if sorted(order.tolist()) != list(range(count)):
        if clips.ids is None:
            raise ValueError("its clips have names, so the labels need names too; give a file with ids and labels")
        unknown = np.setdiff1d(contents.ids, clips.ids)
        raise ValueError(
            f"{len(unknown)} of its {count} clips are not among the labels, such as {', '.join(unknown[:3])}"
        )
    return (contents.ids if clips.ids is None else clips.ids[order]), clips.labels[order]


def _numbers(count: int) -> np.ndarray:
    return np.array([str(index) for index in range(count)])
