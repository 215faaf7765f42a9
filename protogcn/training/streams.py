"""Several streams of one recipe, one after the other: what is finished is skipped, what was cut off goes on."""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from graphs.streams import check_stream
from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.presets import preset_of
from protogcn.evaluation.scores import ScoreFile, load_scores
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import SCORES, count_folds, is_finished


def parse_streams(text: str) -> list[str]:
    """``"j,b,km"`` to stream names.

    Raises:
        ValueError: an unknown stream, or one named twice.
    """
    names = [check_stream(word.strip()) for word in text.split(",") if word.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"streams must be different names separated by commas, such as j,b,k,jm,bm,km; got {text!r}")
    return names


def parse_folds(text: str, recipe: Recipe) -> list[int]:
    """``"0,2"`` or ``"all"`` to the folds of the recipe's benchmark.

    Raises:
        ValueError: not numbers, one named twice, or one that the benchmark does not have.
    """
    count = count_folds(recipe)
    if text == "all":
        return list(range(count))
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or len(set(words)) < len(words) or not all(word.isdecimal() and int(word) < count for word in words):
        raise ValueError(
            f"--folds takes all, or different numbers of 0 to {count - 1} (the folds of {recipe.benchmark}) separated "
            f"by commas; got {text!r}"
        )
    return [int(word) for word in words]


def train_in_new_process(words: Sequence[str], recipe: Recipe) -> None:
    """Train one stream and fold with several processes, in a process of its own.

    The launcher starts its helpers with the command line of the process it runs in, so one process can lead only one
    distributed training.

    Raises:
        ValueError: the training failed; it has printed why.
    """
    choice = ["--stream", recipe.stream, f"--data.fold={recipe.data.fold}"]
    if subprocess.run([sys.executable, "-m", "protogcn.cli", "train", *words, *choice], check=False).returncode:
        raise ValueError(f"the training of stream {recipe.stream} failed; its message is above")


def summary(folders: Sequence[Path], recipes: Sequence[Recipe]) -> str:
    """One line per finished run, the mean over folds where there are several, and the fusion of the streams."""
    lines: list[str] = []
    singles: dict[str, list[float]] = {}
    by_fold: dict[int, list[tuple[str, ScoreFile]]] = {}
    for folder, recipe in zip(folders, recipes, strict=True):
        if is_finished(folder):
            part = load_scores(folder / SCORES)
            correct = float((part.scores.argmax(1) == part.labels).mean())
            lines.append(_line(recipe.stream, correct, str(folder)))
            singles.setdefault(recipe.stream, []).append(correct)
            by_fold.setdefault(recipe.data.fold, []).append((recipe.stream, part))
    folds = f", mean of {len(by_fold)} folds" if len(by_fold) > 1 else ""
    if folds:
        lines += [_line(stream, statistics.mean(values), folds[2:]) for stream, values in singles.items()]
    # A fold in which a stream is missing cannot be fused, and a mean over the others would be another figure.
    if len(singles) > 1 and all(len(members) == len(singles) for members in by_fold.values()):
        preset = preset_of(recipes[0].model.name)
        fused = []
        for members in by_fold.values():
            streams, parts = zip(*members, strict=True)
            fused.append(fuse(parts, weights=preset.weights(streams), rule=preset.rule).metrics.top1)
        lines.append(_line("all", statistics.mean(fused), f"fused by {preset.rule}{folds}"))
    return "\n".join(lines)


def _line(name: str, top1: float, what: str) -> str:
    return f"  {name:<3} {100 * top1:6.2f} % top-1   {what}"
