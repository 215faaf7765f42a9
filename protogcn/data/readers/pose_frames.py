"""From what was detected in each frame to a clip: persons, time, layout, image coordinates."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from graphs.interop import map_layout
from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton

Array = npt.NDArray[np.float64]

MAX_PERSONS = 5
_MOST_FRAMES = 100_000
_WIDEST_GAPS = 100
_LARGEST_SHARE = 2.0
_NOMINAL = (1000, 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One person in one frame.

    Attributes:
        keypoints: (V, C), NaN where a joint was not seen.
        score: how sure the detection is; only its order counts.
        track: the identity that a tracker gave, if one did.
    """

    keypoints: Array = field(repr=False)
    score: float
    track: str | None = None


@dataclass
class PoseClip:
    """What one clip says before it is brought into the form of a store.

    Attributes:
        frames: frame number -> who was detected in it.
        channels: of the keypoints: ``"xyz"``, ``"xys"`` or ``"xy"``.
        layout: catalogue name of the layout that the format implies, or "".
        joints: names of the joints in the order of the keypoints, where the file says them.
        metres: the coordinates are a body's in space, not an image's.
        image_shape: (height, width) of the video, where the file says it.
        label, label_index: class that the file itself gives.
    """

    frames: dict[int, list[Detection]]
    channels: str
    layout: str = ""
    joints: tuple[str, ...] = ()
    metres: bool = False
    image_shape: tuple[int, int] | None = None
    label: str | None = None
    label_index: int | None = None


def frame_places(numbers: Sequence[int], where: str, *, fewest_for_step: int = 3) -> tuple[dict[int, int], int]:
    """Frame number -> its place in time, and the number of frames; numbers that are missing in between keep a place.

    Where at least ``fewest_for_step`` numbers are all multiples of a step apart, the step is one frame.

    Raises:
        ValueError: the numbers lie so far apart that they are no frame numbers.
    """
    ordered = sorted(set(numbers))
    if not ordered:
        return {}, 0
    step = math.gcd(*(number - ordered[0] for number in ordered)) if len(ordered) >= fewest_for_step else 1
    step = max(step, 1)
    length = (ordered[-1] - ordered[0]) // step + 1
    if length > min(_MOST_FRAMES, 1000 + _WIDEST_GAPS * len(ordered)):
        raise ValueError(
            f"{where}: its {len(ordered):,} frames are numbered {ordered[0]} to {ordered[-1]}, which leaves gaps of "
            f"{length - len(ordered):,} frames; are these time stamps? Number the frames 0, 1, 2, ..."
        )
    return {number: (number - ordered[0]) // step for number in ordered}, length


def assemble(frames: Mapping[int, Sequence[Detection]], max_persons: int, where: str) -> tuple[Array, int]:
    """The clip (M, T, V, C) of numbered frames, and how many detections found no place in it.

    Frames that are missing between the first and the last stay empty (zeros). Persons are tracks where every detection
    has one, those with the greatest sum of scores first; else, in each frame, the detections in order of falling score
    (Yan et al., ST-GCN, 2018). V and C are 0 where nobody was detected.

    Raises:
        ValueError: detections of different sizes, or frame numbers that lie too far apart.
    """
    time, length = frame_places(list(frames), where)
    seen = [detection for number in sorted(frames) for detection in frames[number]]
    if not seen:
        return np.zeros((1, max(1, length), 0, 0)), 0
    shape = seen[0].keypoints.shape
    place = _by_track(frames, max_persons) if all(d.track is not None for d in seen) else None
    persons = len(place) if place is not None else min(max_persons, max(len(found) for found in frames.values()))
    clip = np.zeros((persons, length, *shape))
    left_out = 0
    for number, t in time.items():
        ranked = sorted(frames[number], key=lambda detection: -detection.score)
        taken: set[int] = set()
        for rank, detection in enumerate(ranked):
            if detection.keypoints.shape != shape:
                raise ValueError(
                    f"{where}, frame {number}: {detection.keypoints.shape[0]} joints of "
                    f"{detection.keypoints.shape[1]} numbers, but {shape[0]} of {shape[1]} before."
                )
            person = rank if place is None else place.get(detection.track or "", persons)
            if person >= persons or person in taken:
                left_out += 1
                continue
            taken.add(person)
            clip[person, t] = detection.keypoints
    return clip, left_out


def _by_track(frames: Mapping[int, Sequence[Detection]], max_persons: int) -> dict[str, int]:
    """Track -> person, the surest first."""
    total: defaultdict[str, float] = defaultdict(float)
    for number in sorted(frames):
        for detection in frames[number]:
            total[detection.track or ""] += detection.score
    ranked = sorted(total, key=lambda track: -total[track])
    return {track: person for person, track in enumerate(ranked[:max_persons])}


def in_layout(clip: Array, source: str, names: Sequence[str], target: Skeleton, where: str) -> Array:
    """The clip in the joints of ``target``, matched by name; a joint that lacks a part of what makes it is missing.

    Args:
        clip: (M, T, V, C) with zeros where a joint was not seen and NaN where the file gave no number.
        source: layout that the format implies; "" where it implies none.
        names: what the file calls its joints; with these, their order is that of the file. Without names and layout,
            only the number of joints can tell.
        target: layout of the store.

    Raises:
        ValueError: the joints of ``target`` cannot be had from those of the file.
    """
    joints = clip.shape[2]
    if len(names) == joints and set(target.joints) <= set(names):
        return clip[:, :, [list(names).index(joint) for joint in target.joints]]
    own = target.name not in list_skeletons()
    if joints == target.num_joints and (not source or own or get_skeleton(source).joints == target.joints):
        if overlap := set(names) & set(target.joints):
            lost = [joint for joint in target.joints if joint not in names]
            raise ValueError(f"{where} names {len(overlap)} joints of {target.name}, but not {', '.join(lost)}.")
        return clip
    if not source:
        fitting = [name for name in list_skeletons() if get_skeleton(name).num_joints == joints]
        hint = f"layouts with as many: {', '.join(fitting)}" if fitting else "describe them in a YAML file"
        raise ValueError(f"{where} has {joints} joints per person, but {target.name} has {target.num_joints}; {hint}.")
    absent = (clip == 0).all(axis=-1, keepdims=True)
    try:
        whole = map_layout(np.where(absent, np.nan, clip), source, target)
    except ValueError as error:
        raise ValueError(
            f"{where} has the joints of {source}: {error}; convert it with --skeleton {source}."
        ) from error
    broken = np.isnan(map_layout(clip, source, target))
    return np.where(broken, np.nan, np.nan_to_num(whole, nan=0.0))


def layout_note(source: str, target: Skeleton) -> str:
    """In words, which joints of the files are left out and which are made of others; "" for none."""
    if not source or target.name not in list_skeletons():
        return ""
    have = get_skeleton(source).joints
    said = []
    if lost := [joint for joint in have if joint not in target.joints]:
        said.append(f"{', '.join(lost)} of {source} left out")
    if made := [joint for joint in target.joints if joint not in have]:
        said.append(f"{', '.join(made)} made of other joints")
    return "; ".join(said)


def in_image(
    clip: Array, channels: str, known: tuple[int, int] | None, usual: tuple[int, int] | None = None
) -> tuple[Array, tuple[int, int] | None, str]:
    """Shares of the image become pixels (xy, xys) or heights of the image (xyz); pixels stay as they are.

    Args:
        clip: (M, T, V, C), zero where a joint was not seen.
        channels: what C means.
        known: (height, width) of the video.
        usual: the size to take where it is not known; without one, a square.

    Returns:
        the clip, the size of its image (None for xyz, or if it is not known), and what was done, for the notes.
    """
    places = np.abs(np.nan_to_num(clip[..., :2]))
    shares = bool(places.any()) and bool(places.max() <= _LARGEST_SHARE)
    size = known or usual
    if channels == "xyz":
        if not shares or size is None:
            return clip, None, ""
        aspect = size[1] / size[0]
        return clip * np.array([aspect, 1.0, aspect]), None, "x and z times width / height of the image"
    if not shares:
        return clip, known, "" if known else "the size of the videos is not known; --image-size 1280x720 would say it"
    height, width = size or _NOMINAL
    scale = np.array([width, height, 1.0])[: clip.shape[-1]]
    said = f"shares of the image times {width} x {height} pixels"
    if size is None:
        said += ", a guess: --image-size 1280x720 would say the size of the videos"
    return clip * scale, (height, width), said
