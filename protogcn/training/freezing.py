"""Parts of a network that a training leaves as they are: their weights, and the statistics of their batch norms."""

from collections.abc import Iterable
from functools import partial

from torch import nn

from protogcn.models import SkeletonClassifier
from protogcn.training.depth import Part, layers_of
from protogcn.training.sections import ModelConfig


def freeze(parts: Iterable[Part]) -> None:
    """Freeze modules and parameters, for good.

    The weights ask for no gradient, so a forward pass keeps none of what comes before the first part that trains. The
    modules stay in evaluation mode whatever ``train()`` says: batch norms keep their statistics and dropout passes all.
    """
    for part in parts:
        part.requires_grad_(False)
        if isinstance(part, nn.Module):
            for module in part.modules():
                _keep_in_evaluation(module)


def is_frozen(module: nn.Module) -> bool:
    """Whether `freeze` was told to keep a module."""
    return "train" in module.__dict__


def freeze_stages(model: nn.Module, stages: int) -> None:
    """Freeze the stem and the first stages of a network (``frozen_stages`` of PYSKL and MMAction2).

    Args:
        model: a network with stages, see :func:`protogcn.training.depth.layers_of`.
        stages: k for the stem and the first k stages, 0 for the stem alone, -1 for nothing.

    Raises:
        ValueError: there are fewer stages, or none can be told.
    """
    if stages < 0:
        return
    layers = layers_of(model)
    if stages >= len(layers):
        raise ValueError(
            f"model.frozen_stages {stages} is more than the {len(layers) - 1} stages of {type(model).__name__}; the "
            "whole backbone is frozen by --protocol linear"
        )
    for layer in layers[: stages + 1]:
        freeze(layer)


def freeze_backbone(model: SkeletonClassifier) -> None:
    """Freeze all of a network but its classifier, as a linear probe does; of a head of texts also the text tower.

    Dropout before the classifier stays as in any training.
    """
    freeze(child for name, child in model.named_children() if name not in ("classifier", "dropout"))
    freeze(model.parameters(recurse=False))
    _keep_in_evaluation(model)
    if isinstance(tower := getattr(model.classifier, "tower", None), nn.Module):
        freeze([tower])


def freeze_for(model: SkeletonClassifier, config: ModelConfig, protocol: str) -> None:
    """Freeze what a recipe leaves as it is: the whole backbone under ``linear``, else its ``frozen_stages``.

    Raises:
        ValueError: see `freeze_stages`.
    """
    if protocol == "linear":
        freeze_backbone(model)
    else:
        freeze_stages(model, config.frozen_stages)


def _keep_in_evaluation(module: nn.Module) -> None:
    module.__dict__["train"] = partial(_stay, module)
    module.training = False


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    # The modules inside may train, as the classifier of a frozen network does.
    for child in module.children():
        child.train(mode)
    module.training = False
    return module
