"""MS-G3D (Liu et al., Disentangling and Unifying Graph Convolutions, CVPR 2020).

Joints exchange features with those exactly 0, 1, 2, ... hops away, within a frame and across windows of frames.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, PersonInputNorm, joined, shortcut
from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.multi_scale import MultiScaleConv
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.released import pyskl_graph
from protogcn.models.layers.stages import Stage, plan_stages
from protogcn.models.options import check_counts
from protogcn.models.persons import PersonClassifier
from protogcn.models.registry import register_model


class WindowedConv(nn.Module):
    """One G3D pathway (section 3.3): joints and frames of a window exchange features, then its frames are merged.

    Shapes: frames (N, T, C_in, V) -> (N, ceil(T / stride), C_out, V). No activation at the end.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, topology: Tensor, window: int, stride: int
    ) -> None:
        super().__init__()
        self.mix = MultiScaleConv(in_channels, hidden, topology, window, stride)
        self.merge = nn.Conv3d(hidden, out_channels, (1, window, 1))
        self.norm = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        windows = self.mix(x)
        out = functional.conv2d(windows.flatten(0, 1), self.merge.weight.squeeze(2), self.merge.bias)
        return self.norm(out).squeeze(2).unflatten(0, windows.shape[:2])

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this pathway."""
        entries = self.mix.official_entries(f"{own}.mix", f"{official}.gcn3d.1")
        entries |= joined(f"{own}.merge", f"{official}.out_conv", CONV)
        return entries | joined(f"{own}.norm", f"{official}.out_bn", NORM)


class ResidualTemporal(nn.Module):
    """Six temporal branches and a residual path: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, activation: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.branches = BranchedTemporal(in_channels, out_channels, stride, kernel=3, dilations=(1, 2, 3, 4))
        self.residual = shortcut(in_channels, out_channels, stride)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branches(x) + self.residual(x)
        return self.dropout(functional.relu(out) if self.activation else out)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of this unit."""
        entries = self.branches.official_entries(f"{own}.branches", official)
        if isinstance(self.residual, nn.Sequential):
            entries |= joined(f"{own}.residual.0", f"{official}.residual.conv", CONV)
            entries |= joined(f"{own}.residual.1", f"{official}.residual.bn", NORM)
        return entries


class MSG3DBlock(nn.Module):
    """A factorised pathway (joints, then frames) and G3D pathways side by side, summed (figure 3b).

    Shapes: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V).

    Args:
        stage: channels and stride.
        hidden: channels between joints and frames of every pathway.
        topology: graph of the factorised pathway, (K, V, V).
        windows: graph of each G3D pathway by its window w, (K, w * V, w * V).
        dropout: after the last temporal unit.
    """

    def __init__(self, stage: Stage, hidden: int, topology: Tensor, windows: dict[int, Tensor], dropout: float) -> None:
        super().__init__()
        before, channels, stride = stage
        self.spatial = MultiScaleConv(before, hidden, topology)
        self.frames = nn.ModuleList(
            [ResidualTemporal(hidden, channels, stride), ResidualTemporal(channels, channels, activation=False)]
        )
        self.windows = nn.ModuleList(
            WindowedConv(before, hidden, channels, graph, window, stride) for window, graph in windows.items()
        )
        self.temporal = ResidualTemporal(channels, channels, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).contiguous()
        out = self.spatial(frames).squeeze(3).transpose(1, 2).contiguous()
        for unit in self.frames:
            out = unit(out)
        for window in self.windows:
            out = out + window(frames).transpose(1, 2)
        return self.temporal(functional.relu(out))

    def official_entries(self, own: str, number: int) -> dict[str, tuple[str, ...]]:
        """Names of the official entries of the block with this number, counted from 1."""
        units: dict[str, tuple[nn.Module, str]] = {
            "spatial": (self.spatial, f"sgcn{number}.0"),
            "frames.0": (self.frames[0], f"sgcn{number}.1"),
            "frames.1": (self.frames[1], f"sgcn{number}.2"),
            "temporal": (self.temporal, f"tcn{number}"),
        }
        for index, window in enumerate(self.windows):
            units[f"windows.{index}"] = (window, f"gcn3d{number}.gcn3d.{index}")
        entries: dict[str, tuple[str, ...]] = {}
        for name, (unit, official) in units.items():
            assert isinstance(unit, MultiScaleConv | ResidualTemporal | WindowedConv)
            entries |= unit.official_entries(f"{own}.{name}", f"backbone.{official}")
        return entries


class MSG3D(PersonClassifier):
    """The network; see :func:`msg3d` for its options."""

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        num_persons: int,
        stages: Sequence[Stage],
        num_scales: int,
        num_window_scales: int,
        windows: Sequence[int],
        temporal_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, stages[-1].out_channels, dropout)
        self.input_norm = PersonInputNorm(num_persons, skeleton.num_joints, in_channels)

        def graph(scales: int, window: int) -> Tensor:
            adjacency = pyskl_graph(skeleton).adjacency("multi_scale", num_scales=scales, window=window)
            return torch.as_tensor(adjacency, dtype=torch.get_default_dtype())

        self.blocks = nn.ModuleList(
            MSG3DBlock(
                stage,
                # The coordinates of joints are widened at once, features where time is next mixed.
                stage.out_channels if index == 0 else stage.in_channels,
                graph(num_scales, 1),
                {window: graph(num_window_scales, window) for window in windows},
                temporal_dropout,
            )
            for index, stage in enumerate(stages)
        )

    def enter(self, clips: Tensor) -> Tensor:
        self.check_input(clips)
        x: Tensor = self.input_norm(clips)
        return x

    def forward_persons(self, persons: Tensor) -> Tensor:
        for block in self.blocks:
            persons = block(persons)
        return persons

    def typed_blocks(self) -> list[MSG3DBlock]:
        """The blocks under their own type, which a ModuleList hides."""
        return [block for block in self.blocks if isinstance(block, MSG3DBlock)]

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        entries = joined("input_norm.norm", "backbone.data_bn", NORM)
        for index, block in enumerate(self.typed_blocks()):
            entries |= block.official_entries(f"blocks.{index}", index + 1)
        return entries | joined("classifier", "cls_head.fc_cls", CONV)

    def official_optional(self) -> frozenset[str]:
        graphs = (names for own, names in self.official_entries().items() if own.endswith(".topology"))
        # The skeleton in a buffer that nothing reads.
        return frozenset({"backbone.A"}).union(*graphs)


@register_model("msg3d", paper="Liu et al., CVPR 2020")
def msg3d(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    num_persons: int = 2,
    *,
    base_channels: int = 96,
    num_blocks: int = 3,
    widen_at: Sequence[int] = (2, 3),
    downsample_at: Sequence[int] = (2, 3),
    num_scales: int = 13,
    num_window_scales: int = 6,
    windows: Sequence[int] = (3, 5),
    temporal_dropout: float = 0.0,
    dropout: float = 0.0,
) -> MSG3D:
    """Graph network over many scales of the skeleton, within frames and across windows of frames.

    The network is that of PYSKL, which reads time in six branches; on ``ntu25`` the hands are those of PYSKL's graph.

    Args:
        skeleton: layout of the clips.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: persons of a clip; each is normalised by itself.
        base_channels: width of the first block.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        num_scales: scales within a frame; scale k holds the joints k hops away.
        num_window_scales: scales of the graphs over windows.
        windows: length of each kind of window in frames, odd.
        temporal_dropout: after the last temporal unit of every block.
        dropout: before the classifier.
    """
    check_counts(num_scales=num_scales, num_window_scales=num_window_scales)
    if not windows or len(set(windows)) < len(windows) or not all(window > 0 and window % 2 for window in windows):
        raise ValueError(f"windows names different odd numbers of frames, at least one of them; got {list(windows)}")
    if not 0 <= temporal_dropout < 1:
        raise ValueError(f"temporal_dropout must lie in [0, 1), got {temporal_dropout}")
    return MSG3D(
        skeleton,
        num_classes,
        in_channels,
        num_persons,
        plan_stages(in_channels, base_channels, num_blocks, widen_at, downsample_at),
        num_scales,
        num_window_scales,
        windows,
        temporal_dropout,
        dropout,
    )
