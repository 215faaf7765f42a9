"""The lines of docs/transfer.md run, one after the other, on two small stores."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from protogcn.cli import main
from protogcn.data.benchmarks import get_benchmark
from protogcn.data.store import Clip, write_store
from protogcn.training.recipe import parse_recipe
from protogcn.training.sweep import plan_sweep

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "transfer.md").read_text()
LINES = re.findall(r"^    protogcn (.+)$", PAGE, flags=re.MULTILINE)
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.+?)```", PAGE, flags=re.DOTALL)]
SMALL = {
    "trainer.epochs": 1,
    "trainer.precision": "32-true",
    "trainer.ema": 0,
    "trainer.batch_size": 8,
    "trainer.eval_batch_size": 256,
    "pipeline.test_clips": 1,
    "pipeline.clip_len": 4,
    "model.options.base_channels": 8,
    "model.options.num_blocks": 3,
    "model.options.widen_at": "[2]",
    "model.options.downsample_at": "[2]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with two stores of noise, and networks trained on one of them."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    for name in ("ucf101", "hmdb51"):
        known = get_benchmark(name)
        clips = [
            Clip((rng.random((1, 5, 17, 3)) * 200).astype(np.float16), label, f"{part}{label}", (240, 320))
            for part in ("train", "test")
            for label in range(16)
        ]
        train, test = known.splits[0]
        splits = {train: range(16), test: range(16, 32)}
        kinds = {"skeleton": "coco17", "class_names": known.class_names, "channels": "xys"}
        write_store(folder / "data" / name, clips, splits={key: list(rows) for key, rows in splits.items()}, **kinds)
    (folder / "configs").symlink_to(ROOT / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("protogcn.evaluation.plots.plot_confusion", lambda *_: None)
        # Where the lines start from, whichever of them this process runs.
        assert main(in_small(["train", "configs/ucf101/stgcnpp.yaml", "--streams", "j,b"])) == 0
    return folder


def in_small(words):
    """A command line with what makes its training small, where it does not set that itself."""
    said = " ".join(words)
    return [*words, "--accelerator", "cpu", *(f"--{key}={value}" for key, value in SMALL.items() if key not in said)]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_documented_lines(folder, monkeypatch, capsys, line):
    monkeypatch.chdir(folder)
    # A matrix of 101 classes takes longer to draw than all else.
    monkeypatch.setattr("protogcn.evaluation.plots.plot_confusion", lambda *_: None)
    words = shlex.split(line)
    assert main(in_small(words)) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    if "--init" in words:
        name = words[words.index("--name") + 1]
        facts = json.loads((folder / "runs" / "hmdb51" / name / "j-f0" / "metrics.json").read_text())["init"]
        assert f"{'linear' if 'linear' in words else 'finetune'}: weights from runs/ucf101/stgcnpp/" in out
        assert "classifier.weight" in facts["left"] and len(facts["sha256"]) == 64
    if words[0] == "sweep":
        rows = 2 if "--zip" in words else 4
        assert f"row {rows} of {rows}" in out and "--select-on" in out
        assert out.count("| stgcnpp-") == rows


def test_documented_sections_are_sections_of_a_recipe():
    init, optimizer, sweep = BLOCKS
    for content in (init, optimizer):
        parse_recipe({"benchmark": "hmdb51", **content}, "the page")
    assert set(sweep) == {"base", "rows"} and len(LINES) == 11


def test_the_published_rates_are_twenty_rows(tmp_path):
    """As factors of 1e-2, text tower and temperature; the network they belong to is tested elsewhere."""
    content = yaml.safe_load((ROOT / "configs" / "hmdb51" / "skeletonclip_sweep.yaml").read_text())
    (tmp_path / content["base"]).write_text(
        "benchmark: hmdb51\nmodel: {name: skeletonclip}\noptimizer: {name: adamw}\n"
    )
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    rows = plan_sweep(tmp_path / "sweep.yaml").rows
    found = {(row.recipe.optimizer.lr, *row.recipe.optimizer.multipliers.values()) for row in rows}
    text, head = (0.1, 0.01, 0.001, 0.005), (0.1, 0.5, 1.0, 0.05, 0.01)
    assert found == {(0.01, tower, scale) for tower in text for scale in head} and len(rows) == 20
    assert set(rows[0].recipe.optimizer.multipliers) == {"classifier.tower", "logit_scale"}
