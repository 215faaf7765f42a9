"""How many minutes the six streams of NW-UCLA take by the full recipe, from a few epochs of it."""

import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from protogcn.data.benchmarks import get_benchmark
from protogcn.data.store import Clip, ClipStore, write_store

_RECIPE = "configs/nw_ucla/protogcn_full.yaml"
_TRAINING, _TEST, _STREAMS = 1018, 464, 6
_FRAMES = (20, 60)
_EPOCHS, _FEW_EPOCHS = 3, 2
_SMALL = (
    *("--model.options.base_channels=16", "--model.options.num_blocks=2", "--model.options.num_prototypes=4"),
    *("--model.options.widen_at=[]", "--model.options.downsample_at=[]", "--trainer.batch_size=2"),
    *("--trainer.precision=32-true", "--data.repeat=1", "--pipeline.clip_len=8"),
)


def nw_ucla_minutes(folder: Path, device: str, *, store: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Train a few epochs of stream j, the largest network of the six, and reckon what all streams would take.

    Args:
        folder: an empty folder for the run, and for clips of noise where there is no store.
        device: ``cpu`` or ``cuda``.
        store: of NW-UCLA; None takes ``data/nw_ucla`` where it exists, and else as many clips of noise.
        quick: a tiny network and a few clips, which says nothing about the minutes.

    Returns:
        ``seconds_per_epoch`` (median without the first), ``epochs`` of the recipe, ``minutes`` of six streams one after
        the other, and ``synthetic``, whether the clips are noise.
    """
    from protogcn.training.fit import Machine, train_stream
    from protogcn.training.recipe import load_recipe
    from protogcn.training.run_folder import HISTORY

    store = store or (Path("data/nw_ucla") if not quick else None)
    synthetic = store is None or not store.is_dir()
    if synthetic:
        store = write_noise(folder / "store", 6 if quick else _TRAINING, 4 if quick else _TEST).path
    epochs = _FEW_EPOCHS if quick else _EPOCHS
    asked = load_recipe(_RECIPE, "j").trainer.epochs
    overrides = [f"--data.store={store}", f"--trainer.epochs={epochs}", *(_SMALL if quick else ())]
    run = folder / "run"
    train_stream(load_recipe(_RECIPE, "j", overrides), run, Machine("gpu" if device == "cuda" else "cpu"))
    with (run / HISTORY).open(encoding="utf-8", newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    per_epoch = statistics.median(seconds[1:])
    return {
        "seconds_per_epoch": per_epoch,
        "epochs": asked,
        "minutes": _STREAMS * asked * per_epoch / 60,
        "synthetic": synthetic,
    }


def write_noise(path: Path, training: int, test: int) -> ClipStore:
    """A store of the sizes of NW-UCLA: that many clips of 20 to 60 frames, one person, 20 joints, 10 classes."""
    known = get_benchmark("nw_ucla")
    rng = np.random.default_rng(0)
    lengths = rng.integers(_FRAMES[0], _FRAMES[1], size=training + test).tolist()
    clips = [
        Clip(rng.standard_normal((1, length, 20, 3)).astype(np.float32), number % known.num_classes, f"clip{number}")
        for number, length in enumerate(lengths)
    ]
    train, held_out = known.splits[0]
    splits = {train: range(training), held_out: range(training, training + test)}
    return write_store(path, clips, skeleton=known.skeleton, class_names=known.num_classes, splits=splits)
