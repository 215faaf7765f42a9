"""Steps that in training write over what they are given, so that fewer tensors are kept and moved.

What is given must be the output of a step that does not need it again: of a convolution, a sum or a batch norm, whose
gradients follow from their input, not of a ReLU. In evaluation nothing is written over, so that whoever reads what a
module gives by a hook sees it as it was.
"""

import torch
from torch import Tensor
from torch.nn import functional

from protogcn.models.layers.recompute import note, noted


def relu_over(x: Tensor, training: bool) -> Tensor:
    """``relu(x)``, in training in the memory of x."""
    if training and (before := noted(x)):
        # Noted before the ReLU, which keeps its result.
        note(x, torch.relu_, before, writes=1)
    return functional.relu(x, inplace=training)


def relu_of_sum(x: Tensor, residual: Tensor | None, training: bool, keep: bool = False) -> Tensor:
    """``relu(x + residual)``, in training in the memory of x.

    Where x may be of lower precision than the residual, the sum is a tensor of its own.

    Args:
        x: written over in training.
        residual: added, unless it is None.
        training: whether x may be written over.
        keep: whether the gradient keeps the result even where activations are recomputed, as it has to keep that of a
            block, from which those of the next block are computed again.
    """
    if residual is None and not keep:
        return relu_over(x, training)
    before = noted(x) if training and not keep else None
    if residual is None:
        summed = x
    else:
        fits = training and x.dtype in (residual.dtype, torch.float32)
        summed = x.add_(residual) if fits else x + residual
        if before is not None:
            note(summed, _relu_of_sum, before, residual, writes=1)
    return functional.relu(summed, inplace=training)


def _relu_of_sum(x: Tensor, residual: Tensor) -> Tensor:
    return torch.relu_(x.add_(residual) if x.dtype == torch.promote_types(x.dtype, residual.dtype) else x + residual)
