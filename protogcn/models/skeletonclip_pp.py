"""SkeletonCLIP++: frames of PoseC3D on SlowOnly against class names, as a mean, in pairs, or frame by frame (PACL)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, joined
from protogcn.models.clip_losses import FrameTextCriterion
from protogcn.models.frame_text_head import LARGEST_TEMPERATURE, LEAST_TEMPERATURE, FrameTextHead, Variant
from protogcn.models.layers.resnet3d import Inflate, ResNet3d
from protogcn.models.options import check_counts
from protogcn.models.registry import register_model
from protogcn.models.skeletonclip import slow_only
from protogcn.models.text.bert import Bert
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_bank import check_names, make_encoder
from protogcn.models.text_facts import TextFacts
from protogcn.models.volume import VolumeClassifier


class SkeletonCLIPPlus(VolumeClassifier):
    """The network; see :func:`skeletonclip_pp` for its options."""

    def __init__(
        self, skeleton: Skeleton, num_classes: int, in_channels: int, backbone: ResNet3d, head: FrameTextHead
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, backbone.num_features, dropout=0.0)
        self.backbone = backbone
        self.use_text_head(head)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (N, num_features, T', H', W') to cosines (N, num_classes), or to frames (N, T', num_features)."""
        frames = torch.mean(features, (3, 4)).transpose(1, 2)
        return frames if pre_logits else self.classifier(frames)

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        """Own state entry -> official one; of text towers, BERT alone has names there."""
        head: FrameTextHead = self.classifier
        official = {"video": "vision_proj", "widen": "video_encoder.linear", "text": "text_proj"}
        if not head.pooled:
            official = {"video": "video_embed_res", "text": "text_proj"}
            official |= {f"bend.{index}": f"video_embed_linear.{index}" for index in (0, 2)}
        entries: dict[str, tuple[str, ...]] = {"classifier.temperature": ("temp",)}
        for own, name in official.items():
            entries |= joined(f"classifier.{own}", name, CONV)
        if head.variant == "itm":
            entries |= joined("classifier.matching", "itm_head", CONV)
        prefixes = {"backbone.": "video_encoder.resnet."}
        if isinstance(head.tower, Bert):
            prefixes["classifier.tower."] = "text_encoder."
        for key in self.state_dict():
            for own, name in prefixes.items():
                if key.startswith(own):
                    entries[key] = (name + key.removeprefix(own),)
        return entries

    def official_optional(self) -> frozenset[str]:
        """The numbers of the positions, and what only matching reads where this variant does not match."""
        tower = self.classifier.tower
        if not isinstance(tower, Bert):
            return frozenset()
        unread = {"embeddings.position_ids"}
        if tower.clip_width is None:
            unread |= set(Bert.cross_attention_names(tower.layers))
        return frozenset(f"text_encoder.{name}" for name in unread)


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

    The published network has BERT for its texts; here it is any text encoder, but for the variant ``itm``.

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: how many names there are.
        in_channels: K, maps of a frame.
        class_names: in the order of the labels; in a training those of the store, where left out.
        text_encoder: a folder with a BERT, as published, CLIP's weights, ``"minilm"`` (a small BERT), or what else
            :func:`protogcn.models.text.create_text_encoder` takes.
        prompts: templates around a name; as published the name alone.
        train_text: whether the text tower is trained along, as published; if not, it is no part of the network.
        variant: ``"raw"`` compares the mean over the frames with the texts of the batch. ``"itm"`` is tested as
            ``"raw"``, and in training BERT also reads clips and names together and tells pairs that belong together
            from hard ones that do not (:func:`protogcn.models.clip_losses.matching_loss`). ``"pacl"`` lets every class
            weigh the frames and learns by cross entropy over all classes. ``"pacl_batch"`` is tested as ``"pacl"``, and
            in training only its own text weighs the frames of a clip, which is compared with the texts of the batch.
        normalise_frames: whether the frames that ``"pacl"`` and ``"pacl_batch"`` weigh are of length one.
        video_width: of the linear map over frames of ``"raw"`` and ``"itm"``; published: that of BERT.
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
    if normalise_frames and variant in ("raw", "itm"):
        raise ValueError(f"normalise_frames is about frames that pacl and pacl_batch weigh: leave it out for {variant}")
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
