"""The units of MS-G3D rewritten for inference."""

from torch import Tensor, nn
from torch.nn import functional

from protogcn.inference.folding import constant, fold, folds, norm_map, scaled, weights
from protogcn.models.layers.multi_scale import MultiScaleConv
from protogcn.models.msg3d import MSG3DBlock, WindowedConv


class FoldedMultiScale(nn.Module):
    """:class:`protogcn.models.layers.multi_scale.MultiScaleConv`, its graph laid out beforehand."""

    def __init__(self, unit: MultiScaleConv) -> None:
        super().__init__()
        self.window, self.stride, self.joints_first = unit.window, unit.stride, unit.joints_first
        self.scales = len(unit.topology)
        weight, bias = scaled(*weights(unit.conv), *norm_map(unit.norm))
        graph = (unit.topology.double() + unit.offset.detach().double()).unflatten(1, (self.window, -1))
        if self.joints_first:
            mixing = graph.permute(0, 3, 2, 1).flatten(0, 1)
            weight = weight.view(len(weight), self.scales, -1, 1).transpose(1, 2)
        else:
            mixing = graph.permute(3, 0, 2, 1).flatten(1, 2)
            # The scales are outputs of the convolution, each with the weights of all channels.
            weight = weight.view(len(weight) * self.scales, -1, 1, 1)
        constant(self, unit.offset, mixing=mixing.unsqueeze(3).contiguous(), weight=weight.contiguous(), bias=bias)
        self.mixing: Tensor
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.joints_first:
            mixed = self._over_time(x).flatten(0, 1).unflatten(2, (self.scales, -1))
            out = functional.conv2d(mixed, self.weight, self.bias).squeeze(2).unflatten(2, (self.window, -1))
        else:
            joints = x.shape[3]
            by_scale = functional.conv2d(x.flatten(0, 1).unsqueeze(2), self.weight)
            mixed = self._over_time(by_scale.view(*x.shape[:2], -1, self.scales * joints)).flatten(0, 1)
            out = mixed.unflatten(2, (self.window, -1)) + self.bias[:, None, None]
        return out.relu_().unflatten(0, (x.shape[0], -1))

    def _over_time(self, x: Tensor) -> Tensor:
        padding = self.window // 2
        out = functional.conv2d(x.permute(0, 3, 1, 2), self.mixing, stride=(self.stride, 1), padding=(padding, 0))
        return out.permute(0, 2, 3, 1)


@folds(MultiScaleConv)
def _multi_scale(unit: MultiScaleConv) -> nn.Module:
    return FoldedMultiScale(unit)


class FoldedWindowed(nn.Module):
    """:class:`protogcn.models.msg3d.WindowedConv`."""

    def __init__(self, unit: WindowedConv) -> None:
        super().__init__()
        self.mix = fold(unit.mix)
        weight, bias = scaled(*weights(unit.merge), *norm_map(unit.norm))
        constant(self, unit.merge.weight, weight=weight.squeeze(2), bias=bias)
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        windows = self.mix(x)
        out = functional.conv2d(windows.flatten(0, 1), self.weight, self.bias)
        return out.squeeze(2).unflatten(0, windows.shape[:2])


@folds(WindowedConv)
def _windowed(unit: WindowedConv) -> nn.Module:
    return FoldedWindowed(unit)


class FoldedMSG3DBlock(nn.Module):
    """:class:`protogcn.models.msg3d.MSG3DBlock`."""

    def __init__(self, block: MSG3DBlock) -> None:
        super().__init__()
        self.spatial = fold(block.spatial)
        self.frames = nn.Sequential(*(fold(unit) for unit in block.frames))
        self.windows = nn.ModuleList(fold(window) for window in block.windows)
        self.temporal = fold(block.temporal)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).contiguous()
        out: Tensor = self.frames(self.spatial(frames).squeeze(3).transpose(1, 2).contiguous())
        for window in self.windows:
            out = out.add_(window(frames).transpose(1, 2))
        last: Tensor = self.temporal(out.relu_())
        return last


@folds(MSG3DBlock)
def _msg3d_block(block: MSG3DBlock) -> nn.Module:
    return FoldedMSG3DBlock(block)
