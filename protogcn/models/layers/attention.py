"""Graph convolution by self-attention over features (N, C, T, V)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, conv1x1, joined, shortcut
from protogcn.models.layers.norm import BatchNorm2d


class AttentionGraphConv(nn.Module):
    """Graph convolution whose topology is self-attention between the joints of a frame, times a learned matrix.

    For each of H heads ``A = softmax(Q K^T / sqrt(d)) * S`` and ``out = sum_h A_h x W_h + b_h`` (section 3.3). What
    the heads gather for a joint lies side by side, so that one product sums over them.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    # A query or key has an eighth of the channels of the input.
    REDUCTION = 8

    def __init__(self, in_channels: int, out_channels: int, skeleton: Skeleton, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.width = in_channels // self.REDUCTION
        self.pre_norm = nn.LayerNorm(in_channels)
        self.query_key = nn.Linear(in_channels, 2 * num_heads * self.width)
        identity = skeleton.adjacency("identity", num_topologies=num_heads)
        self.topology = nn.Parameter(torch.from_numpy(identity).to(torch.get_default_dtype()))
        self.heads = conv1x1(in_channels, num_heads * out_channels)
        self.norm = BatchNorm2d(out_channels)
        self.down = shortcut(in_channels, out_channels)
        nn.init.normal_(self.query_key.weight)
        nn.init.normal_(self.heads.weight, std=math.sqrt(2 / (in_channels * out_channels * num_heads)))
        assert self.heads.bias is not None
        nn.init.zeros_(self.heads.bias)
        # The graph branch starts switched off.
        nn.init.constant_(self.norm.weight, 1e-6)
        initialise_shortcut(self.down)

    def forward(self, x: Tensor) -> Tensor:
        nodes = x.permute(0, 2, 3, 1)
        joints, channels = nodes.shape[2:]
        # All heads of a joint side by side: (N, T, V, H, V), in the precision of the features.
        topology = (self.attention(x) * self.topology).transpose(2, 3)
        topology = topology.to(x.dtype, memory_format=torch.contiguous_format)
        gathered = topology.reshape(-1, joints * self.num_heads, joints) @ nodes.reshape(-1, joints, channels)
        weight = self.heads.weight.view(self.num_heads, -1, channels).transpose(0, 1).flatten(1)
        assert self.heads.bias is not None
        bias = self.heads.bias.view(self.num_heads, -1).sum(0)
        mixed = functional.linear(gathered.view(*nodes.shape[:3], -1), weight, bias).permute(0, 3, 1, 2)
        return functional.relu(self.norm(mixed) + self.down(x))

    def attention(self, x: Tensor) -> Tensor:
        """Features (N, C_in, T, V) to what each joint attends to, (N, T, H, V, V), rows summing to one."""
        # Queries and keys share the scale of their products, and the weights are the smallest to carry it.
        scale = self.width**-0.25
        normed = self.pre_norm(x.permute(0, 2, 3, 1))
        projected = functional.linear(normed, self.query_key.weight * scale, self.query_key.bias * scale)
        by_head = projected.unflatten(-1, (2, self.num_heads, self.width)).permute(3, 0, 1, 4, 2, 5)
        query, key = by_head.contiguous().unbind(0)
        scores = query @ key.transpose(-1, -2)
        # Full precision is exact and, on a CPU, three times as fast as a reduced one.
        return torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        heads = [f"{official}.conv_d.{head}" for head in range(self.num_heads)]
        entries = joined(f"{own}.pre_norm", f"{official}.attn.ln", CONV)
        entries |= joined(f"{own}.query_key", f"{official}.attn.to_qk", CONV)
        entries[f"{own}.topology"] = (f"{official}.shared_topology",)
        entries |= joined(f"{own}.heads", heads, CONV) | joined(f"{own}.norm", f"{official}.bn", NORM)
        if not isinstance(self.down, nn.Identity):
            entries |= joined(f"{own}.down.0", f"{official}.down.0", CONV)
            entries |= joined(f"{own}.down.1", f"{official}.down.1", NORM)
        return entries


def initialise_shortcut(path: nn.Module) -> None:
    """Draw the convolution of a residual path as He et al. 2015 do for its outputs; its bias starts at zero."""
    for conv in path.children():
        if isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
            nn.init.zeros_(conv.bias)
