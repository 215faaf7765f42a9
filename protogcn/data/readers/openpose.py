"""OpenPose's output: one json file per frame, ``<video>_000000000123_keypoints.json``."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protogcn.data.readers.pose_frames import Detection, PoseClip
from protogcn.data.readers.pose_values import numbers_in, read_json

_FRAME = re.compile(r"(?:(.*?)_?)(\d{1,15})_keypoints\.json", re.ASCII | re.IGNORECASE)
_LAYOUTS = {18: "openpose18", 25: "openpose25"}


def is_frame_file(file: Path) -> bool:
    """Whether the file is named like one frame of OpenPose."""
    return file.name.lower().endswith("_keypoints.json")


def group_frames(folder: Path, files: Sequence[Path]) -> dict[str, dict[int, Path]]:
    """Clip -> frame number -> file.

    A clip is named by its path below ``folder``: the folder of its frames, or, where that folder is that of a class or
    holds several videos, the folder and the name of the video.

    Raises:
        ValueError: a name without a frame number, or two files for one frame.
    """
    videos: defaultdict[tuple[str, ...], dict[str, dict[int, Path]]] = defaultdict(dict)
    for file in files:
        match = _FRAME.fullmatch(file.name)
        if not match:
            raise ValueError(
                f"{file} has no frame number in its name; expected <video>_000000000123_keypoints.json, as OpenPose "
                "writes them (rename the files, or run OpenPose on the video instead of on images)."
            )
        parts = file.relative_to(folder).parts[:-1]
        frames = videos[parts].setdefault(match[1] or "", {})
        if other := frames.get(int(match[2])):
            raise ValueError(f"{other} and {file} are both frame {int(match[2])} of one video; keep one of them.")
        frames[int(match[2])] = file
    several = any(len(found) > 1 for found in videos.values())
    clips = {}
    for parts, found in videos.items():
        for name, frames in found.items():
            alone = not several and (len(parts) > 1 or not name)
            path = parts if alone or (parts and parts[-1] == name) else (*parts, name or "clip")
            clips["/".join(path) or folder.name] = dict(sorted(frames.items()))
    return clips


def read_frames(files: Mapping[int, Path]) -> PoseClip:
    """The clip of numbered frame files; a person is a track where OpenPose was run with tracking (``person_id``).

    Raises:
        ValueError: a file that is not OpenPose's; the message names it.
    """
    frames = {number: _people(read_json(file), file) for number, file in files.items()}
    sizes = {len(detection.keypoints) for found in frames.values() for detection in found}
    return PoseClip(frames, "xys", layout=_LAYOUTS.get(next(iter(sizes), 0), ""))


def _people(content: Any, file: Path) -> list[Detection]:
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise ValueError(f"{file} is not a frame of OpenPose: expected a list 'people'.")
    found = []
    for place, person in enumerate(people):
        where = f"{file}, person {place}"
        values = person.get("pose_keypoints_2d", person.get("pose_keypoints")) if isinstance(person, dict) else None
        if values == []:
            continue
        keypoints = numbers_in(values, where, 3)
        places = np.nan_to_num(keypoints[:, :2])
        if places.min() < -0.05 and np.abs(places).max() <= 1.05:
            raise ValueError(f"{where}: coordinates from -1 to 1; run OpenPose with --keypoint_scale 0 (pixels).")
        keypoints[keypoints[:, 2] <= 0] = 0.0
        found.append(Detection(keypoints, float(np.nansum(keypoints[:, 2])), _track(person.get("person_id"))))
    return found


def _track(value: Any) -> str | None:
    """OpenPose writes [-1], or -1, where it does not track."""
    value = value[0] if isinstance(value, list) and value else value
    return None if value in (None, -1, []) else str(value)
