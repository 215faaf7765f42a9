"""The mean over joints as one more joint, which travels through temporal branches and comes back into every joint.

Duan et al., DG-STGCN, 2022, section 3.3. Shapes with that joint are (N, C, T, V + 1).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from protogcn.models.layers.pointwise import as_autocast, grads_of_products, pointwise, trains_by_products


def enter_branches(
    x: Tensor, weight: Tensor, bias: Tensor, width: int, stride: int, training: bool
) -> tuple[Tensor, Tensor]:
    """Pointwise convolution into branches, each with the mean joint.

    The mean of the joints passes a pointwise convolution like any joint: taken behind it, x needs no copy.

    Args:
        x: (N, C_in, T, V).
        weight: (C_out, C_in, 1, 1).
        bias: (C_out,).
        width: channels of the last branch, which is the pointwise one.
        stride: along time, of the last branch alone: the others look at every frame.
        training: whether gradients will be asked for.

    Returns:
        (N, C_out - width, T, V + 1) and (N, width, ceil(T / stride), V + 1).
    """
    if stride == 1 and trains_by_products(x, training):
        gated, last = _Enter.apply(*as_autocast(x, weight, bias), width)
        return gated, last
    gated = pointwise(x, weight[:-width], bias[:-width], training)
    last = pointwise(x, weight[-width:], bias[-width:], training, stride)
    return _with_mean(gated), _with_mean(last)


def leave_branches(x: Tensor, coefficients: Tensor, training: bool) -> Tensor:
    """(N, C, T, V + 1) to (N, C, T, V): the mean joint added to every other one, times the coefficient of that."""
    coefficients = coefficients.to(x.dtype)
    if not training or torch.compiler.is_compiling():
        return torch.addcmul(x[..., :-1], x[..., -1:], coefficients)
    mixed: Tensor = _Leave.apply(x, coefficients)
    return mixed


def _with_mean(x: Tensor) -> Tensor:
    # The gradient of a sum is a view, that of a mean a copy.
    return torch.cat([x, x.sum(-1, keepdim=True) / x.shape[-1]], -1)


class _Enter(torch.autograd.Function):
    """One convolution for all branches, and one product for each of its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, width: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.width = width
        gated, last = _branches(functional.conv2d(x, weight, bias), width)
        return _with_mean(gated), _with_mean(last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        samples, _, frames, joints = x.shape
        gradient = x.new_empty(samples, len(weight), frames, joints)
        for part, given in zip(_branches(gradient, ctx.width), gradients, strict=True):
            torch.add(given[..., :-1], given[..., -1:], alpha=1 / joints, out=part)
        return (*grads_of_products(x, weight, gradient, 1, ctx.needs_input_grad[:3]), None)


def _branches(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    return x[:, :-width], x[:, -width:]


class _Leave(torch.autograd.Function):
    """Keeps the mean joint alone, and finds both gradients by products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Tensor) -> Tensor:
        mean = x[..., -1:].contiguous()
        ctx.save_for_backward(mean, coefficients)
        return torch.addcmul(x[..., :-1], mean, coefficients)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        mean, coefficients = ctx.saved_tensors
        of_mean = (gradient.flatten(0, -2) @ coefficients).view(mean.shape)
        of_coefficients = torch.bmm(mean.flatten(1).unsqueeze(1), gradient.flatten(1, 2)).sum((0, 1))
        return torch.cat([gradient, of_mean], -1), of_coefficients
