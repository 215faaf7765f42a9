"""Synthetic data: the procedural human performs, three cameras record, and a store comes out, in any layout.

Nothing has to be downloaded: demo, tests and examples run on it. People differ in build, tempo, habits and handedness,
cameras in direction, so the cross-subject and cross-view splits ask to generalise; the sensor
is noisy and loses joints.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graphs.layouts import get_skeleton
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.data.human.body import INDEX, Array, mirror, pose, rotation
from protogcn.data.human.mapping import placement
from protogcn.data.human.motions import ACTIONS, MUTUAL
from protogcn.data.human.performer import Subject, Take
from protogcn.data.human.sensor import IMAGE_SHAPE, Sensor, camera_frame, project
from protogcn.data.store import Clip, ClipStore, write_store

#: Yaw in degrees of the cameras 1, 2 and 3 around the stage; 0 looks the performer in the face.
VIEWS: dict[int, float] = {1: 0.0, 2: -45.0, 3: 45.0}
_PLANAR = ("coco", "openpose", "halpe", "penn")
_FIRST_PARTNER = 1001


def default_channels(skeleton: str | Path | Skeleton) -> str:
    """``"xys"`` (pixels and score) for layouts of image detectors, COCO and its kin, else ``"xyz"`` (metres)."""
    return "xys" if get_skeleton(skeleton).name.startswith(_PLANAR) else "xyz"


def generate(
    skeleton: str | Path | Skeleton = "ntu25",
    *,
    actions: Sequence[str] | None = None,
    subjects: int | Sequence[int] = 12,
    views: Sequence[int] = (1, 2, 3),
    repetitions: int = 2,
    seed: int = 0,
    channels: str | None = None,
    frames: tuple[int, int] = (30, 90),
    noise: float = 1.0,
    occlusion: float = 1.0,
) -> Iterator[Clip]:
    """Perform and record every action by every subject, ``repetitions`` times, in every view.

    The views of one repetition record the same performance. A clip depends on its own action, subject, repetition and
    view and on ``seed`` only: fewer actions or more subjects leave the others as they are, and another layout shows the
    same movement.

    Args:
        skeleton: layout by name, YAML file or `Skeleton`; joints are found by name (`protogcn.data.human.mapping`).
        actions: names from `ACTIONS` in the order of the labels; all by default.
        subjects: how many people, or their numbers (from 1).
        views: cameras, from `VIEWS`.
        repetitions: performances of each action by each subject.
        seed: of the population and all performances.
        channels: ``"xyz"`` metres in the camera's frame (x to the left of the camera, y up, z away from it, as Kinect);
            ``"xys"`` pixels (x right, y down) and detection score; ``"xy"`` pixels. None: `default_channels`.
        frames: least and greatest number of frames, at 30 a second.
        noise: strength of the sensor noise; 0 for none.
        occlusion: how often joints are lost, frozen or misplaced; 0 for never.

    Yields:
        Clips with float32 keypoints (M, T, V, C) and ids ``S001C<view>P<subject>R<repetition>A<action>``, action
        counted in `ACTIONS` from 1; a lost joint is all zeros.

    Raises:
        ValueError: an unknown action, view, layout or channel order, or a number out of range.
    """
    layout = get_skeleton(skeleton)
    names = check_actions(actions)
    people = _numbers(subjects, "subjects", 999)
    cameras = _numbers(views, "views", max(VIEWS))
    channels = default_channels(layout) if channels is None else channels
    if channels not in ("xyz", "xys", "xy"):
        raise ValueError(f"channels must be 'xyz', 'xys' or 'xy'; got {channels!r}")
    if not 2 <= frames[0] <= frames[1]:
        raise ValueError(f"frames must be (least, greatest) with 2 <= least <= greatest; got {frames!r}")
    for name, value, least in (("repetitions", repetitions, 1), ("noise", noise, 0), ("occlusion", occlusion, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}; got {value!r}")
    return _clips(layout, names, people, cameras, repetitions, seed, channels, frames, noise, occlusion)


def write_synthetic(
    path: str | Path,
    skeleton: str | Path | Skeleton = "ntu25",
    *,
    actions: Sequence[str] | None = None,
    subjects: int | Sequence[int] = 12,
    views: Sequence[int] = (1, 2, 3),
    repetitions: int = 2,
    seed: int = 0,
    overwrite: bool = False,
    **options: Any,
) -> ClipStore:
    """Write the clips of `generate` as a store with the splits xsub_train, xsub_test, xview_train and xview_test.

    Cross-subject: subjects whose number is a multiple of 3 test. Cross-view: camera 1 tests. An empty split is left
    out.

    Args:
        path: folder of the store.
        overwrite: replace a store that is already there.
        **options: ``channels``, ``frames``, ``noise`` and ``occlusion`` of `generate`, as are the other arguments.

    Raises:
        ValueError: as `generate`.
        FileExistsError: there is a store at ``path`` and ``overwrite`` is False.
    """
    layout = get_skeleton(skeleton)
    names = check_actions(actions)
    chosen: dict[str, Any] = {
        "actions": names,
        "subjects": subjects,
        "views": views,
        "repetitions": repetitions,
        "seed": seed,
        **options,
    }
    clips = list(generate(layout, **chosen))
    splits = {
        "xsub_train": [i for i, clip in enumerate(clips) if subject_of(clip.id) % 3],
        "xsub_test": [i for i, clip in enumerate(clips) if subject_of(clip.id) % 3 == 0],
        "xview_train": [i for i, clip in enumerate(clips) if view_of(clip.id) != 1],
        "xview_test": [i for i, clip in enumerate(clips) if view_of(clip.id) == 1],
    }
    return write_store(
        path,
        clips,
        skeleton=layout,
        class_names=names,
        splits={name: members for name, members in splits.items() if members},
        channels=options.get("channels") or default_channels(layout),
        overwrite=overwrite,
        source=f"procedural human, seed {seed}",
    )


def subject_of(clip_id: str) -> int:
    """Number of the subject in a clip name ``SsssCcccPpppRrrrAaaa``."""
    return int(clip_id[9:12])


def view_of(clip_id: str) -> int:
    """Number of the camera in a clip name ``SsssCcccPpppRrrrAaaa``."""
    return int(clip_id[5:8])


def check_actions(actions: Sequence[str] | None) -> tuple[str, ...]:
    """The named actions, or all.

    Raises:
        ValueError: an action that does not exist (near matches are listed) or is named twice, or none at all.
    """
    names = tuple(ACTIONS) if actions is None else (actions,) if isinstance(actions, str) else tuple(actions)
    for name in names:
        if name not in ACTIONS:
            raise ValueError(unknown("action", name, ACTIONS, show_all=True))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"actions must be one or more different names; got {list(names)}")
    return names


def perform(
    action: str, subject: Subject, frames: int, rng: np.random.Generator, partner: Subject | None = None
) -> list[Array]:
    """One performance: points (T, P, 3) in metres of each person in a world with y up and the floor at 0.

    A single person stands at the origin and faces +z. Two persons face each other along z, at the distance at which
    hands meet (handshake) or meet the chest (push), the subject at negative z.

    Raises:
        ValueError: an unknown action, or one of two persons without a partner.
    """
    check_actions((action,))
    if action in MUTUAL and partner is None:
        raise ValueError(f"{action!r} takes two: pass partner=Subject.draw(...)")
    people = [subject] if action not in MUTUAL or partner is None else [subject, partner]
    postures = ACTIONS[action](Take(subject, frames, rng, partner))
    points = [pose(person.body, posture, frames) for person, posture in zip(people, postures, strict=True)]
    if len(points) == 2:
        points = _face_to_face(action, points)
    # Now and then people use the other hand, but everybody, left-handers too, gives the right one.
    if (subject.left_handed != (rng.random() < 0.08)) and action != "handshake":
        points = [mirror(person) for person in points]
    return points


def _face_to_face(action: str, points: list[Array]) -> list[Array]:
    first, second = points
    right, left = (first[:, INDEX[f"{side}_hand"], 2].max() for side in ("right", "left"))
    if action == "handshake":
        distance = right + second[:, INDEX["right_hand"], 2].max() + 0.02
    else:
        distance = max(right, left) + second[0, INDEX["chest"], 2] + 0.10
    turned = second * [-1.0, 1.0, -1.0] + [0.0, 0.0, distance / 2]
    return [first - [0.0, 0.0, distance / 2], turned]


def _numbers(value: int | Sequence[int], what: str, most: int) -> tuple[int, ...]:
    numbers = tuple(range(1, value + 1)) if isinstance(value, int) and what == "subjects" else value
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= most for number in numbers):
        raise ValueError(f"{what} must be different numbers from 1 to {most}; got {value!r}")
    return numbers


def _clips(
    layout: Skeleton,
    names: tuple[str, ...],
    people: tuple[int, ...],
    cameras: tuple[int, ...],
    repetitions: int,
    seed: int,
    channels: str,
    frames: tuple[int, int],
    noise: float,
    occlusion: float,
) -> Iterator[Clip]:
    everything = tuple(ACTIONS)
    for number in people:
        subject = Subject.draw(number, seed)
        weights = placement(layout, "left" if subject.left_handed else "right")
        for name in names:
            for repetition in range(1, repetitions + 1):
                key = [seed, number, repetition, zlib.crc32(name.encode())]
                rng = np.random.default_rng([*key, 0])
                partner = Subject.draw(_FIRST_PARTNER + int(rng.integers(8)), seed) if name in MUTUAL else None
                length = int(rng.integers(frames[0], frames[1] + 1))
                world = _stage(perform(name, subject, length, rng, partner), rng)
                joints = [weights @ person for person in world]
                for view in cameras:
                    sensor = Sensor(layout, noise, occlusion, np.random.default_rng([*key, view]))
                    keypoints = _record(joints, sensor, *_camera(view, number, seed), channels)
                    clip_id = f"S001C{view:03d}P{number:03d}R{repetition:03d}A{everything.index(name) + 1:03d}"
                    image = None if channels == "xyz" else IMAGE_SHAPE
                    yield Clip(keypoints.astype(np.float32), names.index(name), clip_id, image)


def _stage(people: list[Array], rng: np.random.Generator) -> list[Array]:
    """Somewhere on the stage: single persons roughly face camera 1, two persons stand across its view."""
    across = rng.choice([-0.5, 0.5]) * np.pi if len(people) == 2 else 0.0
    turn = rotation(np.array([0.0, across + rng.normal(0.0, 0.45), 0.0]))
    place = np.array([rng.normal(0.0, 0.25), 0.0, rng.normal(0.0, 0.25)])
    return [person @ turn.T + place for person in people]


@lru_cache(maxsize=1024)
def _camera(view: int, subject: int, seed: int) -> tuple[float, float, float]:
    """Yaw, distance and height of a camera; it is set up anew for every subject."""
    rng = np.random.default_rng([seed, subject, view, 2])
    return np.deg2rad(VIEWS[view] + rng.normal(0.0, 6.0)), rng.uniform(2.6, 3.8), rng.uniform(0.9, 1.7)


def _record(joints: list[Array], sensor: Sensor, yaw: float, distance: float, height: float, channels: str) -> Array:
    """Keypoints (M, T, V, C) of persons (T, V, 3) in the world."""
    persons = []
    for person in joints:
        measured, scores = sensor.measure(camera_frame(person, yaw, distance, height))
        found = (scores > 0)[..., None]
        if channels == "xyz":
            persons.append(measured * found)
        elif channels == "xy":
            persons.append(project(measured) * found)
        else:
            persons.append(np.concatenate([project(measured) * found, scores[..., None]], -1))
    return np.stack(persons)
