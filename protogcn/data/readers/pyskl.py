"""PYSKL annotation files: one pickle with ``split`` and ``annotations``, shared by ProtoGCN, PYSKL and MMAction2."""

import operator
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn import safe_pickle
from protogcn.data.readers.source import ClipSource
from protogcn.data.store import Clip


def read_pyskl(path: str | Path) -> ClipSource:
    """Read a PYSKL annotation pickle, by the restricted unpickler.

    Clips keep the order of ``annotations``, which is also the order of every split. Clips without a person or frame are
    left out and noted. 2D joints come with their scores as third channel (``xys``).

    Raises:
        ValueError: another format, several labels per clip, or anything in the pickle that is not plain data.
    """
    path = Path(path)
    annotations, splits = load_annotations(path)
    if "keypoint" not in annotations[0] and "raw_file" in annotations[0]:
        raise ValueError(
            f"{path} holds no key points: it is the compressed Kinetics-400 list that refers to kpfiles. "
            "Say where these are: --kpfiles <folder>"
        )
    key = "filename" if "filename" in annotations[0] else "frame_dir"
    scored = "keypoint_score" in annotations[0] and _width(annotations[0].get("keypoint")) == 2
    records, scores, without = [], [], []
    for position, annotation in enumerate(annotations):
        clip = _clip(annotation, text_of(annotation, key, position))
        if 0 in clip.keypoints.shape[:2]:
            without.append(clip.id)
        else:
            records.append(clip)
            scores.append(_scores(annotation, clip) if scored else None)
    if not records:
        raise ValueError(f"{path}: none of its {len(annotations)} annotations has a person.")
    joints, size = records[0].keypoints.shape[2:]
    if size not in (2, 3):
        raise ValueError(f"{path}: expected 2 or 3 numbers per joint; got {size} in clip {records[0].id!r}.")
    notes: dict[str, Any] = {"without_person": without} if without else {}
    if size == 3 and "keypoint_score" in annotations[0]:
        notes["left_out"] = "the score of each joint"
    ids = [clip.id for clip in records]
    members, missing = {}, {}
    for name, wanted in splits.items():
        members[name] = [i for i in ids if i in wanted]
        if absent := len(wanted.difference(ids, without)):
            missing[name] = absent
    if missing:
        notes["split_ids_without_annotation"] = missing
    precisions = {array.dtype for array in (*(clip.keypoints for clip in records), *scores) if array is not None}
    return ClipSource(
        clips=map(_joined, records, scores),
        channels="xys" if scored else ("xy", "xyz")[size - 2],
        num_joints=joints,
        num_classes=max(clip.label for clip in records) + 1,
        splits=members,
        notes=notes,
        total=len(records),
        dtype="float16" if precisions == {np.dtype(np.float16)} else "float32",
    )


def load_annotations(path: Path) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """The annotations of a PYSKL file, at least one, and the ids of each split.

    Raises:
        ValueError: another format, or anything in the pickle that is not plain data.
    """
    content = safe_pickle.load(path)
    annotations = content.get("annotations") if isinstance(content, dict) else None
    splits = content.get("split") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not isinstance(splits, dict) or not annotations:
        raise ValueError(
            f"{path} is not a PYSKL annotation file: expected a dict with 'split' (name -> ids) and 'annotations' "
            f"(a list of dicts); got {outline(content)}."
        )
    for position, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            raise ValueError(f"{path}: annotation {position} is a {type(annotation).__name__}, not a dict.")
    return annotations, {name: _ids(name, listed) for name, listed in splits.items()}


def _clip(annotation: dict[str, Any], clip_id: str) -> Clip:
    where = f"Clip {clip_id!r}"
    keypoints = annotation.get("keypoint")
    if not isinstance(keypoints, np.ndarray) or keypoints.ndim != 4 or keypoints.dtype.kind != "f":
        raise ValueError(f"{where}: 'keypoint' must be an array of numbers (M, T, V, C); got {outline(keypoints)}.")
    frames = whole_number(annotation.get("total_frames", keypoints.shape[1]), f"{where}: 'total_frames'")
    if not 0 <= frames <= keypoints.shape[1]:
        raise ValueError(f"{where}: 'total_frames' is {frames} but 'keypoint' has {keypoints.shape[1]} frames.")
    label = annotation.get("label")
    if isinstance(label, list | tuple | np.ndarray):
        raise ValueError(f"{where} has several labels; only one label per clip is read.")
    # Frames beyond total_frames are never read by the public loaders either.
    return Clip(
        keypoints[:, :frames], whole_number(label, f"{where}: 'label'"), clip_id, image_shape_of(annotation, where)
    )


def _scores(annotation: dict[str, Any], clip: Clip) -> npt.NDArray[Any]:
    scores, expected = annotation.get("keypoint_score"), annotation["keypoint"].shape[:3]
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f" or scores.shape != expected:
        raise ValueError(
            f"Clip {clip.id!r}: 'keypoint_score' must be an array of shape {expected}; got {outline(scores)}."
        )
    return scores[:, : clip.keypoints.shape[1]]


def _joined(clip: Clip, scores: npt.NDArray[Any] | None) -> Clip:
    """The clip with its scores as last channel; made clip by clip, as a second copy of a large file may not fit."""
    if scores is None:
        return clip
    return replace(clip, keypoints=np.concatenate([clip.keypoints, scores[..., None]], axis=-1))


def image_shape_of(annotation: dict[str, Any], where: str) -> tuple[int, int] | None:
    """(height, width) of the video, or None where the annotation does not say."""
    shape = annotation.get("img_shape", annotation.get("original_shape"))
    if shape is None:
        return None
    if not isinstance(shape, list | tuple | np.ndarray) or len(shape) < 2:
        raise ValueError(f"{where}: 'img_shape' must be (height, width); got {shape!r:.80}.")
    return whole_number(shape[0], f"{where}: 'img_shape'"), whole_number(shape[1], f"{where}: 'img_shape'")


def _ids(name: Any, listed: Any) -> set[str]:
    if not isinstance(name, str) or not isinstance(listed, list | tuple | set | np.ndarray):
        raise ValueError(f"'split' must map names to lists of ids; got {name!r:.80} -> {type(listed).__name__}.")
    return {str(member) for member in _flat(listed)}


def _flat(listed: Any) -> Iterator[Any]:
    return iter(listed.tolist() if isinstance(listed, np.ndarray) else listed)


def text_of(annotation: dict[str, Any], key: str, position: int) -> str:
    """The id of an annotation, or ValueError."""
    value = annotation.get(key)
    if not isinstance(value, str):
        raise ValueError(f"Annotation {position} has no {key!r} (its id) that is text; got {value!r:.80}.")
    return str(value)


def whole_number(value: Any, what: str) -> int:
    """The value as int, or ValueError."""
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{what} must be a whole number; got {value!r:.80}.") from None


def _width(keypoints: Any) -> int:
    return keypoints.shape[-1] if isinstance(keypoints, np.ndarray) and keypoints.ndim else 0


def outline(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, dict):
        return f"a dict with {', '.join(repr(key) for key in list(value)[:6]) or 'nothing in it'}"
    return f"a {type(value).__name__}"
