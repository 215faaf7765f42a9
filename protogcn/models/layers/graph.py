"""Graph convolutions over features (N, C, T, V)."""

import torch
from torch import Tensor, nn

from protogcn.models.base import CONV, NORM, conv1x1, joined, shortcut
from protogcn.models.layers.in_place import relu_of_sum, relu_over
from protogcn.models.layers.temporal import MultiBranchTemporal


class DynamicTopologyConv(nn.Module):
    """Graph convolution whose topology is learned and, per clip, refined between and within joints.

    For each of K topologies, with q and p two projections of the time-averaged features:
    ``G[u, v] = A[u, v] + alpha * tanh(q[u] - p[v]) + beta * softmax_u(q[u] . p[v])``; the tanh term differs per channel
    (inter-joint), the softmax term is shared by the channels of a topology (intra-joint). ProtoGCN, Liu et al. 2025,
    section 3.2 (motion topology enhancement); the same unit serves DG-STGCN.

    ``alpha`` and ``beta`` have one entry per topology and, as in the released networks, only the first is used.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V), and the refinement (N, C_out, V, V) without A when asked for.
    """

    def __init__(self, in_channels: int, out_channels: int, num_joints: int, num_topologies: int = 8) -> None:
        super().__init__()
        if out_channels % num_topologies:
            raise ValueError(f"{out_channels} channels cannot be shared evenly by {num_topologies} topologies")
        self.num_topologies = num_topologies
        self.A = nn.Parameter(torch.randn(num_topologies, num_joints, num_joints) * 0.02 + 0.04)
        self.alpha = nn.Parameter(torch.zeros(num_topologies))
        self.beta = nn.Parameter(torch.zeros(num_topologies))
        self.pre = conv1x1(in_channels, out_channels)
        self.pre_norm = nn.BatchNorm2d(out_channels)
        self.relation = conv1x1(in_channels, 2 * out_channels)
        self.post = conv1x1(out_channels, out_channels)
        self.post_norm = nn.BatchNorm2d(out_channels)
        self.down = shortcut(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(x, self._refinements(x))

    def forward_with_topology(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C_out, T, V) and the refinement of the topology (N, C_out, V, V)."""
        inter, intra = self._refinements(x)
        topology = (inter + intra.unsqueeze(2)).flatten(1, 2)
        return self._convolve(x, (inter, intra)), topology

    def _refinements(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The projections are linear, so time is averaged first: same numbers, a T-th of the work.
        projected = self.relation(x.mean(2, keepdim=True)).squeeze(2)
        source, target = projected.unflatten(1, (2, self.num_topologies, -1)).unbind(1)
        inter = torch.tanh(source.unsqueeze(-1) - target.unsqueeze(-2)) * self.alpha[0]
        intra = torch.softmax(source.transpose(-1, -2) @ target, -2) * self.beta[0]
        return inter, intra

    def _convolve(self, x: Tensor, refinements: tuple[Tensor, Tensor]) -> Tensor:
        inter, intra = refinements
        topology = inter + (self.A + intra).unsqueeze(2)
        features = relu_over(self.pre_norm(self.pre(x)), self.training)
        samples, channels, frames, joints = features.shape
        mixed = features.reshape(samples * channels, frames, joints) @ topology.reshape(
            samples * channels, joints, joints
        )
        out = self.post_norm(self.post(mixed.view(samples, channels, frames, joints)))
        return relu_of_sum(out, self.down(x), self.training)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        entries: dict[str, tuple[str, ...]] = {
            f"{own}.{name}": (f"{official}.{name}",) for name in ("A", "alpha", "beta")
        }
        entries |= joined(f"{own}.pre", f"{official}.pre.0", CONV) | joined(
            f"{own}.pre_norm", f"{official}.pre.1", NORM
        )
        entries |= joined(f"{own}.relation", [f"{official}.conv1", f"{official}.conv2"], CONV)
        entries |= joined(f"{own}.post", f"{official}.post", CONV) | joined(f"{own}.post_norm", f"{official}.bn", NORM)
        if not isinstance(self.down, nn.Identity):
            entries |= joined(f"{own}.down.0", f"{official}.down.0", CONV)
            entries |= joined(f"{own}.down.1", f"{official}.down.1", NORM)
        return entries


def check_dynamic_width(base_channels: int, num_topologies: int) -> None:
    """Refuse a width that the topologies cannot share, or too narrow for a :class:`MultiBranchTemporal` behind them.

    Raises:
        ValueError: saying what the width must be.
    """
    least = MultiBranchTemporal.BRANCHES
    if base_channels < least or base_channels % num_topologies:
        raise ValueError(
            f"base_channels must be a multiple of num_topologies ({num_topologies}) and at least {least}, "
            f"a channel for each temporal branch; got {base_channels}"
        )
