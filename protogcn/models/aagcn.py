"""AAGCN (Shi et al., Multi-Stream Adaptive Graph Convolutional Networks, TIP 2020), as PYSKL released it.

An adaptive graph per clip, like 2s-AGCN, followed by attention over joints, frames and channels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, PersonInputNorm, conv1x1, joined
from protogcn.models.layers.blocks import BlockNetwork, GraphBlock
from protogcn.models.layers.released import pyskl_graph
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.layers.static import SpatialUnit
from protogcn.models.layers.temporal import PlainTemporal, later_dropout
from protogcn.models.registry import register_model


class JointFrameChannelAttention(nn.Module):
    """Three gates in a row, over joints, frames and channels: ``y * sigmoid(...) + y`` each (section 3.4).

    Later gates see what the earlier ones left, but need only its means, so the features themselves are scaled once.

    Shapes: (N, C, T, V) -> the same.
    """

    FRAMES = 9

    def __init__(self, channels: int, num_joints: int) -> None:
        super().__init__()
        # An odd kernel keeps the number of joints.
        kernel = num_joints - 1 + num_joints % 2
        self.joints = nn.Conv1d(channels, 1, kernel, padding=(kernel - 1) // 2)
        self.frames = nn.Conv1d(channels, 1, self.FRAMES, padding=(self.FRAMES - 1) // 2)
        self.squeeze = nn.Linear(channels, channels // 2)
        self.excite = nn.Linear(channels // 2, channels)
        nn.init.xavier_normal_(self.joints.weight)
        nn.init.zeros_(self.frames.weight)
        nn.init.kaiming_normal_(self.squeeze.weight)
        nn.init.zeros_(self.excite.weight)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        joints = 1 + torch.sigmoid(self.joints(x.mean(2)))
        per_frame = (x @ joints.unsqueeze(-1)).squeeze(-1) / x.shape[-1]
        frames = 1 + torch.sigmoid(self.frames(per_frame))
        per_channel = (per_frame * frames).mean(2)
        channels = 1 + torch.sigmoid(self.excite(functional.relu(self.squeeze(per_channel))))
        return x * (frames.unsqueeze(-1) * joints.unsqueeze(-2)) * channels[:, :, None, None]

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        names = {"joints": "conv_sa", "frames": "conv_ta", "squeeze": "fc1c", "excite": "fc2c"}
        entries = [joined(f"{own}.{part}", f"{official}.{name}", CONV) for part, name in names.items()]
        return {key: names for part in entries for key, names in part.items()}


class AdaptiveTopologyConv(SpatialUnit):
    """Graph convolution over K learned topologies, each refined per clip, and attention behind it.

    ``G_k[v, w] = A_k[v, w] + alpha * tanh(sum over channels and frames of a_k[v] * b_k[w] / their number)``, with a and
    b two projections of the features to a quarter of C_out (section 3.2; the released code has tanh where the paper
    has a softmax). The features mixed by each G_k are projected and summed.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    NARROWING = 4

    def __init__(self, in_channels: int, out_channels: int, topology: Tensor) -> None:
        super().__init__(in_channels, out_channels, residual=True)
        count, joints, _ = topology.shape
        self.width = out_channels // self.NARROWING
        self.A = nn.Parameter(topology.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.relation = conv1x1(in_channels, 2 * count * self.width)
        self.mix = conv1x1(in_channels, count * out_channels)
        self.attention = JointFrameChannelAttention(out_channels, joints)
        _initialise(self.relation, self.width)
        _initialise(self.mix, out_channels * in_channels * count)
        if isinstance(self.down, nn.Sequential):
            _initialise(self.down[0], out_channels)
        # The network starts without its graph branch.
        nn.init.constant_(self.norm.weight, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(super().forward(x))

    def topology(self, x: Tensor) -> Tensor:
        """G, (N, K, V, V), from joints (rows) to joints (columns)."""
        frames = x.shape[2]
        source, target = self.relation(x).unflatten(1, (2, len(self.A), self.width)).unbind(1)
        affinity = source.flatten(2, 3).mT @ target.flatten(2, 3)
        return self.A + self.alpha * torch.tanh(affinity / (self.width * frames))

    def aggregate(self, x: Tensor) -> Tensor:
        topology = self.topology(x)
        samples, count, joints, _ = topology.shape
        channels, frames = x.shape[1:3]
        # Mixing joints first leaves one projection for all topologies, and with channels last needs no copies.
        pairs = topology.permute(0, 3, 1, 2).reshape(samples, 1, joints * count, joints)
        mixed = pairs @ x.permute(0, 2, 3, 1)
        mixed = mixed.view(samples, frames, joints, count * channels).permute(0, 3, 1, 2)
        assert self.mix.bias is not None
        weight = self.mix.weight.view(count, -1, channels).transpose(0, 1).flatten(1)
        return functional.conv2d(mixed, weight[:, :, None, None], self.mix.bias.view(count, -1).sum(0))

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        names = {part: [f"{official}.conv_{part}.{index}" for index in range(len(self.A))] for part in "abd"}
        entries = super().official_entries(own, official)
        entries |= joined(f"{own}.relation", names["a"] + names["b"], CONV) | joined(f"{own}.mix", names["d"], CONV)
        entries |= {f"{own}.A": (f"{official}.A",), f"{own}.alpha": (f"{official}.alpha",)}
        return entries | self.attention.official_entries(f"{own}.attention", official)


def _initialise(conv: nn.Module, fan: int) -> None:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan))
    nn.init.zeros_(conv.bias)


class AAGCN(BlockNetwork):
    """The network; see :func:`aagcn` for its options."""

    def official_optional(self) -> frozenset[str]:
        # PYSKL keeps the skeleton in a buffer that nothing reads.
        return frozenset({"backbone.A"})


@register_model("aagcn", paper="Shi et al., TIP 2020")
def aagcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    num_persons: int = 2,
    *,
    base_channels: int = 64,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    temporal_dropout: float = 0.0,
    dropout: float = 0.0,
) -> AAGCN:
    """Adaptive graphs per clip with attention over joints, frames and channels (2s-AGCN with attention).

    Args:
        skeleton: layout of the clips; on ``ntu25`` the hands of the graph are PYSKL's.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: most persons of a clip; each slot is normalised by itself.
        base_channels: width of the first blocks, at least 4.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        temporal_dropout: after every temporal unit but the first.
        dropout: before the classifier.
    """
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    if base_channels < AdaptiveTopologyConv.NARROWING:
        raise ValueError(f"base_channels must be at least {AdaptiveTopologyConv.NARROWING}, got {base_channels}")
    topology = torch.as_tensor(pyskl_graph(skeleton).adjacency("spatial"), dtype=torch.get_default_dtype())

    def make_block(stage: Stage, first: bool) -> GraphBlock:
        graph = AdaptiveTopologyConv(stage.in_channels, stage.out_channels, topology)
        temporal = PlainTemporal(stage.out_channels, stage.stride, dropout=later_dropout(temporal_dropout, first))
        _initialise(temporal.conv, stage.out_channels * temporal.conv.kernel_size[0])
        return GraphBlock(graph, temporal, stage, residual=not first)

    norm = PersonInputNorm(num_persons, skeleton.num_joints, in_channels)
    return AAGCN(skeleton, num_classes, in_channels, norm, stages, make_block, dropout)
