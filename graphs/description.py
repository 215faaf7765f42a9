"""Skeletons to and from plain data, with what can be told from the joint names filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import repr as brief
from typing import Any, TypeVar

from graphs.messages import unknown

Built = TypeVar("Built")

KEYS = ("name", "joints", "edges", "centre", "bones", "mirror", "parts", "body_centre", "extra_edges", "limbs")
_ARM = {"collar", "shoulder", "elbow", "wrist", "hand", "palm", "thumb", "index", "middle", "ring", "pinky", "finger"}
_LEG = {"hip", "knee", "ankle", "foot", "heel", "toe"}
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


def from_dict(cls: Callable[..., Built], description: Mapping[str, Any]) -> Built:
    """See `Skeleton.from_dict`."""
    if not isinstance(description, Mapping):
        raise ValueError(f"a skeleton is described by keys and values ({', '.join(KEYS)}); got {brief(description)}")
    name = description.get("name", "unnamed")
    for key in description:
        if key not in KEYS:
            raise ValueError(f"skeleton {name!r}: {unknown('key', key, KEYS, show_all=True)}")
    if "joints" not in description:
        raise ValueError(f"skeleton {name!r}: the key 'joints' is missing; write 'joint: parent' for every joint")
    joints = description["joints"]
    if not isinstance(joints, (Mapping, list, tuple)):
        raise ValueError(
            f"skeleton {name!r}: 'joints' must be a list of names or 'joint: parent' lines; got {brief(joints)}"
        )
    details = {key: description[key] for key in KEYS[4:] if description.get(key) is not None}
    if not isinstance(joints, Mapping):
        if "edges" not in description:
            raise ValueError(f"skeleton {name!r}: 'joints' is a list, so 'edges' must say which joints are joined")
        return from_edges(cls, name, joints, description["edges"], description.get("centre"), details)
    for key in ("edges", "centre"):
        if key in description:
            raise ValueError(f"skeleton {name!r}: 'joints' already names every parent, so {key!r} must be left out")
    names = tuple(joints)
    find = _Finder(name, names)
    parents = tuple(-1 if above is None else find(above, f"parent of {joint!r}") for joint, above in joints.items())
    return _build(cls, find, parents, details)


def from_edges(
    cls: Callable[..., Built],
    name: str,
    joints: Sequence[str] | int,
    edges: Iterable[tuple[str | int, str | int]],
    centre: str | int | None,
    details: Mapping[str, Any],
) -> Built:
    """See `Skeleton.from_edges`."""
    names = tuple(f"joint_{index}" for index in range(joints)) if isinstance(joints, int) else tuple(joints)
    find = _Finder(name, names)
    neighbours: list[list[int]] = [[] for _ in names]
    for pair in find.pairs(edges, "edges"):
        for here, there in (pair, pair[::-1]):
            neighbours[here].append(there)
    root = _middle(neighbours) if centre is None else find(centre, "centre")
    parents, order = _orient(neighbours, root)
    missing = [names[joint] for joint in range(len(names)) if joint not in order]
    if missing:
        raise ValueError(
            f"skeleton {name!r}: no edges lead from {names[root]!r} to {', '.join(missing)}; "
            "every joint must be connected"
        )
    for here, there in [(joint, other) for joint in order for other in neighbours[joint]]:
        if parents[here] != there and parents[there] != here:
            raise ValueError(
                f"skeleton {name!r}: the edge {names[here]} - {names[there]} closes a loop; a skeleton is a tree. "
                "Connections that are only drawn belong into 'extra_edges'"
            )
    doubled = [(a, b) for a, there in enumerate(neighbours) for b in there if there.count(b) > 1]
    if doubled:
        raise ValueError(
            f"skeleton {name!r}: the edge {' - '.join(names[joint] for joint in doubled[0])} is given twice"
        )
    return _build(cls, find, tuple(parents), details)


def check_names(skeleton: str, names: Sequence[str]) -> None:
    """Refuse joints without a name or with the name of another one."""
    if not names:
        raise ValueError(f"skeleton {skeleton!r}: there are no joints")
    first: dict[str, int] = {}
    for position, joint in enumerate(names):
        if not isinstance(joint, str) or not joint.strip():
            raise ValueError(
                f"skeleton {skeleton!r}: joint {position} needs a name as text; got {brief(joint)} (quote it in YAML)"
            )
        if joint in first:
            raise ValueError(
                f"skeleton {skeleton!r}: joint {joint!r} appears twice, as {first[joint]} and as {position}"
            )
        first[joint] = position


def mirror_from_names(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) pairs of the joints whose names differ in the side only, such as left_knee and right_knee."""
    sides = [_side(joint) for joint in joints]
    pairs = ((i, j) for i, left in enumerate(sides) for j, right in enumerate(sides) if left[1] == right[1])
    return tuple((i, j) for i, j in pairs if (sides[i][0], sides[j][0]) == ("left", "right"))


def parts_from_names(joints: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Limbs told from the joint names, in the order left arm, left leg, right arm, right leg; absent ones left out."""
    parts: dict[str, tuple[int, ...]] = {}
    for wanted in ("left", "right"):
        for limb, words in (("arm", _ARM), ("leg", _LEG)):
            members = []
            for index, joint in enumerate(joints):
                side, rest = _side(joint)
                found = set(rest.split("_"))
                if side == wanted and found & words and not (limb == "arm" and found & _LEG):
                    members.append(index)
            if members:
                parts[f"{wanted} {limb}"] = tuple(members)
    return parts


def _side(joint: str) -> tuple[str, str]:
    """The side a joint name speaks of ("" when none) and the rest of the name."""
    words = [word for word in re.split(r"[\s_.-]+", str(joint).lower()) if word]
    for position in (0, -1):
        if len(words) > 1 and words[position] in _SIDES:
            side = _SIDES[words.pop(position)]
            return side, "_".join(words)
    return "", "_".join(words)


class _Finder:
    """Turns joint names (or indices) of one description into indices, with errors that say where."""

    def __init__(self, skeleton: str, names: tuple[str, ...]) -> None:
        check_names(skeleton, names)
        self.skeleton, self.names = skeleton, names

    def __call__(self, joint: object, where: str) -> int:
        if isinstance(joint, str) and joint in self.names:
            return self.names.index(joint)
        if isinstance(joint, int) and not isinstance(joint, bool) and 0 <= joint < len(self.names):
            return joint
        if isinstance(joint, int):
            message = f"there is no joint {joint!r}; joints are numbered 0 to {len(self.names) - 1}"
        else:
            message = unknown("joint", joint if isinstance(joint, str) else brief(joint), self.names)
        raise ValueError(f"skeleton {self.skeleton!r}, {where}: {message}")

    def pairs(self, pairs: object, where: str) -> tuple[tuple[int, int], ...]:
        found = []
        for pair in self.listed(pairs.items() if isinstance(pairs, Mapping) else pairs, where):
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise ValueError(f"skeleton {self.skeleton!r}, {where}: {brief(pair)} is no pair of two joints")
            first, second = (self(joint, where) for joint in pair)
            if first == second:
                raise ValueError(f"skeleton {self.skeleton!r}, {where}: joint {pair[0]!r} is paired with itself")
            found.append((first, second))
        return tuple(found)

    def listed(self, items: Any, where: str) -> list[Any]:
        if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
            raise ValueError(f"skeleton {self.skeleton!r}: {where!r} must be a list; got {brief(items)}")
        return list(items)


def _build(cls: Callable[..., Built], find: _Finder, parents: tuple[int, ...], details: Mapping[str, Any]) -> Built:
    names, more = find.names, dict(details)
    for key in more:
        if key not in KEYS[4:]:
            raise ValueError(f"skeleton {find.skeleton!r}: {unknown('key', key, KEYS[4:], show_all=True)}")
    bones, mirror, parts = (more.pop(key, None) for key in ("bones", "mirror", "parts"))
    for key, value in (("bones", bones), ("parts", parts)):
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"skeleton {find.skeleton!r}: {key!r} must hold 'name: value' lines; got {brief(value)}")
    bone_parents = list(parents)
    for joint, above in (bones or {}).items():
        bone_parents[find(joint, "bones")] = -1 if above is None else find(above, f"bones, parent of {joint!r}")
    groups = (
        parts_from_names(names)
        if parts is None
        else {
            str(part): tuple(find(j, f"part {part!r}") for j in find.listed(joints, part))
            for part, joints in parts.items()
        }
    )
    return cls(
        name=find.skeleton,
        joints=names,
        parents=parents,
        mirror=mirror_from_names(names) if mirror is None else find.pairs(mirror, "mirror"),
        parts=groups,
        bone_parents=tuple(bone_parents) if bones else None,
        extra_edges=find.pairs(more.get("extra_edges", ()), "extra_edges"),
        limb_edges=find.pairs(more["limbs"], "limbs") if "limbs" in more else None,
        body_centre=find(more["body_centre"], "body_centre") if "body_centre" in more else -1,
    )


def _orient(neighbours: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    """Parents of a breadth-first tree from the root, and the joints in the order they were reached."""
    parents, order = [-1] * len(neighbours), [root]
    reached = {root}
    for here in order:
        for there in neighbours[here]:
            if there not in reached:
                reached.add(there)
                parents[there] = here
                order.append(there)
    return parents, order


def _middle(neighbours: list[list[int]]) -> int:
    """The joint with the least distance to the farthest joint (the lowest index among equals)."""
    best, least = 0, len(neighbours) + 1
    for root in range(len(neighbours)):
        parents, order = _orient(neighbours, root)
        depth = {root: 0}
        for joint in order[1:]:
            depth[joint] = depth[parents[joint]] + 1
        if len(order) == len(neighbours) and depth[order[-1]] < least:
            best, least = root, depth[order[-1]]
    return best
