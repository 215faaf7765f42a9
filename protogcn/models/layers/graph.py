"""Graph convolutions over features (N, C, T, V)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from protogcn.models.base import CONV, NORM, conv1x1, joined, shortcut
from protogcn.models.layers.in_place import relu_of_sum, relu_over
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.recompute import note
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
        self.pre_norm = BatchNorm2d(out_channels)
        self.relation = conv1x1(in_channels, 2 * out_channels)
        self.post = conv1x1(out_channels, out_channels)
        self.post_norm = BatchNorm2d(out_channels)
        self.down = shortcut(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        source, target, intra = self._project(x)
        return self._convolve(x, refined_topology(source, target, self.A + intra, self.alpha[0], self.training))

    def forward_with_topology(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C_out, T, V) and the refinement of the topology (N, C_out, V, V)."""
        source, target, intra = self._project(x)
        refinement = refined_topology(source, target, intra, self.alpha[0], self.training)
        return self._convolve(x, refinement + self.A.unsqueeze(1)), refinement.flatten(1, 2)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both projections (N, K, C_out / K, V), and the intra-joint term (N, K, V, V)."""
        # The projections are linear, so time is averaged first: same numbers, a T-th of the work. The gradient of a sum
        # is a view, that of a mean a copy.
        mean = x.sum(2, keepdim=True) / x.shape[2]
        projected = self.relation(mean).squeeze(2)
        source, target = projected.unflatten(1, (2, self.num_topologies, -1)).unbind(1)
        return source, target, torch.softmax(source.transpose(-1, -2) @ target, -2) * self.beta[0]

    def _convolve(self, x: Tensor, topology: Tensor) -> Tensor:
        features = relu_over(self.pre_norm(self.pre(x)), self.training)
        joints = features.shape[-1]
        mixed = (features.flatten(0, 1) @ topology.reshape(-1, joints, joints)).view(features.shape)
        return relu_of_sum(self.post_norm(self.post(mixed)), self.down(x), self.training, keep=True)

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


def refined_topology(source: Tensor, target: Tensor, shared: Tensor, alpha: Tensor, training: bool) -> Tensor:
    """``alpha * tanh(source[u] - target[v]) + shared[u, v]`` for each channel.

    Shapes: twice (N, K, C, V), and (N, K, V, V), to (N, K, C, V, V); alpha has no axis.
    """
    if not training or torch.compiler.is_compiling():
        return _combine(_differences(source, target), shared, alpha)
    topology, inter = _RefinedTopology.apply(source, target, shared, alpha)
    return note(topology, _combine, inter, shared, alpha)


def _differences(source: Tensor, target: Tensor) -> Tensor:
    return torch.tanh_(source.unsqueeze(-1) - target.unsqueeze(-2))


def _combine(inter: Tensor, shared: Tensor, alpha: Tensor) -> Tensor:
    # In the precision in which it is applied: autocast would make a copy of it.
    return torch.addcmul(shared.to(inter.dtype).unsqueeze(2), inter, alpha.to(inter.dtype))


class _RefinedTopology(torch.autograd.Function):
    """Also gives the differences; for the gradient it multiplies by alpha what is small, not what is large."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, shared: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        inter = _differences(source, target)
        ctx.save_for_backward(inter, alpha)
        ctx.mark_non_differentiable(inter)
        return _combine(inter, shared, alpha), inter

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        inter, alpha = ctx.saved_tensors
        gradient = gradient.contiguous()
        # A dot product of reduced precision is slow on CPUs.
        if inter.dtype.itemsize > 2:
            of_alpha = torch.dot(gradient.flatten(), inter.flatten())
        else:
            of_alpha = (gradient * inter).sum()
        inside, scale = torch.ops.aten.tanh_backward(gradient, inter), alpha.to(inter.dtype)
        of_shared = gradient.sum(2).to(alpha.dtype)
        return inside.sum(-1) * scale, inside.sum(-2) * -scale, of_shared, of_alpha.to(alpha.dtype)


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
