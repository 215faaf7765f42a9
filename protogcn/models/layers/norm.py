"""Batch norm of features (N, C, T, V) whose statistics in training are found by vector instructions on CPUs, too."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from protogcn.models.layers.recompute import note, recomputing

# Above this square of mean / deviation a channel's variance is taken from differences instead of sums of squares.
_FAR_FROM_ZERO = 16.0


class BatchNorm2d(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` in less time; what it gives may be computed again.

    Where torch sums one number after another, on CPUs in float32, sums are vectorised. Everywhere else, and in
    evaluation, it is torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean, variance, steps = self.running_mean, self.running_var, self.num_batches_tracked
        if mean is None or variance is None or steps is None or self.momentum is None or not self._may_differ(x):
            return super().forward(x)
        vectorised = x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
        if not vectorised and not recomputing():
            return super().forward(x)
        steps.add_(1)
        if vectorised:
            found = _moments(x)
            count = x.numel() // x.shape[1]
            mean.lerp_(found[0], self.momentum)
            variance.lerp_(found[1] * (count / (count - 1)), self.momentum)
            out = _Normalise.apply(x, self.weight, self.bias, *found, self.eps)
        else:
            entries = self.weight, self.bias, mean, variance
            out, batch_mean, scale = torch.native_batch_norm(x, *entries, True, self.momentum, self.eps)
            found = batch_mean, scale.detach().square().reciprocal() - self.eps
        return note(out, self._again, x, *found)

    def _may_differ(self, x: Tensor) -> bool:
        """Whether the statistics of this batch are used; one value for each channel has none, of which torch tells."""
        several = x.ndim == 4 and x.shape[1] == self.num_features and x.numel() > self.num_features
        return self.training and self.affine and several and not torch.compiler.is_compiling()

    def _again(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)


class _Normalise(torch.autograd.Function):
    """Batch norm by statistics of the batch that are known already."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt()
        needed = ctx.needs_input_grad[:3]
        given = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, scale, True, ctx.eps, needed
        )
        return (*given, None, None, None)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, (C,), from one pass for the sums and one for the sums of squares."""
    with torch.no_grad():
        rows = x.flatten(2)
        count = rows.shape[0] * rows.shape[2]
        mean = rows.sum(2).double().sum(0) / count
        square = torch.linalg.vector_norm(rows, dim=2).double().square().sum(0) / count
        variance = square - mean.square()
        # The difference of two large numbers has few digits left.
        far = (square > (1 + _FAR_FROM_ZERO) * variance).nonzero().flatten()
        if len(far):
            centred = rows[:, far].double() - mean[far, None]
            variance[far] = centred.square().mean((0, 2))
        return mean.float(), variance.float()
