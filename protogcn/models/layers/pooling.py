"""Pooling along time of features (N, C, T, V)."""

from torch import Tensor
from torch.nn import functional


def max_pool_frames(x: Tensor, stride: int = 1) -> Tensor:
    """Maximum over each frame and its two neighbours: (N, C, T, V) -> (N, C, ceil(T / stride), V)."""
    if x.stride(1) == 1:
        return functional.max_pool2d(x, (3, 1), stride=(stride, 1), padding=(1, 0))
    # On CPUs only the kernel for channels last is vectorised, so the joints, which are, take the place of channels.
    pooled = functional.max_pool2d(x.permute(0, 3, 1, 2), (1, 3), stride=(1, stride), padding=(0, 1))
    return pooled.permute(0, 2, 3, 1)
