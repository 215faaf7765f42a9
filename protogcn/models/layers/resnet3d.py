"""The bottleneck ResNet over volumes: SlowOnly, the pathways of RGBPoseConv3D, I3D."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.layers.volume import ConvNorm, StagedBackbone, Triple, silence
from protogcn.models.options import check_counts

EXPANSION = 4
Inflate = Sequence[int | Sequence[int]]


class Bottleneck(nn.Module):
    """``relu(conv3(conv2(conv1(x))) + shortcut(x))``: (N, C_in, T, H, W) -> (N, 4 * planes, T', H', W').

    A first convolution along time if inflated, else pointwise; a spatial one that strides; a pointwise one that widens
    (He et al. 2016; Feichtenhofer et al. 2019). As in the official code a stride along time alone makes no convolution
    on the shortcut.

    Args:
        in_channels: C_in.
        planes: inner width.
        stride: along time and along height and width.
        inflated: whether the first convolution sees three frames.
        first: whether it opens a stage, where the shortcut may need a convolution.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: tuple[int, int] = (1, 1),
        inflated: bool = False,
        first: bool = False,
    ) -> None:
        super().__init__()
        widened = EXPANSION * planes
        strides = (stride[0], stride[1], stride[1])
        self.conv1 = ConvNorm(in_channels, planes, (3, 1, 1) if inflated else (1, 1, 1))
        self.conv2 = ConvNorm(planes, planes, (1, 3, 3), strides)
        self.conv3 = ConvNorm(planes, widened, activation=False)
        projects = first and (stride[1] != 1 or in_channels != widened)
        self.downsample = ConvNorm(in_channels, widened, stride=strides, activation=False) if projects else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.conv3(self.conv2(self.conv1(x))) + shortcut, inplace=True)


class ResNet3d(StagedBackbone):
    """Stem, max-pool and stages of bottlenecks: (N, C, T, H, W) -> (N, num_features, T', H', W').

    Stage i (from 0) is called ``layer{i + 1}``, has the inner width ``base_channels * 2**i`` and gives four times that.
    The max-pool is always applied, also at stride 1, as in the official code. Duan et al. 2022, table 1.

    Args:
        in_channels: C.
        base_channels: width of the stem.
        stage_blocks: blocks of each stage.
        stem_kernel: of the first convolution, along time, height and width; odd.
        stem_stride: of it, along time and along height and width.
        pool_stride: of the max-pool after it, along the same.
        pool_frames: whether a max-pool halves the frame rate after the first stage (I3D).
        inflate: for each stage, or for each block of each stage, whether its first convolution sees three frames (1) or
            one (0).
        spatial_strides: of each stage.
        temporal_strides: of each stage.
        extra_channels: what each stage gets beside the output of the one before (RGBPoseConv3D's other pathway).
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
        base_channels: int = 64,
        stage_blocks: Sequence[int] = (3, 4, 6, 3),
        stem_kernel: Sequence[int] = (1, 7, 7),
        stem_stride: Sequence[int] = (1, 2),
        pool_stride: Sequence[int] = (1, 2),
        pool_frames: bool = False,
        inflate: Inflate = (0, 0, 1, 1),
        spatial_strides: Sequence[int] = (1, 2, 2, 2),
        temporal_strides: Sequence[int] = (1, 1, 1, 1),
        extra_channels: Sequence[int] = (),
        zero_init_residual: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval)
        check_counts(in_channels=in_channels, base_channels=base_channels)
        check_stages(len(stage_blocks), stage_blocks=stage_blocks)
        stages = len(stage_blocks)
        check_stages(stages, spatial_strides=spatial_strides, temporal_strides=temporal_strides)
        check_stages(2, "one for time and one for height and width", stem_stride=stem_stride, pool_stride=pool_stride)
        check_stages(3, "one each for time, height and width", stem_kernel=stem_kernel)
        if any(size % 2 == 0 for size in stem_kernel):
            raise ValueError(f"stem_kernel must be odd numbers, got {list(stem_kernel)}")
        flags = block_flags(inflate, stage_blocks)
        beside = list(extra_channels) or [0] * stages
        if len(beside) != stages:
            raise ValueError(f"extra_channels must have {stages} entries (one for each stage), got {beside}")

        stem: Triple = (stem_kernel[0], stem_kernel[1], stem_kernel[2])
        self.conv1 = ConvNorm(in_channels, base_channels, stem, (stem_stride[0], stem_stride[1], stem_stride[1]))
        self.maxpool = nn.MaxPool3d((1, 3, 3), (pool_stride[0], pool_stride[1], pool_stride[1]), (0, 1, 1))
        self.pool2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1)) if pool_frames else None
        self.num_stages = stages
        width = base_channels
        for index, (blocks, extra) in enumerate(zip(stage_blocks, beside, strict=True)):
            planes = base_channels * 2**index
            stride = (temporal_strides[index], spatial_strides[index])
            row = [Bottleneck(width + extra, planes, stride, flags[index][0], first=True)]
            width = EXPANSION * planes
            row += [Bottleneck(width, planes, inflated=flags[index][block]) for block in range(1, blocks)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*row))
        self.num_features = width
        self.start()
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Bottleneck):
                    silence(module.conv3)

    def parts(self) -> Sequence[Sequence[nn.Module]]:
        return [[self.conv1], *([stage] for stage in self.stages())]

    def stages(self) -> Iterator[nn.Module]:
        """``layer1`` and those that follow."""
        return (self.get_submodule(f"layer{index + 1}") for index in range(self.num_stages))

    def stem(self, x: Tensor) -> Tensor:
        """First convolution and max-pool."""
        x = self.maxpool(self.conv1(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, stage in enumerate(self.stages()):
            x = stage(x)
            if index == 0 and self.pool2 is not None:
                x = self.pool2(x)
        return x


def check_stages(count: int, meaning: str = "one for each stage", **values: Sequence[int]) -> None:
    """Refuse lists that have another length, or hold what is no positive integer.

    Raises:
        ValueError: naming the list.
    """
    for name, entries in values.items():
        if not entries or len(entries) != count:
            raise ValueError(f"{name} must have {count or 'some'} entries ({meaning}), got {list(entries)}")
        for entry in entries:
            check_counts(**{f"each entry of {name}": entry})


def block_flags(inflate: Inflate, stage_blocks: Sequence[int]) -> list[list[bool]]:
    """For every block of every stage whether it is inflated.

    Raises:
        ValueError: there is not one entry for each stage, or one for each of its blocks, or one that is not 0 or 1.
    """
    if len(inflate) != len(stage_blocks):
        raise ValueError(f"inflate must have {len(stage_blocks)} entries (one for each stage), got {list(inflate)}")
    flags = []
    for stage, (entry, blocks) in enumerate(zip(inflate, stage_blocks, strict=True), start=1):
        row = list(entry) if isinstance(entry, Sequence) else [entry] * blocks
        if len(row) != blocks or any(flag not in (0, 1) for flag in row):
            raise ValueError(
                f"inflate must say 0 or 1 for stage {stage}, or for each of its {blocks} blocks; got {entry!r}"
            )
        flags.append([bool(flag) for flag in row])
    return flags
