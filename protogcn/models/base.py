"""The contract that every skeleton classifier keeps."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.skeleton import Skeleton
from protogcn.models.description import ModelDescription
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.pointwise import PointwiseConv
from protogcn.models.options import check_counts
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_bank import TextBank


class SkeletonClassifier(nn.Module):
    """Backbone, pooling over time, joints and persons, and a linear classifier.

    A subclass implements :meth:`forward_features`; one whose training needs more than logits also implements
    :meth:`forward_train`.

    Args:
        skeleton: the layout of the clips; V is its number of joints.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_features: channels that the backbone hands to the classifier.
        dropout: probability of dropping a pooled feature before the classifier.

    Attributes:
        description: how it was built and trained, for :func:`protogcn.models.save_model`; None where it was not built
            by :func:`protogcn.models.create_model`.
    """

    description: ModelDescription | None = None
    criterion_parts: tuple[str, ...] = ()
    """Modules that only the training criterion of this model uses; a text head, which has another one, freezes them."""

    def __init__(
        self, skeleton: Skeleton, num_classes: int, in_channels: int, num_features: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.skeleton = skeleton
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.num_features = num_features
        self.dropout = nn.Dropout(dropout)
        # A linear map, or a head that compares features with texts.
        self.classifier: Any = self._make_classifier(num_classes)

    def _make_classifier(self, num_classes: int) -> nn.Linear:
        classifier = nn.Linear(self.num_features, num_classes)
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)
        return classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one of another size; the backbone keeps its weights.

        Raises:
            ValueError: ``num_classes`` is no positive integer, or the model tells its classes apart by their names.
        """
        check_counts(num_classes=num_classes)
        if isinstance(self.classifier, TextBank):
            raise ValueError(
                "this model compares clips with the names of its classes: give it other names by "
                "model.set_classes([...]), which needs no training"
            )
        reference = self._reference()
        self.num_classes = num_classes
        if self.description is not None:
            self.description = self.description.for_classes(num_classes)
        self.classifier = self._make_classifier(num_classes).to(reference.device, reference.dtype)
        self._resize_criterion_parts()

    def set_classes(self, class_names: Sequence[str], text_encoder: str | Path | TextEncoder | None = None) -> None:
        """Tell other classes apart from now on by their names; nothing is trained.

        Args:
            class_names: in the order of the logits.
            text_encoder: the one of the training, as for :func:`protogcn.models.create_model`; may be left out in the
                process that trained the model. A saved model does not hold it.

        Raises:
            FileNotFoundError: no such text weights.
            ValueError: the model has no text head, a name is empty or there twice, or the encoder is missing or not the
                one of the training.
        """
        head = self.classifier
        if not isinstance(head, TextBank):
            raise ValueError(
                f"this {type(self).__name__} has a linear classifier, which knows nothing of names: build it by "
                "create_model(..., head='clip', class_names=..., text_encoder=...), or train a classifier for other "
                "classes after model.reset_classifier(number)"
            )
        head.set_classes(class_names, text_encoder)
        self.num_classes = len(head.class_names)
        if self.description is not None:
            options = {**self.description.options, **head.noted()}
            fresh = self.description.for_classes(self.num_classes)
            self.description = dataclasses.replace(fresh, options=options, class_names=head.class_names)
        self._resize_criterion_parts()

    def use_text_head(self, head: TextBank) -> None:
        """Replace the classifier by one that compares features with class names."""
        self.classifier = head
        for part in self.criterion_parts:
            self.get_submodule(part).requires_grad_(False)

    def _resize_criterion_parts(self) -> None:
        """Called when the number of classes has changed; for what a training criterion keeps of each class."""

    def _reference(self) -> Tensor:
        """A weight that has the device and the precision of the model."""
        return next(self.classifier.parameters())

    def check_input(self, clips: Tensor) -> None:
        """Refuse a batch that is not (N, M, T, V, C) of this model's skeleton, in the precision of its weights.

        Raises:
            ValueError: saying what was got and what is expected.
        """
        joints, channels = self.skeleton.num_joints, self.in_channels
        self._check_values(clips)
        if clips.ndim == 5 and clips.shape[3:] == (joints, channels) and 0 not in clips.shape:
            return
        expected = f"(N samples, M persons, T frames, {joints} joints of {self.skeleton.name}, {channels} channels)"
        hint = ""
        if clips.ndim == 4 and clips.shape[2:] == (joints, channels):
            hint = " One clip (M, T, V, C) becomes a batch by clip[None]."
        elif clips.ndim == 5 and clips.shape[1] == channels and clips.shape[3] == joints:
            hint = " This looks like (N, C, T, V, M): turn it by clips.permute(0, 4, 2, 3, 1)."
        raise ValueError(f"the model takes clips of shape {expected}; got {tuple(clips.shape)}.{hint}")

    def _check_values(self, clips: Tensor) -> None:
        if not isinstance(clips, Tensor):
            raise ValueError(f"the model takes a torch tensor, got {type(clips).__name__}; torch.as_tensor makes one")
        expected = self._reference().dtype
        # Autocast converts between the reduced precisions and float32 by itself.
        lenient = torch.is_autocast_enabled(clips.device.type) and clips.is_floating_point() and clips.itemsize <= 4
        if clips.dtype != expected and not lenient:
            raise ValueError(
                f"the weights of the model are {expected} and the clips {clips.dtype}: convert by clips.to({expected})"
            )

    def forward_features(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to features (N, M, num_features, T', V)."""
        raise TypeError(f"{type(self).__name__} must define forward_features")

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Features (N, M, num_features, T', V) to logits (N, num_classes), or to pooled features (N, num_features)."""
        pooled = features.mean((3, 4)).mean(1)
        return pooled if pre_logits else self.classifier(self.dropout(pooled))

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, M, T, V, C) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(clips))

    def forward_train(self, clips: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits and what else the training criterion needs: what a text head gives, or what a subclass says."""
        if not isinstance(self.classifier, TextBank):
            return self(clips), {}
        return self.classify(self.dropout(self.forward_head(self.forward_features(clips), pre_logits=True)))

    def classify(self, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits of the features that enter the classifier, and what the criterion of a text head needs of it."""
        if isinstance(self.classifier, TextBank):
            return self.classifier.forward_train(features)
        return self.classifier(features), {}

    def official_entries(self) -> dict[str, tuple[str, ...]]:
        """Own state entry -> the entries of the official state dict that it holds, joined along their first axis."""
        raise ValueError(f"{type(self).__name__} has no official checkpoints to load")

    def official_optional(self) -> frozenset[str]:
        """Official entries that only hold the fixed skeleton: they may be absent, and are loaded where used."""
        return frozenset()


class InputNorm(nn.Module):
    """Batch normalisation of every (joint, channel), persons folded into the batch.

    Shapes: (N, M, T, V, C) -> (N * M, C, T, V); statistics over persons, samples and frames.
    """

    def __init__(self, num_joints: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_joints * channels)

    def forward(self, clips: Tensor) -> Tensor:
        samples, persons, frames, joints, channels = clips.shape
        series = clips.permute(0, 1, 3, 4, 2).reshape(samples * persons, joints * channels, frames)
        return self.norm(series).view(samples * persons, joints, channels, frames).permute(0, 2, 3, 1).contiguous()


def fill_persons(clips: Tensor, num_persons: int) -> Tensor:
    """Clips (N, M, T, V, C) with persons of zeros, which is what an absent person is in the data, up to a number.

    Raises:
        ValueError: there are more persons than that.
    """
    persons = clips.shape[1]
    if persons > num_persons:
        raise ValueError(
            f"the model was built for {num_persons} persons at most and got {persons}: build it with "
            f"num_persons={persons}, or keep the first ones by clips[:, :{num_persons}]"
        )
    if persons == num_persons:
        return clips
    return functional.pad(clips, (0, 0, 0, 0, 0, 0, 0, num_persons - persons))


class PersonInputNorm(nn.Module):
    """Batch normalisation of every (person, joint, channel).

    A clip of fewer persons is filled up with persons of zeros, which is what an absent person is in the data.

    Shapes: (N, M, T, V, C) -> (N * num_persons, C, T, V); statistics over samples and frames.
    """

    def __init__(self, num_persons: int, num_joints: int, channels: int) -> None:
        super().__init__()
        self.num_persons = num_persons
        self.norm = nn.BatchNorm1d(num_persons * num_joints * channels)

    def forward(self, clips: Tensor) -> Tensor:
        clips = fill_persons(clips, self.num_persons)
        samples, _, frames, joints, channels = clips.shape
        series = clips.permute(0, 1, 3, 4, 2).reshape(samples, -1, frames)
        normed = self.norm(series).view(samples * self.num_persons, joints, channels, frames)
        return normed.permute(0, 2, 3, 1).contiguous()


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Pointwise convolution over (N, C, T, V) with a stride along time."""
    return PointwiseConv(in_channels, out_channels, stride)


def shortcut(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """Residual path: identity where shapes agree, else pointwise convolution and batch norm."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), BatchNorm2d(out_channels))


def joined(own: str, official: str | list[str], parts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Entries ``own.part`` that hold ``official.part``; several official modules are joined in order."""
    names = [official] if isinstance(official, str) else official
    return {f"{own}.{part}": tuple(f"{name}.{part}" for name in names) for part in parts}


CONV = ("weight", "bias")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
