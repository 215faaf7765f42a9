"""SkeletonCLIP: PoseC3D on SlowOnly beside CLIP's text tower, both trained, compared by a learned temperature."""

from collections.abc import Sequence
from pathlib import Path

from graphs.skeleton import Skeleton
from protogcn.models.clip_head import TextHead, text_head
from protogcn.models.clip_losses import ClipContrastive
from protogcn.models.layers.resnet3d import Inflate, ResNet3d
from protogcn.models.registry import register_model
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text.prompts import PROMPTS
from protogcn.models.text_facts import TextFacts
from protogcn.models.volume import VolumeClassifier


class SkeletonCLIP(VolumeClassifier):
    """The network; see :func:`skeletonclip` for its options."""

    def __init__(
        self, skeleton: Skeleton, num_classes: int, in_channels: int, backbone: ResNet3d, head: TextHead
    ) -> None:
        # The official network declares a dropout and never applies it.
        super().__init__(skeleton, num_classes, in_channels, backbone.num_features, dropout=0.0)
        self.backbone = backbone
        self.use_text_head(head)

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        """Own state entry -> official one, for a text tower of CLIP that is trained along."""
        entries: dict[str, tuple[str, ...]] = {"classifier.logit_scale": ("cls_head.logit_scale",)}
        for key in self.state_dict():
            for own, official in (("backbone.", "video_encoder."), ("classifier.tower.", "text_encoder.")):
                if key.startswith(own):
                    entries[key] = (f"backbone.{official}{key.removeprefix(own)}",)
        return entries


@register_model(
    "skeletonclip", paper="SkeletonCLIP, after Wang et al., 2021", criterion=ClipContrastive, takes="heatmaps"
)
def skeletonclip(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 17,
    *,
    class_names: Sequence[str] = (),
    text_encoder: str | Path | TextEncoder | TextFacts | None = None,
    prompts: Sequence[str] = PROMPTS,
    train_text: bool = True,
    projection: bool | None = None,
    logit_scale: float | None = None,
    largest_logit_scale: float | None = None,
    base_channels: int = 32,
    stage_blocks: Sequence[int] = (3, 4, 6),
    inflate: Inflate = (0, 1, 1),
    spatial_strides: Sequence[int] = (2, 2, 2),
    temporal_strides: Sequence[int] = (1, 1, 2),
    zero_init_residual: bool = True,
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> SkeletonCLIP:
    """PoseC3D whose classes are texts of CLIP (SkeletonCLIP).

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: how many names there are.
        in_channels: K, maps of a frame.
        class_names: in the order of the labels; in a training those of the store, where left out.
        text_encoder: a file or folder with CLIP's weights (published: ViT-B/16), ``"minilm"``, or what else
            :func:`protogcn.models.text.create_text_encoder` takes.
        prompts: templates around a name, each with one ``{}``.
        train_text: whether the text tower is trained along, as published; if not, it is no part of the network.
        projection: whether features pass a linear map to the length of the text vectors; where left out, only if the
            lengths differ. CLIP's 512 are the 512 of the published network.
        logit_scale: logarithm of the temperature's inverse to start from; where left out, 4.6052 for a pre-trained text
            tower, else ln(1 / 0.07).
        largest_logit_scale: what it is cut to before each training step; as published, it is not.
        base_channels: width of the stem.
        stage_blocks: blocks of each stage.
        inflate: for each stage, or for each block of each stage, whether convolutions see three frames (1) or one (0).
        spatial_strides: of each stage.
        temporal_strides: of each stage.
        zero_init_residual: whether every residual branch starts at zero.
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.
    """
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
    head = text_head(
        backbone.num_features,
        num_classes,
        class_names=class_names,
        text_encoder=text_encoder,
        prompts=prompts,
        train_text=train_text,
        projection=projection,
        logit_scale=logit_scale,
        largest_logit_scale=largest_logit_scale,
    )
    return SkeletonCLIP(skeleton, num_classes, in_channels, backbone, head)


def slow_only(
    in_channels: int,
    base_channels: int,
    stage_blocks: Sequence[int],
    inflate: Inflate,
    spatial_strides: Sequence[int],
    temporal_strides: Sequence[int],
    zero_init_residual: bool,
    frozen_stages: int,
    norm_eval: bool,
) -> ResNet3d:
    """PoseC3D's backbone: a 3-D ResNet with a stem over single frames, at full rate and resolution."""
    return ResNet3d(
        in_channels,
        base_channels=base_channels,
        stage_blocks=stage_blocks,
        stem_kernel=(1, 7, 7),
        stem_stride=(1, 1),
        pool_stride=(1, 1),
        inflate=inflate,
        spatial_strides=spatial_strides,
        temporal_strides=temporal_strides,
        zero_init_residual=zero_init_residual,
        frozen_stages=frozen_stages,
        norm_eval=norm_eval,
    )
