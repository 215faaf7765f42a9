"""Networks that are a row of blocks: graph unit, temporal unit, residual path."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor, nn

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, joined, shortcut
from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.in_place import relu_of_sum
from protogcn.models.layers.stages import Stage
from protogcn.models.layers.static import SpatialUnit
from protogcn.models.layers.temporal import MultiBranchTemporal, PlainTemporal
from protogcn.models.persons import PersonClassifier


class Unit(Protocol):
    """A graph or temporal unit: (N, C_in, T, V) -> (N, C_out, T', V)."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Own state entry -> official entries, both with their prefix."""


class GraphBlock(nn.Module):
    """``relu(temporal(graph(x)) + residual(x))``: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V).

    Args:
        graph: unit that mixes joints, at the full frame rate.
        temporal: unit that mixes frames, with the stride of the stage.
        stage: channels and stride of the block.
        residual: whether there is a residual path; the first block of a network has none.
    """

    def __init__(self, graph: Unit, temporal: Unit, stage: Stage, residual: bool) -> None:
        super().__init__()
        self.graph = graph
        self.temporal = temporal
        self.residual = shortcut(*stage) if residual else None
        # What ends in an activation needs its output for the gradient, and nothing is known of other units.
        self.writes_over = isinstance(temporal, MultiBranchTemporal | PlainTemporal) or (
            isinstance(temporal, BranchedTemporal) and not temporal.activation
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x, self.graph(x))

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """What follows the graph unit: ``x`` entered the block, ``mixed`` left its graph unit."""
        out = self.temporal(mixed)
        residual = None if self.residual is None else self.residual(x)
        return relu_of_sum(out, residual, self.training and self.writes_over, keep=True)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this block."""
        entries = self.graph.official_entries(f"{own}.graph", f"{official}.gcn")
        entries |= self.temporal.official_entries(f"{own}.temporal", f"{official}.tcn")
        if isinstance(self.residual, nn.Sequential):
            entries |= joined(f"{own}.residual.0", f"{official}.residual.conv", CONV)
            entries |= joined(f"{own}.residual.1", f"{official}.residual.bn", NORM)
        return entries


class BlockNetwork(PersonClassifier):
    """Input normalisation, blocks one after another, pooling and a linear classifier.

    Args:
        skeleton: layout of the clips.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        input_norm: (N, M, T, V, C) -> (N * M, C, T, V), the persons of a sample side by side.
        stages: the plan of the blocks.
        make_block: builds the block of a stage; also told whether it is the first.
        dropout: before the classifier.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        input_norm: nn.Module,
        stages: Sequence[Stage],
        make_block: Callable[[Stage, bool], GraphBlock],
        dropout: float,
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, stages[-1].out_channels, dropout)
        self.input_norm = input_norm
        self.blocks = nn.ModuleList(make_block(stage, index == 0) for index, stage in enumerate(stages))

    def enter(self, clips: Tensor) -> Tensor:
        self.check_input(clips)
        x: Tensor = self.input_norm(clips)
        return x

    def forward_persons(self, persons: Tensor) -> Tensor:
        for block in self.blocks:
            persons = block(persons)
        return persons

    def typed_blocks(self) -> Sequence[GraphBlock]:
        """The blocks under their own type, which a ModuleList hides."""
        return [block for block in self.blocks if isinstance(block, GraphBlock)]

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        entries = joined("input_norm.norm", "backbone.data_bn", NORM)
        for index, block in enumerate(self.typed_blocks()):
            entries |= block.official_entries(f"blocks.{index}", f"backbone.gcn.{index}")
        return entries | joined("classifier", "cls_head.fc_cls", CONV)

    def official_optional(self) -> frozenset[str]:
        fixed = [
            block.graph.official_optional(f"backbone.gcn.{index}.gcn")
            for index, block in enumerate(self.typed_blocks())
            if isinstance(block.graph, SpatialUnit)
        ]
        return frozenset().union(*fixed)
