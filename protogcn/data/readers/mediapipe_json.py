"""Landmarks of MediaPipe (and of anything that writes x, y, z and visibility for each joint of each frame) as json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphs.layouts import get_skeleton
from graphs.naming import plain_name
from protogcn.data.readers.pose_frames import Detection, PoseClip
from protogcn.data.readers.pose_values import brief, label_in, number_in, numbers_in, size_in, whole_in

_WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "keypoints")
_FRAMES = ("frames", "results", "data")
_NUMBERS = ("frame", "frame_index", "frame_id", "frame_number", "frameIndex", "index")
_VISIBLE = ("visibility", "score", "presence", "v")
_LAYOUTS = {33: "mediapipe33", 21: "hand21"}


def is_mediapipe(content: Any) -> bool:
    """Whether it looks like frames of landmarks."""
    if isinstance(content, dict):
        return any(isinstance(content.get(key), list) for key in (*_FRAMES, *_WORLD, *_IMAGE))
    return isinstance(content, list)


def read_mediapipe(content: Any, where: str) -> dict[str, PoseClip]:
    """A clip of landmarks.

    A list of frames, or an object that has it under ``frames``, ``results``, ``data`` or the name of the landmarks. A
    frame is the list of its landmarks, or of the lists of several persons, or an object with ``pose_world_landmarks``
    or ``pose_landmarks`` and perhaps its number (``frame``); null or an empty list where nobody was seen. A landmark is
    an object with x, y, z and visibility, or a list of these numbers; instead of a list of landmarks there may be an
    object by joint name. World landmarks (metres) go before those of the image.

    Raises:
        ValueError: anything malformed; the message names the frame.
    """
    entries, world = _entries(content)
    frames: dict[int, list[Detection]] = {}
    numbered = [isinstance(entry, dict) and any(key in entry for key in _NUMBERS) for entry in entries]
    if any(numbered) and not all(numbered):
        raise ValueError(f"{where}: entry {numbered.index(False)} of its frames has no frame number, others have one.")
    metres = world
    for place, entry in enumerate(entries):
        number = place
        if numbered and numbered[0]:
            key = next(key for key in _NUMBERS if key in entry)
            number = whole_in(entry[key], f"{where}, entry {place} of its frames: {key}")
        if number in frames:
            raise ValueError(f"{where}: frame {number} occurs twice, again as entry {place}.")
        at = f"{where}, frame {number}"
        landmarks, in_metres = _landmarks_of(entry, at)
        people = [_person(person, f"{at}, person {i}") for i, person in enumerate(_persons(landmarks, at))]
        metres = metres or (in_metres and bool(people))
        frames[number] = people
    joints = next((len(person.keypoints) for found in frames.values() for person in found), 0)
    said = content if isinstance(content, dict) else {}
    return {
        "": PoseClip(
            frames,
            "xyz",
            layout=_LAYOUTS.get(joints, ""),
            metres=metres,
            image_shape=size_in(content, where),
            label=label_in(said, where),
        )
    }


def _entries(content: Any) -> tuple[list[Any], bool]:
    """The list of frames, and whether the name it stands under says metres."""
    if isinstance(content, list):
        return content, False
    for key in (*_FRAMES, *_WORLD, *_IMAGE):
        if isinstance(content.get(key), list):
            return content[key], key in _WORLD
    return [], False


def _landmarks_of(entry: Any, where: str) -> tuple[Any, bool]:
    """The landmarks of a frame, and whether they are metres."""
    if not isinstance(entry, dict):
        return entry, False
    for key in _WORLD:
        if entry.get(key):
            return entry[key], True
    for key in _IMAGE:
        if key in entry:
            return entry[key], False
    names = [key for key in entry if key not in (*_NUMBERS, "timestamp", "timestamp_ms", "time")]
    if any(isinstance(entry[key], dict | list) for key in names):
        return {key: entry[key] for key in names}, False
    if set(entry) & set(_NUMBERS):
        return None, False
    raise ValueError(f"{where}: expected landmarks, got {brief(entry)}.")


def _persons(landmarks: Any, where: str) -> Sequence[Any]:
    """The landmarks of each person; a frame may hold those of one without a list around them."""
    if not landmarks:
        return []
    if isinstance(landmarks, dict):
        return [landmarks]
    if not isinstance(landmarks, list):
        raise ValueError(f"{where}: expected a list of landmarks, got {brief(landmarks)}.")
    first = next((landmark for landmark in landmarks if landmark is not None), None)
    if first is None:
        return []
    several = (isinstance(first, list) and (not first or isinstance(first[0], dict | list))) or (
        isinstance(first, dict) and "x" not in first
    )
    return [person for person in landmarks if person] if several else [landmarks]


def _person(landmarks: Any, where: str) -> Detection:
    if isinstance(landmarks, dict):
        landmarks = _by_name(landmarks, where)
    if not isinstance(landmarks, list):
        raise ValueError(f"{where}: expected a list of landmarks, got {brief(landmarks)}.")
    rows = [_landmark(landmark, f"{where}, landmark {i}") for i, landmark in enumerate(landmarks)]
    keypoints = np.array([row[:3] for row in rows])
    return Detection(keypoints, float(np.nansum([row[3] for row in rows])))


def _landmark(landmark: Any, where: str) -> tuple[float, float, float, float]:
    """x, y, z and visibility; without visibility, 1."""
    if landmark is None:
        return 0.0, 0.0, 0.0, 0.0
    if isinstance(landmark, list):
        if len(landmark) not in (3, 4):
            raise ValueError(f"{where}: expected x, y, z and visibility, got {len(landmark)} numbers.")
        x, y, z, *rest = numbers_in(landmark, where, 1)[:, 0].tolist()
        return x, y, z, rest[0] if rest else 1.0
    if not isinstance(landmark, dict) or not {"x", "y", "z"} <= set(landmark):
        raise ValueError(f"{where}: expected x, y, z and visibility, got {brief(landmark)}.")
    x, y, z = (number_in(landmark[axis], f"{where}: {axis}") for axis in "xyz")
    visible = next((landmark[key] for key in _VISIBLE if landmark.get(key) is not None), 1.0)
    return x, y, z, number_in(visible, f"{where}: visibility")


def _by_name(landmarks: dict[str, Any], where: str) -> list[Any]:
    """Landmarks given by the names of MediaPipe, in its order."""
    joints = get_skeleton("mediapipe33").joints
    named = {plain_name(name): landmark for name, landmark in landmarks.items()}
    if unknown := [name for name in named if name not in joints]:
        raise ValueError(f"{where}: {unknown[0][:40]!r} is no landmark of MediaPipe's pose.")
    return [named.get(joint) for joint in joints]
