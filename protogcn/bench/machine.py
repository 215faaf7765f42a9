"""What the figures were taken on: processor, accelerator, builds, load, and the commit of the checkout."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from protogcn import __version__

PACKAGE = Path(__file__).parents[1]
"""The folder of this package: in a checkout or among installed packages."""


def machine_facts(device: str = "cpu") -> dict[str, Any]:
    """Facts about the machine, plain enough for JSON."""
    import torch

    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "protogcn": __version__,
        "commit": commit(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device,
    }
    return facts | (_gpu_facts() if device == "cuda" else {})


def load_average() -> list[float] | None:
    """Processes that wanted to run in the last 1, 5 and 15 minutes, where the system tells."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def commit(folder: Path = PACKAGE.parent) -> str | None:
    """The commit of the checkout that the package lies in, with a plus if files have changed; None outside of one."""
    if not (folder / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _gpu_facts() -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_memory_gb": round(properties.total_memory / 2**30, 1),
        "gpu_multiprocessors": properties.multi_processor_count,
        "gpu_compute_capability": f"{properties.major}.{properties.minor}",
        "gpu_memory_clock_mhz": _clock_mhz(properties),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def _clock_mhz(properties: Any) -> float | None:
    """Not every build of torch knows it."""
    clock = getattr(properties, "memory_clock_rate", None)
    return round(clock / 1000, 1) if clock else None


def _processor() -> str:
    lines = _lines(Path("/proc/cpuinfo"))
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _version(package: str) -> str:
    return importlib.metadata.version(package)
