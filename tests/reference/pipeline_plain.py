"""The training pipeline of ProtoGCN on NTU RGB+D for one clip, step by step as its release computes it."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

CENTRE = 1
"""Joint that the clip is centred on: the middle of the spine."""

PARENTS = (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11)
"""Other end of each joint's bone; the root is its own."""

GRANDPARENTS = (20, 1, 2, 20, 4, 20, 4, 5, 8, 20, 8, 9, 1, 0, 12, 13, 1, 0, 16, 17, 20, 7, 6, 11, 10)
"""The same two bones away; a joint without a grandparent is its own."""

PAIRS = ((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24))
PARTS = ((4, 5, 6, 7, 21, 22), (12, 13, 14, 15), (8, 9, 10, 11, 23, 24), (16, 17, 18, 19))


def training_clip(
    keypoints: Array,
    stream: str,
    rng: np.random.RandomState,
    *,
    clip_len: int = 100,
    num_persons: int = 2,
    angle: float = 0.2,
    flip: bool = False,
    part: int | None = None,
) -> NDArray[np.float32]:
    """Network input (1, num_persons, clip_len, 25, 3) of a stored clip (M, T, 25, 3).

    Args:
        keypoints: the clip, of one or two persons.
        stream: j, b, k, jm, bm or km.
        rng: draws the angles and the frames, in the order of the release.
        clip_len: frames of the result.
        num_persons: persons of the result; absent ones are zeros.
        angle: largest angle of the rotation about each axis, in radians.
        flip: whether left and right joints change places.
        part: body part whose joints are dropped, None for none.
    """
    x = pre_normalise(keypoints)
    x = random_rotation(x, angle, rng)
    if flip:
        x = x[:, :, flip_order()]
    if part is not None:
        x = x.copy()
        x[:, :, list(PARTS[part])] = 0
    features = skeleton_feature(x, stream)
    frames = uniform_sample(features.shape[1], clip_len, rng)
    return format_input(features[:, frames].astype(np.float32), num_persons)


def pre_normalise(keypoints: Array) -> Array:
    """Drop frames without the leading person, who comes first, and centre; no turning."""
    if keypoints.sum() == 0:
        return keypoints
    present: list[list[int]] = []
    for person in keypoints:
        frames = []
        for index in range(len(person)):
            if not np.all(np.isclose(person[index], 0)):
                frames.append(index)
        present.append(frames)
    kept = present[0]
    if len(present) == 2 and len(present[0]) < len(present[1]):
        keypoints = keypoints[[1, 0]]
        kept = present[1]
    keypoints = keypoints[:, np.array(kept)]
    centre = keypoints[0, 0, CENTRE].copy()
    seen = ((keypoints != 0).sum(-1) > 0)[..., None]
    return (keypoints - centre) * seen


def random_rotation(x: Array, angle: float, rng: np.random.RandomState) -> Array:
    """Turn the clip about x, y and z; a clip of zeros draws nothing."""
    if np.all(np.isclose(x, 0)):
        return x
    a, b, c = rng.uniform(-angle, angle, size=3)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.einsum("ab,mtvb->mtva", about_z @ about_y @ about_x, x)


def flip_order() -> list[int]:
    """Joints with left and right exchanged; coordinates are not mirrored."""
    order = list(range(25))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    return order


def skeleton_feature(x: Array, stream: str) -> Array:
    """A stream of the whole clip (M, T, 25, 3), pair of joints by pair of joints."""
    feature = x
    if stream[0] != "j":
        feature = np.zeros(x.shape, dtype=np.float32)
        for joint, other in enumerate(PARENTS if stream[0] == "b" else GRANDPARENTS):
            feature[..., joint, :] = x[..., joint, :] - x[..., other, :]
    if stream.endswith("m"):
        motion = np.zeros_like(feature)
        motion[:, :-1] = feature[:, 1:] - feature[:, :-1]
        feature = motion
    return feature


def uniform_sample(num_frames: int, clip_len: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Frames of one clip: a run that starts again, an ordered choice, or one frame of each segment."""
    # The share of the clip to sample from is always one, but it is drawn.
    rng.rand()
    if num_frames < clip_len:
        start = rng.randint(0, num_frames)
        return np.arange(start, start + clip_len) % num_frames
    if num_frames < 2 * clip_len:
        skips = np.zeros(clip_len + 1, dtype=np.int64)
        skips[rng.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(skips)[:-1]
    bounds = np.array([index * num_frames // clip_len for index in range(clip_len + 1)])
    return bounds[:-1] + rng.randint(np.diff(bounds))


def format_input(x: NDArray[np.float32], num_persons: int) -> NDArray[np.float32]:
    """(M, T, V, C) to (1, num_persons, T, V, C): persons beyond are dropped, missing ones are zeros."""
    if len(x) < num_persons:
        absent = np.zeros((num_persons - len(x), *x.shape[1:]), dtype=np.float32)
        x = np.concatenate([x, absent])
    return np.ascontiguousarray(x[None, :num_persons])
