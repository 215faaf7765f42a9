"""What the first line of a table says: which column holds which number of which joint."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphs.messages import unknown
from graphs.naming import plain_name
from graphs.skeleton import Skeleton

_AXES = ("x", "y", "z", "score")
_SPELLINGS = {
    "clip": ("video", "video_id", "clip_id", "sample"),
    "label": ("class", "action"),
    "frame": ("frame_index", "frame_id", "frame_number", "frame_no"),
    "person": ("person_id", "track_id", "pose_id"),
    "joint": ("landmark", "landmark_name", "landmark_id", "landmark_index", "keypoint", "joint_name"),
    "score": ("visibility", "confidence", "likelihood", "v"),
}
_AXIS = {axis: axis for axis in _AXES} | dict.fromkeys(_SPELLINGS["score"], "score")
_WIDE = re.compile(rf"(.+)_({'|'.join(_AXIS)})", re.IGNORECASE)
_NUMBERED = re.compile(rf"({'|'.join(_AXIS)})_?(\d+)", re.ASCII | re.IGNORECASE)


@dataclass
class Columns:
    """Where things stand in a row.

    ``groups`` are (joint, columns of its numbers); a long table has one group whose joint is None: the row says which.
    """

    columns: dict[str, int]
    width: int
    groups: list[tuple[int | None, list[int]]]
    channels: str
    scored_3d: bool


def read_header(path: Path) -> tuple[str, list[str]]:
    """The delimiter, and the names of the columns."""
    with path.open("rb") as file:
        line = file.readline(1 << 16).decode("utf-8-sig", errors="replace")
    delimiter = max(",;\t", key=line.count)
    try:
        return delimiter, next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"{path}: the first line is not readable as csv ({error}).") from error


def canonical(header: list[str]) -> list[str]:
    """Names of the columns as this module calls them."""
    names = [name.strip().lower() for name in header]
    for known, spellings in _SPELLINGS.items():
        if known not in names and (found := next((name for name in names if name in spellings), None)):
            names[names.index(found)] = known
    return names


def find_columns(header: list[str], skeleton: Skeleton, path: Path, needed: Sequence[str]) -> Columns:
    """Where the numbers of each joint stand.

    Raises:
        ValueError: a column in ``needed`` or a joint is missing or given twice, or joints have different numbers.
    """
    names = canonical(header)
    columns = {name: i for i, name in enumerate(names)}
    if len(columns) != len(names):
        raise ValueError(f"{path}: the first line names a column twice.")
    for name in needed:
        if name not in columns:
            raise ValueError(
                f"{path}: the first line has no column {name!r}; it has {', '.join(names)[:200] or 'nothing'}. A table "
                "of clips starts with clip,label,frame,joint,x,y (long) or clip,label,frame,<joint>_x,... (wide)."
            )
    if "joint" in columns:
        per_joint: dict[int | None, dict[str, int]] = {None: {a: columns[a] for a in _AXES if a in columns}}
    else:
        per_joint = {}
        wide = {column: parts for column, name in enumerate(header) if (parts := _joint_and_axis(name.strip()))}
        from_one = _counts_from_one([text for text, _ in wide.values()], skeleton.num_joints)
        for column, (text, axis) in wide.items():
            text = str(int(text) - 1) if from_one else text
            joint = find_joint(text, skeleton, f"{path}, column {names[column]!r}")
            if axis in per_joint.setdefault(joint, {}):
                raise ValueError(f"{path}: column {names[column]!r} gives the {axis} of a joint a second time.")
            per_joint[joint][axis] = column
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
    return Columns(columns, len(names), groups, channels, scored_3d=len(axes) == 4)


def find_joint(text: str, skeleton: Skeleton, where: str) -> int:
    """Index of a joint given by name, in the usual spellings, or by index.

    Raises:
        ValueError: there is none; near matches are listed.
    """
    key = text.strip().lower().replace(" ", "_").replace("-", "_")
    for name in (key, plain_name(text.strip())):
        if name in skeleton.joints:
            return skeleton.joints.index(name)
    if key.isdecimal() and len(key) < 9 and int(key) < skeleton.num_joints:
        return int(key)
    raise ValueError(
        f"{where}: {skeleton.name} has {skeleton.num_joints} joints; {unknown('joint', text, skeleton.joints)}"
    )


def _joint_and_axis(name: str) -> tuple[str, str] | None:
    """What ``left_wrist_x`` or ``x15`` means, if anything."""
    if match := _NUMBERED.fullmatch(name):
        return match[2], _AXIS[match[1].lower()]
    if match := _WIDE.fullmatch(name):
        return match[1], _AXIS[match[2].lower()]
    return None


def _counts_from_one(joints: list[str], count: int) -> bool:
    """Whether joints are numbered 1 to V instead of 0 to V - 1."""
    numbers = {int(joint[:9]) if joint.isdecimal() else -1 for joint in joints}
    return numbers == set(range(1, count + 1))
