"""The lines of docs/zero_shot.md run, one after the other, on a small store and with a small text encoder."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from graphs.layouts import get_skeleton
from protogcn.cli import main
from protogcn.data.benchmarks import get_benchmark
from protogcn.data.class_split import list_class_splits
from protogcn.data.store import Clip, write_store
from protogcn.models.text import sentence

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "zero_shot.md").read_text()
LINES = re.findall(r"^    protogcn (.+)$", PAGE, flags=re.MULTILINE)
SMALL = (
    "--trainer.epochs 1 --data.repeat 1 --trainer.precision 32-true --trainer.ema 0 --pipeline.test_clips 1 "
    "--model.options.base_channels 8 --model.options.num_blocks 2 --model.options.widen_at [] "
    "--model.options.downsample_at [2] --accelerator cpu"
)


class Letters(torch.nn.Module):
    """Texts as means of a vector for each letter."""

    def __init__(self):
        super().__init__()
        self.letters = torch.nn.Embedding(128, 16, padding_idx=0)

    def forward(self, tokens):
        return self.letters(tokens).mean(1)


def letters_of(texts):
    return torch.tensor([[min(ord(letter), 127) for letter in text[:80].ljust(80, "\0")] for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with a store: seven random clips of each class of UTD-MHAD, of which two are for the test."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    names = get_benchmark("utd_mhad").class_names
    assert names
    joints = get_skeleton("utd20").num_joints
    clips = [
        Clip(rng.standard_normal((1, 6, joints, 3)).astype(np.float32), label, f"{name} {i}")
        for label, name in enumerate(names)
        for i in range(7)
    ]
    train = [i for i in range(len(clips)) if i % 7 < 5]
    splits = {"train": train, "test": [i for i in range(len(clips)) if i not in train]}
    write_store(
        folder / "data" / "utd_mhad",
        clips,
        skeleton="utd20",
        class_names=names,
        splits=splits,
        benchmark="utd_mhad",
    )
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


@pytest.fixture
def small_encoder(monkeypatch):
    """The sentence encoder, replaced by one that loads at once."""

    def load():
        torch.manual_seed(0)
        return Letters(), 16, letters_of

    monkeypatch.setattr(sentence, "load_minilm", load)


def test_documented_lines(folder, small_encoder, monkeypatch, capsys):
    """In one test, as most of them need the runs of the first."""
    monkeypatch.chdir(folder)
    for line in LINES:
        words = shlex.split(line)
        assert main([*words, *SMALL.split()] if words[0] == "train" else words) == 0, capsys.readouterr().err
        check(words, capsys.readouterr().out)


def check(words, out):
    """What the page says of a line shows in what it prints."""
    expected = {"ensemble": "fused", "train": "top-1", "zero-shot": "chance"}[words[0]]
    assert (expected if "--names" not in words else "%") in out
    if words[1:] == ["runs/utd_mhad/ctrgcn_clip/j"]:
        assert "5 unseen classes (throw, draw triangle, bowling, catch, squat)" in out
        assert "zero-shot: 10 clips" in out and "generalised: 54 clips among all 27 names" in out
    if "--unseen" in words:
        assert "NOT unseen: clap, wave" in out
    if "--split" in words:
        assert "zero-shot: 35 clips" in out
    if "--shots" in words:
        assert "few-shot: 10 clips of 5 unseen classes, 5 examples of each, 100 episodes" in out


def test_page_names_every_split():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) of (\d+) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 4 and len(LINES) == 12
    for benchmark, names, counts, classes in rows:
        found = [f"{name}_{fold}" for name in re.findall(r"`(unseen\d+)_a`", names) for fold in "abc"]
        assert sorted(found) == list_class_splits(benchmark)
        assert [name.removeprefix("unseen") for name in re.findall(r"unseen\d+", names)] == counts.split(", ")
        assert get_benchmark(benchmark).num_classes == int(classes)
