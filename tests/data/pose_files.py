"""Files as pose estimators write them, made of arrays, for the tests of their reader."""

import json

import numpy as np
import pytest

from graphs.layouts import get_skeleton
from protogcn.data.readers.poses import read_poses

WALK, RUN = "walk", "run"


def pixels(persons, frames, joints, seed=0):
    """(M, T, V, 3) in pixels with scores that fall from person to person."""
    rng = np.random.default_rng(seed)
    clip = np.concatenate(
        [rng.uniform(10, 600, (persons, frames, joints, 2)), np.ones((persons, frames, joints, 1))], -1
    )
    clip[..., 2] = 0.9 - 0.2 * np.arange(persons)[:, None, None] + rng.uniform(0, 0.05, (persons, frames, joints))
    return clip.round(3)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(path, skeleton, **options):
    """Clips by id, and the source."""
    source = read_poses(path, get_skeleton(skeleton), **options)
    return {clip.id: clip for clip in source.clips}, source


def refuses(path, message, skeleton="openpose18"):
    with pytest.raises(ValueError, match=message) as caught:
        read(path, skeleton)
    assert "\n" not in str(caught.value)


def openpose(folder, video, clip, numbers=None, tracks=None, key="pose_keypoints_2d"):
    """A file for each frame, people in reverse order, so that their order is no help."""
    for t, number in enumerate(numbers if numbers is not None else range(clip.shape[1])):
        people = [
            {
                "person_id": [-1 if tracks is None else tracks[m]],
                key: clip[m, t].ravel().tolist(),
                "face_keypoints_2d": [],
            }
            for m in reversed(range(len(clip)))
            if clip[m, t].any()
        ]
        save(folder / f"{video}_{number:012d}_keypoints.json", {"version": 1.3, "people": people})


def landmarks(frames, seed=0):
    """(T, 33, 4): x, y, z, visibility."""
    return np.random.default_rng(seed).uniform(0, 1, (frames, 33, 4)).round(4)


def coco(clip, tracks=None, names=None, images=True, video=None, offset=0):
    """Annotations with their images."""
    annotations = [
        {
            "id": i,
            "image_id": offset + t,
            "category_id": 1,
            "keypoints": clip[m, t].ravel().tolist(),
            **({} if tracks is None else {"track_id": tracks[m]}),
        }
        for i, (m, t) in enumerate(np.ndindex(clip.shape[:2]))
        if clip[m, t].any()
    ]
    if not images:
        return annotations
    listed = [
        {
            "id": offset + t,
            "file_name": f"frame_{t:05d}.jpg",
            "width": 640,
            "height": 480,
            **({"video_id": video} if video else {}),
        }
        for t in range(clip.shape[1])
    ]
    return {
        "images": listed[::-1],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names or get_skeleton("coco17").joints)}],
    }
