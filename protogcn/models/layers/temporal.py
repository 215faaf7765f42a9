"""Temporal units over features (N, C, T, V)."""

import torch
from torch import Tensor, nn

from protogcn.models.base import CONV, NORM, conv1x1, joined
from protogcn.models.layers.in_place import relu_over
from protogcn.models.layers.mean_joint import enter_branches, leave_branches
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.pointwise import pointwise
from protogcn.models.layers.pooling import max_pool_frames


class MultiBranchTemporal(nn.Module):
    """Six temporal branches side by side: kernel 3 at dilations 1 to 4, max-pooling and a pointwise path.

    The pointwise entries of the six branches read the same input, so they share one weight here, and the batch norm of
    the five that have one is one batch norm over their channels; both are exact, in training too.

    With ``global_joint`` the mean over joints travels through the branches as one more joint, and is mixed back into
    every joint with a learned weight (DG-STGCN, Duan et al. 2022, section 3.3; ProtoGCN uses it unchanged).

    Shapes: (N, C, T, V) -> (N, C, ceil(T / stride), V). No activation at the end.
    """

    KERNEL = 3
    DILATIONS = (1, 2, 3, 4)
    BRANCHES = len(DILATIONS) + 2
    # Released weights hold 25 mixing coefficients whatever the skeleton.
    MINIMUM_COEFFICIENTS = 25

    def __init__(
        self, channels: int, num_joints: int, stride: int = 1, global_joint: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = channels // self.BRANCHES
        if width == 0:
            raise ValueError(f"a multi-branch temporal unit needs at least {self.BRANCHES} channels, got {channels}")
        first = channels - width * (self.BRANCHES - 1)
        self.widths = (first, *[width] * (len(self.DILATIONS) - 1))
        self.width = width
        self.stride = stride
        self.num_joints = num_joints
        self.entry = conv1x1(channels, channels)
        self.entry_norm = BatchNorm2d(channels - width)
        self.dilated = nn.ModuleList(
            nn.Conv2d(size, size, (self.KERNEL, 1), stride=(stride, 1), padding=(dilation, 0), dilation=(dilation, 1))
            for size, dilation in zip(self.widths, self.DILATIONS, strict=True)
        )
        self.mix_norm = BatchNorm2d(channels)
        self.mix = conv1x1(channels, channels)
        self.norm = BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        if global_joint:
            self.coefficients = nn.Parameter(torch.zeros(max(num_joints, self.MINIMUM_COEFFICIENTS)))
        else:
            self.register_parameter("coefficients", None)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.entry.weight, self.entry.bias
        assert bias is not None
        if self.coefficients is not None:
            gated, last = enter_branches(x, weight, bias, self.width, self.stride, self.training)
        else:
            # The pointwise path apart: it may skip frames, and batch norm is slow on a slice of channels.
            gated = pointwise(x, weight[: -self.width], bias[: -self.width], self.training)
            last = pointwise(x, weight[-self.width :], bias[-self.width :], self.training, self.stride)
        gated = relu_over(self.entry_norm(gated), self.training)
        *convolved, pooled = gated.split([*self.widths, self.width], 1)
        branches = [conv(part) for conv, part in zip(self.dilated, convolved, strict=True)]
        out = torch.cat([*branches, max_pool_frames(pooled, self.stride), last], 1)
        if self.coefficients is not None:
            out = leave_branches(out, self.coefficients[: self.num_joints], self.training)
        return self.dropout(self.norm(self.mix(relu_over(self.mix_norm(out), self.training))))

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official per-branch entries that this unit joins."""
        branches = [f"{official}.branches.{index}" for index in range(self.BRANCHES)]
        entries = joined(f"{own}.entry", [f"{name}.0" for name in branches[:5]] + branches[5:], CONV)
        entries |= joined(f"{own}.entry_norm", [f"{name}.1" for name in branches[:5]], NORM)
        for index in range(len(self.DILATIONS)):
            entries |= joined(f"{own}.dilated.{index}", f"{branches[index]}.3.conv", CONV)
        entries |= joined(f"{own}.mix_norm", f"{official}.transform.0", NORM)
        entries |= joined(f"{own}.mix", f"{official}.transform.2", CONV)
        entries |= joined(f"{own}.norm", f"{official}.bn", NORM)
        if self.coefficients is not None:
            entries[f"{own}.coefficients"] = (f"{official}.add_coeff",)
        return entries


class PlainTemporal(nn.Module):
    """Convolution along time, batch norm, dropout (Yan et al., ST-GCN, 2018, section 3.5).

    Shapes: (N, C, T, V) -> (N, C, ceil(T / stride), V). No activation at the end.
    """

    def __init__(self, channels: int, stride: int = 1, kernel: int = 9, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (kernel, 1), stride=(stride, 1), padding=(kernel // 2, 0))
        self.norm = BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.conv(x)))

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        return joined(f"{own}.conv", f"{official}.conv", CONV) | joined(f"{own}.norm", f"{official}.bn", NORM)


def later_dropout(temporal_dropout: float, first: bool) -> float:
    """Dropout of a temporal unit: none in the first block, as in the recipe of ST-GCN.

    Raises:
        ValueError: it does not lie in [0, 1).
    """
    if not 0 <= temporal_dropout < 1:
        raise ValueError(f"temporal_dropout must lie in [0, 1), got {temporal_dropout}")
    return 0.0 if first else temporal_dropout
