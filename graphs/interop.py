"""Skeletons and clips in the terms of other libraries, and clips of one layout in the joints of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs.arrays import Array, check_choice, check_joints, is_torch, like
from graphs.layouts import get_skeleton
from graphs.naming import combine, places, sides
from graphs.skeleton import Skeleton

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import Data

SPATIAL, TEMPORAL = 0, 1
"""The values of ``Data.edge_type``: a bone within a frame, and a joint with itself in the next frame."""


def to_pyg(clip: Array, skeleton: str | Skeleton, label: int | None = None, *, temporal: bool = True) -> Data:
    """A clip (M, T, V, C) as one spatio-temporal graph of `torch_geometric`.

    Nodes are all joints of all frames of all persons, person by person and frame by frame: node (m * T + t) * V + v.
    Bones join the nodes of a frame, and each joint is joined to itself in the next frame (``temporal=False`` leaves
    those out, so that every frame is a component of its own). Every edge is there in both directions; persons are not
    joined.

    The graph has ``x`` (M*T*V, C) in the type of the clip, ``edge_index`` (2, E), ``edge_type`` (E,) with SPATIAL or
    TEMPORAL, ``person``, ``frame`` and ``joint`` (M*T*V,), ``clip_shape`` (1, 4) and, with a label, ``y`` (1,): all
    of them batch as `torch_geometric.loader.DataLoader` expects. A tensor keeps its device and its gradient.
    """
    import torch
    from torch_geometric.data import Data

    skeleton = get_skeleton(skeleton)
    check_joints(clip, skeleton)
    if clip.ndim != 4:
        raise ValueError(f"expected one clip (M, T, V, C), got shape {tuple(clip.shape)}; convert a batch clip by clip")
    values = clip if is_torch(clip) else torch.from_numpy(np.ascontiguousarray(clip))
    persons, frames, joints, channels = values.shape
    index = torch.arange(persons * frames * joints, device=values.device).view(persons, frames, joints)
    child, parent = torch.tensor(skeleton.edges, dtype=torch.long, device=values.device).reshape(-1, 2).unbind(1)
    kinds = [torch.stack([index[..., child].flatten(), index[..., parent].flatten()])]
    if temporal:
        kinds.append(torch.stack([index[:, :-1].flatten(), index[:, 1:].flatten()]))
    edges = [torch.cat([edge, edge.flip(0)], 1) for edge in kinds]
    grid = (torch.arange(length, device=values.device) for length in (persons, frames, joints))
    person, frame, joint = (axis.flatten() for axis in torch.meshgrid(*grid, indexing="ij"))
    graph = Data(
        x=values.reshape(-1, channels),
        edge_index=torch.cat(edges, 1),
        edge_type=torch.cat([torch.full_like(edge[0], kind) for kind, edge in enumerate(edges)]),
        person=person,
        frame=frame,
        joint=joint,
        clip_shape=torch.tensor([[persons, frames, joints, channels]]),
        num_nodes=persons * frames * joints,
    )
    if label is not None:
        graph.y = torch.tensor([label])
    return graph


def to_pyg_frames(clip: Array, skeleton: str | Skeleton, label: int | None = None) -> list[Data]:
    """A clip (M, T, V, C) as T graphs, one for each frame, for models that take a sequence of graphs."""
    skeleton = get_skeleton(skeleton)
    check_joints(clip, skeleton)
    return [to_pyg(clip[:, t : t + 1], skeleton, label, temporal=False) for t in range(clip.shape[1])]


def from_pyg(graph: Data | Sequence[Data]) -> Any:
    """The clip of a graph of `to_pyg`, or of the frames of `to_pyg_frames`: a tensor (M, T, V, C), bit for bit.

    The number of channels is that of ``x`` as it is now, so features that a network put there come back on their
    joints.
    """
    import torch

    if isinstance(graph, Sequence):
        if not graph:
            raise ValueError("expected the graphs of at least one frame, got an empty list")
        return torch.cat([from_pyg(frame) for frame in graph], 1)
    shape = getattr(graph, "clip_shape", None)
    if shape is None or tuple(shape.shape) != (1, 4):
        got = "no clip_shape" if shape is None else f"{shape.shape[0]} clips"
        raise ValueError(f"expected one graph made by to_pyg, got {got}; take a batch apart with batch.to_data_list()")
    return graph.x.reshape(*shape[0, :3].tolist(), -1)


def to_networkx(skeleton: str | Skeleton, *, directed: bool = False, extra_edges: bool = False) -> networkx.Graph:
    """The tree of a skeleton as a `networkx` graph.

    Nodes are joint indices with ``name``, ``side`` ("left", "right" or "centre"), ``part`` (or None) and ``depth``;
    edges have ``kind`` "bone" or "extra". A directed graph has its edges from parent to child.
    """
    import networkx as nx

    skeleton = get_skeleton(skeleton)
    graph = (nx.DiGraph if directed else nx.Graph)(name=skeleton.name)
    part_of = {joint: name for name, joints in skeleton.parts.items() for joint in joints}
    for joint, (name, side) in enumerate(zip(skeleton.joints, sides(skeleton), strict=True)):
        graph.add_node(joint, name=name, side=side, part=part_of.get(joint), depth=int(skeleton.depths[joint]))
    graph.add_edges_from(((parent, child) for child, parent in skeleton.edges), kind="bone")
    if extra_edges:
        graph.add_edges_from(skeleton.extra_edges, kind="extra")
    return graph


def map_layout(x: Array, source: str | Skeleton, target: str | Skeleton, *, missing: str = "error") -> Array:
    """Clips of one layout in the joints of another, matched by joint name; (..., V_source, C) to (..., V_target, C).

    Names match when they mean the same place (`graphs.naming`): ``spine_base``, ``hip_centre``, ``pelvis`` and
    ``mid_hip`` are one. Joints the source lacks are means of those it has: mid-hip and the point between the
    shoulders from both sides, mid-torso from these two, head from the ears (else the eyes), neck from head and
    shoulders, and so on; the whole list is `graphs.naming.DERIVED`. All channels are averaged alike, a score too, as
    in the COCO-20 of ProtoGCN.

    Args:
        x: any leading axes; the result has its library, device and type.
        missing: what to do with joints that cannot be had: ``"error"``; ``"zero"``; or ``"parent"``, where they lie on
            their parent in the target (a hand on its wrist), which makes their bones zero.

    Raises:
        ValueError: joints that cannot be mapped, all named; a wrong number of joints; an unknown option.
    """
    source, target = get_skeleton(source), get_skeleton(target)
    check_joints(x, source)
    check_choice("missing", missing, ("error", "zero", "parent"))
    have, want = places(source), places(target)
    known = {place: have.index(place) for place in have}
    rows = [combine(place, known) for place in want]
    for joint, name in enumerate(target.joints):
        # Two joints of one layout may share a place; then the name decides.
        if name in source.joints and have[source.joints.index(name)] == want[joint]:
            rows[joint] = {source.joints.index(name): 1.0}
    if missing == "parent":
        for joint in np.argsort(target.depths, kind="stable"):
            if rows[joint] is None and target.parents[joint] >= 0:
                rows[joint] = rows[target.parents[joint]]
    lost = [target.joints[joint] for joint, row in enumerate(rows) if row is None]
    if lost and missing != "zero":
        hint = "" if missing == "parent" else "; missing='parent' puts them on their parents, 'zero' leaves them empty"
        raise ValueError(f"{source.name} has no joints to make {', '.join(lost)} of {target.name} from{hint}")
    mapped = _weighted_gather(x, [row or {0: 1.0} for row in rows])
    for joint in map(target.joints.index, lost):
        mapped[..., joint, :] = 0
    return mapped


def _weighted_gather(x: Array, rows: list[dict[int, float]]) -> Array:
    """Weighted sums of joints; a joint that is copied stays the same bit for bit, and no NaN spreads to others."""
    terms = max(map(len, rows))
    index = np.array([[*row, *[next(iter(row))] * (terms - len(row))] for row in rows]).T
    weight = np.array([[*row.values(), *[0.0] * (terms - len(row))] for row in rows]).T
    total = None
    for joints, share in zip(index, weight, strict=True):
        picked = x.index_select(-2, like(joints, x)) if is_torch(x) else x[..., joints, :]
        picked = picked * like(share[:, None], x)
        total = picked if total is None else total + picked
    return total
