"""The contract of networks that see volumes: heat maps of joints or limbs over time."""

import torch
from torch import Tensor, nn

from graphs.skeleton import Skeleton
from protogcn.models.base import SkeletonClassifier


class VolumeClassifier(SkeletonClassifier):
    """Backbone over volumes (N, K, T, H, W), global average, and a linear classifier (PoseC3D's I3D head).

    A subclass sets ``backbone``, or implements :meth:`forward_features`.

    Args:
        skeleton: the layout that the maps are drawn from.
        num_classes: size of the classifier.
        in_channels: K, maps of a frame.
        num_features: channels that the backbone hands to the classifier.
        dropout: probability of dropping a pooled feature before the classifier.
    """

    backbone: nn.Module

    def __init__(
        self, skeleton: Skeleton, num_classes: int, in_channels: int, num_features: int, dropout: float = 0.5
    ) -> None:
        super().__init__(skeleton, num_classes, in_channels, num_features, dropout)

    def check_input(self, volumes: Tensor) -> None:
        """Refuse a batch that is not (N, K, T, H, W), in the precision of the weights.

        Raises:
            ValueError: saying what was got and what is expected.
        """
        self._check_values(volumes)
        if volumes.ndim == 5 and volumes.shape[1] == self.in_channels and 0 not in volumes.shape:
            return
        expected = f"(N samples, {self.in_channels} maps, T frames, height, width)"
        hint = ""
        if volumes.ndim == 4 and volumes.shape[0] == self.in_channels:
            hint = " One volume (K, T, H, W) becomes a batch by volume[None]."
        elif volumes.ndim == 5 and volumes.shape[3] == self.skeleton.num_joints and volumes.shape[4] in (2, 3):
            hint = " These look like key points: draw their maps by protogcn.data.heatmaps.render."
        elif volumes.ndim == 5 and volumes.shape[2] == self.in_channels:
            hint = " This looks like (N, T, K, H, W): turn it by volumes.transpose(1, 2)."
        raise ValueError(f"the model takes heat maps of shape {expected}; got {tuple(volumes.shape)}.{hint}")

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Volumes (N, K, T, H, W) to features (N, num_features, T', H', W'), by ``backbone``."""
        self.check_input(volumes)
        # The convolutions are faster with channels last, and keep to the layout of their input.
        features: Tensor = self.backbone(volumes.contiguous(memory_format=torch.channels_last_3d))
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (N, num_features, T', H', W') to logits (N, num_classes), or to pooled ones (N, num_features)."""
        pooled = torch.mean(features, (2, 3, 4))
        return pooled if pre_logits else self.classifier(self.dropout(pooled))
