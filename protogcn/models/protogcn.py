"""ProtoGCN (Liu et al., Revealing Key Details to See Differences, CVPR 2025).

Learned topologies are refined per clip, a bank of prototypes rebuilds the refinement, and a class-specific contrastive
loss works on what was rebuilt.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, InputNorm, conv1x1, joined
from protogcn.models.layers.blocks import BlockNetwork, GraphBlock
from protogcn.models.layers.graph import DynamicTopologyConv, check_dynamic_width
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.layers.temporal import MultiBranchTemporal
from protogcn.models.losses import ClassContrastiveCriterion
from protogcn.models.options import check_counts
from protogcn.models.registry import register_model
from protogcn.models.text_bank import TextBank


class ProtoGCNBlock(GraphBlock):
    """The block of DG-STGCN that also gives the topology it found."""

    graph: DynamicTopologyConv

    def forward_with_topology(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and the refinement of the topology (N, C_out, V, V)."""
        mixed, topology = self.graph.forward_with_topology(x)
        return self.finish(x, mixed), topology


class PrototypeReconstruction(nn.Module):
    """Rebuild a topology from prototypes: every joint pair's channels ask the bank and get a mixture of it back.

    Shapes: (N, C, V, V) -> (N, V * V), index u * V + v (section 3.3 of the paper).
    """

    def __init__(self, channels: int, num_prototypes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.query = nn.Linear(channels, num_prototypes, bias=False)
        self.prototypes = nn.Linear(num_prototypes, channels, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.post = conv1x1(channels, channels)
        self.norm = BatchNorm2d(channels)

    def forward(self, topology: Tensor) -> Tensor:
        pairs = topology.flatten(2).transpose(1, 2)
        rebuilt = self.dropout(self.prototypes(torch.softmax(self.query(pairs), -1)))
        rebuilt = rebuilt.transpose(1, 2).reshape(topology.shape)
        return functional.relu(self.norm(self.post(rebuilt))).mean(1).flatten(1)


class ClassMemory(nn.Module):
    """Projection of rebuilt topologies and the running mean of each class in that space.

    The memory is a buffer (features, num_classes), so it is saved and resumed; it starts as standard normal noise.
    """

    def __init__(self, in_features: int, num_classes: int, features: int = 256) -> None:
        super().__init__()
        self.projection = nn.Linear(in_features, features)
        self.memory: Tensor
        self.register_buffer("memory", torch.randn(features, num_classes))


class ProtoGCN(BlockNetwork):
    """The network; see :func:`protogcn` for its options.

    Training calls :meth:`forward_train`, which also rebuilds the topology; :meth:`forward` does none of that work.
    """

    criterion_parts = ("reconstruction", "class_memory")

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        stages: Sequence[Stage],
        num_topologies: int,
        num_prototypes: int,
        dropout: float,
    ) -> None:
        joints = skeleton.num_joints

        def make_block(stage: Stage, first: bool) -> ProtoGCNBlock:
            return ProtoGCNBlock(
                DynamicTopologyConv(stage.in_channels, stage.out_channels, joints, num_topologies),
                MultiBranchTemporal(stage.out_channels, joints, stage.stride),
                stage,
                residual=not first,
            )

        norm = InputNorm(joints, in_channels)
        super().__init__(skeleton, num_classes, in_channels, norm, stages, make_block, dropout)
        self.reconstruction = PrototypeReconstruction(self.num_features, num_prototypes)
        self.class_memory = ClassMemory(joints * joints, num_classes)

    def forward_train(self, clips: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits and what the contrastive loss needs.

        Returns:
            Logits (N, num_classes) and a dict of ``reconstructed_graph`` (N, V * V), its projection ``embedding``
            (N, 256) and the ``class_memory`` buffer (256, num_classes), which the criterion updates in place. With a
            text head, what that one gives alone.
        """
        if isinstance(self.classifier, TextBank):
            return super().forward_train(clips)
        *first, last = self.typed_blocks()

        def persons(x: Tensor) -> tuple[Tensor, Tensor]:
            for block in first:
                x = block(x)
            return last.forward_with_topology(x)

        x, topology = self.over_persons(clips, persons)
        logits = self.forward_head(x.unflatten(0, clips.shape[:2]))
        graph = self.reconstruction(topology.unflatten(0, clips.shape[:2]).mean(1))
        return logits, {
            "reconstructed_graph": graph,
            "embedding": self.class_memory.projection(graph),
            "class_memory": self.class_memory.memory,
        }

    def typed_blocks(self) -> Sequence[ProtoGCNBlock]:
        return [block for block in self.blocks if isinstance(block, ProtoGCNBlock)]

    def _resize_criterion_parts(self) -> None:
        memory, classes = self.class_memory.memory, self.num_classes
        self.class_memory.memory = torch.randn(memory.shape[0], classes, device=memory.device, dtype=memory.dtype)

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        entries = super().official_entries()
        entries |= joined("reconstruction.post", "backbone.post", CONV)
        entries |= joined("reconstruction.norm", "backbone.bn", NORM)
        entries["reconstruction.query.weight"] = ("backbone.prn.query_matrix.weight",)
        entries["reconstruction.prototypes.weight"] = ("backbone.prn.memory_matrix.weight",)
        return entries | joined("class_memory.projection", "cls_head.csc_loss.cl_fc", CONV)


@register_model("protogcn", paper="Liu et al., CVPR 2025", criterion=ClassContrastiveCriterion)
def protogcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    *,
    base_channels: int = 96,
    num_topologies: int = 8,
    num_prototypes: int = 400,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    dropout: float = 0.0,
) -> ProtoGCN:
    """Prototype-guided graph network with topologies refined per clip.

    Args:
        skeleton: layout of the clips.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        base_channels: width of the first blocks; a multiple of ``num_topologies``.
        num_topologies: K, topologies learned side by side in every block.
        num_prototypes: size of the bank; published: 400 for j and jm, 100 for the other streams.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        dropout: before the classifier.
    """
    check_counts(num_topologies=num_topologies, num_prototypes=num_prototypes)
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    check_dynamic_width(base_channels, num_topologies)
    return ProtoGCN(skeleton, num_classes, in_channels, stages, num_topologies, num_prototypes, dropout)
