"""ProtoGCN (Liu et al., CVPR 2025) read word for word, with all the work that its release does."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks_plain import (
    BlockPlan,
    SixBranches,
    block_residual,
    graph_residual,
    normalise_joints,
    plan_blocks,
    pointwise,
    pool_features,
)


class GraphConv(nn.Module):
    """(N, C_in, T, V) -> features (N, C_out, T, V) and the refinement of the topology (N, C_out, V, V)."""

    def __init__(self, in_channels: int, out_channels: int, joints: int, topologies: int) -> None:
        super().__init__()
        self.topologies = topologies
        self.A = nn.Parameter(torch.randn(topologies, joints, joints) * 0.02 + 0.04)
        self.alpha = nn.Parameter(torch.zeros(topologies))
        self.beta = nn.Parameter(torch.zeros(topologies))
        self.pre = nn.Sequential(pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU())
        self.conv1 = pointwise(in_channels, out_channels)
        self.conv2 = pointwise(in_channels, out_channels)
        self.post = pointwise(out_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = graph_residual(in_channels, out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        residual = self.down(x)
        features = self.pre(x).unflatten(1, (self.topologies, -1))
        # Projected at every frame, averaged afterwards.
        source = self.conv1(x).unflatten(1, (self.topologies, -1)).mean(3)
        target = self.conv2(x).unflatten(1, (self.topologies, -1)).mean(3)
        inter = torch.tanh(source[..., :, None] - target[..., None, :]) * self.alpha[0]
        product = torch.einsum("nkcu,nkcv->nkuv", source, target)
        intra = (torch.softmax(product, -2) * self.beta[0])[:, :, None]
        topology = self.A[None, :, None] + inter + intra
        mixed = torch.einsum("nkctu,nkcuv->nkctv", features, topology).contiguous().flatten(1, 2)
        out = torch.relu(self.bn(self.post(mixed)) + residual)
        return out, (inter + intra).flatten(1, 2)


class Block(nn.Module):
    def __init__(self, plan: BlockPlan, joints: int, topologies: int, first: bool) -> None:
        super().__init__()
        self.gcn = GraphConv(plan.in_channels, plan.out_channels, joints, topologies)
        self.tcn = SixBranches(plan.out_channels, plan.stride, global_joint=True)
        self.residual = None if first else block_residual(plan)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        residual = 0 if self.residual is None else self.residual(x)
        mixed, topology = self.gcn(x)
        return torch.relu(self.tcn(mixed) + residual), topology


class Prototypes(nn.Module):
    """Channels of the joint pairs of one sample, (V * V, C), rebuilt from prototypes."""

    def __init__(self, channels: int, number: int) -> None:
        super().__init__()
        self.query_matrix = nn.Linear(channels, number, bias=False)
        self.memory_matrix = nn.Linear(number, channels, bias=False)
        self.dropout = nn.Dropout(0.1)

    def forward(self, pairs: Tensor) -> Tensor:
        weights = torch.softmax(self.query_matrix(pairs), -1)
        return self.dropout(self.memory_matrix(weights))


class Backbone(nn.Module):
    """Clips (N, M, T, V, C) to features (N * M, C', T', V) and the rebuilt topology (N, V * V)."""

    def __init__(
        self, joints: int, in_channels: int, plans: Sequence[BlockPlan], topologies: int, prototypes: int
    ) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(joints * in_channels)
        self.gcn = nn.ModuleList(Block(plan, joints, topologies, index == 0) for index, plan in enumerate(plans))
        channels = plans[-1].out_channels
        self.prn = Prototypes(channels, prototypes)
        self.post = pointwise(channels, channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        samples, persons = clips.shape[:2]
        x = normalise_joints(self.data_bn, clips)
        for block in self.gcn:
            x, topology = block(x)
        joints = topology.shape[-1]
        pairs = topology.unflatten(0, (samples, persons)).mean(1).flatten(2)
        rebuilt = []
        for sample in range(samples):
            rebuilt.append(self.prn(pairs[sample].T).T)
        graph = torch.stack(rebuilt).unflatten(2, (joints, joints))
        graph = torch.relu(self.bn(self.post(graph)))
        return x, graph.mean(1).flatten(1)


class ContrastiveLoss(nn.Module):
    """Class-specific contrastive loss; the memory of the classes is no part of the state."""

    def __init__(self, pairs: int, classes: int, width: int = 256) -> None:
        super().__init__()
        self.cl_fc = nn.Linear(pairs, width)
        self.memory: Tensor
        self.register_buffer("memory", torch.randn(width, classes), persistent=False)

    def forward(self, graph: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        embeddings = self.cl_fc(graph)
        correct: dict[int, list[Tensor]] = {}
        for embedding, scores, label in zip(embeddings, logits.detach(), target.tolist(), strict=True):
            if int(scores.argmax()) == label:
                correct.setdefault(label, []).append(embedding)
        columns = list(self.memory.detach().unbind(1))
        for label, found in correct.items():
            mean = torch.stack(found).sum(0) / (len(found) + 1e-12)
            columns[label] = 0.9 * columns[label] + 0.1 * mean
        memory = torch.stack(columns, 1)
        self.memory = memory.detach()
        embeddings = embeddings / (embeddings.norm(dim=1, keepdim=True) + 1e-12)
        memory = memory / (memory.norm(dim=0, keepdim=True) + 1e-12)
        return functional.cross_entropy(embeddings @ memory / 0.125, target)


class Head(nn.Module):
    def __init__(self, channels: int, classes: int, joints: int) -> None:
        super().__init__()
        self.fc_cls = nn.Linear(channels, classes)
        self.csc_loss = ContrastiveLoss(joints * joints, classes)


class PlainProtoGCN(nn.Module):
    """The network of the release, by the names of its checkpoints.

    Args:
        num_classes: size of the classifier.
        num_joints: V.
        in_channels: C of the clips.
        base_channels: width of the first blocks.
        num_blocks: depth.
        wider: blocks, counted from 1, that double the channels and halve the frame rate.
        num_topologies: K.
        num_prototypes: size of the bank.
        contrastive_weight: of the contrastive loss.
    """

    def __init__(
        self,
        num_classes: int,
        num_joints: int = 25,
        in_channels: int = 3,
        *,
        base_channels: int = 96,
        num_blocks: int = 10,
        wider: Sequence[int] = (5, 8),
        num_topologies: int = 8,
        num_prototypes: int = 400,
        contrastive_weight: float = 0.2,
    ) -> None:
        super().__init__()
        plans = plan_blocks(in_channels, base_channels, num_blocks, wider)
        self.contrastive_weight = contrastive_weight
        self.backbone = Backbone(num_joints, in_channels, plans, num_topologies, num_prototypes)
        self.cls_head = Head(plans[-1].out_channels, num_classes, num_joints)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to logits; the rebuilt topology is computed, too, and thrown away."""
        return self.logits_and_graph(clips)[0]

    def logits_and_graph(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes) and the rebuilt topology (N, V * V)."""
        features, graph = self.backbone(clips)
        return self.cls_head.fc_cls(pool_features(features, len(clips))), graph

    def losses(self, clips: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms of the training loss, of which ``loss`` is the total, and the logits."""
        logits, graph = self.logits_and_graph(clips)
        entropy = functional.cross_entropy(logits, target)
        contrastive = self.cls_head.csc_loss(graph, logits, target)
        loss = entropy + self.contrastive_weight * contrastive
        # The release counts hits on the host in every step.
        ranked = logits.detach().cpu().argsort(1, descending=True)
        hits = ranked == target.cpu()[:, None]
        accuracy = {f"top{k}": hits[:, :k].any(1).float().mean() for k in (1, 5)}
        return {"loss": loss, "cross_entropy": entropy, "contrastive": contrastive, **accuracy}, logits
