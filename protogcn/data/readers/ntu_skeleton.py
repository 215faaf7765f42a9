"""One ``.skeleton`` file of NTU RGB+D: what the Kinect saw of each body, frame by frame, as text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

JOINTS = 25
LARGEST_FILE = 32 << 20
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
_NUMBER = re.compile(rb"\s*\d{1,9}\s*")


class ClipName(NamedTuple):
    """What a name such as ``S001C002P003R002A013`` says, each counted from 1 as in the name."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int


@dataclass(frozen=True, eq=False)
class Body:
    """All that was recorded under one body id.

    Attributes:
        joints: float32 (n, 25, 3), metres in the frame of the camera: y up, z away from it.
        start: the frame the body first appears in. It is taken to stay from there on: one that disappears and comes
            back is glued together in time, as in both public preparations of the data set.
    """

    joints: npt.NDArray[np.float32] = field(repr=False)
    start: int

    @property
    def stop(self) -> int:
        """The frame after its last."""
        return self.start + len(self.joints)


@dataclass(frozen=True, eq=False)
class Recording:
    """The bodies of one file in order of appearance; frames without any body are not counted."""

    bodies: tuple[Body, ...]
    num_frames: int


def parse_name(name: str) -> ClipName | None:
    """The parts of a clip name, or None where it is not one."""
    match = _NAME.fullmatch(name)
    return ClipName(*map(int, match.groups())) if match else None


def parse_skeleton(content: bytes, where: str) -> Recording:
    """Parse the text of a ``.skeleton`` file.

    Args:
        content: number of frames; per frame the number of bodies; per body a line that begins with its id, the line
            ``25``, and 25 lines that begin with x, y and z. Further numbers in a line are passed over.
        where: what messages call it.

    Raises:
        ValueError: it is not such a file, breaks off, goes on after its last frame, or has an infinite joint. The
            message names the line.
    """
    lines = content.splitlines()
    rows: dict[bytes, list[bytes]] = {}
    starts: dict[bytes, int] = {}
    frame, position, bodies = 0, 1, 0
    for _ in range(_count(lines, 0, "the number of frames", where)):
        bodies = _count(lines, position, "the number of bodies", where)
        position += 1
        for _ in range(bodies):
            if position + 2 + JOINTS > len(lines):
                raise _broken_off(where, len(lines))
            if (joints := _count(lines, position + 1, "the number of joints", where)) != JOINTS:
                raise ValueError(f"{where}, line {position + 2}: expected {JOINTS} joints; got {joints}.")
            if not (header := lines[position].split(None, 1)):
                raise ValueError(f"{where}, line {position + 1}: expected the id of a body; the line is empty.")
            starts.setdefault(header[0], frame)
            rows.setdefault(header[0], []).extend(lines[position + 2 : position + 2 + JOINTS])
            position += 2 + JOINTS
        frame += bodies > 0
    if any(line.strip() for line in lines[position:]):
        raise ValueError(f"{where} goes on after its last frame, in line {position + 1}; it may be two files in one.")
    if bodies and len(lines[position - 1].split()) < len(lines[position - JOINTS].split()):
        raise _broken_off(where, position)
    return Recording(tuple(Body(_joints(rows[key], where), starts[key]) for key in rows), frame)


def _count(lines: list[bytes], position: int, what: str, where: str) -> int:
    if position >= len(lines):
        raise _broken_off(where, len(lines))
    if not _NUMBER.fullmatch(lines[position]):
        raise ValueError(f"{where}, line {position + 1}: expected {what}; got {_shown(lines[position])}.")
    return int(lines[position])


def _broken_off(where: str, line: int) -> ValueError:
    return ValueError(f"{where} breaks off in line {line}; copy it again.")


def _shown(line: bytes) -> str:
    return repr(line[:40].decode("latin1"))


def _joints(rows: Iterable[bytes], where: str) -> npt.NDArray[np.float32]:
    tokens: list[bytes] = []
    for row in rows:
        three = row.split(None, 3)[:3]
        if len(three) < 3:
            raise ValueError(f"{where}: expected x, y and z of a joint; got the line {_shown(row)}.")
        tokens += three
    try:
        # Doubles first: that is how numpy, and so the public preparations, read text into single precision.
        values = np.array(list(map(float, tokens)))
    except ValueError as error:
        raise ValueError(f"{where}: a coordinate is not a number: {error}.") from error
    with np.errstate(over="ignore"):
        joints = values.astype(np.float32).reshape(-1, JOINTS, 3)
    if np.isinf(joints).any():
        raise ValueError(f"{where}: a coordinate is infinite.")
    return joints
