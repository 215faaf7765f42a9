"""How long six streams of a large test split take, from files to figures."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.metrics import bootstrap_difference, bootstrap_mean_class, bootstrap_rate
from protogcn.evaluation.part_list import read_parts
from protogcn.evaluation.scores import ScoreFile, save_scores

STREAMS = ("j", "b", "k", "jm", "bm", "km")


def write_streams(folder: Path, clips: int, classes: int) -> list[Path]:
    """Six score files of random logits, each with its clips in another order."""
    rng = np.random.default_rng(0)
    labels, ids = rng.integers(0, classes, clips), np.array([f"video_{index:011}" for index in range(clips)])
    paths = []
    for stream in STREAMS:
        scores = rng.standard_normal((clips, classes), dtype=np.float32)
        scores[np.arange(clips), labels] += 2
        order = rng.permutation(clips)
        part = ScoreFile(ids[order], scores[order], "logits", labels[order], (), {"stream": stream})
        paths.append(save_scores(folder / stream / "scores_test.npz", part))
    return paths


def measure(paths: list[Path]) -> dict[str, float]:
    """Seconds of reading and fusing with all figures, seconds of the bootstrap alone, and GB of memory at most."""
    start = time.perf_counter()
    _, parts = read_parts(paths)
    fusion = fuse(parts, [2, 2, 2, 1, 1, 1])
    fused = time.perf_counter() - start
    start = time.perf_counter()
    for metrics in (fusion.metrics, *fusion.part_metrics):
        bootstrap_rate(metrics.correct, 1000)
        bootstrap_mean_class(metrics.confusion, 1000)
        bootstrap_difference(fusion.metrics.correct, metrics.correct, 1000)
    return {"fusing": fused, "bootstrap": time.perf_counter() - start, "memory": _most_memory()}


def _most_memory() -> float:
    try:
        import resource
    except ImportError:
        return float("nan")
    # Kilobytes on Linux, bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60_000)
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--files", nargs="+", type=Path, help="measure these files instead of writing some")
    args = parser.parse_args()
    if args.files:
        found = measure(args.files)
        print(f"fusing {found['fusing']:.2f} s, bootstrap {found['bootstrap']:.2f} s, memory {found['memory']:.2f} GB")
    else:
        with tempfile.TemporaryDirectory() as folder:
            files = write_streams(Path(folder), args.clips, args.classes)
            # In a process of its own, whose memory is that of the fusion alone.
            for _ in range(3):
                subprocess.run([sys.executable, __file__, "--files", *files], check=True)
