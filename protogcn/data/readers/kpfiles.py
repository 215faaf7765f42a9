"""Kinetics-400 poses as they circulate: a list of clips without joints, and a folder of "kpfiles" that hold them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn import safe_pickle
from protogcn.data.decompress import decompress_pose
from protogcn.data.readers.pyskl import image_shape_of, load_annotations, outline, text_of, whole_number
from protogcn.data.readers.source import ClipSource, count_reasons
from protogcn.data.store import Clip

_JOINTS = 17


@dataclass(frozen=True, eq=False)
class _Listed:
    """What the list says of one clip."""

    id: str
    label: int
    image_shape: tuple[int, int] | None
    raw_file: str
    frame_inds: npt.NDArray[Any] = field(repr=False)
    keep: npt.NDArray[np.bool_] | None = field(repr=False)


def read_kpfiles(
    path: str | Path, kpfiles: str | Path, *, valid_ratio: float = 0.0, box_threshold: float = 0.5
) -> ClipSource:
    """Read the compressed Kinetics-400 annotations (``k400_hrnet.pkl``) with the joints of its kpfiles.

    Each kpfile is loaded once, by the restricted unpickler, and let go before the next: clips come grouped by kpfile,
    while splits keep the order of the list. Detections become clips by :func:`protogcn.data.decompress.decompress_pose`
    without the frames that show nobody.

    The name of a kpfile in the list is never used as a path: the file of that name is looked for in the folder.

    Args:
        path: the pickle with ``split`` and ``annotations`` (``raw_file``, ``frame_inds``, ``box_score``, ``valid``).
        kpfiles: the folder of kpfiles, searched to any depth.
        valid_ratio: if above 0, leave out clips whose share of frames with a box of at least ``box_threshold`` is less,
            and detections with lesser boxes. The published recipes have 0: every detection is used.
        box_threshold: has no effect where ``valid_ratio`` is 0.

    Raises:
        ValueError: another format, or a clip of the list is malformed; when read, a kpfile is no plain pickle.
        FileNotFoundError: a kpfile of the list is not in the folder.
    """
    path, kpfiles = Path(path), Path(kpfiles)
    if not 0 <= valid_ratio <= 1:
        raise ValueError(f"valid_ratio must be a share from 0 to 1; got {valid_ratio}")
    annotations, splits = load_annotations(path)
    if "keypoint" in annotations[0]:
        raise ValueError(f"{path} holds its key points itself; leave out the folder of kpfiles (--kpfiles).")
    key = "filename" if "filename" in annotations[0] else "frame_dir"
    dropped: dict[str, str] = {}
    listed = []
    for position, annotation in enumerate(annotations):
        clip = _listed(annotation, text_of(annotation, key, position), valid_ratio > 0, box_threshold)
        if valid_ratio > 0 and _valid_share(annotation, clip.id, box_threshold) < valid_ratio:
            dropped[clip.id] = f"boxes above {box_threshold} in less than {valid_ratio} of the frames"
        else:
            listed.append(clip)
    if not listed:
        raise ValueError(
            f"{path}: none of its {len(annotations)} clips has boxes enough for valid_ratio {valid_ratio}."
        )
    places = _find_files(dict.fromkeys(clip.raw_file for clip in listed), kpfiles)
    groups: dict[Path, list[_Listed]] = {}
    for clip in listed:
        groups.setdefault(places[clip.raw_file], []).append(clip)
    ids = [clip.id for clip in listed]
    members = {name: [i for i in ids if i in wanted] for name, wanted in splits.items()}
    notes: dict[str, Any] = {}
    if missing := {name: n for name, wanted in splits.items() if (n := len(wanted.difference(ids, dropped)))}:
        notes["split_ids_without_annotation"] = missing

    def clips() -> Iterator[Clip]:
        for file, group in groups.items():
            content = _load_kpfile(file)
            for clip in group:
                try:
                    keypoints = _joints(content, clip)
                except ValueError as error:
                    dropped[clip.id] = str(error)
                    continue
                yield Clip(keypoints, clip.label, clip.id, clip.image_shape)
            del content
        if not set(ids).difference(dropped):
            raise ValueError(f"{kpfiles}: none of the {len(ids)} clips has joints; the first: {dropped[ids[0]]}.")
        if dropped:
            notes["left_out"] = count_reasons(dropped)
            for split in members.values():
                split[:] = [i for i in split if i not in dropped]

    return ClipSource(
        clips=clips(),
        channels="xys",
        num_joints=_JOINTS,
        num_classes=max(clip.label for clip in listed) + 1,
        splits=members,
        notes=notes,
        dropped=dropped,
        total=len(listed),
        dtype="float16",
    )


def _listed(annotation: dict[str, Any], clip_id: str, by_box: bool, threshold: float) -> _Listed:
    where = f"Clip {clip_id!r}"
    raw_file, frame_inds = annotation.get("raw_file"), annotation.get("frame_inds")
    if not isinstance(raw_file, str) or not raw_file:
        raise ValueError(f"{where}: 'raw_file' must name the kpfile of its joints; got {raw_file!r:.80}.")
    frame_inds = np.array(frame_inds, np.int64) if isinstance(frame_inds, list) and not frame_inds else frame_inds
    if not isinstance(frame_inds, np.ndarray) or frame_inds.ndim != 1 or frame_inds.dtype.kind not in "iu":
        raise ValueError(f"{where}: 'frame_inds' must be frame numbers (N,); got {outline(frame_inds)}.")
    keep = None
    if by_box:
        scores = annotation.get("box_score")
        if not isinstance(scores, np.ndarray) or scores.shape != frame_inds.shape or scores.dtype.kind not in "fiu":
            raise ValueError(f"{where}: 'box_score' must be {len(frame_inds)} numbers; got {outline(scores)}.")
        keep = scores >= threshold
    label = whole_number(annotation.get("label"), f"{where}: 'label'")
    if label < 0:
        raise ValueError(f"{where}: labels start at 0; got {label}.")
    return _Listed(clip_id, label, image_shape_of(annotation, where), raw_file, frame_inds, keep)


def _valid_share(annotation: dict[str, Any], clip_id: str, threshold: float) -> float:
    valid, where = annotation.get("valid"), f"Clip {clip_id!r}"
    if not isinstance(valid, dict) or threshold not in valid:
        known = ", ".join(map(str, valid)) if isinstance(valid, dict) else "nothing"
        raise ValueError(f"{where}: 'valid' must count frames for box_threshold {threshold}; it has {known:.80}.")
    frames = whole_number(annotation.get("total_frames"), f"{where}: 'total_frames'")
    if frames < 1:
        raise ValueError(f"{where}: 'total_frames' is {frames}.")
    return whole_number(valid[threshold], f"{where}: 'valid'") / frames


def _joints(content: dict[Any, Any], clip: _Listed) -> npt.NDArray[np.float16]:
    if clip.id not in content:
        raise ValueError("not in its kpfile")
    entry = content[clip.id]
    keypoints = entry.get("keypoint") if isinstance(entry, dict) else entry
    if not isinstance(keypoints, np.ndarray) or keypoints.shape != (len(clip.frame_inds), _JOINTS, 3):
        wanted = f"({len(clip.frame_inds)}, {_JOINTS}, 3) in its kpfile"
        raise ValueError(f"damaged: expected detections {wanted}; got {outline(keypoints)}")
    joints = decompress_pose(keypoints, clip.frame_inds, keep=clip.keep)
    if np.isinf(joints).any():
        raise ValueError("damaged: a coordinate is infinite or beyond float16")
    return joints


def _load_kpfile(file: Path) -> dict[Any, Any]:
    content = safe_pickle.load(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} is not a kpfile: expected a dict, clip name -> key points; got {outline(content)}.")
    return content


def _find_files(wanted: Iterable[str], folder: Path) -> dict[str, Path]:
    """The file in the folder for each name of the list: of the same name, below the most alike folders."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}; --kpfiles is the folder of the unpacked kpfiles.")
    there: dict[str, list[Path]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            there.setdefault(name, []).append(Path(parent, name))
    found, missing = {}, []
    for raw in wanted:
        parts = raw.replace("\\", "/").split("/")
        candidates = there.get(parts[-1], [])
        if not candidates:
            missing.append(parts[-1])
            continue
        alike = [_common_end(candidate.parts, parts) for candidate in candidates]
        if alike.count(max(alike)) > 1:
            raise ValueError(
                f"{folder} holds {parts[-1]} more than once: {', '.join(map(str, sorted(candidates)[:3]))}."
            )
        found[raw] = candidates[alike.index(max(alike))]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the {len(missing) + len(found)} kpfiles of the list, the first of them "
            f"{missing[0]!r:.80}."
        )
    return found


def _common_end(a: Iterable[str], b: Iterable[str]) -> int:
    count = 0
    for one, other in zip(reversed(tuple(a)), reversed(tuple(b)), strict=False):
        if one != other:
            break
        count += 1
    return count
