"""Topologies of a skeleton: how the joints of a graph convolution exchange features.

Every strategy gives float64 matrices (K, V, V), entry [k, i, j] being the weight of the edge from joint j to joint i.
``normalise`` divides every column by its sum.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from graphs.messages import unknown


class Tree(Protocol):
    """What the matrices need to know of a skeleton."""

    @property
    def num_joints(self) -> int: ...
    @property
    def centre(self) -> int: ...
    @property
    def edges(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def bone_tree(self) -> tuple[int, ...]: ...


def build(skeleton: Tree, strategy: str = "spatial", **options: Any) -> np.ndarray:
    """The topology (K, V, V) that a strategy gives; see `STRATEGIES` for the names.

    Raises:
        ValueError: an unknown strategy, or an option that the strategy does not have.
    """
    if strategy not in STRATEGIES:
        raise ValueError(unknown("adjacency strategy", strategy, STRATEGIES, show_all=True))
    function = STRATEGIES[strategy]
    allowed = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in allowed:
            takes = f"it takes {', '.join(allowed)}" if allowed else "it takes no options"
            raise ValueError(f"adjacency strategy {strategy!r}: {unknown('option', option, allowed)} ({takes})")
    return function(skeleton, **options)


def spatial(skeleton: Tree) -> np.ndarray:
    """Identity, edges towards the centre and edges away from it, the last two normalised; (3, V, V).

    The partition of 2s-AGCN, CTR-GCN and the PYSKL family.
    """
    inward = _matrix(skeleton.edges, skeleton.num_joints)
    return np.stack([np.eye(skeleton.num_joints), normalise(inward), normalise(inward.T)])


def stgcn_spatial(skeleton: Tree, max_hop: int = 1) -> np.ndarray:
    """Spatial configuration partition of ST-GCN (section 3.3), (2 * max_hop + 1, V, V).

    Hop by hop the normalised neighbourhood is parted into joints at least as near to the centre and joints farther
    from it. Distances to the centre count as infinite beyond ``max_hop``, as in the released code: an edge between two
    such joints goes, in both directions, to the nearer set.
    """
    distance = hop_distance(skeleton, max_hop)
    weight = normalise((distance <= max_hop).astype(np.float64))
    from_centre = distance[:, skeleton.centre]
    nearer = from_centre[:, None] >= from_centre[None, :]
    subsets = [np.where(distance == 0, weight, 0)]
    for hop in range(1, max_hop + 1):
        ring = np.where(distance == hop, weight, 0)
        subsets += [np.where(nearer, ring, 0), np.where(nearer, 0, ring)]
    return np.stack(subsets)


def binary_adj(skeleton: Tree) -> np.ndarray:
    """1 where two joints share an edge, without self loops; (1, V, V)."""
    return _neighbours(skeleton)[None]


def uniform(skeleton: Tree) -> np.ndarray:
    """Uni-labelling partition of ST-GCN: neighbours and the joint itself with equal weight; (1, V, V)."""
    return normalise(_neighbours(skeleton) + np.eye(skeleton.num_joints))[None]


def random(
    skeleton: Tree,
    num_topologies: int = 8,
    mean: float = 0.04,
    std: float = 0.02,
    rng: np.random.Generator | np.random.RandomState | int = 0,
) -> np.ndarray:
    """Normally distributed starting values for learnt topologies (DG-STGCN, ProtoGCN); (num_topologies, V, V).

    Args:
        skeleton: only its number of joints matters.
        num_topologies: K.
        mean: mean of the entries.
        std: standard deviation of the entries.
        rng: a generator, or the seed of a new one.
    """
    _at_least(num_topologies, 1, "num_topologies")
    generator = np.random.default_rng(rng) if isinstance(rng, int) else rng
    return generator.standard_normal((num_topologies, skeleton.num_joints, skeleton.num_joints)) * std + mean


def multi_scale(skeleton: Tree, num_scales: int = 13, with_self: bool = True, window: int = 1) -> np.ndarray:
    """Disentangled neighbourhoods of MS-G3D (section 3.2): exactly 0, 1, ..., num_scales - 1 hops away, normalised.

    Args:
        skeleton: the graph.
        num_scales: K, number of scales.
        with_self: whether every scale holds the joint itself, too.
        window: w > 1 gives the graph over w frames, (K, w * V, w * V), the frame being the slow index.
    """
    _at_least(num_scales, 1, "num_scales")
    _at_least(window, 1, "window")
    graph = _neighbours(skeleton)
    if window > 1:
        graph = np.tile(graph + np.eye(skeleton.num_joints), (window, window))
    return np.stack([normalise(k_adjacency(graph, k, with_self)) for k in range(num_scales)])


def k_hop(skeleton: Tree, k: int = 2, with_self: bool = False) -> np.ndarray:
    """1 where two joints are exactly k hops apart; (1, V, V)."""
    return k_adjacency(_neighbours(skeleton), k, with_self)[None]


def within_hops(skeleton: Tree, k: int = 2) -> np.ndarray:
    """1 where a walk of 1 to k edges leads from joint to joint (so also back to itself for k >= 2); (1, V, V)."""
    _at_least(k, 1, "k")
    graph = _neighbours(skeleton)
    reached, walk = graph, graph
    for _ in range(k - 1):
        walk = np.minimum(walk @ graph, 1)
        reached = np.maximum(reached, walk)
    return reached[None]


def symmetric(skeleton: Tree, self_loops: float = 1.0) -> np.ndarray:
    """D^-1/2 (A + self_loops I) D^-1/2 with D the row sums (Kipf and Welling, 2017); (1, V, V)."""
    graph = _neighbours(skeleton) + self_loops * np.eye(skeleton.num_joints)
    degree = graph.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return (scale[:, None] * graph * scale)[None]


def identity(skeleton: Tree, num_topologies: int = 3) -> np.ndarray:
    """Self loops only: the start of InfoGCN's attention heads; (num_topologies, V, V)."""
    _at_least(num_topologies, 1, "num_topologies")
    return np.tile(np.eye(skeleton.num_joints), (num_topologies, 1, 1))


STRATEGIES: dict[str, Callable[..., np.ndarray]] = {
    function.__name__: function
    for function in (
        spatial,
        stgcn_spatial,
        binary_adj,
        uniform,
        random,
        multi_scale,
        k_hop,
        within_hops,
        symmetric,
        identity,
    )
}
"""Name -> function(skeleton, **options) of every strategy that `Skeleton.adjacency` knows."""


def normalise(matrix: np.ndarray) -> np.ndarray:
    """Divide each column by its sum; columns that sum to zero stay zero. Shapes (..., V, V) -> (..., V, V)."""
    sums = matrix.sum(axis=-2, keepdims=True)
    return np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums != 0)


def hop_distance(skeleton: Tree, max_hop: int | None = None) -> np.ndarray:
    """Number of edges between any two joints, (V, V) float64; infinite beyond ``max_hop``."""
    size = skeleton.num_joints
    limit = size - 1 if max_hop is None else max_hop
    _at_least(limit, 0, "max_hop")
    distance = np.full((size, size), np.inf)
    reach, step = np.eye(size), _neighbours(skeleton) + np.eye(size)
    for hop in range(min(limit, size - 1) + 1):
        distance[(reach > 0) & np.isinf(distance)] = hop
        reach = np.minimum(reach @ step, 1)
    return distance


def k_adjacency(graph: np.ndarray, k: int, with_self: bool = False) -> np.ndarray:
    """1 where the shortest walk in a binary graph (V, V) has exactly k edges (MS-G3D, equation 4).

    With ``with_self`` the identity is added for k >= 1; k = 0 is the identity either way.
    """
    _at_least(k, 0, "k")
    eye = np.eye(len(graph))
    if k == 0:
        return eye
    nearer = eye
    for _ in range(k - 1):
        nearer = np.minimum(nearer @ (graph + eye), 1)
    ring = np.minimum(nearer @ (graph + eye), 1) - nearer
    return ring + eye if with_self else ring


def k_mode(skeleton: Tree, k: int, towards_children: bool = False) -> np.ndarray:
    """I - P^k, the matrix of InfoGCN's k-th mode representation (section 3.4), float64 (V, V).

    Row v of P selects the parent of joint v in the bone tree, so the mode is the vector from the k-th ancestor to the
    joint, and the joint itself where there is no such ancestor; for large k it is the joint stream.

    Args:
        skeleton: InfoGCN's own NTU tree is ``"ntu25_infogcn"``.
        k: number of bones to go up, at least 1.
        towards_children: subtract descendants instead of the ancestor. The released NW-UCLA code does so, because its
            edge list is written the other way round.
    """
    _at_least(k, 1, "k")
    bones = [(joint, above) for joint, above in enumerate(skeleton.bone_tree) if above >= 0]
    select = _matrix(bones, skeleton.num_joints)
    select = select if towards_children else select.T
    return np.eye(skeleton.num_joints) - np.linalg.matrix_power(select, k)


def _matrix(edges: Iterable[tuple[int, int]], size: int) -> np.ndarray:
    """1 at [parent, child] for every (child, parent)."""
    matrix = np.zeros((size, size))
    for child, parent in edges:
        matrix[parent, child] = 1
    return matrix


def _neighbours(skeleton: Tree) -> np.ndarray:
    inward = _matrix(skeleton.edges, skeleton.num_joints)
    return inward + inward.T


def _at_least(value: int, least: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
