"""Json files that hold a whole clip: Kinetics-Skeleton of ST-GCN, MediaPipe landmarks, and COCO key points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from protogcn.data.readers.coco_json import is_coco, read_coco
from protogcn.data.readers.mediapipe_json import is_mediapipe, read_mediapipe
from protogcn.data.readers.pose_frames import Detection, PoseClip
from protogcn.data.readers.pose_values import brief, label_in, numbers_in, read_json, size_in, whole_in

KINETICS_SHAPE = (256, 340)
"""(height, width) to which ST-GCN scaled the videos of Kinetics-Skeleton."""

_KINETICS_JOINTS = 18


def read_clips(file: Path) -> tuple[str, dict[str, PoseClip]]:
    """The format of a json file, told by its content, and its clips by name ("" for the only one).

    Raises:
        ValueError: no format that is known, or malformed; the message names file and frame.
    """
    content = read_json(file)
    readers: dict[str, tuple[Callable[[Any], bool], Callable[[Any, str], dict[str, PoseClip]]]] = {
        "Kinetics-Skeleton": (is_kinetics, read_kinetics),
        "COCO": (is_coco, read_coco),
        "MediaPipe": (is_mediapipe, read_mediapipe),
    }
    for name, (recognises, read) in readers.items():
        if recognises(content):
            return name, read(content, str(file))
    if isinstance(content, dict) and "people" in content:
        raise ValueError(
            f"{file} is one frame of OpenPose, but is not named like one: <video>_000000000123_keypoints.json."
        )
    raise ValueError(
        f"{file} holds {brief(content)}, which is no format of poses that is read; expected 'data' of frames with "
        "'skeleton' (Kinetics-Skeleton), 'annotations' or a list with 'keypoints' (COCO), or a list of landmarks for "
        "each frame (MediaPipe)."
    )


def is_kinetics(content: Any) -> bool:
    """Whether it is a clip of Kinetics-Skeleton: ``data`` is a list of frames."""
    return (
        isinstance(content, dict) and isinstance(content.get("data"), list) and not _landmarks_inside(content["data"])
    )


def _landmarks_inside(frames: list[Any]) -> bool:
    return bool(frames) and not (isinstance(frames[0], dict) and "skeleton" in frames[0])


def read_kinetics(content: Any, where: str) -> dict[str, PoseClip]:
    """A clip as ST-GCN shares it: ``data`` (``frame_index``, ``skeleton`` of ``pose`` and ``score``), ``label``,
    ``label_index``; coordinates are shares of the image.
    """
    frames: dict[int, list[Detection]] = {}
    for place, frame in enumerate(content["data"]):
        if not isinstance(frame, dict) or not isinstance(frame.get("skeleton"), list):
            raise ValueError(f"{where}, entry {place} of data: expected frame_index and skeleton, got {brief(frame)}.")
        number = whole_in(frame.get("frame_index"), f"{where}, entry {place} of data: frame_index")
        if number in frames:
            raise ValueError(f"{where}: frame {number} occurs twice, again as entry {place} of data.")
        at = f"{where}, frame {number}"
        frames[number] = [_kinetics_person(p, f"{at}, person {i}") for i, p in enumerate(frame["skeleton"])]
    index = content.get("label_index")
    clip = PoseClip(
        frames,
        "xys",
        layout="openpose18" if _joints(frames) == _KINETICS_JOINTS else "",
        image_shape=size_in(content, where),
        label=label_in(content, where),
        label_index=None if index is None or index == -1 else whole_in(index, f"{where}: label_index"),
    )
    return {"": clip}


def _kinetics_person(person: Any, where: str) -> Detection:
    if not isinstance(person, dict):
        raise ValueError(f"{where}: expected pose and score, got {brief(person)}.")
    pose = numbers_in(person.get("pose"), f"{where}: pose", 2)
    score = numbers_in(person.get("score"), f"{where}: score", 1)
    if len(pose) != len(score):
        raise ValueError(f"{where}: {len(pose)} joints in pose, but {len(score)} in score.")
    keypoints = np.concatenate([pose, score], axis=1)
    keypoints[keypoints[:, 2] <= 0] = 0.0
    return Detection(keypoints, float(np.nansum(keypoints[:, 2])))


def _joints(frames: dict[int, list[Detection]]) -> int:
    return next((len(detection.keypoints) for found in frames.values() for detection in found), 0)
