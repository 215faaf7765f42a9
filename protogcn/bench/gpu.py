"""The measurements for a large GPU in one call of less than 8 minutes: ``protogcn bench --gpu-report``.

Every job runs in a process of its own, with a time limit, and its results are kept as they come: what crashes, hangs or
runs out of memory costs its own figures only. ``python -m protogcn.bench.gpu '<job>' <file>`` is such a process.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from protogcn.bench import networks
from protogcn.bench.hardware import counted_work, measured_peaks
from protogcn.bench.machine import load_average, machine_facts
from protogcn.bench.minutes import nw_ucla_minutes
from protogcn.bench.report import gpu_markdown, plot_ratios, write_json
from protogcn.bench.rows import FAILURES, Result, Settings
from protogcn.bench.subjects import Case
from protogcn.bench.timing import describe, time_row

FORMAT, VERSION = "protogcn-gpu-report", 1
_SECONDS, _QUICK_SECONDS = 440.0, 600.0
_START = 20.0
_PEAKS, _EAGER_SECONDS, _COMPILING, _MINUTES = 60.0, 60.0, 150.0, 120.0
_EAGER = ("plain", "ours", "optimised", "bf16")
_COMPILED = ("plain", "compiled", "bf16-compiled")
_EAGER_SIBLING = {"compiled": "optimised", "bf16-compiled": "bf16"}


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        name: unique.
        kind: ``peaks``, ``forward``, ``train`` or ``minutes``.
        seconds: after which it is ended.
        case: network and batch of a forward or a training step.
        ways: alternatives of it.
        device: ``cpu`` or ``cuda``.
        quick: tiny.
    """

    name: str
    kind: str
    seconds: float
    case: Case | None = None
    ways: tuple[str, ...] = ()
    device: str = "cuda"
    quick: bool = False


def jobs(settings: Settings) -> Iterator[Job]:
    """All jobs, the most important ones first: what there is no time for at the end is left out."""
    job = partial(Job, device=settings.device, quick=settings.quick)
    yield job("peaks", "peaks", _PEAKS)
    first, *larger = (2,) if settings.quick else (64, 256, 128)
    yield from _eager(settings, first)
    for kind, case in _cases(settings, first):
        yield job(f"{_label(kind, case)}/compiled", kind, _COMPILING, case, _COMPILED)
    yield job("minutes/nw_ucla", "minutes", _MINUTES)
    for samples in larger:
        yield from _eager(settings, samples)
    for samples in larger:
        for kind, case in _cases(settings, samples):
            # Compiling takes most of the time, so that of the faster precision alone.
            yield job(f"{_label(kind, case)}/compiled", kind, _COMPILING, case, (_COMPILED[0], _COMPILED[-1]))
    others = [] if settings.quick else networks.models()[1:]
    for case in (Case.of(model, settings, samples=first) for model in others):
        if not case.takes_maps:
            yield job(_label("forward", case), "forward", _EAGER_SECONDS, case, _EAGER)
            yield job(_label("train", case), "train", _EAGER_SECONDS, case, _EAGER)


def run_gpu_report(
    settings: Settings, out: Path, command: str = "protogcn bench --gpu-report", planned: Sequence[Job] | None = None
) -> dict[str, Any]:
    """Run the jobs and write ``gpu.json`` (after every job), ``gpu.md`` and ``gpu.png``.

    Args:
        settings: device, quick, seed and repeat count.
        out: folder of the results.
        command: the command line, for the report.
        planned: other jobs than :func:`jobs`.

    Returns:
        What ``gpu.json`` holds.
    """
    ends = time.perf_counter() + (_QUICK_SECONDS if settings.quick else _SECONDS)
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "command": command,
        "machine": machine_facts(settings.device),
        "load": {"before": load_average(), "after": None},
        "jobs": [],
    }
    for job in jobs(settings) if planned is None else planned:
        left = ends - time.perf_counter()
        if left < _START:
            document["jobs"].append({"name": job.name, "kind": job.kind, "error": "no time was left", "seconds": 0.0})
        else:
            print(f"{job.name} ({left:.0f} s left)", flush=True)
            document["jobs"].append(_in_child(replace(job, seconds=min(job.seconds, left)), settings))
            print("\n".join(f"    {line}" for line in _said(document["jobs"][-1])), flush=True)
        document["load"]["after"] = load_average()
        write_json(out / "gpu.json", document)
    (out / "gpu.md").write_text(gpu_markdown(document), encoding="utf-8")
    plot_ratios([Result.from_dict(job["row"]) for job in document["jobs"] if "row" in job], out / "gpu.png")
    return document


def measure(job: Job, settings: Settings, file: Path) -> None:
    """Do a job in this process and write what is known so far into a file."""
    if job.kind == "peaks":
        write_json(file, {"peaks": measured_peaks(job.device, job.quick)})
        return
    if job.kind == "minutes":
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            write_json(file, {"minutes": nw_ucla_minutes(Path(folder), job.device, quick=job.quick)})
        return
    assert job.case is not None
    ways = networks.inference_ways(job.case) if job.kind == "forward" else networks.training_ways(job.case)
    chosen = {name: build for name, build in ways.items() if name in job.ways}
    row = networks.case_row(job.name, job.case, settings, chosen, compare=job.kind == "forward")
    result = time_row(row, replace(settings, seconds=job.seconds / 8))
    found: dict[str, Any] = {"row": result.as_dict(), "work": {}}
    write_json(file, found)
    for name in row.alternatives:
        sibling = _EAGER_SIBLING.get(name, name)
        try:
            found["work"][name] = counted_work(ways.get(sibling, ways["ours"])())
        except FAILURES as error:
            found["work"][name] = {"error": describe(error)}
        write_json(file, found)


def _cases(settings: Settings, samples: int) -> Iterator[tuple[str, Case]]:
    """The headline: inference on the mix of NTU RGB+D, training on clips of two persons."""
    for kind in ("forward", "train"):
        yield kind, Case.of("protogcn", settings, samples=samples, mix=kind == "forward")


def _eager(settings: Settings, samples: int) -> Iterator[Job]:
    for kind, case in _cases(settings, samples):
        yield Job(_label(kind, case), kind, _EAGER_SECONDS, case, _EAGER, settings.device, settings.quick)


def _label(kind: str, case: Case) -> str:
    return f"{kind}/{case.model}/N={case.samples}{'/mix' if case.mix else ''}"


def _in_child(job: Job, settings: Settings) -> dict[str, Any]:
    """The entry of a job: what its process wrote before it ended or was ended."""
    kept = {"repeat": settings.repeat, "seed": settings.seed}
    order = json.dumps({"job": asdict(job), "settings": kept})
    started = time.perf_counter()
    error = None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        words = [sys.executable, "-m", __spec__.name, order, str(file)]
        try:
            done = subprocess.run(
                words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=job.seconds
            )
            if done.returncode:
                error = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            error = f"ended after {job.seconds:.3g} s"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    seconds = round(time.perf_counter() - started, 1)
    return {"name": job.name, "kind": job.kind, "seconds": seconds, "error": error, **found}


def _said(entry: dict[str, Any]) -> list[str]:
    from protogcn.bench.suite import summary

    lines = [f"not finished: {entry['error']}"] if entry["error"] else []
    if "row" in entry:
        lines += summary(Result.from_dict(entry["row"]))
    for key in ("peaks", "minutes"):
        if key in entry:
            lines.append(", ".join(f"{name} {value:.4g}" for name, value in entry[key].items() if value is not None))
    return lines


def _job(entry: dict[str, Any]) -> Job:
    case = Case(**entry.pop("case")) if entry.get("case") else None
    return Job(**{**entry, "case": case, "ways": tuple(entry["ways"])})


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    asked = _job(told["job"])
    measure(asked, Settings(quick=asked.quick, device=asked.device, **told["settings"]), Path(sys.argv[2]))
