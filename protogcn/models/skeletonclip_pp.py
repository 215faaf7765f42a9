"""SkeletonCLIP++: frames of PoseC3D on SlowOnly against class names, as a mean or aligned frame by frame (PACL).

The alignment follows Mukhoti et al., Open Vocabulary Semantic Segmentation with Patch Aligned Contrastive Learning,
CVPR 2023, with frames in the place of patches.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, joined
from protogcn.models.clip_losses import FrameTextCriterion
from protogcn.models.layers.resnet3d import Inflate, ResNet3d
from protogcn.models.options import check_counts
from protogcn.models.registry import register_model
from protogcn.models.skeletonclip import slow_only
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_bank import TextBank, check_names, make_encoder
from protogcn.models.text_facts import TextFacts
from protogcn.models.volume import VolumeClassifier

Variant = Literal["raw", "pacl", "pacl_batch"]
SHARPNESS = 10.0
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.001, 0.5


def align_to_classes(frames: Tensor, texts: Tensor, normalise: bool = False) -> Tensor:
    """Every clip as every class sees it: the sum of its frames, each weighted by sigmoid(10 cos(frame, class)).

    Args:
        frames: (N, T, D).
        texts: (C, D).
        normalise: whether frames of length one are summed.

    Returns:
        (N, C, D)
    """
    unit = functional.normalize(frames, dim=-1)
    weights = torch.sigmoid(SHARPNESS * unit @ functional.normalize(texts, dim=-1).mT)
    return weights.mT @ (unit if normalise else frames)


def align_to_own(frames: Tensor, texts: Tensor, normalise: bool = False) -> Tensor:
    """Every clip as its own text sees it: the mean of its frames, weighted by the softmax over them of the cosines.

    Args:
        frames: (N, T, D).
        texts: (N, D), one for each clip.
        normalise: whether frames of length one are averaged.

    Returns:
        (N, D)
    """
    unit = functional.normalize(frames, dim=-1)
    weights = (unit @ functional.normalize(texts, dim=-1).unsqueeze(2)).softmax(1)
    return (weights * (unit if normalise else frames)).sum(1)


class FrameTextHead(TextBank):
    """Frames (N, T, num_features) to cosines (N, classes) between clips and names; see :func:`skeletonclip_pp`.

    The logits are plain cosines, without the temperature, as the official network is tested.
    """

    def __init__(
        self,
        num_features: int,
        class_names: Sequence[str],
        text: TextEncoder | TextFacts,
        prompts: Sequence[str],
        train_text: bool,
        variant: Variant,
        normalise_frames: bool,
        video_width: int,
        embed_dim: int,
        temperature: float,
    ) -> None:
        super().__init__(class_names, text, prompts, train_text)
        self.variant, self.normalise_frames = variant, normalise_frames
        if variant == "raw":
            self.widen = nn.Linear(num_features, video_width)
            self.video = nn.Linear(video_width, embed_dim)
        else:
            self.bend = nn.Sequential(nn.Linear(num_features, embed_dim), nn.GELU(), nn.Linear(embed_dim, embed_dim))
            self.video = nn.Linear(num_features, embed_dim)
        self.text = nn.Linear(text.dim, embed_dim)
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))

    def embed(self, frames: Tensor) -> Tensor:
        """Frames (N, T, num_features) in the space of the texts, (N, T, embed_dim)."""
        return self.video(self.widen(frames)) if self.variant == "raw" else self.bend(frames) + self.video(frames)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, T, num_features) to cosines (N, classes), averaged over the templates."""
        with torch.autocast(frames.device.type, enabled=False):
            return self._compare(self.embed(frames.to(self.temperature.dtype)), self.text(self.vectors()))

    def _compare(self, embedded: Tensor, texts: Tensor) -> Tensor:
        flat = functional.normalize(texts.flatten(0, 1), dim=-1)
        if self.variant == "raw":
            cosines = functional.normalize(embedded.mean(1), dim=-1) @ flat.T
        else:
            aligned = align_to_classes(embedded, flat, self.normalise_frames)
            cosines = (functional.normalize(aligned, dim=-1) * flat).sum(-1)
        return cosines.unflatten(1, texts.shape[:2]).mean(1)

    def forward_train(self, frames: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Cosines (N, classes), and what :class:`protogcn.models.clip_losses.FrameTextCriterion` needs.

        Returns:
            The cosines and a dict of ``temperature``; but for variant ``pacl``, also of ``text_of``, which gives
            (N, embed_dim) texts of N labels, and ``embedding_for``, which gives (N, embed_dim) clips for N such texts.
        """
        if self.training:
            with torch.no_grad():
                self.temperature.clamp_(LEAST_TEMPERATURE, LARGEST_TEMPERATURE)
        aux: dict[str, Any] = {"temperature": self.temperature}
        texts = None
        if self.training and self.variant == "pacl" and self.tower is not None:
            # This loss is over all classes, so that the tower learns from all of them in every step.
            texts = self.draw(torch.arange(len(self.class_names), device=frames.device))[None]
        with torch.autocast(frames.device.type, enabled=False):
            embedded = self.embed(frames.to(self.temperature.dtype))
            cosines = self._compare(embedded, self.text(self.vectors() if texts is None else texts))
        if self.variant == "pacl":
            return cosines, aux

        def embedding_for(texts: Tensor) -> Tensor:
            if self.variant == "raw":
                return embedded.mean(1)
            return align_to_own(embedded, texts, self.normalise_frames)

        return cosines, {**aux, "text_of": self.text_of, "embedding_for": embedding_for}

    def text_of(self, target: Tensor) -> Tensor:
        """Vectors (N, embed_dim) of the names of N labels, in training each in a template drawn for it."""
        hidden = self.draw(target) if self.training else self.vectors().mean(0)[target]
        with torch.autocast(hidden.device.type, enabled=False):
            return self.text(hidden)


class SkeletonCLIPPlus(VolumeClassifier):
    """The network; see :func:`skeletonclip_pp` for its options."""

    def __init__(
        self, skeleton: Skeleton, num_classes: int, in_channels: int, backbone: ResNet3d, head: FrameTextHead
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, backbone.num_features, dropout=0.0)
        self.backbone = backbone
        self.use_text_head(head)

    def forward_features(self, volumes: Tensor) -> Tensor:
        self.check_input(volumes)
        return self.backbone(volumes)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (N, num_features, T', H', W') to cosines (N, num_classes), or to frames (N, T', num_features)."""
        frames = torch.mean(features, (3, 4)).transpose(1, 2)
        return frames if pre_logits else self.classifier(frames)

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        """Own state entry -> official one; the text tower has none, as it is not BERT."""
        head: FrameTextHead = self.classifier
        official = {"video": "vision_proj", "widen": "video_encoder.linear", "text": "text_proj"}
        if head.variant != "raw":
            official = {"video": "video_embed_res", "text": "text_proj"}
            official |= {f"bend.{index}": f"video_embed_linear.{index}" for index in (0, 2)}
        entries: dict[str, tuple[str, ...]] = {"classifier.temperature": ("temp",)}
        for own, name in official.items():
            entries |= joined(f"classifier.{own}", name, CONV)
        for key in self.state_dict():
            if key.startswith("backbone."):
                entries[key] = (f"video_encoder.resnet.{key.removeprefix('backbone.')}",)
        return entries


@register_model(
    "skeletonclip_pp",
    paper="SkeletonCLIP++, after Mukhoti et al., CVPR 2023",
    criterion=FrameTextCriterion,
    takes="heatmaps",
)
def skeletonclip_pp(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 17,
    *,
    class_names: Sequence[str] = (),
    text_encoder: str | Path | TextEncoder | TextFacts | None = None,
    prompts: Sequence[str] = ("{}",),
    train_text: bool = True,
    variant: Variant = "raw",
    normalise_frames: bool = False,
    video_width: int = 768,
    embed_dim: int = 256,
    temperature: float = 0.07,
    base_channels: int = 32,
    stage_blocks: Sequence[int] = (4, 6, 3),
    inflate: Inflate = (0, 1, 1),
    spatial_strides: Sequence[int] = (2, 2, 2),
    temporal_strides: Sequence[int] = (1, 1, 2),
    zero_init_residual: bool = True,
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> SkeletonCLIPPlus:
    """PoseC3D whose frames are compared with class names one by one (SkeletonCLIP++).

    The published network has BERT for its texts; here it is any text encoder.

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: how many names there are.
        in_channels: K, maps of a frame.
        class_names: in the order of the labels; in a training those of the store, where left out.
        text_encoder: a file or folder with CLIP's weights, ``"minilm"`` (a small BERT), or what else
            :func:`protogcn.models.text.create_text_encoder` takes.
        prompts: templates around a name; as published the name alone.
        train_text: whether the text tower is trained along, as published; if not, it is no part of the network.
        variant: ``"raw"`` compares the mean over the frames with the texts of the batch. ``"pacl"`` lets every class
            weigh the frames and learns by cross entropy over all classes. ``"pacl_batch"`` is tested as ``"pacl"``, and
            in training only its own text weighs the frames of a clip, which is compared with the texts of the batch.
        normalise_frames: whether the frames that ``"pacl"`` and ``"pacl_batch"`` weigh are of length one.
        video_width: of the linear map over frames of ``"raw"``; published: that of BERT.
        embed_dim: length of the vectors that are compared.
        temperature: to start from; it is kept in [0.001, 0.5].
        base_channels: width of the stem.
        stage_blocks: blocks of each stage.
        inflate: for each stage, or for each block of each stage, whether convolutions see three frames (1) or one (0).
        spatial_strides: of each stage.
        temporal_strides: of each stage.
        zero_init_residual: whether every residual branch starts at zero.
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.
    """
    check_counts(video_width=video_width, embed_dim=embed_dim)
    if not LEAST_TEMPERATURE <= temperature <= LARGEST_TEMPERATURE:
        raise ValueError(
            f"temperature must lie in [{LEAST_TEMPERATURE}, {LARGEST_TEMPERATURE}], where it is kept; got {temperature}"
        )
    if normalise_frames and variant == "raw":
        raise ValueError("normalise_frames is about the frames that pacl and pacl_batch weigh: leave it out for raw")
    check_names(class_names, num_classes)
    text = text_encoder if isinstance(text_encoder, TextFacts) else make_encoder(text_encoder)
    backbone = slow_only(
        in_channels,
        base_channels,
        stage_blocks,
        inflate,
        spatial_strides,
        temporal_strides,
        zero_init_residual,
        frozen_stages,
        norm_eval,
    )
    head = FrameTextHead(
        backbone.num_features,
        class_names,
        text,
        prompts,
        train_text,
        variant,
        normalise_frames,
        video_width,
        embed_dim,
        temperature,
    )
    return SkeletonCLIPPlus(skeleton, num_classes, in_channels, backbone, head)
