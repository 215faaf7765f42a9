"""What a device can do, measured here and now, and what a network asks of it, counted."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}
_SIDES = {"cuda": 8192, "cpu": 2048}
_FEW_BYTES, _SHORT_SIDE = 1 << 20, 128
_RUNS = 10
_VIEWS = ("view", "expand", "permute", "transpose", "t", "slice", "select", "unsqueeze", "squeeze", "detach", "alias")


def measured_peaks(device: str, quick: bool = False) -> dict[str, float]:
    """Bytes per second of a copy (read and written), and operations per second of square matrix products.

    Returns:
        ``bandwidth``, and ``float32``, ``tf32`` (on a GPU) and ``bfloat16``, the rates of those products.
    """
    count = (_FEW_BYTES if quick else _COPIED_BYTES[device]) // 4
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    peaks = {"bandwidth": 2 * 4 * count / _fastest(lambda: target.copy_(source), device)}
    side = _SHORT_SIDE if quick else _SIDES[device]
    kinds: list[tuple[str, torch.dtype, bool]] = [
        ("float32", torch.float32, False),
        ("bfloat16", torch.bfloat16, False),
    ]
    if device == "cuda":
        kinds.append(("tf32", torch.float32, True))
    allowed = torch.backends.cuda.matmul.allow_tf32
    try:
        for name, dtype, tf32 in kinds:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            matrix = torch.ones(side, side, device=device, dtype=dtype)
            peaks[name] = 2 * side**3 / _fastest(_product(matrix), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return peaks


def counted_work(call: Callable[[], Any]) -> dict[str, float]:
    """Operations of the convolutions and matrix products of a call, and bytes that its operations read and write.

    Every operation is counted as if it read its inputs from memory and wrote its outputs there, which is what running
    one after the other does; compiled code that keeps results on the chip needs fewer bytes.

    Returns:
        ``operations`` (a multiply-add is two) and ``bytes``.
    """
    work = _Work()
    with work:
        call()
    return {"operations": float(work.operations), "bytes": float(work.bytes)}


class _Work(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        # What is written over its input takes as many operations as what is not.
        counted = flop_registry.get(getattr(torch.ops.aten, name.removesuffix("_"), func.overloadpacket))
        if counted is None:
            # In inference mode what is made of several operations arrives whole.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if counted is not None:
            self.operations += counted(*args, **kwargs, out_val=result)
        if name not in _VIEWS and not name.endswith("view"):
            self.bytes += sum(
                tensor.numel() * tensor.element_size()
                for tensor in tree_leaves((args, kwargs, result))
                if isinstance(tensor, Tensor)
            )
        return result


def _product(matrix: Tensor) -> Callable[[], Tensor]:
    return lambda: matrix @ matrix


def _fastest(call: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of a few runs after a warm-up."""
    seconds = []
    for _ in range(_RUNS + 1):
        _wait(device)
        started = time.perf_counter()
        call()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
