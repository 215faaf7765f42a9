"""ST-GCN++ (Duan et al., PYSKL, ACM MM 2022) read word for word."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks_plain import (
    BlockPlan,
    SixBranches,
    block_residual,
    graph_residual,
    normalise_joints,
    plan_blocks,
    pointwise,
    pool_features,
)


class GraphConv(nn.Module):
    """(N, C_in, T, V) -> (N, C_out, T, V) over K learned topologies."""

    def __init__(self, in_channels: int, out_channels: int, topology: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(topology.clone())
        self.conv = pointwise(in_channels, len(topology) * out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = graph_residual(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.down(x)
        parts = self.conv(x).unflatten(1, (len(self.A), -1))
        mixed = torch.einsum("nkctv,kvw->nctw", parts, self.A).contiguous()
        return torch.relu(self.bn(mixed) + residual)


class Block(nn.Module):
    def __init__(self, plan: BlockPlan, topology: Tensor, first: bool) -> None:
        super().__init__()
        self.gcn = GraphConv(plan.in_channels, plan.out_channels, topology)
        self.tcn = SixBranches(plan.out_channels, plan.stride, global_joint=False)
        self.residual = None if first else block_residual(plan)

    def forward(self, x: Tensor) -> Tensor:
        residual = 0 if self.residual is None else self.residual(x)
        return torch.relu(self.tcn(self.gcn(x)) + residual)


class Backbone(nn.Module):
    """Clips (N, M, T, V, C) to features (N * M, C', T', V)."""

    def __init__(self, in_channels: int, plans: Sequence[BlockPlan], topology: Tensor) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(topology.shape[-1] * in_channels)
        self.gcn = nn.ModuleList(Block(plan, topology, index == 0) for index, plan in enumerate(plans))

    def forward(self, clips: Tensor) -> Tensor:
        x = normalise_joints(self.data_bn, clips)
        for block in self.gcn:
            x = block(x)
        return x


class Head(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc_cls = nn.Linear(channels, classes)


class PlainSTGCNPP(nn.Module):
    """The network of the release, by the names of its checkpoints.

    Args:
        num_classes: size of the classifier.
        topology: the matrices (K, V, V) that its topologies start from.
        in_channels: C of the clips.
        base_channels: width of the first blocks.
        num_blocks: depth.
        wider: blocks, counted from 1, that double the channels and halve the frame rate.
    """

    def __init__(
        self,
        num_classes: int,
        topology: Tensor,
        in_channels: int = 3,
        *,
        base_channels: int = 64,
        num_blocks: int = 10,
        wider: Sequence[int] = (5, 8),
    ) -> None:
        super().__init__()
        plans = plan_blocks(in_channels, base_channels, num_blocks, wider)
        self.backbone = Backbone(in_channels, plans, topology)
        self.cls_head = Head(plans[-1].out_channels, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to logits (N, num_classes)."""
        return self.cls_head.fc_cls(pool_features(self.backbone(clips), len(clips)))

    def losses(self, clips: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms of the training loss, of which ``loss`` is the total, and the logits."""
        logits = self(clips)
        loss = functional.cross_entropy(logits, target)
        return {"loss": loss, "cross_entropy": loss}, logits
