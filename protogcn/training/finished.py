"""What a run folder tells of its run, finished or not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphs.streams import STREAMS
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import HISTORY, METRICS, is_finished, read_config


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: ``<runs>/<benchmark>/<name>/<stream>[-s<seed>]``.
        recipe: its resolved recipe, or None where that cannot be read.
        metrics: content of its ``metrics.json``; None where it is not finished.
        problem: why there are no metrics; empty where there are.
    """

    folder: Path
    recipe: Recipe | None
    metrics: dict[str, Any] | None
    problem: str = ""

    @property
    def order(self) -> tuple[int, int, int]:
        """Place in a table: by seed, then by stream and fold."""
        if self.recipe is None:
            return (0, 0, 0)
        return (self.recipe.seed, STREAMS.index(self.recipe.stream), self.recipe.data.fold)


def read_run(folder: Path) -> Run:
    """What a run folder tells; a damaged or unfinished one tells what is wrong instead."""
    try:
        recipe = read_config(folder)
    except ValueError as error:
        return Run(folder, None, None, str(error))
    if not is_finished(folder):
        done = 0
        if (folder / HISTORY).is_file():
            done = max(0, len((folder / HISTORY).read_text(encoding="utf-8").splitlines()) - 1)
        return Run(folder, recipe, None, f"unfinished, {done} of {recipe.trainer.epochs} epochs")
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        float(metrics["top1"]), float(metrics["mean_class"]), [float(end) for end in metrics["top1_interval"]]
    except (ValueError, TypeError, KeyError) as error:
        return Run(folder, recipe, None, f"its {METRICS} cannot be read ({type(error).__name__}: {error})")
    return Run(folder, recipe, metrics)
