"""Temporal units that normalise every branch and concatenate: those of CTR-GCN, InfoGCN and MS-G3D."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from protogcn.models.base import CONV, NORM, conv1x1, joined
from protogcn.models.layers.in_place import relu_over
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.pooling import max_pool_frames


class BranchedTemporal(nn.Module):
    """Dilated convolutions, max-pooling and a pointwise path side by side, each with batch norm, concatenated.

    The branches get equal widths, the last (pointwise) one also what does not divide. Their pointwise entries read the
    same input and are one convolution here, except that at a stride the pointwise path runs on its own, on the frames
    that it keeps. Batch norm acts per channel, so one before the branches and one after them replace those of the
    branches. All of this is exact, in training too. CTR-GCN (Chen et al. 2021, section 3.4), MS-G3D (Liu et al. 2020,
    section 3.4).

    Shapes: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V).

    Args:
        in_channels: C_in.
        out_channels: C_out, at least one channel for each branch.
        stride: along time.
        kernel: odd length of the convolutions along time.
        dilations: one convolution for each.
        activation: whether a ReLU follows the concatenation.

    Raises:
        ValueError: fewer channels than branches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 2),
        activation: bool = False,
    ) -> None:
        super().__init__()
        branches = len(dilations) + 2
        width = out_channels // branches
        if width == 0:
            raise ValueError(
                f"a temporal unit of {branches} branches needs a channel for each: base_channels must be at least "
                f"{branches}, got {out_channels}"
            )
        self.width = width
        self.last_width = out_channels - width * (branches - 1)
        self.stride = stride
        self.activation = activation
        gated = out_channels - self.last_width
        self.entry = conv1x1(in_channels, gated if stride > 1 else out_channels)
        self.entry_norm = BatchNorm2d(gated)
        self.dilated = nn.ModuleList(
            nn.Conv2d(
                width,
                width,
                (kernel, 1),
                stride=(stride, 1),
                padding=((kernel - 1) * dilation // 2, 0),
                dilation=(dilation, 1),
            )
            for dilation in dilations
        )
        self.pointwise = conv1x1(in_channels, self.last_width, stride) if stride > 1 else None
        self.norm = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        gated = self.entry(x)
        if self.pointwise is None:
            gated, last = gated.split([gated.shape[1] - self.last_width, self.last_width], 1)
            # Batch norm is slow on a slice of channels; a clone is dense.
            gated = gated.clone()
        else:
            last = self.pointwise(x)
        gated = relu_over(self.entry_norm(gated), self.training)
        *convolved, pooled = gated.split(self.width, 1)
        parts = [conv(part) for conv, part in zip(self.dilated, convolved, strict=True)]
        parts.append(max_pool_frames(pooled, self.stride))
        out = self.norm(torch.cat([*parts, last], 1))
        return relu_over(out, self.training) if self.activation else out

    def initialise_fan_out(self) -> None:
        """Draw every convolution as He et al. 2015 do for its outputs, branch by branch; biases start at zero."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out")
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
        with torch.no_grad():
            # What one convolution does for several branches has the outputs of one branch as its fan.
            gated = len(self.dilated) + 1
            for branch in self.entry.weight.split([self.width] * gated + [self.last_width] * (self.stride == 1)):
                branch.normal_(std=math.sqrt(2 / len(branch)))

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official per-branch entries that this unit joins."""
        *gated, last = (f"{official}.branches.{index}" for index in range(len(self.dilated) + 2))
        *convolved, pooled = gated
        entries = joined(f"{own}.entry", [f"{name}.0" for name in [*gated, *[last] * (self.stride == 1)]], CONV)
        if self.pointwise is not None:
            entries |= joined(f"{own}.pointwise", f"{last}.0", CONV)
        entries |= joined(f"{own}.entry_norm", [f"{name}.1" for name in gated], NORM)
        for index, name in enumerate(convolved):
            entries |= joined(f"{own}.dilated.{index}", f"{name}.3.conv", CONV)
        norms = [*(f"{name}.3.bn" for name in convolved), f"{pooled}.4", f"{last}.1"]
        return entries | joined(f"{own}.norm", norms, NORM)
