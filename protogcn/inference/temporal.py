"""Temporal units and residual blocks rewritten for inference."""

from typing import Any

import torch
from torch import Tensor, nn

from protogcn.inference.folding import (
    CannotFold,
    Conv,
    accumulate,
    constant,
    fold,
    folded_conv,
    folded_shortcut,
    folds,
    norm_map,
    scaled,
    weights,
)
from protogcn.models.infogcn import InfoGCNBlock
from protogcn.models.layers.blocks import GraphBlock
from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.pooling import max_pool_frames
from protogcn.models.layers.temporal import MultiBranchTemporal, PlainTemporal
from protogcn.models.msg3d import ResidualTemporal
from protogcn.models.protogcn import ProtoGCNBlock


class FoldedBranches(nn.Module):
    """Pointwise entries, dilated convolutions, max-pooling and a pointwise path, normalised and concatenated.

    The batch norms of the entries and the one behind the branches are part of the convolutions. What is pooled is the
    only path without one behind it: it is scaled and shifted by itself, as its scale may be negative.

    Args:
        entry: of all branches, or at a stride of all but the pointwise path.
        pointwise: that path, at a stride.
        dilated: one convolution for each part of the channels.
        scale: of the pooled channels.
        shift: of them.
        stride: along time.
    """

    def __init__(
        self, entry: Conv, pointwise: Conv | None, dilated: list[Conv], scale: Tensor, shift: Tensor, stride: int
    ) -> None:
        super().__init__()
        self.entry, self.pointwise = entry, pointwise
        self.dilated = nn.ModuleList(dilated)
        self.widths = [*(conv.weight.shape[1] for conv in dilated), len(scale)]
        self.gated = sum(self.widths)
        self.stride = stride
        constant(self, entry.weight, scale=scale[:, None, None], shift=shift[:, None, None])
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        entered = self.entry(x)
        last = entered[:, self.gated :] if self.pointwise is None else self.pointwise(x)
        *convolved, pooled = entered[:, : self.gated].relu_().split(self.widths, 1)
        parts = [conv(part) for conv, part in zip(self.dilated, convolved, strict=True)]
        pooled = torch.addcmul(self.shift, max_pool_frames(pooled, self.stride), self.scale)
        return torch.cat([*parts, pooled.to(last.dtype), last], 1)


def _branches(
    entries: tuple[nn.Module, Tensor, Tensor],
    gate: nn.Module,
    dilated: nn.ModuleList,
    after: nn.Module,
    pointwise: tuple[nn.Module, Tensor, Tensor] | None,
    width: int,
    stride: int,
) -> FoldedBranches:
    """The branches of a unit.

    Args:
        entries: a convolution, and its weight and bias for the channels of all branches but a separate pointwise path.
        gate: batch norm of the branches that go through a ReLU.
        dilated: their convolutions.
        after: batch norm of what all branches give.
        pointwise: the same of the pointwise path, where it is separate.
        width: channels that are pooled.
        stride: along time.
    """
    conv, weight, bias = entries
    gate_scale, gate_shift = norm_map(gate)
    scale, shift = norm_map(after)
    gated = len(gate_scale)
    scales, shifts = [gate_scale], [gate_shift]
    if pointwise is None:
        scales.append(scale[gated:])
        shifts.append(shift[gated:])
    entry = Conv(conv, *scaled(weight, bias, torch.cat(scales), torch.cat(shifts)))
    last = None
    if pointwise is not None:
        like, last_weight, last_bias = pointwise
        last = Conv(like, *scaled(last_weight, last_bias, scale[gated:], shift[gated:]), stride=(stride, 1))
    convolved, first = [], 0
    for each in dilated:
        of_conv = weights(each)
        end = first + len(of_conv[1])
        convolved.append(Conv(each, *scaled(*of_conv, scale[first:end], shift[first:end])))
        first = end
    if first + width != gated:
        raise CannotFold
    return FoldedBranches(entry, last, convolved, scale[first:gated], shift[first:gated], stride)


class FoldedMultiBranch(nn.Module):
    """:class:`protogcn.models.layers.temporal.MultiBranchTemporal` without its batch norms."""

    def __init__(self, unit: MultiBranchTemporal) -> None:
        super().__init__()
        weight, bias = weights(unit.entry)
        pointwise: tuple[nn.Module, Tensor, Tensor] | None = None
        if unit.stride > 1:
            pointwise = (unit.entry, weight[-unit.width :], bias[-unit.width :])
            weight, bias = weight[: -unit.width], bias[: -unit.width]
        self.branches = _branches(
            (unit.entry, weight, bias), unit.entry_norm, unit.dilated, unit.mix_norm, pointwise, unit.width, unit.stride
        )
        self.mix = folded_conv(unit.mix, unit.norm)
        self.joints = unit.num_joints
        self.mean_joint = unit.coefficients is not None
        if unit.coefficients is not None:
            # The branches carry the shift of the batch norm that follows the mean joint's way back into the others.
            _, shift = norm_map(unit.mix_norm)
            constant(
                self,
                unit.entry.weight,
                coefficients=unit.coefficients[: self.joints],
                token_shift=shift[:, None, None],
            )
        self.coefficients: Tensor
        self.token_shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.mean_joint:
            x = torch.cat([x, x.mean(-1, keepdim=True)], -1)
        out = self.branches(x)
        if self.mean_joint:
            joints, token = out.split([self.joints, 1], -1)
            out = torch.addcmul(joints, token - self.token_shift, self.coefficients).to(out.dtype)
        mixed: Tensor = self.mix(out.relu_())
        return mixed


@folds(MultiBranchTemporal)
def _multi_branch(unit: MultiBranchTemporal) -> nn.Module:
    return FoldedMultiBranch(unit)


@folds(PlainTemporal)
def _plain(unit: PlainTemporal) -> nn.Module:
    return folded_conv(unit.conv, unit.norm)


class FoldedBranched(nn.Module):
    """:class:`protogcn.models.layers.branches.BranchedTemporal` without its batch norms."""

    def __init__(self, unit: BranchedTemporal) -> None:
        super().__init__()
        entries = (unit.entry, *weights(unit.entry))
        pointwise = None if unit.pointwise is None else (unit.pointwise, *weights(unit.pointwise))
        self.branches = _branches(entries, unit.entry_norm, unit.dilated, unit.norm, pointwise, unit.width, unit.stride)
        self.activation = unit.activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branches(x)
        return out.relu_() if self.activation else out


@folds(BranchedTemporal)
def _branched(unit: BranchedTemporal) -> nn.Module:
    return FoldedBranched(unit)


class FoldedBlock(nn.Module):
    """``relu(second(first(x)) + residual(x))``, whose residual is none, the input itself or a convolution of it."""

    def __init__(self, first: Any, second: Any, residual: nn.Module | None, activation: bool = True) -> None:
        super().__init__()
        self.first, self.second = fold(first), fold(second)
        self.has_residual = residual is not None
        self.residual = folded_shortcut(residual)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        if not self.has_residual:
            return out.relu_() if self.activation else out
        residual = x if self.residual is None else self.residual(x)
        return accumulate(out, residual) if self.activation else out.add_(residual)


def _block(block: GraphBlock) -> nn.Module:
    return FoldedBlock(block.graph, block.temporal, block.residual)


folds(GraphBlock)(_block)
folds(ProtoGCNBlock)(_block)


@folds(InfoGCNBlock)
def _infogcn_block(block: InfoGCNBlock) -> nn.Module:
    return FoldedBlock(block.graph, block.temporal, block.residual)


@folds(ResidualTemporal)
def _residual_temporal(unit: ResidualTemporal) -> nn.Module:
    return FoldedBlock(nn.Identity(), unit.branches, unit.residual, unit.activation)
