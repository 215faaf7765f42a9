"""PoseC3D (Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022): 3-D networks over heat maps.

Three backbones of the paper under one head: the slow pathway of SlowFast, a light C3D and a shallow X3D.
"""

from collections.abc import Sequence
from typing import Literal

from graphs.skeleton import Skeleton
from protogcn.models.base import CONV, joined
from protogcn.models.layers.c3d import LightC3D
from protogcn.models.layers.resnet3d import Inflate, ResNet3d
from protogcn.models.layers.volume import StagedBackbone
from protogcn.models.layers.x3d import X3D
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
    _check_num_stages(num_stages, stage_blocks)
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


@register_model("posec3d_c3d_light", paper=PAPER, takes="heatmaps")
def posec3d_c3d_light(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 17,
    *,
    base_channels: int = 32,
    num_stages: Literal[3, 4] = 3,
    temporal_downsample: bool = False,
    dropout: float = 0.5,
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> PoseC3D:
    """Row of 3x3x3 convolutions over heat maps (PoseC3D on a light C3D).

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: size of the classifier.
        in_channels: K, maps of a frame: joints, limbs, or both.
        base_channels: width of the first convolution.
        num_stages: pools, 3 or 4; the stage before the first pool is not counted.
        temporal_downsample: whether all pools but the first halve the frame rate too.
        dropout: before the classifier.
        frozen_stages: -1 for none, 0 for the first convolution, k for it and the k stages after it.
        norm_eval: whether every batch norm keeps its statistics in training.
    """
    backbone = LightC3D(
        in_channels,
        base_channels=base_channels,
        num_stages=num_stages,
        temporal_downsample=temporal_downsample,
        frozen_stages=frozen_stages,
        norm_eval=norm_eval,
    )
    return PoseC3D(skeleton, num_classes, in_channels, backbone, backbone.num_features, dropout)


@register_model("posec3d_x3d_shallow", paper=PAPER, takes="heatmaps")
def posec3d_x3d_shallow(
    skeleton: Skeleton,
    num_classes: int,
    in_channels: int = 17,
    *,
    base_channels: int = 24,
    num_stages: int | None = None,
    stage_blocks: Sequence[int] = (2, 5, 3),
    spatial_strides: Sequence[int] = (2, 2, 2),
    gamma_w: float = 1.0,
    gamma_b: float = 2.25,
    gamma_d: float = 1.0,
    se_ratio: float | None = None,
    use_swish: bool = False,
    dropout: float = 0.5,
    zero_init_residual: bool = True,
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> PoseC3D:
    """Depth-wise separable network over heat maps, the smallest of the three (PoseC3D on a shallow X3D).

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: size of the classifier.
        in_channels: K, maps of a frame: joints, limbs, or both.
        base_channels: width of the stem.
        num_stages: how many of the stages are built, from the first; all by default.
        stage_blocks: blocks of each stage.
        spatial_strides: of each stage.
        gamma_w: factor of ``base_channels``, rounded to a multiple of 8.
        gamma_b: inner width of a block over its outer one.
        gamma_d: factor of ``stage_blocks``, rounded up.
        se_ratio: inner width of the channel gates of every other block, as a part of its width; none for no gates.
        use_swish: whether a swish follows the depth-wise convolutions.
        dropout: before the classifier.
        zero_init_residual: whether every residual branch starts at zero.
        frozen_stages: -1 for none, 0 for the stem, k for the stem and the first k stages.
        norm_eval: whether every batch norm keeps its statistics in training.
    """
    _check_num_stages(num_stages, stage_blocks)
    backbone = X3D(
        in_channels,
        base_channels=base_channels,
        stage_blocks=stage_blocks[:num_stages],
        spatial_strides=spatial_strides[:num_stages],
        gamma_w=gamma_w,
        gamma_b=gamma_b,
        gamma_d=gamma_d,
        se_ratio=se_ratio,
        use_swish=use_swish,
        zero_init_residual=zero_init_residual,
        frozen_stages=frozen_stages,
        norm_eval=norm_eval,
    )
    return PoseC3D(skeleton, num_classes, in_channels, backbone, backbone.num_features, dropout)


def _check_num_stages(num_stages: int | None, stage_blocks: Sequence[int]) -> None:
    if num_stages is None:
        return
    check_counts(num_stages=num_stages)
    if num_stages > len(stage_blocks):
        raise ValueError(f"num_stages is {num_stages}, but stage_blocks names {len(stage_blocks)} stages only")
