"""What the backbones over volumes (N, C, T, H, W) share: convolution with norm, first weights, freezing."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

Triple = tuple[int, int, int]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU: (N, C_in, T, H, W) -> (N, C_out, T', H', W').

    Odd kernels are padded so that at stride 1 the volume keeps its size.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel: along time, height and width.
        stride: along the same.
        groups: of channels that see only each other.
        activation: whether the ReLU follows.
        norm: whether the batch norm follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        *,
        groups: int = 1,
        activation: bool = True,
        norm: bool = True,
    ) -> None:
        super().__init__()
        padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2, (kernel[2] - 1) // 2)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm3d(out_channels) if norm else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return functional.relu(x, inplace=True) if self.activation else x


class StagedBackbone(nn.Module):
    """A backbone of a stem and stages, the first of which can be frozen.

    A frozen part gets no gradients, and its batch norms keep their statistics in training.

    Args:
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.
    """

    def __init__(self, frozen_stages: int = -1, norm_eval: bool = False) -> None:
        super().__init__()
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def parts(self) -> Sequence[Sequence[nn.Module]]:
        """The modules of the stem, then those of each stage."""
        raise TypeError(f"{type(self).__name__} must define parts")

    def start(self) -> None:
        """First weights (He et al. 2015, fan out), and the freezing; a subclass calls it when it is built.

        Raises:
            ValueError: there are fewer stages than ``frozen_stages`` says.
        """
        stages = len(self.parts()) - 1
        if not -1 <= self.frozen_stages <= stages:
            raise ValueError(
                f"frozen_stages must be -1 (none), 0 (the stem) or up to {stages} (all stages), "
                f"got {self.frozen_stages}"
            )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self._frozen():
            module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        return [module for part in self.parts()[: self.frozen_stages + 1] for module in part]

    def train(self, mode: bool = True) -> "StagedBackbone":
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        return self


def silence(unit: ConvNorm) -> None:
    """Let a unit start by giving zeros, so that a residual block starts as its shortcut (Goyal et al. 2017)."""
    assert unit.bn is not None
    nn.init.zeros_(unit.bn.weight)
    nn.init.zeros_(unit.bn.bias)
