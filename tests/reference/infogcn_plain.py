"""InfoGCN (Chi et al., CVPR 2022) read word for word, as its authors released it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks_plain import BlockPlan, FourBranches, block_residual, graph_residual, plan_blocks, pointwise, pool_features


def mode_matrix(parents: Sequence[int], k: int) -> Tensor:
    """(V, V) that takes from every joint its k-th ancestor; a joint without one stays as it is.

    Args:
        parents: of each joint, -1 for the root.
        k: generations.
    """
    matrix = torch.eye(len(parents), dtype=torch.float64)
    for joint in range(len(parents)):
        ancestor = joint
        for _ in range(k):
            ancestor = -1 if ancestor < 0 else parents[ancestor]
        if ancestor >= 0:
            matrix[joint, ancestor] -= 1
    return matrix


class SelfAttention(nn.Module):
    """(N, C, T, V) -> topologies of every frame (N * T, H, V, V)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.width = channels // 8
        self.to_qk = nn.Linear(channels, 2 * heads * self.width)
        self.ln = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        samples, _, frames, joints = x.shape
        nodes = self.ln(x.permute(0, 2, 3, 1).contiguous())
        halves = self.to_qk(nodes).chunk(2, -1)
        query, key = (
            half.reshape(samples * frames, joints, self.heads, self.width).transpose(1, 2).contiguous()
            for half in halves
        )
        return torch.softmax(query @ key.transpose(-1, -2) * self.width**-0.5, -1)


class GraphConv(nn.Module):
    """(N, C_in, T, V) -> (N, C_out, T, V), head by head."""

    def __init__(self, in_channels: int, out_channels: int, joints: int, heads: int) -> None:
        super().__init__()
        self.shared_topology = nn.Parameter(torch.stack([torch.eye(joints)] * heads))
        self.conv_d = nn.ModuleList(pointwise(in_channels, out_channels) for _ in range(heads))
        self.attn = SelfAttention(in_channels, heads)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = graph_residual(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        samples, channels, frames, joints = x.shape
        attention = self.attn(x)
        total = None
        for head, conv in enumerate(self.conv_d):
            topology = attention[:, head] * self.shared_topology[head]
            nodes = x.permute(0, 2, 3, 1).reshape(samples * frames, joints, channels)
            mixed = (topology @ nodes).view(samples, frames, joints, channels).permute(0, 3, 1, 2).contiguous()
            total = conv(mixed) if total is None else total + conv(mixed)
        return torch.relu(self.bn(total) + self.down(x))


class Block(nn.Module):
    def __init__(self, plan: BlockPlan, joints: int, heads: int) -> None:
        super().__init__()
        self.agcn = GraphConv(plan.in_channels, plan.out_channels, joints, heads)
        self.tcn = FourBranches(plan.out_channels, plan.stride, activation=True)
        self.residual = block_residual(plan)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.tcn(self.agcn(x)) + self.residual(x))


class PlainInfoGCN(nn.Module):
    """The network of the release, by the names of its checkpoints.

    Args:
        num_classes: size of the classifier.
        modes: (V, V), applied to every pose; :func:`mode_matrix` makes it.
        in_channels: C of the clips.
        num_persons: M of the clips; each person is normalised by itself.
        base_channels: width of the first blocks.
        num_blocks: depth.
        wider: blocks, counted from 1, that double the channels and halve the frame rate.
        num_heads: H.
    """

    def __init__(
        self,
        num_classes: int,
        modes: Tensor,
        in_channels: int = 3,
        num_persons: int = 2,
        *,
        base_channels: int = 64,
        num_blocks: int = 9,
        wider: Sequence[int] = (4, 7),
        num_heads: int = 3,
    ) -> None:
        super().__init__()
        joints = len(modes)
        plans = plan_blocks(base_channels, base_channels, num_blocks, wider)
        features = plans[-1].out_channels
        self.num_blocks = num_blocks
        self.modes: Tensor
        self.register_buffer("modes", modes.to(torch.get_default_dtype()), persistent=False)
        self.to_joint_embedding = nn.Linear(in_channels, base_channels)
        self.pos_embedding = nn.Parameter(torch.randn(1, joints, base_channels))
        self.data_bn = nn.BatchNorm1d(num_persons * joints * base_channels)
        for number, plan in enumerate(plans, 1):
            self.add_module(f"l{number}", Block(plan, joints, num_heads))
        self.fc = nn.Linear(features, features)
        self.fc_mu = nn.Linear(features, features)
        self.fc_logvar = nn.Linear(features, features)
        self.decoder = nn.Linear(features, num_classes)
        self.prior: Tensor
        prior = nn.init.orthogonal_(torch.empty(num_classes, features), 3)
        self.register_buffer("prior", prior, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to logits (N, num_classes)."""
        return self.logits_and_latent(clips)[0]

    def logits_and_latent(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes) and the latent code, a sample of it in training mode."""
        samples, persons, frames, joints, channels = clips.shape
        poses = clips.reshape(samples * persons * frames, joints, channels)
        poses = self.modes.expand(len(poses), -1, -1) @ poses
        x = self.to_joint_embedding(poses) + self.pos_embedding
        width = x.shape[-1]
        x = x.view(samples, persons, frames, joints * width).transpose(2, 3)
        x = self.data_bn(x.reshape(samples, persons * joints * width, frames))
        x = x.view(samples * persons, joints, width, frames).permute(0, 2, 3, 1).contiguous()
        for number in range(1, self.num_blocks + 1):
            x = self.get_submodule(f"l{number}")(x)
        hidden = torch.relu(self.fc(pool_features(x, samples)))
        mean, spread = self.fc_mu(hidden), self.fc_logvar(hidden)
        latent = mean
        if self.training:
            latent = mean + torch.randn_like(mean) * torch.exp(0.5 * spread).clamp(max=100)
        return self.decoder(latent), latent

    def losses(self, clips: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms of the training loss, of which ``loss`` is the total, and the logits."""
        logits, latent = self.logits_and_latent(clips)
        surprise = -torch.log_softmax(logits, 1)
        entropy = (0.9 * surprise.gather(1, target[:, None])[:, 0] + 0.1 * surprise.mean(1)).mean()
        distances = []
        for label in target.unique().tolist():
            distances.append((latent[target == label].mean(0) - self.prior[label]).square().mean())
        distance = torch.stack(distances).mean()
        norm = latent.mean(0).norm()
        loss = entropy + 0.1 * distance + 1e-4 * norm
        terms = {"cross_entropy": entropy, "class_mean_distance": distance, "latent_mean_norm": norm}
        return {"loss": loss, **terms}, logits
