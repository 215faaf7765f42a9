"""Own clips as pose estimators write them: folders of json or csv files, OpenPose, MediaPipe, COCO and their kin."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graphs.skeleton import Skeleton
from protogcn.data.readers.kinetics_labels import class_numbers, is_label_file, read_label_files
from protogcn.data.readers.labels import LABELS, Labels, are_splits, read_labels
from protogcn.data.readers.openpose import group_frames, is_frame_file, read_frames
from protogcn.data.readers.pose_frames import MAX_PERSONS, PoseClip, assemble, in_image, in_layout, layout_note
from protogcn.data.readers.pose_json import KINETICS_SHAPE, read_clips
from protogcn.data.readers.source import ClipSource
from protogcn.data.readers.table import read_clip_table
from protogcn.data.store import Clip


@dataclass
class _Entry:
    """A clip that was found, not yet read."""

    load: Callable[[], PoseClip]
    where: str
    place: str
    label: str | None = None
    label_index: int | None = None


def holds_poses(path: Path) -> bool:
    """Whether it is a json file, or a folder with json or csv files beside the table of labels."""
    return path.suffix.lower() == ".json" if path.is_file() else any(True for _ in walk_poses(path))


def read_poses(
    path: str | Path,
    skeleton: Skeleton,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int] | None = None,
    max_persons: int | None = None,
) -> ClipSource:
    """Read the clips of a folder of json or csv files, or of one json file; the content tells the format.

    OpenPose has a file for each frame, everything else a file for each clip (COCO's may hold several videos). Classes
    and splits are those of ``labels.csv``, else those that the files themselves name (Kinetics-Skeleton), else the
    folders: ``<class>/<clip>`` or ``<split>/<class>/<clip>``.

    Args:
        path: the folder, or the file.
        skeleton: the layout of the store; joints of other layouts are matched by name (`graphs.interop.map_layout`).
        class_names: names in label order; default: alphabetical, or as the files number them.
        image_shape: (height, width) of the videos, where the files do not say it.
        max_persons: the most persons of a clip; default 5.

    Raises:
        ValueError: anything malformed; the message names the file, and the frame or line.
    """
    path = Path(path)
    most = MAX_PERSONS if max_persons is None else max_persons
    if most < 1:
        raise ValueError(f"--max-persons must be at least 1; got {most}.")
    folder = path if path.is_dir() else path.parent
    files = sorted(walk_poses(path)) if path.is_dir() else [path]
    tables = [file for file in files if is_label_file(file)]
    kind, entries = _entries(folder, [file for file in files if file not in tables], skeleton, bool(tables))
    dropped: dict[str, str] = {}
    labels = _labels(folder, entries, tables, dropped)
    indices = {name: entries[name].label_index for name in labels.label_of} if not (folder / LABELS).is_file() else {}
    numbers, found, count = class_numbers(labels.label_of, indices, class_names)
    channels = "xyz" if kind == "MediaPipe" else "xys"
    if kind == "csv":
        channels = next(iter(entries.values())).load().channels
    notes: dict[str, Any] = {"format": kind}

    def clips() -> Iterator[Clip]:
        left_out = 0
        said: dict[str, None] = {}
        for name, label in labels.label_of.items():
            entry = entries[name]
            pose = entry.load()
            if pose.channels != channels:
                raise ValueError(f"{entry.where} holds {pose.channels} of each joint, but the first clip {channels}.")
            array, more = assemble(pose.frames, most, entry.where)
            left_out += more
            size = labels.image_shape_of.get(name) or pose.image_shape or image_shape
            if not array.shape[2]:
                array = np.zeros((*array.shape[:2], skeleton.num_joints, len(channels)))
            else:
                array = in_layout(array, pose.layout, pose.joints, skeleton, entry.where)
                said |= dict.fromkeys(filter(None, [layout_note(pose.layout, skeleton)]))
            if pose.metres or (kind == "csv" and channels == "xyz"):
                size = None
            else:
                usual = KINETICS_SHAPE if kind == "Kinetics-Skeleton" else None
                array, size, how = in_image(array, channels, size, usual)
                said |= dict.fromkeys(filter(None, [how]))
            yield Clip(array, numbers[label], name, size)
        if left_out:
            notes["detections_left_out"] = f"{left_out:,}, beyond {most} persons"
        if said:
            notes["converted"] = "; ".join(said)

    return ClipSource(
        clips=clips(),
        channels=channels,
        num_joints=skeleton.num_joints,
        num_classes=count,
        class_names=found,
        splits=labels.splits(),
        notes=notes,
        dropped=dropped,
        total=len(labels.label_of),
        dtype="float32",
    )


def walk_poses(folder: Path) -> Iterator[Path]:
    """Every json and csv file below the folder, but the table of labels."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name != "__MACOSX"]
        for name in names:
            if name[0] != "." and name.lower().endswith((".json", ".csv")) and name != LABELS:
                yield Path(root, name)


def _entries(folder: Path, files: list[Path], skeleton: Skeleton, labelled: bool) -> tuple[str, dict[str, _Entry]]:
    """The format, and every clip by name."""
    frames = [file for file in files if is_frame_file(file)]
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    if not files:
        raise ValueError(f"{folder} holds no .json or .csv file of poses (docs/own_data.md).")
    if tables:
        if other := next((file for file in files if file not in tables), None):
            raise ValueError(
                f"{folder} holds {tables[0].name} and {other.name}; convert csv and json files one by one."
            )
        places = {file.relative_to(folder).with_suffix("").as_posix(): file for file in tables}
        return "csv", {
            name: _Entry(partial(read_clip_table, file, skeleton), str(file), name) for name, file in places.items()
        }
    if frames:
        if other := next((file for file in files if not is_frame_file(file)), None):
            raise ValueError(f"{folder} holds frames of OpenPose, and {other}, which is none; move it elsewhere.")
        grouped = group_frames(folder, frames)
        return "OpenPose", {
            name: _Entry(partial(read_frames, members), str(next(iter(members.values())).parent), name)
            for name, members in sorted(grouped.items())
        }
    return _whole_clips(folder, files, labelled)


def _whole_clips(folder: Path, files: list[Path], labelled: bool) -> tuple[str, dict[str, _Entry]]:
    entries: dict[str, _Entry] = {}
    first = ""
    for file in files:
        place = file.relative_to(folder).with_suffix("").as_posix()
        if labelled and first:
            entries[place] = _Entry(partial(_one, file, ""), str(file), place)
            continue
        kind, found = read_clips(file)
        first = first or kind
        if kind != first:
            raise ValueError(f"{file} is a file of {kind}, but {files[0]} one of {first}; convert them one by one.")
        for group, pose in found.items():
            name = f"{place}/{group}" if group else place
            entries[name] = _Entry(partial(_one, file, group), str(file), place, pose.label, pose.label_index)
    return first, entries


def _one(file: Path, group: str) -> PoseClip:
    return read_clips(file)[1][group]


def _labels(folder: Path, entries: dict[str, _Entry], tables: list[Path], dropped: dict[str, str]) -> Labels:
    if (folder / LABELS).is_file():
        return read_labels(folder, entries)
    if tables:
        read_label_files(tables, folder, entries, dropped)
    labels = Labels()
    named = [name for name, entry in entries.items() if entry.label is not None]
    if not named:
        return read_labels(folder, entries, {name: entry.place for name, entry in entries.items()})
    for name, entry in entries.items():
        if name in dropped:
            continue
        if entry.label is None:
            raise ValueError(f"{entry.where} names no class, but {entries[named[0]].where} does.")
        labels.label_of[name] = entry.label
        top, _, rest = name.partition("/")
        # ST-GCN shares the folders kinetics_train and kinetics_val.
        split = top.rpartition("_")[2]
        if rest and are_splits([split]):
            labels.split_of[name] = split
    return labels
