"""The runs of a sweep, one after the other, and the table of what they reached."""

import csv
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protogcn.evaluation.metrics import evaluate
from protogcn.training.evaluate import build_model, gather_scores, load_weights, score_clips
from protogcn.training.fit import Machine, train_stream
from protogcn.training.loaders import make_dataset, open_store, split_names
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import (
    checkpoint_path,
    is_finished,
    read_metrics,
    write_atomically,
    write_config,
    write_json,
)
from protogcn.training.sweep import Row, Sweep

_OPTIMISTIC = (
    "The rows are sorted by the split they are tested on: choosing the first one by it makes its figure optimistic. "
    "Name a held-out split of the store by --select-on <split> to choose by that."
)


@dataclass(frozen=True)
class Outcome:
    """What a row reached: its results, and those on the held-out split; None where there are none yet."""

    row: Row
    tested: dict[str, Any] | None
    held_out: dict[str, Any] | None = None

    @property
    def order(self) -> float:
        """The accuracy that decides; unfinished rows come last."""
        deciding = self.held_out or self.tested
        return float(deciding["top1"]) if deciding else -1.0


def run_sweep(sweep: Sweep, machine: Machine) -> str:
    """Train every row that is not finished, and write the tables after each.

    Args:
        sweep: what to train.
        machine: where.

    Returns:
        The table in Markdown.

    Raises:
        FileNotFoundError, ValueError: store, recipe or folder of a row do not fit, or the held-out split holds clips
            that are trained or tested on.
    """
    for row in sweep.rows:
        check_held_out(row.recipe, sweep.select_on)
    device = "cuda" if machine.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    text = ""
    for number, row in enumerate(sweep.rows, start=1):
        said = ", ".join(f"{key} {value}" for key, value in row.settings.items())
        done = is_finished(row.folder)
        state = " is finished" if done else ""
        print(f"row {number} of {len(sweep.rows)}: {said}: {row.folder}{state}", flush=True)
        if not done:
            _train(row, machine)
        text = write_table(sweep, [_outcome(each, sweep.select_on, device) for each in sweep.rows])
    return text


def check_held_out(recipe: Recipe, split: str) -> None:
    """Refuse a split to choose by that is no held-out one.

    Raises:
        FileNotFoundError, ValueError: no such store or split, or it shares clips with training or test.
    """
    if not split:
        return
    store = open_store(recipe)
    clips = store.split(split)
    for name, doing in zip(split_names(recipe), ("train", "test"), strict=True):
        if shared := len(np.intersect1d(clips, store.split(name))):
            raise ValueError(
                f"--select-on {split} shares {shared} clips with {name}, which the recipe uses to {doing}: choosing by "
                "it would flatter the row. Name a split of other clips, or train on a part by --data.train=<split>"
            )


def write_table(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    """Write ``<table>.md`` and ``<table>.csv``, the best row first; returns the Markdown."""
    ordered = sorted(outcomes, key=lambda outcome: -outcome.order)
    note = f"Sorted by top-1 on {sweep.select_on}, which no row was trained or tested on." if sweep.select_on else ""
    text = f"{_markdown(sweep, ordered)}\n\n{note or _OPTIMISTIC}\n"
    sweep.table.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(sweep.table.with_name(f"{sweep.table.name}.md"), text)
    write_atomically(sweep.table.with_name(f"{sweep.table.name}.csv"), _csv(sweep, ordered))
    return text


def _train(row: Row, machine: Machine) -> None:
    if machine.processes == 1:
        train_stream(row.recipe, row.folder, machine)
        return
    # One process can lead only one distributed training.
    write_config(row.folder, row.recipe)
    words = [str(row.folder / "config.yaml"), "--name", row.folder.parent.name, "--runs", str(row.folder.parents[2])]
    words += ["--accelerator", machine.accelerator, "--devices", str(machine.devices)]
    words += ["--num-nodes", str(machine.num_nodes)]
    if subprocess.run([sys.executable, "-m", "protogcn.cli", "train", *words], check=False).returncode:
        raise ValueError(f"the training of {row.folder} failed; its message is above")


def _outcome(row: Row, split: str, device: str) -> Outcome:
    if not is_finished(row.folder):
        return Outcome(row, None)
    tested = read_metrics(row.folder)
    return Outcome(row, tested, _held_out(row, split, device) if split else None)


def _held_out(row: Row, split: str, device: str) -> dict[str, Any]:
    """Results of a finished run on another split, kept in its folder."""
    metrics = row.folder / "metrics.json"
    path = row.folder / f"metrics_{split.replace('/', '_')}.json"
    if path.is_file() and path.stat().st_mtime_ns >= metrics.stat().st_mtime_ns and (known := _read(path)):
        return known
    recipe = dataclasses.replace(row.recipe, data=dataclasses.replace(row.recipe.data, test=split))
    store = open_store(recipe)
    dataset = make_dataset(recipe, store, "test")
    model = build_model(recipe, dataset, store.num_classes)
    load_weights(model, checkpoint_path(row.folder, recipe.evaluation.checkpoint))
    _, scores = gather_scores(*score_clips(model.to(device), recipe, dataset))
    found = evaluate(scores.numpy(), dataset.labels)
    content = {
        "split": split,
        "clips": len(dataset.labels),
        "top1": found.top1,
        "top1_interval": list(found.top1_interval),
        "mean_class": found.mean_class,
    }
    write_json(path, content)
    return content


def _read(path: Path) -> dict[str, Any] | None:
    """Results that were written before; None where they are damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) and [float(end) for end in _figures(content)] else None
    except (ValueError, TypeError, LookupError):
        return None


def _figures(results: Mapping[str, Any]) -> list[Any]:
    low, high = results["top1_interval"]
    return [results["top1"], low, high, results["mean_class"]]


def _markdown(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    held = [f"top-1 on {sweep.select_on}", "95 % interval", "mean class"] if sweep.select_on else []
    lines = [[*sweep.keys, *held, "top-1", "95 % interval", "mean class", "epochs", "run"]]
    lines.append(["---:"] * (len(lines[0]) - 1) + ["---"])
    for outcome in outcomes:
        cells = ["" if value is None else str(value) for value in map(outcome.row.settings.get, sweep.keys)]
        for results in [outcome.held_out, outcome.tested][not sweep.select_on :]:
            top1, low, high, mean = _figures(results) if results else [None] * 4
            cells += [_percent(top1), f"{_percent(low)} to {_percent(high)}" if results else "", _percent(mean)]
        epochs = str(outcome.tested.get("epochs", "")) if outcome.tested else "unfinished"
        lines.append([*cells, epochs, f"{outcome.row.folder.parent.name}/{outcome.row.folder.name}"])
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _csv(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    """The same as numbers, accuracies as parts of one."""
    figures = ("top1", "top1_low", "top1_high", "mean_class")
    held = [f"{sweep.select_on}_{name}" for name in figures] if sweep.select_on else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*sweep.keys, *held, *figures, "epochs", "folder"])
    for outcome in outcomes:
        cells = [outcome.row.settings.get(key, "") for key in sweep.keys]
        for results in [outcome.held_out, outcome.tested][not sweep.select_on :]:
            cells += _figures(results) if results else [""] * 4
        writer.writerow([*cells, (outcome.tested or {}).get("epochs", ""), outcome.row.folder.as_posix()])
    return text.getvalue()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"
