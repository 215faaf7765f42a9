"""CTR-GCN (Chen et al., Channel-wise Topology Refinement Graph Convolution, ICCV 2021), in its two public forms.

Three shared topologies are refined per clip and per channel by the differences between joints.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, PersonInputNorm, conv1x1, joined, shortcut
from protogcn.models.layers.blocks import BlockNetwork, GraphBlock
from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.released import pyskl_graph
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.registry import register_model

RELATION = 8


@dataclass(frozen=True)
class Release:
    """What the public implementations do differently; their weights go together with it.

    Args:
        official: the authors' own rather than PYSKL's: its classifier, temporal batch norms and block residuals have
            starting values of their own.
        sums_over_columns: topology [u, v] takes features from joint v to joint u, not from u to v.
        temporal_activation: a ReLU ends the temporal unit, before the residual is added.
    """

    official: bool
    sums_over_columns: bool
    temporal_activation: bool

    def relation_width(self, in_channels: int) -> int:
        """Channels in which the joints are compared."""
        few = in_channels < RELATION or in_channels == 9 if self.official else in_channels <= 2 * RELATION
        return RELATION if few else in_channels // RELATION


OFFICIAL = Release(official=True, sums_over_columns=True, temporal_activation=False)
PYSKL = Release(official=False, sums_over_columns=False, temporal_activation=True)


class RefinedTopologyConv(nn.Module):
    """Channel-wise topology refinement graph convolution (section 3.2), K topologies side by side.

    ``Q_k[c, u, v] = A_k[u, v] + alpha * (W_k tanh(q_k[u] - p_k[v]))[c]``, with q and p two projections of the
    time-averaged features; the features of topology k are mixed by Q_k, and the K results summed.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    def __init__(self, in_channels: int, out_channels: int, topology: Tensor, release: Release) -> None:
        super().__init__()
        self.num_topologies = len(topology)
        self.sums_over_columns = release.sums_over_columns
        self.topology_name = "PA" if release.official else "A"
        width = release.relation_width(in_channels)
        self.topology = nn.Parameter(topology)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.relation = conv1x1(in_channels, 2 * self.num_topologies * width)
        self.features = conv1x1(in_channels, self.num_topologies * out_channels)
        self.refine = nn.Conv2d(
            self.num_topologies * width, self.num_topologies * out_channels, 1, groups=self.num_topologies
        )
        self.norm = BatchNorm2d(out_channels)
        self.down = shortcut(in_channels, out_channels)
        for conv, fan_out in ((self.relation, width), (self.features, out_channels), (self.refine, out_channels)):
            _initialise(conv, fan_out)
        _initialise(self.down, out_channels)
        # The network starts without its graph branch.
        nn.init.constant_(self.norm.weight, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        features, mixing = self.features(x), self._mixing(x)
        mixed = features.flatten(0, 1) @ mixing.flatten(0, 2)
        mixed = mixed.unflatten(0, mixing.shape[:3]).sum(1)
        return functional.relu(self.norm(mixed) + self.down(x))

    def _mixing(self, x: Tensor) -> Tensor:
        """Matrices (N, K, C_out, V, V) that take features from joints (rows) to joints (columns)."""
        # The projections are linear, so time is averaged first: same numbers, a T-th of the work.
        projected = self.relation(x.mean(2)[:, :, None])
        first, second = projected.unflatten(1, (2, self.num_topologies, -1)).unbind(1)
        if self.sums_over_columns:
            relation, topology = first - second.mT, self.topology.mT
        else:
            relation, topology = first.mT - second, self.topology
        # Shared topology and bias are two more channels of the refinement: no pass over its large result to add them.
        shared = torch.stack([topology, torch.ones_like(topology)], 1).to(relation.dtype)
        channels = torch.cat([torch.tanh(relation), shared.expand(x.shape[0], -1, -1, -1, -1)], 2)
        assert self.refine.bias is not None
        weight, bias = self.refine.weight.flatten(1) * self.alpha, self.refine.bias[:, None] * self.alpha
        weight = torch.cat([weight, torch.ones_like(bias), bias], 1).unflatten(0, (self.num_topologies, -1))
        return (weight @ channels.flatten(3)).unflatten(3, channels.shape[3:])

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official per-topology entries that this unit joins."""
        convs = {
            number: [f"{official}.convs.{index}.conv{number}" for index in range(self.num_topologies)]
            for number in range(1, 5)
        }
        entries: dict[str, tuple[str, ...]] = {
            f"{own}.topology": (f"{official}.{self.topology_name}",),
            f"{own}.alpha": (f"{official}.alpha",),
        }
        entries |= joined(f"{own}.relation", convs[1] + convs[2], CONV)
        entries |= joined(f"{own}.features", convs[3], CONV) | joined(f"{own}.refine", convs[4], CONV)
        entries |= joined(f"{own}.norm", f"{official}.bn", NORM)
        if not isinstance(self.down, nn.Identity):
            entries |= joined(f"{own}.down.0", f"{official}.down.0", CONV)
            entries |= joined(f"{own}.down.1", f"{official}.down.1", NORM)
        return entries


def _initialise(module: nn.Module, fan_out: int) -> None:
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)


class CTRGCN(BlockNetwork):
    """The network; see :func:`ctrgcn` for its options."""

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        num_persons: int,
        stages: Sequence[Stage],
        dropout: float,
        release: Release,
    ) -> None:
        # The base class makes the classifier, which depends on it.
        self.release = release
        graph = skeleton if release.official else pyskl_graph(skeleton)
        topology = torch.as_tensor(graph.adjacency("spatial"), dtype=torch.get_default_dtype())

        def make_block(stage: Stage, first: bool) -> GraphBlock:
            channels = stage.out_channels
            graph = RefinedTopologyConv(stage.in_channels, channels, topology.clone(), release)
            temporal = BranchedTemporal(channels, channels, stage.stride, activation=release.temporal_activation)
            temporal.initialise_fan_out()
            block = GraphBlock(graph, temporal, stage, residual=not first)
            if release.official:
                for norm in (temporal.entry_norm, temporal.norm):
                    nn.init.normal_(norm.weight, 1, 0.02)
                if block.residual is not None:
                    _initialise(block.residual, channels)
            return block

        norm = PersonInputNorm(num_persons, skeleton.num_joints, in_channels)
        super().__init__(skeleton, num_classes, in_channels, norm, stages, make_block, dropout)

    def _make_classifier(self, num_classes: int) -> nn.Linear:
        if not self.release.official:
            return super()._make_classifier(num_classes)
        classifier = nn.Linear(self.num_features, num_classes)
        nn.init.normal_(classifier.weight, std=math.sqrt(2 / num_classes))
        return classifier

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        official = self.release.official
        entries = joined("input_norm.norm", "data_bn" if official else "backbone.data_bn", NORM)
        for index, block in enumerate(self.typed_blocks()):
            own, name = f"blocks.{index}", f"l{index + 1}" if official else f"backbone.net.{index}"
            entries |= block.graph.official_entries(f"{own}.graph", f"{name}.gcn1")
            entries |= block.temporal.official_entries(f"{own}.temporal", f"{name}.tcn1")
            if isinstance(block.residual, nn.Sequential):
                entries |= joined(f"{own}.residual.0", f"{name}.residual.conv", CONV)
                entries |= joined(f"{own}.residual.1", f"{name}.residual.bn", NORM)
        return entries | joined("classifier", "fc" if official else "cls_head.fc_cls", CONV)

    def official_optional(self) -> frozenset[str]:
        # PYSKL keeps the skeleton in a buffer that nothing reads.
        return frozenset() if self.release.official else frozenset({"backbone.A"})


@register_model("ctrgcn", paper="Chen et al., ICCV 2021")
def ctrgcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    num_persons: int = 2,
    *,
    base_channels: int = 64,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    dropout: float = 0.0,
) -> CTRGCN:
    """Graph network with topologies refined per clip and channel, as its authors released it.

    The adjacency follows the skeleton; the authors' graph of the NTU hands is that of ``ntu25``.

    Args:
        skeleton: layout of the clips.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: persons of a clip; each is normalised by itself.
        base_channels: width of the first blocks.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        dropout: before the classifier.
    """
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    return CTRGCN(skeleton, num_classes, in_channels, num_persons, stages, dropout, OFFICIAL)


@register_model("ctrgcn_pyskl", paper="Chen et al., ICCV 2021; Duan et al., PYSKL, ACM Multimedia 2022")
def ctrgcn_pyskl(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    num_persons: int = 2,
    *,
    base_channels: int = 64,
    num_blocks: int = 10,
    widen_at: Sequence[int] = (5, 8),
    downsample_at: Sequence[int] = (5, 8),
    dropout: float = 0.0,
) -> CTRGCN:
    """CTR-GCN as the PYSKL toolbox trains it: topologies turned round, one activation more, other starting values.

    The adjacency follows the skeleton; on ``ntu25`` the hands are those of PYSKL's graph.

    Args:
        skeleton: layout of the clips.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: persons of a clip; each is normalised by itself.
        base_channels: width of the first blocks.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        dropout: before the classifier.
    """
    stages = plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at)
    return CTRGCN(skeleton, num_classes, in_channels, num_persons, stages, dropout, PYSKL)
