"""Several streams of one recipe, one after the other: what is finished is skipped, what was cut off goes on."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from graphs.streams import check_stream
from protogcn.evaluation.ensemble import fuse, get_preset
from protogcn.evaluation.scores import load_scores
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import SCORES, is_finished


def parse_streams(text: str) -> list[str]:
    """``"j,b,km"`` to stream names.

    Raises:
        ValueError: an unknown stream, or one named twice.
    """
    names = [check_stream(word.strip()) for word in text.split(",") if word.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"streams must be different names separated by commas, such as j,b,k,jm,bm,km; got {text!r}")
    return names


def train_in_new_process(words: Sequence[str], stream: str) -> None:
    """Train one stream with several processes, in a process of its own.

    The launcher starts its helpers with the command line of the process it runs in, so one process can lead only one
    distributed training.

    Raises:
        ValueError: the training failed; it has printed why.
    """
    command = [sys.executable, "-m", "protogcn.cli", "train", *words, "--stream", stream]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"the training of stream {stream} failed; its message is above")


def summary(folders: Sequence[Path], recipes: Sequence[Recipe]) -> str:
    """One line per finished stream, and their fusion with the published weights."""
    parts, streams, lines = [], [], []
    for folder, recipe in zip(folders, recipes, strict=True):
        if is_finished(folder):
            part = load_scores(folder / SCORES)
            correct = (part.scores.argmax(1) == part.labels).mean()
            lines.append(f"  {recipe.stream:<3} {100 * correct:6.2f} % top-1   {folder}")
            parts.append(part)
            streams.append(recipe.stream)
    if len(parts) > 1:
        preset = get_preset("protogcn")
        fused = fuse(parts, weights=preset.weights(streams), rule=preset.rule)
        lines.append(f"  all {100 * fused.metrics.top1:6.2f} % top-1   fused by {preset.rule}")
    return "\n".join(lines)
