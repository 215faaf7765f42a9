"""The `Skeleton`: named joints, the tree that joins them, and everything that follows from the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from graphs import adjacency, description
from graphs.messages import unknown


@dataclass(frozen=True)
class Skeleton:
    """A layout of V joints joined into a tree; every matrix, stream and flip is derived from it.

    Joints are numbered as in the data arrays. The tree is the graph of the models; the bone streams may follow another
    tree over the same joints (``bone_parents``), because some published layouts differ there.

    Attributes:
        name: how the layout is called in recipes, stores and messages.
        joints: V distinct names.
        parents: for each joint the index of the joint it hangs on, -1 for the root (``centre``).
        mirror: (left, right) index pairs; joints in no pair mirror to themselves.
        parts: limb name -> joint indices; disjoint, need not cover the body.
        bone_parents: the tree of the bone streams where it is not ``parents`` (normalised to None when equal).
        extra_edges: further connections, drawn but in no adjacency matrix.
        body_centre: the joint that centring subtracts; -1 (the default) becomes the root.
        limb_edges: (start, end) of the lines that limb heat maps draw, where they are not ``edges`` (normalised to None
            when equal).

    Raises:
        ValueError: when the description is not a tree or refers to a joint twice or wrongly; names the joint and why.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[tuple[int, int], ...] = ()
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    bone_parents: tuple[int, ...] | None = None
    extra_edges: tuple[tuple[int, int], ...] = ()
    body_centre: int = -1
    limb_edges: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"a skeleton needs a name; got {self.name!r}")
        self._freeze()
        description.check_names(self.name, self.joints)
        self._check_tree(self.parents, "parents")
        if self.bone_parents is not None:
            self._check_tree(self.bone_parents, "bone_parents")
            if self.bone_parents == self.parents:
                object.__setattr__(self, "bone_parents", None)
        self._check_groups()
        if self.limb_edges == self.edges:
            object.__setattr__(self, "limb_edges", None)
        if self.body_centre == -1:
            object.__setattr__(self, "body_centre", self.centre)
        self._check_index(self.body_centre, "body_centre")

    @property
    def num_joints(self) -> int:
        """V, the number of joints."""
        return len(self.joints)

    @cached_property
    def centre(self) -> int:
        """Index of the root of the tree."""
        return self.parents.index(-1)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The V - 1 edges of the tree as (child, parent), in the order of the children."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent >= 0)

    @property
    def limbs(self) -> tuple[tuple[int, int], ...]:
        """The L (start, end) pairs of joints whose lines limb heat maps draw, one map each; by default the edges."""
        return self.edges if self.limb_edges is None else self.limb_edges

    @property
    def bone_tree(self) -> tuple[int, ...]:
        """Parents in the tree of the bone streams, -1 for its root."""
        return self.parents if self.bone_parents is None else self.bone_parents

    @cached_property
    def bone_pairs(self) -> tuple[tuple[int, int], ...]:
        """(joint, parent) of every bone; the root is paired with itself, so its bone is zero."""
        return tuple((joint, joint if parent < 0 else parent) for joint, parent in enumerate(self.bone_tree))

    @cached_property
    def kbone_pairs(self) -> tuple[tuple[int, int], ...]:
        """(joint, grandparent) of every two-hop bone (ProtoGCN); a joint without one is paired with itself."""
        return tuple((joint, joint if above < 0 else above) for joint, above in enumerate(self.ancestors(2)))

    def ancestors(self, steps: int) -> tuple[int, ...]:
        """For each joint the one that many bones above it in the bone tree, -1 beyond the root."""
        above = tuple(range(self.num_joints))
        for _ in range(min(steps, self.num_joints)):
            above = tuple(joint if joint < 0 else self.bone_tree[joint] for joint in above)
        return above

    @cached_property
    def mirror_permutation(self) -> np.ndarray:
        """(V,) int64, read-only: the joint that takes each joint's place in the mirror; an involution."""
        order = np.arange(self.num_joints)
        for left, right in self.mirror:
            order[[left, right]] = right, left
        order.setflags(write=False)
        return order

    @cached_property
    def limb_mirror(self) -> np.ndarray:
        """(L,) int64, read-only: the limb in each limb's place in the mirror, or itself where there is none."""
        place = {frozenset(limb): index for index, limb in enumerate(self.limbs)}
        images = (frozenset(self.mirror_permutation[list(limb)].tolist()) for limb in self.limbs)
        order = np.array([place.get(image, index) for index, image in enumerate(images)], dtype=np.int64)
        order.setflags(write=False)
        return order

    @cached_property
    def depths(self) -> np.ndarray:
        """(V,) int64, read-only: number of edges between each joint and the root."""
        depths = np.zeros(self.num_joints, dtype=np.int64)
        for joint in range(self.num_joints):
            above = self.parents[joint]
            while above >= 0:
                depths[joint] += 1
                above = self.parents[above]
        depths.setflags(write=False)
        return depths

    def index(self, joint: str | int) -> int:
        """Index of a joint given by name (or by index, which is checked).

        Raises:
            ValueError: no such joint; lists near matches.
        """
        if isinstance(joint, str):
            if joint not in self.joints:
                raise ValueError(f"skeleton {self.name!r}: {unknown('joint', joint, self.joints)}")
            return self.joints.index(joint)
        self._check_index(joint, "joint")
        return int(joint)

    def adjacency(self, strategy: str = "spatial", **options: Any) -> np.ndarray:
        """Topology of the graph, float64 (K, V, V), by one of the strategies of `graphs.adjacency`.

        Args:
            strategy: ``"spatial"``, ``"stgcn_spatial"``, ``"binary_adj"``, ``"uniform"``, ``"random"``, ...
            **options: the keyword arguments of that strategy, e.g. ``max_hop=2``.

        Raises:
            ValueError: unknown strategy or option.
        """
        return adjacency.build(self, strategy, **options)

    @classmethod
    def from_edges(
        cls,
        name: str,
        joints: Sequence[str] | int,
        edges: Iterable[tuple[str | int, str | int]],
        centre: str | int | None = None,
        **details: Any,
    ) -> Skeleton:
        """Build a skeleton from joints and undirected edges; the tree is oriented towards the centre.

        Args:
            name: name of the layout.
            joints: names in array order, or only how many there are (then ``joint_0`` ...).
            edges: V - 1 pairs of joints, by name or index, in any order and direction.
            centre: the root; by default the joint with the least distance to the farthest joint.
            **details: ``mirror``, ``parts``, ``body_centre``, ``extra_edges``, ``limbs``, ``bones`` as in `from_dict`.

        Raises:
            ValueError: the edges do not form one connected tree; names the joints concerned.
        """
        return description.from_edges(cls, name, joints, edges, centre, details)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from plain data, as it is written in a YAML file (format: `graphs.layouts`).

        Raises:
            ValueError: an unknown key, a joint that is not there, or anything `Skeleton` refuses.
        """
        return description.from_dict(cls, data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data (text, lists, dicts) from which `from_dict` builds an equal skeleton."""
        names = self.joints

        def tree(parents: Sequence[int]) -> dict[str, str | None]:
            return {joint: None if above < 0 else names[above] for joint, above in zip(names, parents, strict=True)}

        graph, bones = tree(self.parents), tree(self.bone_tree)
        plain: dict[str, Any] = {"name": self.name, "joints": graph, "body_centre": names[self.body_centre]}
        if bones != graph:
            plain["bones"] = {joint: above for joint, above in bones.items() if above != graph[joint]}
        plain["mirror"] = [[names[left], names[right]] for left, right in self.mirror]
        plain["parts"] = {part: [names[joint] for joint in members] for part, members in self.parts.items()}
        if self.extra_edges:
            plain["extra_edges"] = [[names[a], names[b]] for a, b in self.extra_edges]
        if self.limb_edges is not None:
            plain["limbs"] = [[names[start], names[end]] for start, end in self.limb_edges]
        return plain

    def _fail(self, reason: str) -> ValueError:
        return ValueError(f"skeleton {self.name!r}: {reason}")

    def _check_index(self, joint: object, where: str) -> None:
        if isinstance(joint, bool) or not isinstance(joint, (int, np.integer)):
            raise self._fail(f"{where} must hold joint indices; got {joint!r}")
        if not 0 <= joint < self.num_joints:
            raise self._fail(f"{where} refers to joint {joint}, but joints are numbered 0 to {self.num_joints - 1}")

    def _freeze(self) -> None:
        """Lists become tuples, so that equal skeletons compare and hash equal."""
        pairs = {key: tuple(tuple(pair) for pair in getattr(self, key)) for key in ("mirror", "extra_edges")}
        if self.limb_edges is not None:
            pairs["limb_edges"] = tuple(tuple(pair) for pair in self.limb_edges)
        bones = None if self.bone_parents is None else tuple(self.bone_parents)
        parts = {part: tuple(members) for part, members in self.parts.items()}
        frozen = {"joints": tuple(self.joints), "parents": tuple(self.parents), "bone_parents": bones, "parts": parts}
        for key, value in (frozen | pairs).items():
            object.__setattr__(self, key, value)

    def _check_tree(self, parents: tuple[int, ...], where: str) -> None:
        names = self.joints
        if len(parents) != self.num_joints:
            raise self._fail(f"{where} has {len(parents)} entries for {self.num_joints} joints")
        for joint, parent in enumerate(parents):
            if parent == -1:
                continue
            self._check_index(parent, f"the parent of joint {names[joint]!r} in {where}")
            if parent == joint:
                raise self._fail(f"joint {names[joint]!r} hangs on itself in {where}; the root has no parent")
        roots = [names[joint] for joint, parent in enumerate(parents) if parent == -1]
        if len(roots) > 1:
            raise self._fail(
                f"{where} has {len(roots)} roots ({', '.join(roots)}); all but one must hang on another joint"
            )
        grounded = {parents.index(-1)} if roots else set()
        for start in range(self.num_joints):
            path = [start]
            while path[-1] not in grounded:
                above = parents[path[-1]]
                if above in path:
                    loop = " -> ".join(names[joint] for joint in [*path[path.index(above) :], above])
                    raise self._fail(f"{where} runs in a circle: {loop}; one joint of it must hang elsewhere")
                path.append(above)
            grounded.update(path)

    def _check_groups(self) -> None:
        groups = (("mirror", self.mirror), ("extra_edges", self.extra_edges), ("limbs", self.limb_edges or ()))
        for where, pairs in groups:
            for pair in pairs:
                if len(pair) != 2 or pair[0] == pair[1]:
                    raise self._fail(f"{where} must hold pairs of two different joints; got {pair}")
                for joint in pair:
                    self._check_index(joint, where)
        drawn = [frozenset(limb) for limb in self.limbs]
        for index, limb in enumerate(drawn):
            if limb in drawn[:index]:
                start, end = (self.joints[joint] for joint in self.limbs[index])
                raise self._fail(f"the limb {start} - {end} is given twice in limbs; each has one heat map")
        pairs_by_name = {" - ".join(self.joints[joint] for joint in pair): pair for pair in self.mirror}
        self._check_disjoint("mirror pair", pairs_by_name, "a joint has one mirror image")
        self._check_disjoint("part", self.parts, "parts must not overlap")

    def _check_disjoint(self, kind: str, groups: Mapping[str, tuple[int, ...]], rule: str) -> None:
        owner: dict[int, str] = {}
        for name, members in groups.items():
            if not members:
                raise self._fail(f"{kind} {name!r} has no joints")
            for joint in members:
                self._check_index(joint, f"{kind} {name!r}")
                if joint in owner:
                    both = f"{kind} {owner[joint]!r} and in {kind} {name!r}"
                    raise self._fail(f"joint {self.joints[joint]!r} is in {both}; {rule}")
                owner[joint] = name
