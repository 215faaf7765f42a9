"""InfoGCN (Chi et al., InfoGCN: Representation Learning for Human Skeleton-based Action Recognition, CVPR 2022).

Attention draws the topology of every frame, and an information bottleneck pulls the latent code of each class towards
a prior of its own.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.adjacency import k_mode
from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, NORM, fill_persons, joined, shortcut
from protogcn.models.layers.attention import AttentionGraphConv, initialise_shortcut
from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.stages import plan_stages
from protogcn.models.losses import InformationBottleneckCriterion
from protogcn.models.options import check_counts
from protogcn.models.persons import PersonClassifier
from protogcn.models.registry import register_model

LARGEST_DEVIATION = 100.0
NTU, NW_UCLA = ("ntu25", "ntu25_pyskl", "ntu25_infogcn"), ("ucla20",)


def mode_matrix(skeleton: Skeleton, k: int, compat: str | None = None) -> Tensor:
    """The matrix (V, V) that gives the k-th mode of a pose (section 3.4); see :func:`infogcn` for the arguments.

    Raises:
        ValueError: k is no positive integer, or nothing was released for the layout.
    """
    if isinstance(k, int) and k == 0:
        raise ValueError(
            "k=0 subtracts every joint from itself, which leaves nothing to learn from: give k=1 for bones, k=2 for "
            f"vectors from the grandparent, k={skeleton.num_joints} for joints as they are"
        )
    check_counts(k=k)
    transposed = compat is not None and _is_one_of(skeleton, NW_UCLA)
    if _is_one_of(skeleton, NTU):
        skeleton = get_skeleton("ntu25_infogcn")
    elif compat is not None and not transposed:
        raise ValueError(
            f"compat={compat!r} is about the released graphs of {', '.join((*NTU, *NW_UCLA))}; there is none of "
            f"{skeleton.name}: leave compat out"
        )
    return torch.from_numpy(k_mode(skeleton, k, towards_children=transposed))


def _is_one_of(skeleton: Skeleton, names: Iterable[str]) -> bool:
    known = [get_skeleton(name) for name in names]
    return any((skeleton.joints, skeleton.bone_tree) == (each.joints, each.bone_tree) for each in known)


class ModeEmbedding(nn.Module):
    """The k-th mode of each pose, embedded joint by joint, with a learned position, normalised per person and joint.

    A clip of fewer persons is filled up with persons of zeros, which is what an absent person is in the data.

    Shapes: (N, M, T, V, C_in) -> (N * num_persons, C, T, V), channels innermost in memory.
    """

    def __init__(self, modes: Tensor, num_persons: int, in_channels: int, channels: int) -> None:
        super().__init__()
        joints = len(modes)
        self.num_persons = num_persons
        self.modes: Tensor
        self.register_buffer("modes", modes.to(torch.get_default_dtype()), persistent=False)
        self.embedding = nn.Linear(in_channels, channels)
        self.position = nn.Parameter(torch.randn(1, joints, channels))
        self.norm = nn.BatchNorm1d(num_persons * joints * channels)

    def forward(self, clips: Tensor) -> Tensor:
        clips = fill_persons(clips, self.num_persons)
        samples, _, frames, joints, _ = clips.shape
        # Differences of neighbouring joints are small beside the joints and positions: keep them in full precision.
        device, dtype = clips.device.type, self.modes.dtype
        reduced = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        with torch.autocast(device, enabled=False):
            modes = clips.permute(0, 2, 1, 4, 3).to(dtype) @ self.modes.T
            embedded = self.embedding(modes.transpose(3, 4)) + self.position
            normed = self.norm(embedded.view(samples * frames, -1)).to(reduced)
        by_person = normed.view(samples, frames, self.num_persons, joints, -1).transpose(1, 2)
        return by_person.reshape(samples * self.num_persons, frames, joints, -1).permute(0, 3, 1, 2)


class InfoGCNBlock(nn.Module):
    """Graph convolution, temporal unit and residual: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Skeleton, num_heads: int, stride: int) -> None:
        super().__init__()
        self.graph = AttentionGraphConv(in_channels, out_channels, skeleton, num_heads)
        self.temporal = BranchedTemporal(out_channels, out_channels, stride, activation=True)
        self.residual = shortcut(in_channels, out_channels, stride)
        initialise_shortcut(self.residual)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.temporal(self.graph(x)) + self.residual(x))


class InfoGCN(PersonClassifier):
    """The network; see :func:`infogcn` for its options.

    :meth:`forward` classifies the mean of the latent code, :meth:`forward_train` a sample of it.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        num_persons: int,
        modes: Tensor,
        num_heads: int,
        noise_ratio: float,
        prior_gain: float,
        base_channels: int,
        num_blocks: int,
        widen_at: Sequence[int],
        downsample_at: Sequence[int],
        dropout: float,
    ) -> None:
        stages = plan_stages(base_channels, base_channels, num_blocks, widen_at, downsample_at)
        features = stages[-1].out_channels
        super().__init__(skeleton, num_classes, in_channels, features, dropout)
        self.noise_ratio = noise_ratio
        self.prior_gain = prior_gain
        self.input = ModeEmbedding(modes, num_persons, in_channels, base_channels)
        self.blocks = nn.ModuleList(
            InfoGCNBlock(stage.in_channels, stage.out_channels, skeleton, num_heads, stage.stride) for stage in stages
        )
        self.hidden, self.mean, self.spread = (nn.Linear(features, features) for _ in range(3))
        for linear in (self.hidden, self.mean, self.spread):
            nn.init.xavier_uniform_(linear.weight, math.sqrt(2))
        self.prior: Tensor
        self.register_buffer("prior", self._draw_prior())

    def _make_classifier(self, num_classes: int) -> nn.Linear:
        classifier = nn.Linear(self.num_features, num_classes)
        nn.init.normal_(classifier.weight, std=math.sqrt(2 / num_classes))
        return classifier

    def _draw_prior(self) -> Tensor:
        return nn.init.orthogonal_(torch.empty(self.num_classes, self.num_features), self.prior_gain)

    def _resize_criterion_parts(self) -> None:
        self.prior = self._draw_prior().to(self.prior)

    def enter(self, clips: Tensor) -> Tensor:
        self.check_input(clips)
        x: Tensor = self.input(clips)
        return x

    def forward_persons(self, persons: Tensor) -> Tensor:
        for block in self.blocks:
            persons = block(persons)
        return persons

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (N, M, num_features, T', V) to logits (N, num_classes), or to latent means (N, num_features)."""
        mean = self.mean(self._pool(features))
        return mean if pre_logits else self.classifier(mean)

    def forward_train(self, clips: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a sampled latent code, and what the information bottleneck needs.

        In training mode the code is ``mean + exp(noise_ratio * spread) * noise``, with a factor of 100 at most and
        standard normal noise from the global generator; in evaluation mode it is the mean.

        Returns:
            Logits (N, num_classes) and a dict of the code ``latent``, its ``latent_mean`` and ``latent_spread``, each
            (N, num_features), and the ``prior`` buffer (num_classes, num_features).
        """
        pooled = self._pool(self.forward_features(clips))
        mean, spread = self.mean(pooled), self.spread(pooled)
        latent = mean
        if self.training:
            # Capped before the exponential: the gradient of one that overflowed would be no number.
            exponent = (self.noise_ratio * spread).clamp(max=math.log(LARGEST_DEVIATION))
            latent = mean + torch.exp(exponent) * torch.randn_like(mean)
        aux = {"latent": latent, "latent_mean": mean, "latent_spread": spread, "prior": self.prior}
        logits, of_head = self.classify(latent)
        return logits, aux | of_head

    def _pool(self, features: Tensor) -> Tensor:
        return self.dropout(functional.relu(self.hidden(features.mean((3, 4)).mean(1))))

    def typed_blocks(self) -> list[InfoGCNBlock]:
        """The blocks under their own type, which a ModuleList hides."""
        return [block for block in self.blocks if isinstance(block, InfoGCNBlock)]

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        entries = joined("input.embedding", "to_joint_embedding", CONV)
        entries |= joined("input.norm", "data_bn", NORM)
        entries["input.position"] = ("pos_embedding",)
        for index, block in enumerate(self.typed_blocks()):
            own, official = f"blocks.{index}", f"l{index + 1}"
            entries |= block.graph.official_entries(f"{own}.graph", f"{official}.agcn")
            entries |= block.temporal.official_entries(f"{own}.temporal", f"{official}.tcn")
            if isinstance(block.residual, nn.Sequential):
                entries |= joined(f"{own}.residual.0", f"{official}.residual.conv", CONV)
                entries |= joined(f"{own}.residual.1", f"{official}.residual.bn", NORM)
        for own, official in (("hidden", "fc"), ("mean", "fc_mu"), ("spread", "fc_logvar"), ("classifier", "decoder")):
            entries |= joined(own, official, CONV)
        return entries


@register_model("infogcn", paper="Chi et al., CVPR 2022", criterion=InformationBottleneckCriterion)
def infogcn(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 3,
    num_persons: int = 2,
    *,
    k: int = 1,
    compat: Literal["infogcn"] | None = None,
    num_heads: int = 3,
    noise_ratio: float = 0.5,
    prior_gain: float = 3.0,
    base_channels: int = 64,
    num_blocks: int = 9,
    widen_at: Sequence[int] = (4, 7),
    downsample_at: Sequence[int] = (4, 7),
    dropout: float = 0.0,
) -> InfoGCN:
    """Attention-drawn topologies and a latent code that an information bottleneck shapes.

    Args:
        skeleton: layout of the clips. The k-th mode follows its bone tree; for NTU the tree of the released network,
            which hangs on the middle of the spine.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: most persons of a clip.
        k: mode of the input representation, I - P^k with P from each joint to its parent: 1 for bones, 2 for vectors
            from the grandparent, large (8 for NTU, 7 for NW-UCLA) for joints as they are.
        compat: ``"infogcn"`` for the graphs as released: on NW-UCLA each joint minus the sum of its k-th generation of
            descendants. Weights trained by the released code need it there; on NTU it changes nothing.
        num_heads: H, attention heads.
        noise_ratio: the standard deviation of the latent noise is exp(noise_ratio * spread); 0.5 makes the spread a
            log-variance.
        prior_gain: norm of the orthogonal class priors. With more classes than features, their columns are orthogonal.
        base_channels: width of the first blocks.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.
        dropout: of the hidden layer in front of the latent code.
    """
    check_counts(num_heads=num_heads)
    for word, value in (("noise_ratio", noise_ratio), ("prior_gain", prior_gain)):
        if value < 0:
            raise ValueError(f"{word} must be at least 0, got {value}")
    least = AttentionGraphConv.REDUCTION
    if base_channels < least:
        raise ValueError(f"base_channels must be at least {least}, to leave a query a channel; got {base_channels}")
    return InfoGCN(
        skeleton,
        num_classes,
        in_channels,
        num_persons,
        mode_matrix(skeleton, k, compat),
        num_heads,
        noise_ratio,
        prior_gain,
        base_channels,
        num_blocks,
        tuple(widen_at),
        tuple(downsample_at),
        dropout,
    )
