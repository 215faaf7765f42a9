"""CTR-GCN's and InfoGCN's ``.npz`` of NTU RGB+D: padded frames of two persons, read without taking all into memory."""

import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from protogcn.data.alignment import align_persons
from protogcn.data.npy_files import ZIP_ERRORS, read_header
from protogcn.data.readers.source import ClipSource, count_reasons
from protogcn.data.store import Clip

_PERSONS, _JOINTS = 2, 25
_WIDTH = _PERSONS * _JOINTS * 3
_MOST_FRAMES, _MOST_CLASSES = 10_000, 10_000
_BLOCK = 16 << 20
_PARTS = ("train", "test")


def is_ctr_npz(path: Path) -> bool:
    """Whether an ``.npz`` file has the arrays of this format."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"x_train.npy", "y_train.npy"} <= set(archive.namelist())
    except ZIP_ERRORS:
        return False


def read_ctr_npz(
    path: str | Path, *, splits: tuple[str, str] = _PARTS, num_classes: int | None = None, align: bool = False
) -> ClipSource:
    """Read ``NTU60_CS.npz`` and its kin, also those that InfoGCN calls ``_aligned``.

    ``x_train``, ``x_test`` are (n, T, 150): frames of person 1 then person 2, 25 joints of x, y, z each, padded with
    zeros; ``y_train``, ``y_test`` are one-hot (n, classes). Frames of zeros at the end and a second person of zeros are
    left out. Frames of zeros before the end stay: the feeder of CTR-GCN takes as many off the end.

    Clips are called ``train_<i>`` and ``test_<i>``. They are ordered by performer, camera or setup and then by name,
    unlike those of the PYSKL annotations, and the file does not tell their names: before scores on both are fused, give
    one of them the names of the other, from the list the file was made of. A clip with a number that is NaN is left
    out, as by InfoGCN's feeder.

    Args:
        path: the file.
        splits: names of the two splits in the store.
        num_classes: number of classes there should be; None takes that of the file.
        align: turn every person as InfoGCN does, which makes InfoGCN's file of CTR-GCN's.

    Raises:
        ValueError: arrays are missing, truncated or of another shape, or labels are not one-hot.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {part: _check_shapes(archive, part, path) for part in _PARTS}
            classes = {shape[1] for _, shape in shapes.values()}
            if len(classes) != 1 or (num_classes is not None and classes != {num_classes}):
                got = " and ".join(map(str, sorted(classes)))
                raise ValueError(
                    f"{path} has labels of {got} classes; expected {num_classes or 'as many in both parts'}."
                )
            labels = {part: _labels(archive, part, path) for part in _PARTS}
    except ZIP_ERRORS as error:
        raise _incomplete(path, error) from error
    named = dict(zip(_PARTS, splits, strict=True))
    members: dict[str, list[str]] = {split: [] for split in splits}
    notes = {"prepared": "file of CTR-GCN or InfoGCN" + (", aligned" if align else "")}
    dropped: dict[str, str] = {}

    def clips() -> Iterator[Clip]:
        for part in _PARTS:
            for index, frames in enumerate(_entries(path, f"x_{part}")):
                name = f"{part}_{index}"
                keypoints = _clip(frames, align)
                if np.isnan(keypoints).any():
                    dropped[name] = "a coordinate is not a number"
                    continue
                members[named[part]].append(name)
                yield Clip(keypoints, labels[part][index], name)
        if dropped:
            notes["left_out"] = count_reasons(dropped)

    return ClipSource(
        clips=clips(),
        channels="xyz",
        num_joints=_JOINTS,
        num_classes=classes.pop(),
        splits=members,
        notes=notes,
        dropped=dropped,
        total=sum(map(len, labels.values())),
        dtype="float32",
    )


def _clip(frames: npt.NDArray[Any], align: bool) -> npt.NDArray[np.float32]:
    """(T, 150) -> (M, T', 25, 3); a clip of zeros only keeps one frame, so that the store can say so."""
    shown = np.flatnonzero(frames.any(axis=1))
    frames = frames[: shown[-1] + 1 if len(shown) else 1]
    with np.errstate(over="ignore"):
        clip = frames.reshape(len(frames), _PERSONS, _JOINTS, 3).transpose(1, 0, 2, 3).astype(np.float32)
    if align:
        clip = align_persons(clip)
    return clip if clip[1:].any() else clip[:1]


def _check_shapes(archive: zipfile.ZipFile, part: str, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of frames and labels of one part, which must fit together."""
    x, y = (_open(archive, f"{key}_{part}", path)[1] for key in "xy")
    if len(x) != 3 or x[2] != _WIDTH or not 0 < x[1] <= _MOST_FRAMES:
        raise ValueError(f"{path}: x_{part} must be (clips, frames, {_WIDTH} coordinates); got {x}.")
    if len(y) != 2 or y[0] != x[0] or not 0 < y[1] <= _MOST_CLASSES:
        raise ValueError(f"{path}: y_{part} must be one-hot, ({x[0]} clips, classes); got {y}.")
    return x, y


def _labels(archive: zipfile.ZipFile, part: str, path: Path) -> list[int]:
    found: list[int] = []
    for block in _blocks(archive, f"y_{part}", path):
        wrong = ((block != 0).sum(axis=1) != 1) | (block.max(axis=1) != 1)
        if wrong.any():
            row = len(found) + int(wrong.argmax())
            raise ValueError(f"{path}: row {row} of y_{part} is not one-hot: expected a single 1 among zeros.")
        found += block.argmax(axis=1).tolist()
    return found


def _entries(path: Path, key: str) -> Iterator[npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for block in _blocks(archive, key, path):
                yield from block
    except ZIP_ERRORS as error:
        raise _incomplete(path, error) from error


def _blocks(archive: zipfile.ZipFile, key: str, path: Path) -> Iterator[npt.NDArray[Any]]:
    """The entries of an array along its first axis, some megabytes at a time."""
    member, shape, dtype = _open(archive, key, path)
    with member:
        entry = prod(shape[1:]) * dtype.itemsize
        step = max(1, _BLOCK // entry)
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            content = member.read(count * entry)
            if len(content) != count * entry:
                raise _incomplete(path, EOFError(f"{key} breaks off after {start + len(content) // entry} clips"))
            yield np.frombuffer(content, dtype).reshape(count, *shape[1:])


def _open(archive: zipfile.ZipFile, key: str, path: Path) -> tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]:
    """An array, opened at its first number."""
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        raise ValueError(f"{path} has no array {key!r}; expected x_train, y_train, x_test and y_test.") from None
    member = archive.open(info)
    try:
        shape, fortran, dtype = read_header(member)
    except ValueError as error:
        raise ValueError(f"{key!r} in {path} cannot be read as an array: {error}.") from error
    if dtype.kind not in "fiu" or fortran:
        got = f"{dtype} in Fortran order" if fortran else dtype
        raise ValueError(f"{path}: {key} must be numbers in C order; got {got}.")
    if (expected := prod(shape) * dtype.itemsize) > info.file_size:
        raise _incomplete(path, EOFError(f"{key} should have {expected:,} bytes, it has {info.file_size:,}"))
    return member, shape, dtype


def _incomplete(path: Path, error: BaseException) -> ValueError:
    return ValueError(f"{path} is not a complete .npz file ({error}); it may be truncated: copy it again.")
