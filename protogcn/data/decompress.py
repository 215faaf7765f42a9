"""Lists of detected persons, frame after frame, as dense clips: the compressed form of Kinetics-400 poses."""

from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_FRAMES = 1 << 20


def decompress_pose(
    keypoints: npt.NDArray[Any],
    frame_inds: npt.NDArray[Any],
    *,
    squeeze: bool = True,
    max_person: int = 10,
    total_frames: int | None = None,
    keep: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float16]:
    """Arrange the detections of a video as persons of a clip, as PYSKL and ProtoGCN do (DecompressPose).

    The persons of a frame keep the order in which they were detected, whatever their scores: a person is a slot, not a
    track. Only if some frame shows more than ``max_person`` are those of every frame put in the order of the sum of
    their joint scores, in half precision, and the first ``max_person`` kept.

    Args:
        keypoints: (N, V, 3), x, y and score of each detection.
        frame_inds: (N,) the frame of each, never falling.
        squeeze: leave out frames without a detection.
        max_person: most persons of a clip.
        total_frames: frames of the clip where they are not squeezed.
        keep: (N,) the detections to use; default all.

    Returns:
        float16 (M, T, V, 3) with zeros where a frame has fewer than M persons.

    Raises:
        ValueError: shapes do not fit together, frames fall or lie outside the clip, or there is no detection.
    """
    if keypoints.ndim != 3 or keypoints.shape[2] != 3 or keypoints.dtype.kind != "f":
        raise ValueError(f"detections must be numbers (N, V, 3); got {keypoints.dtype} of shape {keypoints.shape}")
    if frame_inds.shape != keypoints.shape[:1] or frame_inds.dtype.kind not in "iu":
        raise ValueError(
            f"each of the {len(keypoints)} detections needs the number of its frame; "
            f"got {frame_inds.dtype} of shape {frame_inds.shape}"
        )
    if keep is not None:
        keypoints, frame_inds = keypoints[keep], frame_inds[keep]
    if not len(frame_inds):
        raise ValueError("no detection")
    frame_inds = frame_inds.astype(np.int64)
    if (np.diff(frame_inds) < 0).any():
        raise ValueError("the frames of the detections must never fall")
    distinct, frames, counts = np.unique(frame_inds, return_inverse=True, return_counts=True)
    with np.errstate(over="ignore"):
        values = keypoints.astype(np.float16)
    if counts.max() > max_person:
        sums = values[..., 2].copy().sum(axis=-1).astype(np.float32)
        values = values[np.lexsort((-sums, frames))]
    slots = np.arange(len(frames)) - (np.cumsum(counts) - counts)[frames]
    if squeeze:
        length = len(distinct)
    else:
        length = total_frames if total_frames is not None else int(distinct[-1]) + 1
        if not 0 <= distinct[0] <= distinct[-1] < length <= _MOST_FRAMES:
            raise ValueError(
                f"detections of frames {distinct[0]} to {distinct[-1]} do not fit a clip of {length} frames"
            )
        frames = frame_inds
    clip = np.zeros((min(int(counts.max()), max_person), length, *keypoints.shape[1:]), np.float16)
    shown = slots < max_person
    clip[slots[shown], frames[shown]] = values[shown]
    return clip
