"""PoseC3D (Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022): 3-D networks over heat maps.

Three backbones of the paper under one head: the slow pathway of SlowFast, a light C3D and a shallow X3D.
"""

from collections.abc import Sequence

from torch import Tensor

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, joined
from protogcn.models.layers.resnet3d import Inflate, ResNet3d
from protogcn.models.layers.volume import StagedBackbone
from protogcn.models.options import check_counts
from protogcn.models.registry import register_model
from protogcn.models.volume import VolumeClassifier

PAPER = "Duan et al., CVPR 2022"


class PoseC3D(VolumeClassifier):
    """A backbone over heat maps under a global average and a linear classifier.

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: size of the classifier.
        in_channels: K, maps of a frame.
        backbone: (N, K, T, H, W) -> (N, num_features, T', H', W').
        num_features: channels that it gives.
        dropout: before the classifier.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int,
        backbone: StagedBackbone,
        num_features: int,
        dropout: float,
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, num_features, dropout)
        self.backbone = backbone

    def forward_features(self, volumes: Tensor) -> Tensor:
        self.check_input(volumes)
        features: Tensor = self.backbone(volumes)
        return features

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        # The parts of the backbone have their official names.
        entries: dict[str, tuple[str, ...]] = {key: (key,) for key in self.state_dict() if key.startswith("backbone.")}
        return entries | joined("classifier", "cls_head.fc_cls", CONV)


@register_model("posec3d_slowonly", paper=PAPER, takes="heatmaps")
def posec3d_slowonly(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 17,
    *,
    base_channels: int = 32,
    num_stages: int | None = None,
    stage_blocks: Sequence[int] = (4, 6, 3),
    stem_kernel: Sequence[int] = (1, 7, 7),
    stem_stride: Sequence[int] = (1, 1),
    pool_stride: Sequence[int] = (1, 1),
    inflate: Inflate = (0, 1, 1),
    spatial_strides: Sequence[int] = (2, 2, 2),
    temporal_strides: Sequence[int] = (1, 1, 2),
    dropout: float = 0.5,
    zero_init_residual: bool = True,
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> PoseC3D:
    """ResNet over heat maps whose early stages see single frames (PoseC3D on SlowOnly).

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: size of the classifier.
        in_channels: K, maps of a frame: joints, limbs, or both.
        base_channels: width of the stem.
        num_stages: how many of the stages are built, from the first; all by default.
        stage_blocks: blocks of each stage; published: (4, 6, 3) on NTU RGB+D and FineGYM, (3, 4, 6) on Kinetics, HMDB51
            and UCF101.
        stem_kernel: of the first convolution, along time, height and width.
        stem_stride: of it, along time and along height and width.
        pool_stride: of the max-pool after it, along the same; it is applied at stride 1 too.
        inflate: for each stage, or for each block of each stage, whether convolutions see three frames (1) or one (0).
        spatial_strides: of each stage.
        temporal_strides: of each stage.
        dropout: before the classifier.
        zero_init_residual: whether every residual branch starts at zero.
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.
    """
    if num_stages is not None:
        check_counts(num_stages=num_stages)
        if num_stages > len(stage_blocks):
            raise ValueError(f"num_stages is {num_stages}, but stage_blocks names {len(stage_blocks)} stages only")
    backbone = ResNet3d(
        in_channels,
        base_channels=base_channels,
        stage_blocks=stage_blocks[:num_stages],
        stem_kernel=stem_kernel,
        stem_stride=stem_stride,
        pool_stride=pool_stride,
        inflate=inflate[:num_stages],
        spatial_strides=spatial_strides[:num_stages],
        temporal_strides=temporal_strides[:num_stages],
        zero_init_residual=zero_init_residual,
        frozen_stages=frozen_stages,
        norm_eval=norm_eval,
    )
    return PoseC3D(skeleton, num_classes, in_channels, backbone, backbone.num_features, dropout)
