"""InfoGCN's preparation of NTU RGB+D: every person of a clip turned so that the first pose stands upright."""

import numpy as np
import numpy.typing as npt

_SPINE = (0, 1)
_HIPS = (16, 12)


def align_persons(keypoints: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Turn each person by the first frame of its own (Chi et al., InfoGCN, CVPR 2022; as released).

    The spine (joint 0 to joint 1) points along z afterwards and the hips (joint 16 to joint 12), as far as they are at
    a right angle to it, along x. Nothing is moved.

    Args:
        keypoints: (M, T, 25, 3), translated as CTR-GCN does it.

    Returns:
        float32, the same shape. A person whose first frame has joints 0 and 1 in one place, as who is absent there has,
        is zero in all frames, whatever they showed. One whose hips are in one place, or lie along the spine, is NaN.

    Raises:
        ValueError: the shape is another one.
    """
    persons = np.asarray(keypoints, np.float32)
    if persons.ndim != 4 or persons.shape[2:] != (25, 3) or not persons.shape[1]:
        raise ValueError(f"alignment needs clips (persons, frames, 25 joints, 3); got shape {persons.shape}")
    aligned = np.zeros_like(persons)
    for person, out in zip(persons, aligned, strict=True):
        rotation = _upright(person[0])
        if rotation is not None:
            out[...] = (rotation @ person.transpose(0, 2, 1)).transpose(0, 2, 1)
    return aligned


def _upright(pose: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """The rotation (3, 3) that turns a pose (25, 3) upright, or None if it has no spine."""
    spine = pose[_SPINE[1]] - pose[_SPINE[0]]
    length = np.linalg.norm(spine)
    if length <= 0:
        return None
    spine = spine / length
    hips = pose[_HIPS[1]] - pose[_HIPS[0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        across = hips - np.dot(spine, hips) * spine / np.linalg.norm(spine)
        across = across / np.linalg.norm(across)
        front = np.cross(across, spine)
        front = front / np.linalg.norm(front)
    return np.linalg.inv(np.stack([across, front, spine], axis=1))
