"""From the bodies a Kinect saw to at most two persons per clip: the two public preparations of NTU RGB+D.

The sensor sees people in curtains and loses and renumbers those who are there. Both routes drop bodies that were seen
too briefly or are wider than tall, rank the rest by how much they move, and join bodies that do not meet in time into
two persons. They differ in details that change the numbers, so a network trained on one must be tested on the same.
Where the released code breaks off for want of a body, :class:`NoUsableBody` says why.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protogcn.data.readers.ntu_skeleton import JOINTS, Recording

BRIEF = 11
"""Bodies seen in so many frames or fewer are noise."""
WIDE = 0.8
"""A frame is noisy where a body is wider than this share of its height."""
NOISY_SHARE = 0.69754
"""A body is noise if at least this share of its frames is."""
_EMPTY = 1e-3

Clip = npt.NDArray[np.float32]


class NoUsableBody(ValueError):
    """A recording shows nobody whom the route would keep; the message is the reason."""


@dataclass(eq=False)
class _Track:
    """A body and how much it moves."""

    joints: Clip = field(repr=False)
    start: int
    stop: int
    motion: np.float32


def denoise_pyskl(recording: Recording) -> npt.NDArray[np.float16]:
    """Denoise as PYSKL and ProtoGCN do (Duan et al., PYSKL, ACM MM 2022), in metres of the camera.

    A body that is alone, at first or after dropping others, is the clip: as long as it was seen. Otherwise bodies in
    order of motion fill two persons, each where it does not overlap with what the person holds, and frames at either
    end that show nobody are cut off.

    Returns:
        float16 (M, T, 25, 3), M = 1 or 2.

    Raises:
        NoUsableBody: no body at all, all too brief, all noisy (the released code stops there), or only zeros are left.
    """
    tracks = _tracks(recording)
    tracks.sort(key=lambda track: -track.motion)
    if len(tracks) > 1:
        tracks = _seen_long(tracks)
    if len(tracks) > 1:
        tracks = [track for track in tracks if _stands(track)]
        if not tracks:
            raise NoUsableBody("every body is noise, wider than tall")
        tracks.sort(key=lambda track: -track.motion)
    clip = tracks[0].joints[None]
    if len(tracks) > 1:
        clip = _seen_frames(_two_persons(tracks, max(track.stop for track in tracks), shared=0))
    if not clip.any():
        raise NoUsableBody("only zeros are left")
    with np.errstate(over="ignore"):
        return clip.astype(np.float16)


def _seen_frames(clip: Clip) -> Clip:
    """Without the empty frames at both ends, and with a person who is there first."""
    seen = np.flatnonzero(~(np.abs(clip).sum(axis=(0, 2, 3)) < _EMPTY))
    if not len(seen):
        return clip[:, :0]
    clip = clip[:, seen[0] : seen[-1] + 1]
    absent = np.abs(clip[:, 0, 1]).sum(axis=-1) < _EMPTY
    return clip[::-1] if absent[0] and not absent[1] else clip


def denoise_ctrgcn(recording: Recording) -> Clip:
    """Denoise as CTR-GCN and InfoGCN do (Chen et al., ICCV 2021), in metres of the camera, before the translation.

    A body that is alone in the file, or after dropping others, lies on its frames of the clip. Otherwise bodies in
    order of motion fill two persons; they may share one frame there, which the later one overwrites. Frames whose
    numbers sum to zero are then taken out of clips that had several bodies. The last body is never dropped as noise.

    Returns:
        float32 (M, T, 25, 3), M = 1 or 2; the second person may be all zeros.

    Raises:
        NoUsableBody: no body at all, all too brief (the released code stops there), or only zeros are left.
        ValueError: a body is listed twice in a frame, so that it outlasts the recording.
    """
    tracks = _tracks(recording)
    if outlasting := next((track for track in tracks if track.stop > recording.num_frames), None):
        raise ValueError(
            f"a body seen from frame {outlasting.start} on is listed {len(outlasting.joints)} times in a recording "
            f"of {recording.num_frames} frames"
        )
    if len(tracks) == 1:
        clip = _one_person(tracks[0], recording.num_frames)
    else:
        tracks = _seen_long(tracks)
        for track in tuple(tracks):
            if len(tracks) > 1 and not _stands(track):
                tracks.remove(track)
        tracks.sort(key=lambda track: track.motion, reverse=True)
        if len(tracks) == 1:
            clip = _one_person(tracks[0], recording.num_frames)
        else:
            clip = _two_persons(tracks, recording.num_frames, shared=1)
        clip = clip[:, _rows(clip).sum(axis=1) != 0]
    if not clip[0].any():
        raise NoUsableBody("only zeros are left")
    return clip


def translate_ctrgcn(clip: Clip) -> Clip:
    """Move the origin to the middle of the spine (joint 1) of the first person, where it is first seen.

    Args:
        clip: float32 (M, T, 25, 3) of :func:`denoise_ctrgcn`.

    Returns:
        The same shape. Frames without a person, which are zeros, stay so in clips of two persons; in those of one they
        become minus the origin, as in the published files.

    Raises:
        NoUsableBody: the first person is never seen (the released code stops there).
    """
    seen = clip[0].any(axis=(1, 2))
    if not seen.any():
        raise NoUsableBody("only zeros are left")
    moved = clip - clip[0, int(seen.argmax()), 1]
    if len(clip) == 2:
        for person in range(2):
            moved[person, _rows(clip[person : person + 1]).sum(axis=1) == 0] = 0
    return moved


def _rows(clip: Clip) -> npt.NDArray[np.float32]:
    """(M, T, 25, 3) -> (T, M * 75): sums in single precision depend on the order of their terms."""
    return np.ascontiguousarray(clip.transpose(1, 0, 2, 3)).reshape(clip.shape[1], -1)


def _one_person(track: _Track, num_frames: int) -> Clip:
    clip = np.zeros((1, num_frames, JOINTS, 3), np.float32)
    clip[0, track.start : track.stop] = track.joints
    return clip


def _two_persons(tracks: list[_Track], num_frames: int, shared: int) -> Clip:
    """Put each track into the first person with whom it shares at most so many frames, or leave it out.

    A person occupies all frames between its first and its last; the second one does so from frame 0.
    """
    clip = np.zeros((2, num_frames, JOINTS, 3), np.float32)
    spans = [(tracks[0].start, tracks[0].start), (0, 0)]
    for track in tracks:
        for person, (start, stop) in enumerate(spans):
            if min(stop, track.stop) - max(start, track.start) <= shared:
                clip[person, track.start : track.stop] = track.joints
                spans[person] = min(start, track.start), max(stop, track.stop)
                break
    return clip


def _tracks(recording: Recording) -> list[_Track]:
    if not recording.bodies:
        raise NoUsableBody("no body in any frame")
    return [_Track(body.joints, body.start, body.stop, _motion(body.joints)) for body in recording.bodies]


def _seen_long(tracks: list[_Track]) -> list[_Track]:
    kept = [track for track in tracks if len(track.joints) > BRIEF]
    if not kept:
        raise NoUsableBody(f"every body was seen in {BRIEF} frames or fewer")
    return kept


def _stands(track: _Track) -> bool:
    """Whether few enough frames are wider than tall; the motion becomes that of the other frames, if it is less."""
    extent = track.joints[..., :2].max(axis=1) - track.joints[..., :2].min(axis=1)
    clean = extent[:, 0] <= WIDE * extent[:, 1]
    noisy = len(clean) - int(clean.sum())
    if noisy / len(clean) >= NOISY_SHARE:
        return False
    if noisy:
        track.motion = min(track.motion, _motion(track.joints[clean]))
    return True


def _motion(joints: Clip) -> np.float32:
    """Variance of all joints of all frames about their common mean, summed over x, y and z."""
    return np.sum(np.var(joints.reshape(-1, 3), axis=0))
