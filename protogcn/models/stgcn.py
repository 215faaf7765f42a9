"""ST-GCN (Yan et al., AAAI 2018) and ST-GCN++ (Duan et al., PYSKL, ACM MM 2022).

One network: graph convolutions over partitions of the skeleton's neighbourhoods, each followed by a temporal unit. The
two differ in the partition, in how it is learned, and in the temporal unit.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from graphs.adjacency import STRATEGIES
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.models.base import InputNorm
from protogcn.models.layers.blocks import BlockNetwork, GraphBlock
from protogcn.models.layers.released import pyskl_graph
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.layers.static import Adaptive, SpatialUnit, StaticTopologyConv
from protogcn.models.layers.temporal import MultiBranchTemporal, PlainTemporal, later_dropout
from protogcn.models.registry import register_model

Temporal = Literal["plain", "multi-branch"]
PYG = "pyg:"


def _graph_units(
    skeleton: Skeleton, spatial: str, adaptive: Adaptive, default: Adaptive, residual: bool
) -> Callable[[Stage], SpatialUnit]:
    if spatial.startswith(PYG):
        if adaptive != default:
            raise ValueError(
                f"adaptive={adaptive!r} says how a topology is learned, and {spatial} has none: leave it out"
            )
        # PyTorch Geometric takes long to import.
        from protogcn.models.layers.pyg import PyGConv

        return lambda stage: PyGConv(
            stage.in_channels, stage.out_channels, skeleton, spatial.removeprefix(PYG), residual
        )
    if spatial not in STRATEGIES:
        choices = [*STRATEGIES, f"{PYG}<convolution of PyTorch Geometric>"]
        raise ValueError(unknown("spatial unit", spatial, choices, show_all=True))
    # The seed of the network decides, as for all its other weights.
    options = {"rng": int(torch.randint(2**31, ()))} if spatial == "random" else {}
    topology = torch.as_tensor(pyskl_graph(skeleton).adjacency(spatial, **options), dtype=torch.get_default_dtype())
    return lambda stage: StaticTopologyConv(stage.in_channels, stage.out_channels, topology, adaptive, residual)


def _network(
    skeleton: Skeleton,
    num_classes: int,
    stages: Sequence[Stage],
    graph: Callable[[Stage], SpatialUnit],
    temporal: Temporal,
    temporal_dropout: float,
    dropout: float,
) -> BlockNetwork:
    in_channels, joints = stages[0].in_channels, skeleton.num_joints

    def make_block(stage: Stage, first: bool) -> GraphBlock:
        drop = later_dropout(temporal_dropout, first)
        unit: PlainTemporal | MultiBranchTemporal
        if temporal == "plain":
            unit = PlainTemporal(stage.out_channels, stage.stride, dropout=drop)
        else:
            unit = MultiBranchTemporal(stage.out_channels, joints, stage.stride, global_joint=False, dropout=drop)
        return GraphBlock(graph(stage), unit, stage, residual=not first)

    norm = InputNorm(joints, in_channels)
    return BlockNetwork(skeleton, num_classes, in_channels, norm, stages, make_block, dropout)


@register_model("stgcn", paper="Yan et al., AAAI 2018")
def stgcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    *,
    base_channels: int = 64,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    spatial: str = "stgcn_spatial",
    adaptive: Adaptive = "importance",
    graph_residual: bool = False,
    temporal: Temporal = "plain",
    temporal_dropout: float = 0.0,
    dropout: float = 0.0,
) -> BlockNetwork:
    """Graph convolution over the skeleton and convolution over time, block by block.

    Args:
        skeleton: layout of the clips; on ``ntu25`` the hands of the graph are PYSKL's.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        base_channels: width of the first blocks.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        spatial: how neighbours are parted, a strategy of ``graphs.adjacency``; or any convolution of PyTorch Geometric
            over the bones, like ``"pyg:GATv2Conv"`` or ``"pyg:ChebConv(K=3)"``.
        adaptive: how the topology is learned: ``"fixed"``, not at all; ``"importance"``, by a mask on it;
            ``"offset"``, by a matrix added to it; ``"init"``, freely, starting from it. Not for ``pyg:`` convolutions.
        graph_residual: whether graph convolutions have a residual path of their own.
        temporal: ``"plain"``, one convolution of kernel 9; ``"multi-branch"``, six branches side by side.
        temporal_dropout: after every temporal unit but the first; the original recipe has 0.5.
        dropout: before the classifier.
    """
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    graph = _graph_units(skeleton, spatial, adaptive, "importance", graph_residual)
    return _network(skeleton, num_classes, stages, graph, temporal, temporal_dropout, dropout)


@register_model("stgcnpp", paper="Duan et al., ACM MM 2022")
def stgcnpp(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    *,
    base_channels: int = 64,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    spatial: str = "spatial",
    adaptive: Adaptive = "init",
    graph_residual: bool = True,
    temporal: Temporal = "multi-branch",
    temporal_dropout: float = 0.0,
    dropout: float = 0.0,
) -> BlockNetwork:
    """ST-GCN with a learned topology, residual graph convolutions and multi-branch temporal units.

    Args:
        skeleton: layout of the clips; on ``ntu25`` the hands of the graph are PYSKL's.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        base_channels: width of the first blocks.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        spatial: as in :func:`stgcn`, and so all that follow.
        adaptive: how the topology is learned.
        graph_residual: whether graph convolutions have a residual path of their own.
        temporal: ``"plain"`` or ``"multi-branch"``.
        temporal_dropout: after every temporal unit but the first.
        dropout: before the classifier.
    """
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    graph = _graph_units(skeleton, spatial, adaptive, "init", graph_residual)
    return _network(skeleton, num_classes, stages, graph, temporal, temporal_dropout, dropout)
