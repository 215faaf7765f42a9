"""Compiled training steps: what runs in a step is fused into few kernels, which pays in long runs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled for the one shape that it is called with; training batches are always full.

    Dropout draws the numbers that it would draw uncompiled, so that a run can be repeated without a compiler.
    """
    # On a processor the compiler would otherwise move all features to the layout that convolutions like best.
    options: dict[str, Any] = {"fallback_random": True}
    if not torch.cuda.is_available():
        options["layout_optimization"] = False
    return torch.compile(step, dynamic=False, options=options)


def check_compiler(device: torch.device) -> None:
    """Compile a function of one line, to see before a training whether that works here.

    Raises:
        ValueError: it does not; the message says what is missing.
    """
    try:
        compiled(_twice)(torch.ones(2, device=device))
    except RuntimeError as error:
        needs = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler such as g++"
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"trainer.compile needs {needs}, and compiling failed ({why}): install it, or leave trainer.compile out"
        ) from error


def _twice(x: Tensor) -> Tensor:
    return x + x
