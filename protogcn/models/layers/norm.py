"""Batch norm of features (N, C, T, V) whose statistics in training are found by vector instructions on CPUs, too."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from protogcn.models.layers.recompute import note, recomputing

# Above this square of mean / deviation a channel's variance is taken from differences instead of sums of squares.
_FAR_FROM_ZERO = 16.0
_local = threading.local()


@contextmanager
def counted_rows(counts: Tensor) -> Iterator[None]:
    """Batch norms within, in training on a CPU, take every row of their batch for as many equal ones.

    What comes back to such a row as its gradient must be the sum over all that it stands for, as indexing gives it.

    Args:
        counts: how many each row stands for, (N,), in single precision at least.
    """
    before, _local.counts = _counts(), counts
    try:
        yield
    finally:
        _local.counts = before


def counts_rows(norm: nn.Module) -> bool:
    """Whether a batch norm gives equal rows their number, or does not look at other rows at all."""
    if not isinstance(norm, BatchNorm2d):
        return not norm.training
    return not norm.training or (norm.affine and norm.momentum is not None and norm.running_mean is not None)


class BatchNorm2d(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` in less time; what it gives may be computed again.

    Where torch sums one number after another, on CPUs in float32, sums are vectorised. Everywhere else, and in
    evaluation, it is torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean, variance, steps = self.running_mean, self.running_var, self.num_batches_tracked
        if mean is None or variance is None or steps is None or self.momentum is None or not self._may_differ(x):
            return super().forward(x)
        counts = _counts()
        if counts is not None:
            x = x.contiguous()
        vectorised = x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
        vectorised |= counts is not None
        if not vectorised and not recomputing():
            return super().forward(x)
        steps.add_(1)
        if vectorised:
            found, count = _moments(x, counts)
            mean.lerp_(found[0], self.momentum)
            variance.lerp_(found[1] * (count / (count - 1)), self.momentum)
            out = _Normalise.apply(x, self.weight, self.bias, *found, self.eps, counts)
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
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        counts: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.counts = eps, counts
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        if ctx.counts is not None:
            given = _counted_gradients(gradient, x, weight, mean, variance, ctx.eps, ctx.counts)
            return (*given, None, None, None, None)
        scale = (variance + ctx.eps).rsqrt()
        needed = ctx.needs_input_grad[:3]
        given = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, scale, True, ctx.eps, needed
        )
        return (*given, None, None, None, None)


def _counted_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, eps: float, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias where a row stands for several, whose gradients are summed already."""
    values = int(counts.sum()) * x[0, 0].numel()
    # Those for fixed statistics; what the rows owe to the statistics depends on x alone, and is owed by every copy.
    direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
        gradient, x, weight, mean, variance, None, None, False, eps, (True, True, True)
    )
    scale = (variance + eps).rsqrt()
    slope = -weight * scale.square() * of_weight / values
    start = -weight * scale * of_bias / values - slope * mean
    owed = torch.addcmul(start.view(-1, 1, 1), x, slope.view(-1, 1, 1))
    return direct.addcmul_(owed, counts.view(-1, 1, 1, 1)), of_weight, of_bias


def _counts() -> Tensor | None:
    return getattr(_local, "counts", None)


def _moments(x: Tensor, counts: Tensor | None) -> tuple[tuple[Tensor, Tensor], int]:
    """Mean and variance of each channel, (C,), from one pass for the sums and one for the sums of squares; of how many.

    Raises:
        RuntimeError: another number of rows than those that are counted.
    """
    if counts is not None and len(counts) != len(x):
        raise RuntimeError(f"a batch norm got {len(x)} rows where {len(counts)} are counted: it cannot take part")
    with torch.no_grad():
        rows = x.flatten(2)
        # Sums of reduced precision would be of no use.
        rows = rows.float() if rows.itemsize < 4 else rows
        copies = rows.new_ones(len(rows)) if counts is None else counts
        copies = copies.double().unsqueeze(1)
        count = round(float(copies.sum())) * rows.shape[2]
        mean = (rows.sum(2).double() * copies).sum(0) / count
        square = (torch.linalg.vector_norm(rows, dim=2).double().square() * copies).sum(0) / count
        variance = square - mean.square()
        # The difference of two large numbers has few digits left.
        far = (square > (1 + _FAR_FROM_ZERO) * variance).nonzero().flatten()
        if len(far):
            centred = rows[:, far].double() - mean[far, None]
            variance[far] = (centred.square().sum(2) * copies).sum(0) / count
        of_statistics = torch.promote_types(x.dtype, torch.float32)
        return (mean.to(of_statistics), variance.to(of_statistics)), count
