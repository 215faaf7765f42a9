"""Pointwise convolution of features (N, C, T, V), whose gradients are batched matrix products on CPUs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class PointwiseConv(nn.Conv2d):
    """:class:`torch.nn.Conv2d` of kernel 1 with a stride along time, trained in less time on CPUs."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride=(stride, 1))

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return pointwise(x, self.weight, self.bias, self.training, self.stride[0])


def pointwise(x: Tensor, weight: Tensor, bias: Tensor, training: bool, stride: int = 1) -> Tensor:
    """Convolution with a kernel of 1 and a stride along time: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
    if not trains_by_products(x, training):
        return functional.conv2d(x, weight, bias, stride=(stride, 1))
    out: Tensor = _Pointwise.apply(*as_autocast(x, weight, bias), stride)
    return out


def trains_by_products(x: Tensor, training: bool) -> bool:
    """Whether the gradients of a pointwise convolution shall be matrix products.

    On a CPU those of a convolution go through a layout of blocks, which takes longer than it saves at this size.
    """
    trains = training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return trains and x.device.type == "cpu" and x.is_contiguous()


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors on a CPU in the precision that autocast gives to a convolution: what it saves for its gradients."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    reduced = torch.get_autocast_dtype("cpu")
    return tuple(tensor.to(reduced) if tensor.dtype == torch.float32 else tensor for tensor in tensors)


def grads_of_products(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: int, needed: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias, those that are needed.

    Args:
        x: input (N, C_in, T, V).
        weight: (C_out, C_in, 1, 1).
        gradient: of the output, (N, C_out, ceil(T / stride), V).
        stride: along time.
        needed: of input, of weight, of bias.
    """
    of_input, of_weight, of_bias = needed
    rows = gradient.flatten(2)
    back = steps = None
    if of_input:
        back = torch.bmm(weight.flatten(1).mT.expand(len(rows), -1, -1), rows)
        back = back.view(x.shape) if stride == 1 else _spread(back, x, stride)
    if of_weight:
        steps = torch.bmm(rows, x[:, :, ::stride].flatten(2).mT).sum(0).view(weight.shape)
    # Not both axes at once, for which torch copies what is of reduced precision.
    return back, steps, rows.sum(2).sum(0) if of_bias else None


def _spread(rows: Tensor, like: Tensor, stride: int) -> Tensor:
    """Frames (N, C, T' * V) at their places in (N, C, T, V), with zeros between them."""
    spread = torch.zeros_like(like)
    frames = spread[:, :, ::stride]
    frames.copy_(rows.view(frames.shape))
    return spread


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, bias, stride=(stride, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return (*grads_of_products(x, weight, gradient, ctx.stride, ctx.needs_input_grad[:3]), None)
