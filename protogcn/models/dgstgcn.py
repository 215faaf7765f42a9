"""DG-STGCN (Duan et al., Dynamic Spatial-Temporal Modeling for Skeleton-based Action Recognition, 2022)."""

from collections.abc import Sequence

from graphs.skeleton import Skeleton
from protogcn.models.base import InputNorm
from protogcn.models.layers.blocks import BlockNetwork, GraphBlock
from protogcn.models.layers.graph import DynamicTopologyConv, check_dynamic_width
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.layers.temporal import MultiBranchTemporal, later_dropout
from protogcn.models.options import check_counts
from protogcn.models.registry import register_model


@register_model("dgstgcn", paper="Duan et al., 2022")
def dgstgcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    *,
    base_channels: int = 64,
    num_topologies: int = 8,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    temporal_dropout: float = 0.0,
    dropout: float = 0.0,
) -> BlockNetwork:
    """Topologies learned without knowledge of the skeleton and refined per clip, with group-wise temporal units.

    Args:
        skeleton: layout of the clips; only its number of joints matters.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        base_channels: width of the first blocks; a multiple of ``num_topologies``.
        num_topologies: K, topologies learned side by side in every block.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        temporal_dropout: after every temporal unit but the first.
        dropout: before the classifier.
    """
    check_counts(num_topologies=num_topologies)
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    check_dynamic_width(base_channels, num_topologies)
    joints = skeleton.num_joints

    def make_block(stage: Stage, first: bool) -> GraphBlock:
        graph = DynamicTopologyConv(stage.in_channels, stage.out_channels, joints, num_topologies)
        temporal = MultiBranchTemporal(
            stage.out_channels, joints, stage.stride, dropout=later_dropout(temporal_dropout, first)
        )
        return GraphBlock(graph, temporal, stage, residual=not first)

    norm = InputNorm(joints, in_channels)
    return BlockNetwork(skeleton, num_classes, in_channels, norm, stages, make_block, dropout)
