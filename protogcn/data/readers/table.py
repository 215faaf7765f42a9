"""Own clips in ``.csv`` tables, one for all clips or one for each: a row per joint (long), or per person and frame."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.skeleton import Skeleton
from protogcn.data.readers.pose_frames import Detection, PoseClip, frame_places
from protogcn.data.readers.source import ClipSource, number_classes
from protogcn.data.readers.table_columns import Columns, canonical, find_columns, find_joint, read_header
from protogcn.data.store import Clip

_MAX_PERSONS = 64


def read_table(path: str | Path, skeleton: Skeleton, *, class_names: Sequence[str] | None = None) -> ClipSource:
    """Read a ``.csv`` (comma, semicolon or tab) of clips; the rows of a clip stand together.

    Long: ``clip,label,frame,joint,x,y`` with optional ``z``, ``score``; a joint is a name of the skeleton or an index.
    Wide: ``clip,label,frame`` and for each joint ``<joint>_x,<joint>_y``, optionally ``<joint>_z``, ``<joint>_score``.
    Both: optional ``person``, ``split``, and ``height``, ``width`` of the image. Frame numbers may have a common step;
    a frame without rows in between is empty. Persons come in the order of appearance; an empty cell or absent row is a
    missing joint. ``visibility``, ``landmark``, ``track_id`` and other usual names of the columns are understood.

    Args:
        path: the table.
        skeleton: the layout, for names and number of the joints.
        class_names: names in label order; default: the labels in alphabetical order.

    Raises:
        ValueError: anything malformed; the message names the line.
    """
    path = Path(path)
    delimiter, header = read_header(path)
    layout = find_columns(header, skeleton, path, ("clip", "label", "frame"))
    at = layout.columns
    labels: dict[str, None] = {}
    names: dict[str, None] = {}
    for line, row in _rows(path, delimiter, layout.width):
        if not row[at["clip"]].strip() or not row[at["label"]].strip():
            raise ValueError(f"{path}, line {line}: the clip or its label is empty.")
        labels[row[at["label"]].strip()] = None
        names[row[at["clip"]].strip()] = None
    if not names:
        raise ValueError(f"{path} has no row below its first line.")
    numbers, found, count = number_classes(labels, class_names)
    splits: dict[str, list[str]] = {}

    def clips() -> Iterator[Clip]:
        seen: set[str] = set()
        rows = _rows(path, delimiter, layout.width)
        for name, group in itertools.groupby(rows, key=lambda numbered: numbered[1][at["clip"]].strip()):
            lines = list(group)
            where = f"{path}, clip {name!r}"
            if name in seen:
                raise ValueError(f"{where}: its rows stand apart (again at line {lines[0][0]}); sort them by clip.")
            seen.add(name)
            label = _same(lines, at["label"], "label", where)
            if "split" in at and (split := _same(lines, at["split"], "split", where)):
                splits.setdefault(split, []).append(name)
            yield Clip(_fill(lines, layout, skeleton, path), numbers[label], name, _image_shape(lines, at, where))

    return ClipSource(
        clips=clips(),
        channels=layout.channels,
        num_joints=skeleton.num_joints,
        num_classes=count,
        class_names=found,
        splits=splits,
        notes={"left_out": "the score of each joint"} if layout.scored_3d else {},
        total=len(names),
        dtype="float32",
    )


def read_clip_table(path: Path, skeleton: Skeleton) -> PoseClip:
    """Read a table that holds one clip, with the columns of `read_table` but ``clip`` and ``label``.

    A wide table without ``frame`` and ``person`` has a row for each frame.

    Raises:
        ValueError: anything malformed; the message names the line.
    """
    delimiter, header = read_header(path)
    several_rows = {"joint", "person"} & set(canonical(header))
    layout = find_columns(header, skeleton, path, ("frame",) if several_rows else ())
    lines = list(_rows(path, delimiter, layout.width))
    if not lines:
        return PoseClip({}, layout.channels)
    at = layout.columns
    clip = _fill(lines, layout, skeleton, path)
    frames = {
        t: [
            Detection(clip[m, t], float(np.isfinite(clip[m, t]).all(axis=-1).sum()), str(m))
            for m in range(len(clip))
            if np.isfinite(clip[m, t]).any()
        ]
        for t in range(clip.shape[1])
    }
    return PoseClip(frames, layout.channels, image_shape=_image_shape(lines, at, str(path)))


def _rows(path: Path, delimiter: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row below the first."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            next(reader, None)
            for row in reader:
                if not row:
                    continue
                if len(row) != width:
                    raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells where {width} are expected.")
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable csv file in UTF-8 ({error}).") from error


def _fill(
    lines: list[tuple[int, list[str]]], layout: Columns, skeleton: Skeleton, path: Path
) -> npt.NDArray[np.float64]:
    """(M, T, V, C) of one clip, NaN where there was no row or no number."""
    at = layout.columns
    if "frame" in at:
        frames = [_whole(row[at["frame"]], f"{path}, line {line}: frame") for line, row in lines]
    else:
        frames = list(range(len(lines)))
    frame_at, length = frame_places(frames, f"{path}, line {lines[0][0]}", fewest_for_step=2)
    people = [row[at["person"]].strip() if "person" in at else "" for _, row in lines]
    person_at = {person: m for m, person in enumerate(dict.fromkeys(people))}
    if len(person_at) > _MAX_PERSONS:
        raise ValueError(
            f"{path}, line {lines[0][0]}: this clip has {len(person_at)} persons, more than {_MAX_PERSONS}; "
            "is the column 'person' right?"
        )
    shape = (len(person_at), length, skeleton.num_joints, len(layout.channels))
    clip = np.full(shape, np.nan)
    filled = np.zeros(shape[:3], dtype=bool)
    names: dict[str, int] = {}
    for (line, row), frame, person in zip(lines, frames, people, strict=True):
        m, t = person_at[person], frame_at[frame]
        for known, columns in layout.groups:
            if known is None:
                text = row[at["joint"]]
                if text not in names:
                    names[text] = find_joint(text, skeleton, f"{path}, line {line}")
                v = names[text]
            else:
                v = known
            if filled[m, t, v]:
                raise ValueError(
                    f"{path}, line {line}: {skeleton.joints[v]} of this person in frame {frame} a second time."
                )
            filled[m, t, v] = True
            clip[m, t, v] = [_number(row[column], path, line) for column in columns]
    return clip


def _number(text: str, path: Path, line: int) -> float:
    text = text.strip()
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        hint = " (use a point as decimal mark)" if "," in text else ""
        raise ValueError(f"{path}, line {line}: {text[:40]!r} is not a number{hint}.") from None


def _whole(text: str, what: str) -> int:
    try:
        # Frame numbers that went through a table of floats read "12.0".
        return int(text.strip().removesuffix(".0"))
    except ValueError:
        raise ValueError(f"{what} must be a whole number; got {text[:40]!r}.") from None


def _same(lines: list[tuple[int, list[str]]], column: int, what: str, where: str) -> str:
    first = lines[0][1][column].strip()
    for line, row in lines:
        if row[column].strip() != first:
            raise ValueError(f"{where}: its {what} changes from {first!r} to {row[column].strip()!r} at line {line}.")
    return first


def _image_shape(lines: list[tuple[int, list[str]]], at: dict[str, Any], where: str) -> tuple[int, int] | None:
    if "height" not in at or "width" not in at:
        return None
    height, width = (_same(lines, at[side], side, where) for side in ("height", "width"))
    return _whole(height, f"{where}: height"), _whole(width, f"{where}: width")
