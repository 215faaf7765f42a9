"""Score files: what one network said about every clip of a test split, with all that is needed to fuse it safely.

A score file is an .npz without pickled objects:

    ids          unicode (n,)            unique names of the clips
    scores       float32 (n, classes)
    kind         unicode ()              "logits" or "probabilities"
    labels       int64 (n,)              0-based true classes
    class_names  unicode (classes,)      or (0,) where they are not known
    meta         unicode ()              JSON object: benchmark, split, stream, model, seed, version, ...
"""

import errno
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

__all__ = ["DAMAGED", "KINDS", "ScoreFile", "check_choice", "load_scores", "parse_scores", "read_npz", "save_scores"]

KINDS = ("logits", "probabilities")
# What numpy raises over damaged arrays, by experiment.
DAMAGED = (ValueError, SyntaxError, TypeError, KeyError, RuntimeError, OverflowError, EOFError, TokenError, MemoryError)
_KEYS = ("ids", "scores", "kind", "labels", "class_names", "meta")
# Far above any test split; a compressed file that expands further is an attack on the memory.
_MAX_BYTES = 4 << 30
_SUM_TOLERANCE = 2e-3


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Scores of one network on n clips; arrays are converted to the types below and checked on construction.

    Attributes:
        ids: unique clip names, unicode (n,).
        scores: float32 (n, classes), finite.
        kind: "logits" or "probabilities" (non-negative rows that sum to one).
        labels: 0-based classes, int64 (n,).
        class_names: one name per class, or empty where they are not known.
        meta: benchmark, split, stream, model, seed, version as far as known.

    Raises:
        ValueError: the arrays contradict each other or hold values that no network writes.
    """

    ids: np.ndarray
    scores: np.ndarray
    kind: str
    labels: np.ndarray
    class_names: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(self.kind, KINDS, "kind of scores")
        scores = np.asarray(self.scores)
        if scores.ndim != 2 or scores.dtype.kind not in "fiu" or scores.shape[1] < 2 or not len(scores):
            raise ValueError(f"scores must be numbers of shape (clips, classes), got {scores.dtype} {scores.shape}")
        ids, labels = np.asarray(self.ids), np.asarray(self.labels)
        if ids.shape != scores.shape[:1] or ids.dtype.kind != "U":
            raise ValueError(f"expected {len(scores)} ids (text), one per row of scores; got {ids.dtype} {ids.shape}")
        if labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"expected {len(scores)} whole-number labels, one per row of scores; got {labels.dtype} {labels.shape}"
            )
        if not 0 <= labels.min() <= labels.max() < scores.shape[1]:
            raise ValueError(
                f"labels must lie in 0..{scores.shape[1] - 1} for {scores.shape[1]} classes; "
                f"got {labels.min()}..{labels.max()}"
            )
        if len(self.class_names) not in (0, scores.shape[1]):
            raise ValueError(f"got {len(self.class_names)} class names for {scores.shape[1]} classes")
        _check_unique(ids)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = scores.astype(np.float32, copy=False)
            _check_values(scores, ids, self.kind)
        for name, value in (
            ("ids", ids),
            ("scores", scores),
            ("labels", labels.astype(np.int64, copy=False)),
            ("class_names", tuple(str(name) for name in self.class_names)),
            ("meta", dict(self.meta)),
        ):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """Short name for tables: the stream with fold and second seed, such as "j" or "j-f2-s1", else the file."""
        stream, fold, seed = (self.meta.get(key) for key in ("stream", "fold", "seed"))
        if stream:
            return f"{stream}{'' if fold is None else f'-f{fold}'}{f'-s{seed}' if seed else ''}"
        return str(self.meta.get("source", "scores"))

    @property
    def num_classes(self) -> int:
        return self.scores.shape[1]


def check_choice(value: object, choices: Sequence[str], what: str) -> None:
    """Raise a ValueError that lists `choices`, and the nearest one first, unless `value` is among them."""
    if value not in choices:
        near = get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {value!r}, expected one of {', '.join(choices)}{hint}")


def _check_unique(ids: np.ndarray) -> None:
    if len(set(ids.tolist())) < len(ids):
        names, counts = np.unique(ids, return_counts=True)
        twice = names[counts > 1]
        raise ValueError(f"{len(twice)} ids occur more than once: {', '.join(twice[:3])}")


def _check_values(scores: np.ndarray, ids: np.ndarray, kind: str) -> None:
    sums = scores.sum(axis=1, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(sums))
    if len(bad):
        raise ValueError(f"{len(bad)} clips have scores that are NaN or infinite, the first is {ids[bad[0]]}")
    if kind != "probabilities":
        return
    bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) | (scores.min(axis=1) < -1e-6))
    if len(bad):
        raise ValueError(
            f"scores are called probabilities, but {len(bad)} rows are negative or do not sum to 1 "
            f"(clip {ids[bad[0]]}: sum {sums[bad[0]]:.4g}); are they logits?"
        )


def save_scores(path: str | Path, scores: ScoreFile) -> Path:
    """Write a score file, whole or not at all, and return its path; folders are made as needed.

    Raises:
        ValueError: the name does not end in .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"score files end in .npz, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                ids=scores.ids,
                scores=scores.scores,
                kind=np.array(scores.kind),
                labels=scores.labels,
                class_names=np.array(scores.class_names, dtype=np.str_),
                meta=np.array(json.dumps(dict(scores.meta), ensure_ascii=False)),
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_scores(path: str | Path) -> ScoreFile:
    """Read and check a score file written by `save_scores`.

    Raises:
        ValueError: it is no score file, is damaged, or its content contradicts itself.
        FileNotFoundError: there is no such file.
    """
    return parse_scores(read_npz(path), path)


def parse_scores(arrays: Mapping[str, np.ndarray], path: str | Path) -> ScoreFile:
    """Check the arrays of a score file that was read from `path`.

    Raises:
        ValueError: one is missing, or they contradict each other.
    """
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise ValueError(
            f"{path} is not a score file: it has no {', '.join(missing)} (it holds {', '.join(arrays) or 'nothing'}). "
            f"Expected {', '.join(_KEYS)}; scores of other projects are read by protogcn.evaluation.foreign."
        )
    try:
        if any(arrays[key].dtype.kind != "U" or arrays[key].ndim for key in ("kind", "meta")):
            raise ValueError("kind and meta must be single texts")
        if arrays["class_names"].dtype.kind != "U" and arrays["class_names"].size:
            raise ValueError(f"class_names must be text, got {arrays['class_names'].dtype}")
        meta = json.loads(str(arrays["meta"]))
        if not isinstance(meta, dict):
            raise ValueError(f"meta must be a JSON object, got {type(meta).__name__}")
        return ScoreFile(
            ids=arrays["ids"],
            scores=arrays["scores"],
            kind=str(arrays["kind"]),
            labels=arrays["labels"],
            class_names=tuple(arrays["class_names"].reshape(-1).tolist()),
            meta={"source": str(path), **meta},
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def read_npz(path: str | Path, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an .npz of plain numbers and text: all, or those of `only` that are there.

    Raises:
        ValueError: it is damaged, holds pickled objects, or expands beyond 4 GiB.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = None if only is None else {f"{name}.npy" for name in only}
            entries = [entry for entry in archive.infolist() if wanted is None or entry.filename in wanted]
            size = sum(entry.file_size for entry in entries)
        if size > _MAX_BYTES:
            raise ValueError(
                f"its arrays would take {size / 2**30:.1f} GiB, more than the {_MAX_BYTES >> 30} GiB allowed"
            )
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if only is None or key in only}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, MemoryError) as error:
        raise ValueError(f"{path} is not an intact .npz ({error}); it may be truncated or of another format.") from None
    except OSError as error:
        # A forged place of a member makes the file seek before its start.
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path} is not an intact .npz; its table of contents points outside the file.") from None
    except DAMAGED as error:
        reason = "it holds pickled objects, which could run code" if "allow_pickle" in str(error) else str(error)
        raise ValueError(f"{path} was refused: {reason}.") from None
