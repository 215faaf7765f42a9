"""Weights of a network over images as the first weights of one over volumes (Carreira and Zisserman, CVPR 2017)."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protogcn.models.checkpoints import unwrap_state_dict
from protogcn.models.layers.resnet3d import ResNet3d

_PREFIX = "backbone."
# Names of torchvision -> those of a convolution with its norm.
_RENAMED = (
    (re.compile(r"^(|layer\d+\.\d+\.)bn(\d+)\."), r"\1conv\2.bn."),
    (re.compile(r"^(|layer\d+\.\d+\.)conv(\d+)\.weight$"), r"\1conv\2.conv.weight"),
    (re.compile(r"\.downsample\.0\."), ".downsample.conv."),
    (re.compile(r"\.downsample\.1\."), ".downsample.bn."),
)


@dataclass(frozen=True)
class Inflation:
    """What became of the weights.

    Attributes:
        loaded: entries of the network over volumes that were filled.
        skipped: entry -> why it kept its first weights although the images have one of that name.
        absent: entries of which the images have none.
        unused: entries of the images that the network has no use for, such as their classifier.
    """

    loaded: tuple[str, ...]
    skipped: Mapping[str, str]
    absent: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """One line with the counts, and one for each entry that was skipped."""
        head = (
            f"{len(self.loaded)} entries from the network over images, {len(self.skipped)} of another shape, "
            f"{len(self.absent)} that it has not, {len(self.unused)} of it unused"
        )
        return "\n".join([head, *(f"  {name}: {why}" for name, why in self.skipped.items())])


def inflate(state2d: Mapping[str, Tensor], model: nn.Module, *, pad_channels: bool = False) -> Inflation:
    """Start a bottleneck ResNet over volumes from one over images, in place.

    Every kernel is repeated along time and divided by the number of frames, so that a still video gives what its image
    gave; norms are copied with their running statistics. What has another shape keeps its first weights and is warned
    of, such as a stem over 17 heat maps.

    Args:
        state2d: entries of a ResNet-50 by the names of torchvision (``layer1.0.conv1.weight``, ``layer1.0.bn1.weight``,
            ``layer1.0.downsample.0.weight``) or of OpenMMLab (``layer1.0.conv1.conv.weight``), with or without
            ``backbone.`` before them.
        model: a :class:`~protogcn.models.layers.resnet3d.ResNet3d`, or a network with a single one in it.
        pad_channels: whether a convolution of more input channels than that over images takes zeros for the others, the
            last ones, instead of being skipped; for pathways that see each other (SlowFast, RGBPoseConv3D).

    Returns:
        What was loaded and what was not.

    Raises:
        ValueError: the network has no or several such ResNets, or the images have no entry of it; nothing was loaded.
    """
    target = _resnet_of(model)
    source = {_own_name(name): (name, value) for name, value in unwrap_state_dict(state2d).items()}
    own = target.state_dict()
    loaded: dict[str, Tensor] = {}
    skipped: dict[str, str] = {}
    absent = []
    for name, value in own.items():
        if name not in source:
            absent.append(name)
            continue
        images = source[name][1].to(value.device, value.dtype)
        fitted = _inflated(images, value, pad_channels) if value.ndim == 5 else images
        if fitted is not None and fitted.shape == value.shape:
            loaded[name] = fitted
        else:
            skipped[name] = f"shape {tuple(images.shape)} does not go into {tuple(value.shape)}"
    if not loaded and not skipped:
        some = ", ".join(list(state2d)[:3])
        raise ValueError(
            "these are the weights of no ResNet over images (conv1.weight, layer1.0.conv1.weight, ...): the entries "
            f"are called {some}, ..."
        )
    target.load_state_dict(loaded, strict=False)
    report = Inflation(
        tuple(loaded), skipped, tuple(absent), tuple(name for key, (name, _) in source.items() if key not in own)
    )
    if skipped:
        warnings.warn(f"weights that were not loaded: {report.describe()}", stacklevel=2)
    return report


def _inflated(images: Tensor, volumes: Tensor, pad_channels: bool) -> Tensor | None:
    """A kernel (C_out, C_in, H, W) as one like ``volumes``; None where it is no such kernel."""
    if images.ndim != 4:
        return None
    frames, extra = volumes.shape[2], volumes.shape[1] - images.shape[1]
    kernel = images[:, :, None].expand(-1, -1, frames, -1, -1) / frames
    if pad_channels and extra > 0:
        kernel = torch.cat([kernel, kernel.new_zeros(kernel.shape[0], extra, *kernel.shape[2:])], 1)
    return kernel


def _own_name(name: str) -> str:
    name = name.removeprefix(_PREFIX)
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _resnet_of(model: nn.Module) -> ResNet3d:
    found = {name: module for name, module in model.named_modules() if isinstance(module, ResNet3d)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(f"{type(model).__name__} has several networks to start: give one of {', '.join(found)}")
    raise ValueError(f"{type(model).__name__} has no bottleneck ResNet over volumes, which the weights could start")
