"""Peak memory of one batch, measured in a process of its own: ``python -m protogcn.bench.memory '<case>'``."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from protogcn.bench.subjects import Case

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEGABYTE = 1 << 20
_STEPS = 2


def peak_in_child(case: Case, task: str, way: str) -> float:
    """Megabytes of a ``forward`` or a ``train`` step beyond what the process held before, in a fresh process.

    Args:
        case: network and batch.
        task: ``forward`` or ``train``.
        way: ``plain``, ``ours``, ``kept`` (a step that computes no activation twice), ``optimised`` or ``bf16``.

    Raises:
        RuntimeError: the process ended without a figure; with the last line that it said.
    """
    order = json.dumps({"case": asdict(case), "task": task, "way": way})
    done = subprocess.run([sys.executable, "-m", __spec__.name, order], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return float(done.stdout.strip().splitlines()[-1])


def measure(case: Case, task: str, way: str) -> float:
    """The same in this process."""
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
    told = json.loads(sys.argv[1])
    print(measure(Case(**told["case"]), told["task"], told["way"]))
