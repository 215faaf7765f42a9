"""Graph convolution over several scales of a skeleton, in a frame or across a window of frames."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.base import CONV, NORM, conv1x1, joined
from protogcn.models.layers.norm import BatchNorm2d


class MultiScaleConv(nn.Module):
    """Graph convolution over K scales of a graph that spans a window of w frames.

    Liu et al., MS-G3D, CVPR 2020, sections 3.2 and 3.3.

    ``out[(j, u)] = relu(norm(sum_k W_k sum_(i, v) x[i, v] G_k[(i, v), (j, u)] + b))`` for every window of the clip,
    padded with zeros; i and j are frames of the window, v and u joints. G is the fixed graph plus a learned offset.

    The windows are never laid out: summing over their frames and joints is a convolution along time whose channels are
    joints (and scales). It comes before or after W, whichever is less work; both are linear.

    Shapes: frames (N, T, C_in, V) -> (N, ceil(T / stride), C_out, w, V).

    Args:
        in_channels: C_in.
        out_channels: C_out.
        topology: the fixed graph (K, w * V, w * V), the frame being the slow index.
        window: w, odd.
        stride: along time.
    """

    sees_rows_alone = False
    """Its batch norm takes every frame for a row."""

    def __init__(self, in_channels: int, out_channels: int, topology: Tensor, window: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.window = window
        self.stride = stride
        self.joints_first = in_channels < out_channels
        self.topology: Tensor
        self.register_buffer("topology", topology)
        self.offset = nn.Parameter(torch.empty_like(topology).uniform_(-1e-6, 1e-6))
        self.conv = conv1x1(len(topology) * in_channels, out_channels)
        self.norm = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self._joints_first(x) if self.joints_first else self._channels_first(x)
        return functional.relu(self.norm(out)).unflatten(0, (x.shape[0], -1))

    def _joints_first(self, x: Tensor) -> Tensor:
        scales, channels = len(self.topology), x.shape[2]
        mixed = self._over_time(x, self._graph().permute(0, 3, 2, 1).flatten(0, 1))
        mixed = mixed.flatten(0, 1).unflatten(2, (scales, -1))
        weight = self.conv.weight.view(-1, scales, channels, 1).transpose(1, 2)
        return functional.conv2d(mixed, weight, self.conv.bias).squeeze(2).unflatten(2, (self.window, -1))

    def _channels_first(self, x: Tensor) -> Tensor:
        channels, joints = x.shape[2:]
        weight = self.conv.weight.view(-1, channels, 1, 1)
        scaled = functional.conv2d(x.flatten(0, 1).unsqueeze(2), weight)
        scaled = scaled.view(*x.shape[:2], -1, len(self.topology) * joints)
        mixed = self._over_time(scaled, self._graph().permute(3, 0, 2, 1).flatten(1, 2))
        assert self.conv.bias is not None
        return mixed.flatten(0, 1).unflatten(2, (self.window, -1)) + self.conv.bias[:, None, None]

    def _graph(self) -> Tensor:
        """(K, w, V, w * V)."""
        return (self.topology + self.offset).unflatten(1, (self.window, -1))

    def _over_time(self, x: Tensor, weight: Tensor) -> Tensor:
        """Features (N, T, C, J) to (N, T', C, O) by weights (O, J, w)."""
        padding = self.window // 2
        # Joints take the place of channels, which lie innermost in memory as convolutions like it.
        out = functional.conv2d(
            x.permute(0, 3, 1, 2), weight.unsqueeze(3), stride=(self.stride, 1), padding=(padding, 0)
        )
        return out.permute(0, 2, 3, 1)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        entries: dict[str, tuple[str, ...]] = {
            f"{own}.topology": (f"{official}.A",),
            f"{own}.offset": (f"{official}.PA",),
        }
        entries |= joined(f"{own}.conv", f"{official}.mlp.layers.0", CONV)
        return entries | joined(f"{own}.norm", f"{official}.mlp.layers.1", NORM)
