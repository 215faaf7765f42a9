"""The light C3D (Tran et al. 2015, as Duan et al. 2022 cut it down for heat maps)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.layers.volume import ConvNorm, StagedBackbone, Triple
from protogcn.models.options import check_counts

# Convolutions of each stage with their width as a multiple of the first.
_STAGES = (
    (("conv1a", 1),),
    (("conv2a", 2),),
    (("conv3a", 4), ("conv3b", 4)),
    (("conv4a", 8), ("conv4b", 8)),
    (("conv5a", 8), ("conv5b", 8)),
)


class LightC3D(StagedBackbone):
    """3x3x3 convolutions with average pools between the stages: (N, C, T, H, W) -> (N, 8 * base_channels, T', H', W').

    The pools halve height and width, and drop what is odd, as in the official code.

    Args:
        in_channels: C.
        base_channels: width of the first convolution.
        num_stages: pools, 3 or 4; the stage before the first pool is not counted.
        temporal_downsample: whether all pools but the first halve the frame rate too.
        frozen_stages: -1 for none, 0 for the first convolution, k for it and the stages up to the k-th pool's.
        norm_eval: whether every batch norm keeps its statistics in training.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: int = 32,
        num_stages: int = 3,
        temporal_downsample: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval)
        check_counts(in_channels=in_channels, base_channels=base_channels)
        if num_stages not in (3, 4):
            raise ValueError(f"num_stages of C3D must be 3 or 4, got {num_stages!r}")
        self.num_stages = num_stages
        self.temporal_downsample = temporal_downsample
        width = in_channels
        for row in _STAGES[: num_stages + 1]:
            for name, factor in row:
                self.add_module(name, ConvNorm(width, factor * base_channels, (3, 3, 3)))
                width = factor * base_channels
        self.num_features = width
        frames = 2 ** (num_stages - 1) if temporal_downsample else 1
        self.smallest: Triple = (frames, 2**num_stages, 2**num_stages)
        self.start()

    def parts(self) -> Sequence[Sequence[nn.Module]]:
        return [[self.get_submodule(name) for name, _ in row] for row in _STAGES[: self.num_stages + 1]]

    def forward(self, x: Tensor) -> Tensor:
        if any(size < least for size, least in zip(x.shape[2:], self.smallest, strict=True)):
            raise ValueError(
                "the pools of this C3D need a volume of at least {} frames, {} rows and {} columns".format(
                    *self.smallest
                )
                + f"; got {tuple(x.shape[2:])}"
            )
        for stage, modules in enumerate(self.parts()):
            if stage:
                x = halve(x, frames=self.temporal_downsample and stage > 1)
            for module in modules:
                x = module(x)
        return x


def halve(x: Tensor, frames: bool) -> Tensor:
    """Means of 2 x 2 pixels, or of 2 x 2 x 2; what is odd is dropped: (N, C, T, H, W) -> (N, C, T', H / 2, W / 2)."""
    # The pool over three axes does not know bfloat16 on a processor; this is the same.
    if frames:
        x = x[:, :, : x.shape[2] // 2 * 2].unflatten(2, (-1, 2)).mean(3)
    return functional.avg_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3])
