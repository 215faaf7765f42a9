"""The units of networks over heat maps rewritten for inference."""

from torch import Tensor, nn
from torch.nn import functional

from protogcn.inference.folding import Conv, accumulate, fold, folded_sequence, folds, norm_map, scaled
from protogcn.inference.folding import weights as weights_of
from protogcn.models.layers.resnet3d import Bottleneck
from protogcn.models.layers.volume import ConvNorm
from protogcn.models.layers.x3d import InvertedBottleneck

folds(nn.Sequential)(folded_sequence)


class FoldedConvNorm(nn.Module):
    """A convolution that has taken up its batch norm, and the ReLU behind it."""

    def __init__(self, conv: Conv, activation: bool) -> None:
        super().__init__()
        self.conv = conv
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out.relu_() if self.activation else out


@folds(ConvNorm)
def _conv_norm(unit: ConvNorm) -> nn.Module:
    weight, bias = weights_of(unit.conv)
    if unit.bn is not None:
        weight, bias = scaled(weight, bias, *norm_map(unit.bn))
    return FoldedConvNorm(Conv(unit.conv, weight, bias), unit.activation)


class FoldedBottleneck(nn.Module):
    """The residual blocks over volumes: ``relu(last(middle(x)) + shortcut(x))``, added in place."""

    def __init__(self, block: Bottleneck | InvertedBottleneck) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = fold(block.conv1), fold(block.conv2), fold(block.conv3)
        self.downsample = None if block.downsample is None else fold(block.downsample)
        self.gate = block.se_module if isinstance(block, InvertedBottleneck) else None
        self.swish = isinstance(block, InvertedBottleneck) and block.use_swish

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.conv2(self.conv1(x))
        if self.gate is not None:
            out = self.gate(out)
        if self.swish:
            out = functional.silu(out, inplace=True)
        return accumulate(self.conv3(out), shortcut)


@folds(Bottleneck)
def _bottleneck(block: Bottleneck) -> nn.Module:
    return FoldedBottleneck(block)


@folds(InvertedBottleneck)
def _inverted_bottleneck(block: InvertedBottleneck) -> nn.Module:
    return FoldedBottleneck(block)
