"""A store, a recipe and a network so small that a whole run takes about a second; and helpers to look at the run."""

import csv
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import yaml

from protogcn.cli import main
from protogcn.data.synthetic import write_synthetic
from protogcn.models import create_model, model_info
from protogcn.training.task import StreamTask

ACTIONS = ["walk", "wave", "clap", "sit down", "kick"]
NETWORK = {
    "num_blocks": 2,
    "base_channels": 8,
    "num_topologies": 4,
    "num_prototypes": 8,
    "widen_at": [2],
    "downsample_at": [2],
}


def published_network(name):
    """A network of the catalogue for five actions, as published but for a small text tower."""
    words = {"class_names": ACTIONS, "text_encoder": "random:width=32,layers=1,heads=2"}
    return create_model(name, num_classes=5, **(words if model_info(name).reads_names() else {}))


def write_tiny_store(path):
    """30 training clips of two people and 15 test clips of a third, an odd number on purpose."""
    return write_synthetic(
        path, "kinect15", actions=ACTIONS, subjects=3, views=(1,), repetitions=3, frames=(10, 16), seed=5
    )


def tiny_recipe(store, **sections):
    """A complete recipe as plain containers; sections are merged into it key by key."""
    recipe = {
        "benchmark": "tiny",
        "data": {"store": str(store), "train": "xsub_train", "test": "xsub_test"},
        "pipeline": {"clip_len": 8, "num_persons": 1, "test_clips": 2},
        "model": {"options": NETWORK},
        "optimizer": {"lr": 0.05},
        "trainer": {"epochs": 2, "batch_size": 5, "eval_batch_size": 4},
    }
    for name, section in sections.items():
        recipe[name] = {**recipe.get(name, {}), **section} if isinstance(section, dict) else section
    return recipe


def write_recipe(folder, store, **sections):
    """The recipe as a file in a folder."""
    path = Path(folder) / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(store, **sections)))
    return path


def train(recipe, runs, *words):
    """Train in this process; returns the exit status."""
    return main(["train", str(recipe), "--runs", str(runs), "--accelerator", "cpu", *map(str, words)])


def command(recipe, runs, *words):
    """The same as words of a command line for a process of its own."""
    fixed = [sys.executable, "-m", "protogcn.cli", "train", str(recipe), "--runs", str(runs), "--accelerator", "cpu"]
    return [*fixed, *map(str, words)]


def environment():
    """One thread per process, and no trace of a launcher that runs the tests."""
    launcher = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run_process(words, timeout=900):
    """Run a command to its end; returns it with its text output."""
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=timeout, check=False)


class Stopped(Exception):
    """A training was cut off on purpose."""


@contextmanager
def stop_before_epoch(number):
    """Cut trainings of this process off at the start of an epoch, counted from 1."""

    def start(task):
        if task.current_epoch + 1 == number:
            raise Stopped
        original(task)

    original, StreamTask.on_train_epoch_start = StreamTask.on_train_epoch_start, start
    try:
        yield
    finally:
        StreamTask.on_train_epoch_start = original


def warm_processes():
    """Processes that start without importing everything again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["protogcn.training.fit", "torch.distributed", "matplotlib.pyplot"])
    return context


def _train_aloud(lines, words):
    class Pipe(io.StringIO):
        def write(self, text):
            lines.send(text)
            return len(text)

    sys.stdout = Pipe()
    # Tests that run in the background inherit that the interrupt is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    os._exit(main(words))


def start_training(*words):
    """Train in a process of its own; returns the process and what it prints, piece by piece."""
    context = warm_processes()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train_aloud, args=(sender, ["train", *map(str, words)]))
    process.start()
    sender.close()
    return process, receiver


def kill_after(line, recipe, runs, *words, how=signal.SIGKILL):
    """Send a training a signal as soon as it prints a line that begins so; returns its exit status."""
    process, lines = start_training(recipe, "--runs", runs, *words)
    with suppress(EOFError):
        while not lines.recv().startswith(line):
            pass
    os.kill(process.pid, how)
    process.join(900)
    return process.exitcode


def weights(folder, which="last"):
    """State of the network in a checkpoint."""
    return checkpoint(folder, which)["state_dict"]


def checkpoint(folder, which="last"):
    """A whole checkpoint, as strictly as the program itself loads it."""
    return torch.load(Path(folder) / "checkpoints" / f"{which}.ckpt", map_location="cpu", weights_only=True)


def assert_same_weights(first, second):
    """Two states agree bit by bit."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"{len(different)} of {len(first)} entries differ, such as {different[:3]}"


def history(folder):
    """Rows of metrics.csv without the time they took."""
    with (Path(folder) / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def error_of(capsys):
    """What was printed as an error: exactly one paragraph that begins with "error:"."""
    text = capsys.readouterr().err
    paragraphs = [part for part in text.strip().split("\n\n") if part.strip()]
    assert len(paragraphs) == 1 and paragraphs[0].startswith("error: "), text
    assert "Traceback" not in text and len(text) < 1500, text
    return paragraphs[0]
