"""The report for a large GPU, in small on a processor: whole, and with jobs that crash or hang."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from protogcn.bench.gpu import Job, jobs, measure, run_gpu_report
from protogcn.bench.hardware import counted_work, measured_peaks
from protogcn.bench.minutes import nw_ucla_minutes, write_noise
from protogcn.bench.rows import Settings
from protogcn.bench.subjects import Case
from protogcn.cli import main
from protogcn.data.benchmarks import get_benchmark

QUICK = Settings(quick=True)


def test_the_most_important_jobs_come_first() -> None:
    planned = list(jobs(Settings(device="cuda")))
    names = [job.name for job in planned]
    assert len(set(names)) == len(names)
    assert names[0] == "peaks" and names.index("minutes/nw_ucla") == 5
    for kind in ("forward", "train"):
        for samples in (64, 128, 256):
            label = f"{kind}/protogcn/N={samples}{'/mix' if kind == 'forward' else ''}"
            assert {label, f"{label}/compiled"} <= set(names)
    assert [job.name for job in jobs(QUICK)] == [name.replace("64", "2") for name in names[:6]]
    assert all(
        job.device == "cuda" and not job.quick and (not job.case or job.case.device == "cuda") for job in planned
    )


def test_a_report_keeps_what_it_has(tmp_path: Path) -> None:
    """A job that crashes, one that hangs and one that works; the report tells of all three."""
    case = Case("protogcn", quick=True, samples=2)
    planned = [
        Job("peaks", "peaks", 300, device="cpu", quick=True),
        Job("wrong", "forward", 300, replace(case, model="protogn"), ("ours",), "cpu", True),
        Job("hangs", "forward", 0.2, case, ("ours",), "cpu", True),
        Job("forward/protogcn", "forward", 300, case, ("plain", "bf16"), "cpu", True),
    ]
    document = run_gpu_report(QUICK, tmp_path, planned=planned)
    assert json.loads((tmp_path / "gpu.json").read_text()) == document
    peaks, wrong, hangs, forward = document["jobs"]
    assert peaks["error"] is None and peaks["peaks"]["bandwidth"] > 0
    assert "unknown model 'protogn'" in wrong["error"]
    assert hangs["error"] == "ended after 0.2 s" and "row" not in hangs
    assert forward["error"] is None and set(forward["work"]) == {"plain", "bf16"}
    # The plain reading computes what inference does not need.
    assert forward["work"]["plain"]["operations"] > forward["work"]["bf16"]["operations"] > 0
    text = (tmp_path / "gpu.md").read_text()
    assert "of bfloat16" in text and "- hangs: ended after 0.2 s" in text and "copying:" in text
    assert (tmp_path / "gpu.png").is_file()


@pytest.mark.parametrize("kind", ["forward", "train"])
def test_jobs_run_in_small(kind: str, tmp_path: Path) -> None:
    ways = ("plain", "ours", "optimised", "bf16", "compiled")
    job = Job("job", kind, 60, Case("protogcn", quick=True, samples=2), ways, "cpu", True)
    measure(job, QUICK, tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    expected = [way for way in ways if way not in ("compiled", "optimised" if kind == "train" else "")]
    assert list(found["work"]) == expected
    assert all(work["operations"] > 0 and work["bytes"] > 0 for work in found["work"].values())
    shown = {way["name"]: way["error"] for way in found["row"]["alternatives"]}
    assert shown == {**dict.fromkeys(expected), "compiled": "left out: --quick compiles nothing"}


def test_minutes_in_small(tmp_path: Path) -> None:
    job = Job("minutes", "minutes", 60, device="cpu", quick=True)
    measure(job, QUICK, tmp_path / "found.json")
    told = json.loads((tmp_path / "found.json").read_text())["minutes"]
    assert told["epochs"] == 65 and told["synthetic"]
    assert told["minutes"] == pytest.approx(6 * 65 * told["seconds_per_epoch"] / 60)


def test_noise_is_of_the_benchmark_s_size(tmp_path: Path) -> None:
    known = get_benchmark("nw_ucla")
    store = write_noise(tmp_path / "store", 30, 12)
    assert [len(store.split(name)) for name in known.splits[0]] == [30, 12]
    assert store.num_classes == known.num_classes and store.skeleton.name == known.skeleton
    assert nw_ucla_minutes.__doc__


def test_work_is_counted() -> None:
    layer = torch.nn.Linear(64, 32, bias=False)
    batch = torch.ones(16, 64)
    with torch.no_grad():
        work = counted_work(lambda: layer(batch))
        assert work == {"operations": 2 * 16 * 64 * 32, "bytes": 4 * (16 * 64 + 64 * 32 + 16 * 32)}
        assert counted_work(lambda: batch.view(-1)[:7].unsqueeze(0)) == {"operations": 0, "bytes": 0}
        assert counted_work(lambda: batch + batch)["bytes"] == 3 * 4 * 16 * 64
        products = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
        assert counted_work(lambda: torch.zeros(2, 3, 5).baddbmm_(*products))["operations"] == 2 * 2 * 3 * 4 * 5


def test_protogcn_does_what_is_published() -> None:
    """123.26 GFLOP for 8 clips of two persons and 100 frames."""
    case = Case("protogcn", samples=1)
    network = case.plain().eval()
    with torch.no_grad():
        work = counted_work(lambda: network(case.clips()))
    assert work["operations"] == pytest.approx(123.26e9 / 8, rel=5e-3)


def test_peaks_are_positive() -> None:
    peaks = measured_peaks("cpu", quick=True)
    assert set(peaks) == {"bandwidth", "float32", "bfloat16"} and min(peaks.values()) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_message_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--gpu-report"], ["text", "--device", "cuda"]):
        assert main(["bench", *words]) == 2
        assert "torch sees no GPU here; measure on the processor by --device cpu" in capsys.readouterr().err


def test_the_script_is_thin() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "gpu_suite.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: protogcn bench")
