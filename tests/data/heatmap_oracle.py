"""Heat maps drawn one joint, one person and one frame at a time, word for word as PoseC3D describes them."""

import math

import numpy as np


def render_slowly(points, scores, limbs, size, *, sigma=0.6, scaling=1.0, least_score=1e-3):
    """Joint maps (limbs=None) or limb maps (T, K, H, W) of one clip: points (M, T, V, 2), scores (M, T, V)."""
    height, width = (int(side * scaling + 0.5) for side in size)
    points = points * points.dtype.type(scaling)
    persons, frames, joints, _ = points.shape
    volume = np.zeros((frames, joints if limbs is None else len(limbs), height, width), dtype=np.float32)
    for frame in range(frames):
        for person in range(persons):
            pose, sure = points[person, frame], scores[person, frame]
            if limbs is None:
                for joint in range(joints):
                    draw_joint(volume[frame, joint], pose[joint], sure[joint], sigma, least_score)
            else:
                for index, (start, end) in enumerate(limbs):
                    ends = pose[start], pose[end], sure[start], sure[end]
                    draw_limb(volume[frame, index], *ends, sigma, least_score)
    return volume


def draw_joint(image, point, score, sigma, least_score):
    if not (score >= least_score and math.isfinite(point[0] + point[1] + score)):
        return
    (left, right), (top, bottom) = window(image, point, point, sigma)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    patch = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 2 / sigma**2) * score
    image[top:bottom, left:right] = np.maximum(image[top:bottom, left:right], patch)


def draw_limb(image, start, end, start_score, end_score, sigma, least_score):
    score = np.minimum(start_score, end_score)
    if not (score >= least_score and math.isfinite(start[0] + start[1] + end[0] + end[1] + score)):
        return
    (left, right), (top, bottom) = window(image, np.minimum(start, end), np.maximum(start, end), sigma)
    if left >= right or top >= bottom:
        return
    length = (start[0] - end[0]) ** 2 + (start[1] - end[1]) ** 2
    if length < 1:
        draw_joint(image, start, start_score, sigma, least_score)
        return
    x = np.arange(left, right, dtype=np.float32)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    from_start = (x - start[0]) ** 2 + (y - start[1]) ** 2
    from_end = (x - end[0]) ** 2 + (y - end[1]) ** 2
    share = (from_start - from_end + length) / 2 / length
    foot_x, foot_y = (start[axis] + share * (end[axis] - start[axis]) for axis in range(2))
    from_line = (x - foot_x) ** 2 + (y - foot_y) ** 2
    distance = np.where(share <= 0, from_start, np.where(share >= 1, from_end, from_line))
    patch = np.exp(-distance / 2 / sigma**2) * score
    image[top:bottom, left:right] = np.maximum(image[top:bottom, left:right], patch)


def window(image, low, high, sigma):
    return [
        (max(int(low[axis] - 3 * sigma), 0), min(int(high[axis] + 3 * sigma) + 1, image.shape[1 - axis]))
        for axis in range(2)
    ]
