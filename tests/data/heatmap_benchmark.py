"""How many times faster heat maps are rendered than by a loop over frames, persons and joints."""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from heatmap_oracle import render_slowly

from graphs import get_skeleton
from protogcn.data.heatmaps import render

SIZE = (56, 56)
COCO = get_skeleton("coco17")


def poses(kind: str, persons: int, frames: int) -> tuple[Any, Any]:
    """Points (M, T, V, 2) and scores: joints anywhere in the image, or a standing figure that trembles."""
    rng = np.random.default_rng(0)
    shape = (persons, frames, COCO.num_joints)
    points = rng.uniform(-0.1, 1.1, (*shape, 2))
    if kind == "standing":
        across = [0, 1, -1, 2, -2, 5, -5, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4]
        down = [6, 5, 5, 6, 6, 13, 13, 21, 21, 29, 29, 29, 29, 39, 39, 50, 50]
        points = 0.5 + np.stack([np.array(across), np.array(down) - 28], -1) / 56 + rng.normal(0, 0.02, (*shape, 2))
    return (points * SIZE).astype(np.float32), rng.uniform(0, 1, shape).astype(np.float32)


def seconds(function: Callable[[], object]) -> float:
    # Time of the processor, which other programs do not lengthen.
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(kind: str, persons: int, maps: str, frames: int, rounds: int) -> tuple[float, float, float]:
    """Least milliseconds of the loop and of ours, and the median of their ratios, run in turn."""
    points, scores = poses(kind, persons, frames)
    limbs = COCO.limbs if maps == "limb" else None
    pairs = [
        (
            seconds(lambda: render_slowly(points, scores, limbs, SIZE)),
            seconds(lambda: render(points, scores, COCO, SIZE, maps=maps)),
        )
        for _ in range(rounds)
    ]
    slow, fast = (min(times) for times in zip(*pairs, strict=True))
    return 1e3 * slow, 1e3 * fast, statistics.median(a / b for a, b in pairs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=21)
    args = parser.parse_args()
    print(f"{'poses':10}{'persons':>9}{'maps':>7}{'loop ms':>10}{'ours ms':>10}{'least':>8}{'median':>8}")
    for kind in ("anywhere", "standing"):
        for persons in (1, 2):
            for maps in ("joint", "limb"):
                slow, fast, median = measure(kind, persons, maps, args.frames, args.rounds)
                ratios = f"{slow / fast:8.1f}{median:8.1f}"
                print(f"{kind:10}{persons:>9}{maps:>7}{slow:10.2f}{fast:10.2f}{ratios}")
