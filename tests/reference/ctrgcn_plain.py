"""CTR-GCN (Chen et al., ICCV 2021) read word for word, as its authors released it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks_plain import BlockPlan, FourBranches, block_residual, graph_residual, plan_blocks, pointwise, pool_features


class RefinedTopology(nn.Module):
    """One of the three topologies: refined per clip and channel, then applied."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = 8 if in_channels in (3, 9) else in_channels // 8
        self.conv1 = pointwise(in_channels, width)
        self.conv2 = pointwise(in_channels, width)
        self.conv3 = pointwise(in_channels, out_channels)
        self.conv4 = pointwise(width, out_channels)

    def forward(self, x: Tensor, topology: Tensor, alpha: Tensor) -> Tensor:
        first, second, features = self.conv1(x).mean(2), self.conv2(x).mean(2), self.conv3(x)
        difference = torch.tanh(first[..., :, None] - second[..., None, :])
        refined = self.conv4(difference) * alpha + topology[None, None]
        return torch.einsum("ncuv,nctv->nctu", refined, features)


class GraphConv(nn.Module):
    """(N, C_in, T, V) -> (N, C_out, T, V), topology by topology."""

    def __init__(self, in_channels: int, out_channels: int, topology: Tensor) -> None:
        super().__init__()
        self.PA = nn.Parameter(topology.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(RefinedTopology(in_channels, out_channels) for _ in topology)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = graph_residual(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        total = None
        for index, conv in enumerate(self.convs):
            mixed = conv(x, self.PA[index], self.alpha)
            total = mixed if total is None else total + mixed
        return torch.relu(self.bn(total) + self.down(x))


class Block(nn.Module):
    def __init__(self, plan: BlockPlan, topology: Tensor, first: bool) -> None:
        super().__init__()
        self.gcn1 = GraphConv(plan.in_channels, plan.out_channels, topology)
        self.tcn1 = FourBranches(plan.out_channels, plan.stride, activation=False)
        self.residual = None if first else block_residual(plan)

    def forward(self, x: Tensor) -> Tensor:
        residual = 0 if self.residual is None else self.residual(x)
        return torch.relu(self.tcn1(self.gcn1(x)) + residual)


class PlainCTRGCN(nn.Module):
    """The network of the release, by the names of its checkpoints.

    Args:
        num_classes: size of the classifier.
        topology: the three matrices (3, V, V) that its topologies start from.
        in_channels: C of the clips.
        num_persons: M of the clips; each person is normalised by itself.
        base_channels: width of the first blocks.
        num_blocks: depth.
        wider: blocks, counted from 1, that double the channels and halve the frame rate.
    """

    def __init__(
        self,
        num_classes: int,
        topology: Tensor,
        in_channels: int = 3,
        num_persons: int = 2,
        *,
        base_channels: int = 64,
        num_blocks: int = 10,
        wider: Sequence[int] = (5, 8),
    ) -> None:
        super().__init__()
        plans = plan_blocks(in_channels, base_channels, num_blocks, wider)
        self.num_blocks = num_blocks
        self.data_bn = nn.BatchNorm1d(num_persons * topology.shape[-1] * in_channels)
        for number, plan in enumerate(plans, 1):
            self.add_module(f"l{number}", Block(plan, topology, number == 1))
        self.fc = nn.Linear(plans[-1].out_channels, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to logits (N, num_classes)."""
        samples, persons, frames, joints, channels = clips.shape
        x = clips.permute(0, 1, 3, 4, 2).contiguous().view(samples, persons * joints * channels, frames)
        x = self.data_bn(x).view(samples, persons, joints, channels, frames)
        x = x.permute(0, 1, 3, 4, 2).contiguous().view(samples * persons, channels, frames, joints)
        for number in range(1, self.num_blocks + 1):
            x = self.get_submodule(f"l{number}")(x)
        return self.fc(pool_features(x, samples))

    def losses(self, clips: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms of the training loss, of which ``loss`` is the total, and the logits."""
        logits = self(clips)
        loss = functional.cross_entropy(logits, target)
        return {"loss": loss, "cross_entropy": loss}, logits
