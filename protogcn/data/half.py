"""Half precision at memory speed: numpy converts float16 in software, torch with the processor's instruction."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def as_tensor(x: NDArray[Any]) -> torch.Tensor:
    """A tensor of the array, sharing its memory where torch allows that without a warning: not with a read-only map."""
    return torch.from_numpy(x if x.flags.writeable else x.copy())


def widened(x: NDArray[Any]) -> NDArray[Any]:
    """A float16 array as float32, exactly; any other array itself."""
    return as_tensor(x).float().numpy() if x.dtype == np.float16 else x


def narrowed(x: NDArray[np.float32]) -> NDArray[np.float16]:
    """A float32 array rounded to float16, ties to even."""
    return torch.from_numpy(x).half().numpy()
