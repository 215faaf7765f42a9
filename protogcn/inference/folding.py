"""Networks rewritten for inference: unit by unit into ones that compute the same with less work."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from protogcn.models.layers.pointwise import PointwiseConv

Folder = Callable[[Any], nn.Module]
_FOLDERS: dict[type[nn.Module], Folder] = {}


class CannotFold(Exception):
    """A unit was built of other parts than those that its rewriting knows."""


def folds(kind: type[nn.Module]) -> Callable[[Folder], Folder]:
    """Decorator that enters what rewrites a kind of unit; it leaves the unit itself as it is."""

    def enter(folder: Folder) -> Folder:
        _FOLDERS[kind] = folder
        return folder

    return enter


def fold(module: nn.Module, done: list[nn.Module] | None = None) -> nn.Module:
    """What takes the place of a module in evaluation mode.

    Units of this library are rewritten. Any other module keeps its forward, and its children are replaced in place: a
    subclass may compute something else than the unit that it comes from.

    Args:
        module: changed in place where it is not replaced as a whole.
        done: gets the units that were rewritten.
    """
    folder = _FOLDERS.get(type(module))
    if folder is not None:
        try:
            folded = folder(module)
        except CannotFold:
            pass
        else:
            if done is not None:
                done.append(module)
            return folded
    for name, child in module.named_children():
        setattr(module, name, fold(child, done))
    return module


def norm_map(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of every channel by a batch norm in evaluation mode, in float64.

    Raises:
        CannotFold: it is no batch norm, or one that keeps no statistics.
    """
    if not isinstance(norm, _NormBase) or isinstance(norm, nn.modules.instancenorm._InstanceNorm):
        raise CannotFold
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise CannotFold
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def weights(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution or linear map, in float64; zeros where it has no bias.

    Raises:
        CannotFold: it is something else.
    """
    if type(conv) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, PointwiseConv):
        raise CannotFold
    assert isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
    weight = conv.weight.detach().double()
    return weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().double()


def scaled(weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map followed by a scale and a shift of each of its outputs."""
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias * scale + shift


class Conv(nn.Module):
    """A convolution with fixed weights, as it follows from a given one.

    Args:
        like: gives stride, padding, dilation and groups.
        weight: in float64.
        bias: in float64.
        stride: another one than that of the given convolution.
    """

    def __init__(self, like: nn.Module, weight: Tensor, bias: Tensor, stride: tuple[int, ...] | None = None) -> None:
        super().__init__()
        if not isinstance(like, nn.Conv2d | nn.Conv3d) or like.padding_mode != "zeros":
            raise CannotFold
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weight.to(like.weight.dtype))
        self.register_buffer("bias", bias.to(like.weight.dtype))
        self.convolve: Any = functional.conv2d if weight.ndim == 4 else functional.conv3d
        self.shape = (stride or like.stride, like.padding, like.dilation)
        self.groups = like.groups

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convolve(x, self.weight, self.bias, *self.shape, self.groups)
        return out


def folded_conv(conv: nn.Module, norm: nn.Module | None = None) -> Conv:
    """A convolution and, if given, the batch norm behind it."""
    weight, bias = weights(conv)
    return Conv(conv, *(scaled(weight, bias, *norm_map(norm)) if norm is not None else (weight, bias)))


def folded_shortcut(path: nn.Module | None) -> nn.Module | None:
    """A residual path as one convolution; None where the input itself is added, or nothing.

    Raises:
        CannotFold: it is something else.
    """
    if path is None or type(path) is nn.Identity:
        return None
    if type(path) is not nn.Sequential or len(path) != 2:
        raise CannotFold
    return folded_conv(path[0], path[1])


def folded_sequence(sequence: nn.Sequential) -> nn.Module:
    """A row of modules in which convolutions take up the batch norms behind them."""
    parts: list[nn.Module] = []
    previous: nn.Module | None = None
    for part in sequence:
        try:
            folded: nn.Module = folded_conv(previous, part) if previous is not None else fold(part)
        except CannotFold:
            folded = fold(part)
        else:
            if previous is not None:
                parts.pop()
        parts.append(folded)
        previous = part
    return nn.Sequential(*parts)


def constant(module: nn.Module, like: Tensor, **values: Tensor) -> None:
    """Keep fixed values in a module, in the precision and on the device of a weight."""
    for name, value in values.items():
        module.register_buffer(name, value.detach().to(like.device, like.dtype))


def accumulate(out: Tensor, residual: Tensor | None) -> Tensor:
    """``relu(out + residual)``, in the place of ``out``."""
    return (out if residual is None else out.add_(residual)).relu_()


def as_python(value: Tensor) -> float:
    """A single number that a kernel takes as an argument."""
    return float(value.detach().double().item())


def dense(x: Tensor) -> Tensor:
    """Features whose samples and channels can be taken together: NCHW."""
    return x.contiguous(memory_format=torch.contiguous_format)
