"""X3D (Feichtenhofer, CVPR 2020), made shallow for heat maps by Duan et al. 2022."""

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.layers.resnet3d import check_stages
from protogcn.models.layers.volume import ConvNorm, StagedBackbone, Triple, silence
from protogcn.models.options import check_counts


def round_width(width: float, divisor: int = 8) -> int:
    """The multiple of a number that is nearest to a width, at least that number, and not below nine tenths of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate of their own means (Hu et al. 2018): (N, C, T, H, W) -> the same."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        inner = round_width(channels * ratio)
        self.fc1 = nn.Conv3d(channels, inner, 1)
        self.fc2 = nn.Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(functional.relu(self.fc1(x.mean((2, 3, 4), keepdim=True))))
        return x * gate.sigmoid()


class InvertedBottleneck(nn.Module):
    """Widen, a depth-wise 3x3x3 convolution, narrow: (N, C_in, T, H, W) -> (N, C_out, T, H', W').

    Args:
        in_channels: C_in.
        planes: inner width.
        out_channels: C_out.
        stride: along height and width.
        se_ratio: inner width of the gate as a part of ``planes``; None for no gate.
        use_swish: whether a swish follows the depth-wise convolution.
    """

    def __init__(
        self, in_channels: int, planes: int, out_channels: int, stride: int, se_ratio: float | None, use_swish: bool
    ) -> None:
        super().__init__()
        strides = (1, stride, stride)
        self.conv1 = ConvNorm(in_channels, planes)
        self.conv2 = ConvNorm(planes, planes, (3, 3, 3), strides, groups=planes, activation=False)
        self.se_module = None if se_ratio is None else SqueezeExcite(planes, se_ratio)
        self.use_swish = use_swish
        self.conv3 = ConvNorm(planes, out_channels, activation=False)
        projects = stride != 1 or in_channels != out_channels
        self.downsample = ConvNorm(in_channels, out_channels, stride=strides, activation=False) if projects else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.conv2(self.conv1(x))
        if self.se_module is not None:
            out = self.se_module(out)
        if self.use_swish:
            out = functional.silu(out)
        return functional.relu(self.conv3(out) + shortcut, inplace=True)


class X3D(StagedBackbone):
    """Spatial stem, depth-wise temporal stem, stages, a last widening: (N, C, T, H, W) -> (N, num_features, T, H', W').

    No norm and no activation stand between the two convolutions of the stem, as in the official code.

    Args:
        in_channels: C.
        base_channels: width of the stem; stage i (from 0) gives ``2**i`` times that.
        stage_blocks: blocks of each stage.
        spatial_strides: of each stage.
        gamma_w: factor of ``base_channels``, rounded to a multiple of 8.
        gamma_b: inner width of a block over its outer one.
        gamma_d: factor of ``stage_blocks``, rounded up.
        se_ratio: inner width of the channel gates of every other block; None for no gates.
        use_swish: whether a swish follows the depth-wise convolutions.
        zero_init_residual: whether the last norm of every residual branch starts at zero.
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.

    Raises:
        ValueError: a list has not one entry for each stage, or a value is out of range; the message names it.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: int = 24,
        stage_blocks: Sequence[int] = (2, 5, 3),
        spatial_strides: Sequence[int] = (2, 2, 2),
        gamma_w: float = 1.0,
        gamma_b: float = 2.25,
        gamma_d: float = 1.0,
        se_ratio: float | None = None,
        use_swish: bool = False,
        zero_init_residual: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval)
        check_counts(in_channels=in_channels, base_channels=base_channels)
        check_stages(len(stage_blocks), stage_blocks=stage_blocks)
        check_stages(len(stage_blocks), spatial_strides=spatial_strides)
        for word, factor in (("gamma_w", gamma_w), ("gamma_d", gamma_d), ("se_ratio", se_ratio)):
            if factor is not None and factor <= 0:
                raise ValueError(f"{word} must be above 0, got {factor}")
        base = round_width(base_channels * gamma_w)
        if gamma_b * base < 1:
            raise ValueError(f"gamma_b must leave a channel of the {base} of the first stage, got {gamma_b}")
        stem: Triple = (1, 3, 3)
        self.conv1_s = ConvNorm(in_channels, base, stem, (1, 2, 2), activation=False, norm=False)
        self.conv1_t = ConvNorm(base, base, (5, 1, 1), groups=base)
        self.num_stages = len(stage_blocks)
        before = base
        for index, (blocks, stride) in enumerate(zip(stage_blocks, spatial_strides, strict=True)):
            width = base * 2**index
            row = [
                InvertedBottleneck(
                    width if block else before,
                    int(width * gamma_b),
                    width,
                    1 if block else stride,
                    None if block % 2 else se_ratio,
                    use_swish,
                )
                for block in range(math.ceil(blocks * gamma_d))
            ]
            self.add_module(f"layer{index + 1}", nn.Sequential(*row))
            before = width
        self.num_features = int(before * gamma_b)
        self.conv5 = ConvNorm(before, self.num_features)
        self.start()
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, InvertedBottleneck):
                    silence(module.conv3)

    def parts(self) -> Sequence[Sequence[nn.Module]]:
        return [[self.conv1_s, self.conv1_t], *([stage] for stage in self.stages())]

    def stages(self) -> Iterator[nn.Module]:
        """``layer1`` and those that follow."""
        return (self.get_submodule(f"layer{index + 1}") for index in range(self.num_stages))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1_t(self.conv1_s(x))
        for stage in self.stages():
            x = stage(x)
        x = self.conv5(x)
        return x
