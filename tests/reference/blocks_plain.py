"""Units that several plain networks share: convolution with batch norm, temporal units of six and of four branches."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class BlockPlan(NamedTuple):
    """Channels in and out of a block and its stride along time."""

    in_channels: int
    out_channels: int
    stride: int


def plan_blocks(in_channels: int, base_channels: int, num_blocks: int, wider: Sequence[int]) -> list[BlockPlan]:
    """Blocks counted from 1; those named in ``wider`` double the channels and halve the frame rate."""
    plans = []
    width = base_channels
    for number in range(1, num_blocks + 1):
        stride = 1
        if number in wider:
            width, stride = 2 * width, 2
        plans.append(BlockPlan(in_channels, width, stride))
        in_channels = width
    return plans


def pointwise(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride=(stride, 1))


class TemporalConv(nn.Module):
    """Convolution along time, then batch norm unless left out; (N, C_in, T, V) -> (N, C_out, T', V)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, (kernel, 1), stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1)
        )
        self.bn = nn.BatchNorm2d(out_channels) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)


def block_residual(plan: BlockPlan) -> nn.Module:
    """Identity where shapes agree, else a pointwise convolution with batch norm."""
    if plan.in_channels == plan.out_channels and plan.stride == 1:
        return nn.Identity()
    return TemporalConv(plan.in_channels, plan.out_channels, stride=plan.stride)


def graph_residual(in_channels: int, out_channels: int) -> nn.Module:
    """The same inside a graph convolution, where the parts have numbers for names."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels))


class SixBranches(nn.Module):
    """Kernel 3 at dilations 1 to 4, max-pooling, pointwise; with a token for the mean joint where asked for.

    Temporal unit of ST-GCN++ (without the token) and of ProtoGCN and DG-STGCN (with it).
    """

    def __init__(self, channels: int, stride: int, global_joint: bool) -> None:
        super().__init__()
        width = channels // 6
        branches: list[nn.Module] = []
        for dilation in (1, 2, 3, 4):
            own = channels - 5 * width if dilation == 1 else width
            conv = TemporalConv(own, own, 3, stride, dilation, norm=False)
            branches.append(nn.Sequential(pointwise(channels, own), nn.BatchNorm2d(own), nn.ReLU(), conv))
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        branches.append(nn.Sequential(pointwise(channels, width), nn.BatchNorm2d(width), nn.ReLU(), pool))
        branches.append(pointwise(channels, width, stride))
        self.branches = nn.ModuleList(branches)
        self.transform = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), pointwise(channels, channels))
        self.bn = nn.BatchNorm2d(channels)
        # 25 entries whatever the skeleton.
        self.add_coeff: Tensor | None
        self.register_parameter("add_coeff", nn.Parameter(torch.zeros(25)) if global_joint else None)

    def forward(self, x: Tensor) -> Tensor:
        joints = x.shape[-1]
        if self.add_coeff is not None:
            x = torch.cat([x, x.mean(-1, keepdim=True)], -1)
        out = torch.cat([branch(x) for branch in self.branches], 1)
        if self.add_coeff is not None:
            token = torch.einsum("nct,v->nctv", out[..., joints], self.add_coeff[:joints])
            out = out[..., :joints] + token
        return self.bn(self.transform(out))


class FourBranches(nn.Module):
    """Kernel 5 at dilations 1 and 2, max-pooling, pointwise, each with a batch norm of its own at its end.

    Temporal unit of CTR-GCN and, with a ReLU at the end, of InfoGCN.
    """

    def __init__(self, channels: int, stride: int, activation: bool) -> None:
        super().__init__()
        width = channels // 4
        branches = []
        for dilation in (1, 2):
            conv = TemporalConv(width, width, 5, stride, dilation)
            branches.append(nn.Sequential(pointwise(channels, width), nn.BatchNorm2d(width), nn.ReLU(), conv))
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        entry = (pointwise(channels, width), nn.BatchNorm2d(width), nn.ReLU())
        branches.append(nn.Sequential(*entry, pool, nn.BatchNorm2d(width)))
        branches.append(nn.Sequential(pointwise(channels, width, stride), nn.BatchNorm2d(width)))
        self.branches = nn.ModuleList(branches)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        out = torch.cat([branch(x) for branch in self.branches], 1)
        return torch.relu(out) if self.activation else out


def normalise_joints(norm: nn.BatchNorm1d, clips: Tensor) -> Tensor:
    """Batch norm over (joint, channel), persons in the batch: (N, M, T, V, C) -> (N * M, C, T, V)."""
    samples, persons, frames, joints, channels = clips.shape
    x = clips.permute(0, 1, 3, 4, 2).contiguous().view(samples * persons, joints * channels, frames)
    x = norm(x).view(samples, persons, joints, channels, frames)
    return x.permute(0, 1, 3, 4, 2).contiguous().view(samples * persons, channels, frames, joints)


def pool_features(x: Tensor, samples: int) -> Tensor:
    """Mean over frames and joints, then over persons: (N * M, C, T, V) -> (N, C)."""
    return x.view(samples, -1, *x.shape[1:]).mean((3, 4)).mean(1)
