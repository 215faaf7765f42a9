"""Steps that in training write over what they are given, so that fewer tensors are kept and moved.

What is given must be the output of a step that does not need it again: of a convolution, a sum or a batch norm, whose
gradients follow from their input, not of a ReLU. In evaluation nothing is written over, so that whoever reads what a
module gives by a hook sees it as it was.
"""

import torch
from torch import Tensor
from torch.nn import functional


def relu_over(x: Tensor, training: bool) -> Tensor:
    """``relu(x)``, in training in the memory of x."""
    return functional.relu(x, inplace=training)


def relu_of_sum(x: Tensor, residual: Tensor | None, training: bool) -> Tensor:
    """``relu(x + residual)``, in training in the memory of x.

    Where x may be of lower precision than the residual, the sum is a tensor of its own.
    """
    if residual is None:
        return relu_over(x, training)
    fits = training and x.dtype in (residual.dtype, torch.float32)
    return functional.relu(x.add_(residual) if fits else x + residual, inplace=training)
