"""Own clips in one ``.csv`` table: a row per joint (long) or a row per person and frame (wide)."""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.data.readers.source import ClipSource, number_classes
from protogcn.data.store import Clip

_AXES = ("x", "y", "z", "score")
_WIDE = re.compile(r"(.+)_(x|y|z|score)")
_MAX_PERSONS = 64


@dataclass
class _Layout:
    """Where things stand in a row.

    ``groups`` are (joint, columns of its numbers); a long table has one group whose joint is None: the row says which.
    """

    columns: dict[str, int]
    width: int
    groups: list[tuple[int | None, list[int]]]
    channels: str
    scored_3d: bool


def read_table(path: str | Path, skeleton: Skeleton, *, class_names: Sequence[str] | None = None) -> ClipSource:
    """Read a ``.csv`` (comma, semicolon or tab) of clips; the rows of a clip stand together.

    Long: ``clip,label,frame,joint,x,y`` with optional ``z``, ``score``; a joint is a name of the skeleton or an index.
    Wide: ``clip,label,frame`` and for each joint ``<joint>_x,<joint>_y``, optionally ``<joint>_z``, ``<joint>_score``.
    Both: optional ``person``, ``split``, and ``height``, ``width`` of the image. Frames are the distinct frame numbers
    in rising order; persons come in the order of appearance; an empty cell or absent row is a missing joint.

    Args:
        path: the table.
        skeleton: the layout, for names and number of the joints.
        class_names: names in label order; default: the labels in alphabetical order.

    Raises:
        ValueError: anything malformed; the message names the line.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.readline(1 << 16).decode("utf-8-sig", errors="replace")
    delimiter = max(",;\t", key=head.count)
    layout = _layout(_header(head, delimiter, path), skeleton, path)
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


def _header(line: str, delimiter: str, path: Path) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"{path}: the first line is not readable as csv ({error}).") from error


def _layout(header: list[str], skeleton: Skeleton, path: Path) -> _Layout:
    names = [name.strip().lower() for name in header]
    columns = {name: i for i, name in enumerate(names)}
    if len(columns) != len(names):
        raise ValueError(f"{path}: the first line names a column twice.")
    for name in ("clip", "label", "frame"):
        if name not in columns:
            raise ValueError(
                f"{path}: the first line has no column {name!r}; it has {', '.join(names)[:200] or 'nothing'}. A table "
                "of clips starts with clip,label,frame,joint,x,y (long) or clip,label,frame,<joint>_x,... (wide)."
            )
    if "joint" in columns:
        per_joint: dict[int | None, dict[str, int]] = {None: {a: columns[a] for a in _AXES if a in columns}}
    else:
        per_joint = {}
        for name, column in columns.items():
            if match := _WIDE.fullmatch(name):
                joint = _joint(match[1], skeleton, f"{path}, column {name!r}")
                if match[2] in per_joint.setdefault(joint, {}):
                    raise ValueError(f"{path}: column {name!r} gives the {match[2]} of a joint a second time.")
                per_joint[joint][match[2]] = column
        if absent := [skeleton.joints[v] for v in range(skeleton.num_joints) if v not in per_joint]:
            raise ValueError(
                f"{path}: no columns for {len(absent)} joints of {skeleton.name}: {', '.join(absent[:8])}; expected "
                f"{absent[0]}_x, {absent[0]}_y for each joint (wide), or the columns joint,x,y (long)."
            )
    kinds = {tuple(axis for axis in _AXES if axis in axes) for axes in per_joint.values()}
    axes = kinds.pop()
    if kinds or axes[:2] != ("x", "y"):
        raise ValueError(f"{path}: every joint needs x, y and the same further columns (z, score).")
    kept = axes[:3]
    channels = {("x", "y"): "xy", ("x", "y", "z"): "xyz", ("x", "y", "score"): "xys"}[kept]
    groups = [(joint, [where[axis] for axis in kept]) for joint, where in per_joint.items()]
    return _Layout(columns, len(names), groups, channels, scored_3d=len(axes) == 4)


def _joint(text: str, skeleton: Skeleton, where: str) -> int:
    key = text.strip().lower().replace(" ", "_").replace("-", "_")
    if key in skeleton.joints:
        return skeleton.joints.index(key)
    if key.isdecimal() and int(key) < skeleton.num_joints:
        return int(key)
    raise ValueError(
        f"{where}: {skeleton.name} has {skeleton.num_joints} joints; {unknown('joint', text, skeleton.joints)}"
    )


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
    lines: list[tuple[int, list[str]]], layout: _Layout, skeleton: Skeleton, path: Path
) -> npt.NDArray[np.float64]:
    """(M, T, V, C) of one clip, NaN where there was no row or no number."""
    at = layout.columns
    frames = [_whole(row[at["frame"]], f"{path}, line {line}: frame") for line, row in lines]
    frame_at = {frame: t for t, frame in enumerate(sorted(set(frames)))}
    people = [row[at["person"]].strip() if "person" in at else "" for _, row in lines]
    person_at = {person: m for m, person in enumerate(dict.fromkeys(people))}
    if len(person_at) > _MAX_PERSONS:
        raise ValueError(
            f"{path}, line {lines[0][0]}: this clip has {len(person_at)} persons, more than {_MAX_PERSONS}; "
            "is the column 'person' right?"
        )
    shape = (len(person_at), len(frame_at), skeleton.num_joints, len(layout.channels))
    clip = np.full(shape, np.nan)
    filled = np.zeros(shape[:3], dtype=bool)
    names: dict[str, int] = {}
    for (line, row), frame, person in zip(lines, frames, people, strict=True):
        m, t = person_at[person], frame_at[frame]
        for known, columns in layout.groups:
            if known is None:
                text = row[at["joint"]]
                if text not in names:
                    names[text] = _joint(text, skeleton, f"{path}, line {line}")
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
        return int(text)
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
