"""Graph convolutions over fixed or learned topologies that are the same for every clip."""

from typing import Literal

import torch
from torch import Tensor, nn

from protogcn.models.base import CONV, NORM, conv1x1, joined, shortcut
from protogcn.models.layers.in_place import relu_of_sum
from protogcn.models.layers.norm import BatchNorm2d

Adaptive = Literal["fixed", "importance", "offset", "init"]


class SpatialUnit(nn.Module):
    """``relu(norm(aggregate(x)) + down(x))``, the frame of a graph convolution; a subclass says how joints are mixed.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        residual: whether ``down(x)`` is added: the input itself, or a pointwise convolution of it where widths differ.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    def __init__(self, in_channels: int, out_channels: int, residual: bool) -> None:
        super().__init__()
        self.norm = BatchNorm2d(out_channels)
        self.down = shortcut(in_channels, out_channels) if residual else None

    def aggregate(self, x: Tensor) -> Tensor:
        """Mix joints and channels: (N, C_in, T, V) -> (N, C_out, T, V)."""
        raise TypeError(f"{type(self).__name__} must define aggregate")

    def forward(self, x: Tensor) -> Tensor:
        # Every channel is mixed alike, and with channels last that needs no copies; the units around are faster, too.
        x = x.contiguous(memory_format=torch.channels_last)
        out = self.norm(self.aggregate(x))
        return relu_of_sum(out, None if self.down is None else self.down(x), self.training)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        entries = joined(f"{own}.norm", f"{official}.bn", NORM)
        if isinstance(self.down, nn.Sequential):
            entries |= joined(f"{own}.down.0", f"{official}.down.0", CONV)
            entries |= joined(f"{own}.down.1", f"{official}.down.1", NORM)
        return entries

    def official_optional(self, official: str) -> frozenset[str]:
        """Official entries that only hold the fixed skeleton."""
        return frozenset()


class StaticTopologyConv(SpatialUnit):
    """Graph convolution over K topologies: ``out[w] = sum_k sum_v (W_k x + b_k)[v] * G[k, v, w]``.

    Yan et al., ST-GCN, 2018, section 3.3; PYSKL (Duan et al., 2022) for the ways of learning the topology.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        topology: A, (K, V, V).
        adaptive: how G comes from A. ``"fixed"``: it is A; ``"importance"``: A times a learned mask that starts at one;
            ``"offset"``: A plus a learned matrix that starts near zero; ``"init"``: learned, starting from A.
        residual: whether the unit has a residual path of its own.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    def __init__(
        self, in_channels: int, out_channels: int, topology: Tensor, adaptive: Adaptive, residual: bool
    ) -> None:
        super().__init__(in_channels, out_channels, residual)
        self.adaptive = adaptive
        self.conv = conv1x1(in_channels, len(topology) * out_channels)
        self.A: Tensor
        if adaptive == "init":
            self.A = nn.Parameter(topology.clone())
        else:
            self.register_buffer("A", topology.clone())
        if adaptive in ("fixed", "init"):
            self.register_parameter("PA", None)
        elif adaptive == "importance":
            self.PA = nn.Parameter(torch.ones_like(topology))
        else:
            self.PA = nn.Parameter(torch.empty_like(topology).uniform_(-1e-6, 1e-6))

    def topology(self) -> Tensor:
        """G, (K, V, V)."""
        if self.adaptive == "importance":
            return self.A * self.PA
        return self.A + self.PA if self.adaptive == "offset" else self.A

    def aggregate(self, x: Tensor) -> Tensor:
        topology = self.topology()
        joints = topology.shape[1]
        samples, _, frames, _ = x.shape
        # One product per frame over (joint, topology) pairs.
        parts = self.conv(x).permute(0, 2, 3, 1).reshape(samples * frames, joints * len(topology), -1)
        pairs = topology.permute(2, 1, 0).reshape(1, joints, -1)
        # Not matmul, which would copy the features to fold the frames together.
        mixed = torch.bmm(pairs.expand(samples * frames, -1, -1), parts)
        return mixed.view(samples, frames, joints, -1).permute(0, 3, 1, 2)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        entries = super().official_entries(own, official) | joined(f"{own}.conv", f"{official}.conv", CONV)
        entries[f"{own}.A"] = (f"{official}.A",)
        if self.PA is not None:
            entries[f"{own}.PA"] = (f"{official}.PA",)
        return entries

    def official_optional(self, official: str) -> frozenset[str]:
        return frozenset() if self.adaptive == "init" else frozenset({f"{official}.A"})
