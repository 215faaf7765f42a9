"""Own clips in one ``.npz`` file: all clips in arrays, beside their labels, names and splits."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data.npy_files import read_npz
from protogcn.data.readers.packed_rules import NO_RULES, PackedRules
from protogcn.data.readers.source import ClipSource, choose_channels, keep_channels, number_classes, positions_of
from protogcn.data.store import Clip

# The first name is the documented one; the others occur in published files.
_KEYPOINTS = ("keypoints", "frames", "joints")
_LABELS = ("labels", "label")
_IDS = ("ids", "names", "sample_id")
_SPLITS = ("train", "val", "test")
_PERFORMERS = ("subject", "pair")
_OTHERS = ("offsets", "lengths", "class_names", "split", "fold", "trial", "image_shapes", "width_height")


def read_packed(
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    channels: str | None = None,
    rules: PackedRules = NO_RULES,
) -> ClipSource:
    """Read all clips of one ``.npz`` file.

    ``keypoints`` is either all frames one after the other, (F, V, C) or (F, M, V, C), with ``offsets`` (n + 1,), or one
    clip per entry, (n, T, V, C) or (n, M, T, V, C), with optional ``lengths`` (n,). ``labels`` (n,) are numbers or
    names. Optional: ``ids``, ``class_names``, ``image_shapes`` (n, 2), ``split`` (n,) names, or masks ``train``,
    ``val``, ``test`` (with ``train`` alone, the rest is ``test``), or ``fold`` (n,). Without ``ids``, ``subject`` (or
    ``pair``) and ``trial`` name the clips, as in ``a01_s05_e02``. A person with no joint at all in a clip of several is
    left out.

    Args:
        path: the file.
        class_names: names in label order, if not those in the file.
        channels: what the numbers of a joint mean, where C = 3 is not x, y, z.
        rules: what the benchmark adds.

    Raises:
        ValueError: a key is missing, or arrays do not fit together.
    """
    path = Path(path)
    with path.open("rb") as file:
        known = (*_KEYPOINTS, *_LABELS, *_IDS, *_SPLITS, *_PERFORMERS, *_OTHERS, *rules.label_subsets)
        arrays = read_npz(file, str(path), known)
    keypoints = _pick(arrays, _KEYPOINTS, path)
    labels = _pick(arrays, _LABELS, path)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise ValueError(f"{path}: labels must be (n,) class numbers or names; got {labels.dtype} {labels.shape}.")
    n = len(labels)
    spans, persons_first = _spans(arrays, keypoints, n, path)
    kind = choose_channels(keypoints.shape[-1], channels, str(path))
    names = class_names
    if names is None and "class_names" in arrays:
        names = [str(name) for name in arrays["class_names"].ravel().tolist()]
    numbers, found, count = number_classes([str(label) for label in labels.tolist()], names)
    ids = _ids(arrays, labels, path)
    shapes = _image_shapes(arrays, n, path)

    def clips() -> Iterator[Clip]:
        for i, (start, stop) in enumerate(spans):
            clip = keypoints[i, ..., start:stop, :, :] if persons_first else keypoints[start:stop]
            if clip.ndim == 3:
                clip = clip[None]
            elif not persons_first:
                clip = clip.transpose(1, 0, 2, 3)
            clip = _converted(_present(keep_channels(clip, kind)), rules)
            yield Clip(clip, numbers[str(labels[i])], ids[i], shapes[i] if shapes else None)

    notes = {"left_out": "the score of each joint"} if keypoints.shape[-1] > len(kind) else {}
    if rules.unit_note:
        notes["converted"] = rules.unit_note
    return ClipSource(
        clips=clips(),
        channels=kind,
        num_joints=keypoints.shape[-2],
        num_classes=count,
        class_names=found,
        splits=_splits(arrays, labels, rules, path),
        notes=notes,
        total=n,
    )


def _pick(arrays: dict[str, npt.NDArray[Any]], keys: Sequence[str], path: Path) -> npt.NDArray[Any]:
    for key in keys:
        if key in arrays:
            return arrays[key]
    raise ValueError(f"{path} has no array {keys[0]!r}; a file of clips needs keypoints and labels (docs/own_data.md).")


def _spans(
    arrays: dict[str, npt.NDArray[Any]], keypoints: npt.NDArray[Any], n: int, path: Path
) -> tuple[list[tuple[int, int]], bool]:
    """(first, last + 1) frame of each clip, and whether the clips are entries of their own (else runs of rows)."""
    if keypoints.dtype.kind not in "fiu":
        raise ValueError(f"{path}: keypoints must be numbers; got {keypoints.dtype}.")
    if "offsets" in arrays:
        offsets = arrays["offsets"]
        if keypoints.ndim not in (3, 4):
            raise ValueError(f"{path}: with offsets, keypoints are (F, V, C) or (F, M, V, C); got {keypoints.shape}.")
        if (
            offsets.shape != (n + 1,)
            or offsets.dtype.kind not in "iu"
            or offsets[0] != 0
            or offsets[-1] != len(keypoints)
            or (np.diff(offsets.astype(np.int64)) < 0).any()
        ):
            raise ValueError(
                f"{path}: offsets must be {n + 1} whole numbers rising from 0 to the {len(keypoints)} frames, "
                f"one more than the {n} labels; got {offsets.dtype} of shape {offsets.shape}."
            )
        ends = offsets.tolist()
        return list(itertools.pairwise(ends)), False
    if keypoints.ndim not in (4, 5) or len(keypoints) != n:
        raise ValueError(
            f"{path}: without offsets, keypoints are ({n}, T, V, C) or ({n}, M, T, V, C), one entry for each label; "
            f"got shape {keypoints.shape}."
        )
    length = keypoints.shape[-3]
    lengths = arrays.get("lengths", np.full(n, length))
    if lengths.shape != (n,) or lengths.dtype.kind not in "iu" or (lengths > length).any() or (lengths < 0).any():
        raise ValueError(f"{path}: lengths must be {n} whole numbers up to {length}.")
    return [(0, stop) for stop in lengths.tolist()], True


def _present(clip: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Without the persons that are padding; the first stays, so that an empty clip is still seen as one."""
    if len(clip) == 1:
        return clip
    kept = np.nan_to_num(clip).reshape(len(clip), -1).any(axis=1)
    return clip[kept] if kept.any() else clip[:1]


def _converted(clip: npt.NDArray[Any], rules: PackedRules) -> npt.NDArray[Any]:
    """Other units; a joint that was not seen stays zero."""
    if rules.scale is None:
        return clip
    seen = clip.any(axis=-1, keepdims=True)
    return np.where(seen, clip * np.array(rules.scale) + np.array(rules.offset), 0.0).astype(np.float32)


def _ids(arrays: dict[str, npt.NDArray[Any]], labels: npt.NDArray[Any], path: Path) -> list[str]:
    n = len(labels)
    for key in _IDS:
        if key in arrays:
            if arrays[key].shape != (n,) or arrays[key].dtype.kind not in "iuU":
                raise ValueError(f"{path}: {key} must be {n} clip names; got shape {arrays[key].shape}.")
            return [str(value) for value in arrays[key].tolist()]
    who = next((arrays[key] for key in _PERFORMERS if key in arrays), None)
    trial = arrays.get("trial")
    if labels.dtype.kind in "iu" and who is not None and trial is not None and who.shape == trial.shape == (n,):
        made = [
            f"a{label + 1:02d}_{f's{person:02d}' if isinstance(person, int) else person}_e{turn:0>2}"
            for label, person, turn in zip(labels.tolist(), who.tolist(), trial.tolist(), strict=True)
        ]
        if len(set(made)) == n:
            return made
    return [f"clip_{i:06d}" for i in range(n)]


def _image_shapes(arrays: dict[str, npt.NDArray[Any]], n: int, path: Path) -> list[tuple[int, int]] | None:
    for key in ("image_shapes", "width_height"):
        if key in arrays:
            if arrays[key].shape != (n, 2) or arrays[key].dtype.kind not in "iu":
                raise ValueError(f"{path}: {key} must be whole numbers ({n}, 2); got {arrays[key].shape}.")
            pairs = arrays[key].tolist()
            return [(a, b) if key == "image_shapes" else (b, a) for a, b in pairs]
    return None


def _splits(
    arrays: dict[str, npt.NDArray[Any]], labels: npt.NDArray[Any], rules: PackedRules, path: Path
) -> dict[str, list[int]]:
    n = len(labels)
    everything = range(n)
    for key in ("split", "fold", "subject"):
        if key in arrays and arrays[key].shape != (n,):
            raise ValueError(f"{path}: {key} must have one entry for each of the {n} clips; got {arrays[key].shape}.")
    if rules.leave_one_out:
        folds: dict[str, list[int]] = {}
        for i in everything:
            folds |= {f"fold{i}_train": [j for j in everything if j != i], f"fold{i}_test": [i]}
        return folds
    masks: dict[str, npt.NDArray[Any]] = {key: arrays[key] for key in _SPLITS if key in arrays}
    if "split" in arrays:
        words = arrays["split"].astype(str)
        masks |= {word: words == word for word in dict.fromkeys(words.tolist()) if word}
    if not masks and rules.train_subjects and "subject" in arrays:
        masks["train"] = np.isin(arrays["subject"], rules.train_subjects)
    splits = {key: positions_of(mask, n, f"{path}: {key}").tolist() for key, mask in masks.items()}
    if set(splits) == {"train"}:
        splits["test"] = sorted(set(everything).difference(splits["train"]))
    if rules.label_subsets:
        return _subsets(splits, arrays, labels, rules.label_subsets, path)
    if "fold" in arrays:
        for fold in np.unique(arrays["fold"]).tolist():
            inside = arrays["fold"] == fold
            splits[f"fold{fold}_train"] = np.flatnonzero(~inside).tolist()
            splits[f"fold{fold}_test"] = np.flatnonzero(inside).tolist()
    return splits


def _subsets(
    splits: dict[str, list[int]],
    arrays: dict[str, npt.NDArray[Any]],
    labels: npt.NDArray[Any],
    names: Sequence[str],
    path: Path,
) -> dict[str, list[int]]:
    """The clips of some classes, divided as the whole is."""
    if not {"train", "test"} <= set(splits) or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: folds by class need class numbers and the split train (or subject).")
    folds = {}
    for name in names:
        if name not in arrays or arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
            raise ValueError(f"{path} needs an array {name!r} of the class numbers of that subset.")
        inside = np.isin(labels, arrays[name])
        for split in ("train", "test"):
            folds[f"{name}_{split}"] = [i for i in splits[split] if inside[i]]
    return folds
