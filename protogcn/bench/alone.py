"""One batch in a process of its own, its memory or its seconds: ``python -m protogcn.bench.alone '<order>'``."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from protogcn.bench.subjects import Case

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEGABYTE = 1 << 20
_STEPS = 2
_TIMED_STEPS = 5


def peak_in_child(case: Case, task: str, way: str) -> float:
    """Megabytes of a ``forward`` or a ``train`` step beyond what the process held before, in a fresh process.

    Args:
        case: network and batch.
        task: ``forward`` or ``train``.
        way: ``plain``, ``ours``, ``kept`` (a step that computes no activation twice), ``optimised`` or ``bf16``.

    Raises:
        RuntimeError: the process ended without a figure; with the last line that it said.
    """
    return _in_child(case, "peak", task=task, way=way)


def seconds_in_child(case: Case, way: str) -> float:
    """Seconds of a training step, the median of some, in a fresh process with as many threads as this one.

    Args:
        case: network and batch.
        way: ``plain``, ``ours``, or ``memory kept``: ours as ``protogcn train`` runs it, which keeps what tensors free.

    Raises:
        RuntimeError: the process ended without a figure; with the last line that it said.
    """
    import torch

    return _in_child(case, "seconds", way=way, threads=torch.get_num_threads())


def _in_child(case: Case, figure: str, **options: Any) -> float:
    order = json.dumps({"figure": figure, "case": asdict(case), **options})
    done = subprocess.run([sys.executable, "-m", __spec__.name, order], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return float(done.stdout.strip().splitlines()[-1])


def peak(case: Case, task: str, way: str) -> float:
    """Megabytes as of :func:`peak_in_child`, in this process."""
    step = _step(case, task, way)
    if case.device == "cuda":
        import torch

        torch.cuda.synchronize()
        base = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(_STEPS):
            step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - base) / _MEGABYTE
    base = _resident(reset=True)
    for _ in range(_STEPS):
        step()
    return (_resident(reset=False) - base) / _MEGABYTE


def seconds(case: Case, way: str, threads: int) -> float:
    """Seconds as of :func:`seconds_in_child`, in this process."""
    import torch

    from protogcn.training.allocator import keep_freed_memory

    if way == "memory kept" and not keep_freed_memory():
        raise RuntimeError("memory is not kept here: another C library, or the environment chooses an allocator")
    torch.set_num_threads(threads)
    step = _step(case, "train", way)
    taken = []
    for _ in range(_STEPS + _TIMED_STEPS):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[_STEPS:])


def _step(case: Case, task: str, way: str) -> Callable[[], Any]:
    import torch

    from protogcn.bench.subjects import step_of_ours, step_of_plain

    if task == "train":
        if way == "plain":
            return step_of_plain(case)
        return step_of_ours(case, bf16=way == "bf16", recompute=way != "kept", like_plain=False)
    if way == "plain":
        network = case.plain().eval()
    elif way == "ours":
        network = case.ours(like_plain=False).eval()
    else:
        from protogcn.inference import optimize

        dtype = torch.bfloat16 if way == "bf16" else None
        network = optimize(case.ours(like_plain=False).eval(), dtype=dtype, tolerance=1.0)
    clips = case.clips()

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return network(clips)

    return forward


def _resident(*, reset: bool) -> int:
    """Bytes: the most that this process has held since the mark was last reset.

    Linux keeps the mark for each program. That of ``getrusage``, all there is elsewhere, also counts the process that
    this one was started from, and cannot be reset.
    """
    if not _STATUS.is_file():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if reset:
        _CLEAR.write_text("5")
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    figures: dict[str, Callable[..., float]] = {"peak": peak, "seconds": seconds}
    print(figures[order.pop("figure")](Case(**order.pop("case")), **order))
