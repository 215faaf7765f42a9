"""COCO key points as json: annotations with their images, or a list of results; of one video or of several."""

import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from graphs.naming import plain_name
from protogcn.data.readers.pose_frames import Detection, PoseClip
from protogcn.data.readers.pose_values import brief, number_in, numbers_in, size_in, whole_in

_VIDEO = ("video_id", "vid_id")
_FRAME = ("frame_id", "frame_index", "frame_number", "frame")
_TRACK = ("track_id", "person_id", "tracking_id", "instance_id", "idx")
_LAYOUTS = {17: "coco17", 26: "halpe26"}
_LAST_NUMBER = re.compile(r"(\d{1,15})\D*", re.ASCII)


def is_coco(content: Any) -> bool:
    """Whether it is a file of annotations or a list of results."""
    if isinstance(content, dict):
        return isinstance(content.get("annotations"), list)
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "image_id" in first and "keypoints" in first


def read_coco(content: Any, where: str) -> dict[str, PoseClip]:
    """Clips by the name of their video, "" for the only one.

    With ``images``, they tell the frames, also those in which nobody was found: by ``frame_id``, else the number in
    ``file_name``, else their order; and the video, by ``video_id`` or the folder in ``file_name``. Without, frames are
    numbered by ``image_id``. A person is a track where ``track_id`` (or ``person_id``, ``idx``) says so. The flags of
    annotations (0 not labelled, 1 hidden, 2 visible) become the scores 0, 0.5, 1.

    Raises:
        ValueError: anything malformed; the message names the annotation.
    """
    listed = content if isinstance(content, list) else content["annotations"]
    images = {} if isinstance(content, list) else _images(content, where)
    known = bool(images)
    clips: defaultdict[str, dict[int, list[Detection]]] = defaultdict(dict)
    for video, number in images.values():
        clips[video].setdefault(number, [])
    for place, entry in enumerate(listed):
        at = f"{where}, annotation {place}"
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise ValueError(f"{at}: expected image_id and keypoints, got {brief(entry)}.")
        key = str(entry["image_id"])
        if known and key not in images:
            raise ValueError(f"{at}: its image_id {key[:40]!r} is not among the images.")
        video, number = images[key] if known else _from_name(entry["image_id"], at)
        present = clips[video].setdefault(number, [])
        if not entry.get("keypoints"):
            continue
        keypoints = numbers_in(entry["keypoints"], at, 3)
        score = entry.get("score")
        total = np.nansum(keypoints[:, 2]) if score is None else np.nan_to_num(number_in(score, f"{at}: score"))
        present.append(Detection(keypoints, float(total), _track(entry)))
    people = [person for frames in clips.values() for found in frames.values() for person in found]
    flags = not isinstance(content, list) and all(np.isin(person.keypoints[:, 2], (0, 1, 2)).all() for person in people)
    for person in people:
        if flags:
            person.keypoints[:, 2] /= 2
        person.keypoints[person.keypoints[:, 2] <= 0] = 0.0
    count = len(people[0].keypoints) if people else 0
    sizes, names, joints = _sizes(content, where), _video_names(content), _joint_names(content, count)
    found = {
        video: PoseClip(frames, "xys", layout=_LAYOUTS.get(count, ""), joints=joints, image_shape=sizes.get(video))
        for video, frames in (clips or {"": {}}).items()
    }
    if len(found) == 1:
        return {"": next(iter(found.values()))}
    unique = len({names.get(video, video) for video in found}) == len(found)
    return {names.get(video, video) if unique else video: clip for video, clip in found.items()}


def _images(content: dict[str, Any], where: str) -> dict[str, tuple[str, int]]:
    """Image id -> (video, frame number)."""
    images = content.get("images") or []
    if not isinstance(images, list):
        raise ValueError(f"{where}: images must be a list, got {brief(images)}.")
    videos: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for place, image in enumerate(images):
        if not isinstance(image, dict) or "id" not in image:
            raise ValueError(f"{where}, image {place}: expected id and file_name, got {brief(image)}.")
        videos[_video_of(image)].append(image)
    found: dict[str, tuple[str, int]] = {}
    for video, members in videos.items():
        for image, number in zip(members, _frame_numbers(members, where), strict=True):
            if str(image["id"]) in found:
                raise ValueError(f"{where}: the image id {image['id']!r:.40} occurs twice.")
            found[str(image["id"])] = video, number
    return found


def _video_of(image: dict[str, Any]) -> str:
    for key in _VIDEO:
        if image.get(key) is not None:
            return str(image[key])
    folder = PurePosixPath(str(image.get("file_name", "")).replace("\\", "/")).parent
    return "" if str(folder) == "." else folder.as_posix()


def _frame_numbers(images: list[dict[str, Any]], where: str) -> list[int]:
    for key in _FRAME:
        if all(image.get(key) is not None for image in images):
            numbers = [whole_in(image[key], f"{where}, image {image['id']!r:.40}: {key}") for image in images]
            break
    else:
        named = [_LAST_NUMBER.findall(PurePosixPath(str(image.get("file_name", ""))).stem) for image in images]
        numbers = [int(found[-1]) for found in named if found]
        if len(set(numbers)) < len(images):
            order = sorted(range(len(images)), key=lambda i: _order(images[i]["id"]))
            return [place for _, place in sorted((i, place) for place, i in enumerate(order))]
    if twice := [number for number, times in Counter(numbers).items() if times > 1]:
        raise ValueError(f"{where}: two images of one video are frame {twice[0]}.")
    return numbers


def _order(image_id: Any) -> tuple[int, str]:
    return (int(image_id), "") if isinstance(image_id, int) else (0, str(image_id))


def _from_name(image_id: Any, where: str) -> tuple[str, int]:
    """Video and frame of an id such as 12, "12.jpg" or "walk/frame_0012.png"."""
    if not isinstance(image_id, str):
        return "", whole_in(image_id, f"{where}: image_id")
    path = PurePosixPath(image_id.replace("\\", "/"))
    found = _LAST_NUMBER.findall(path.stem)
    if not found:
        raise ValueError(f"{where}: there is no frame number in its image_id {image_id[:40]!r}.")
    return "" if str(path.parent) == "." else path.parent.as_posix(), int(found[-1])


def _track(entry: dict[str, Any]) -> str | None:
    for key in _TRACK:
        value = entry.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if value not in (None, -1, []):
            return str(value)
    return None


def _joint_names(content: Any, count: int) -> tuple[str, ...]:
    """What the category of the annotations calls its joints."""
    categories = content.get("categories") if isinstance(content, dict) else None
    for category in categories if isinstance(categories, list) else []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and len(names) == count:
            return tuple(plain_name(str(name)) for name in names)
    return ()


def _sizes(content: Any, where: str) -> dict[str, tuple[int, int]]:
    """Video -> (height, width) of its first image that says it."""
    sizes: dict[str, tuple[int, int]] = {}
    for image in [] if isinstance(content, list) else content.get("images") or []:
        if size := size_in(image, f"{where}, image {image['id']!r:.40}"):
            sizes.setdefault(_video_of(image), size)
    return sizes


def _video_names(content: Any) -> dict[str, str]:
    videos = content.get("videos") if isinstance(content, dict) else None
    names = {}
    for video in videos if isinstance(videos, list) else []:
        if isinstance(video, dict) and "id" in video:
            name = video.get("name") or video.get("file_name")
            if isinstance(name, str):
                names[str(video["id"])] = PurePosixPath(name.replace("\\", "/")).stem or name
    return names
