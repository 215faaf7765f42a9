"""The lines of docs/heat_maps.md run, one after the other, on small stores of noise."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphs import get_skeleton
from protogcn.cli import main
from protogcn.data.benchmarks import get_benchmark
from protogcn.data.store import Clip, write_store
from protogcn.models import create_model, load_model
from protogcn.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "heat_maps.md").read_text(encoding="utf-8")
LINES = re.findall(r"^    protogcn (.+)$", PAGE, flags=re.MULTILINE)
(EXAMPLE,) = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)
RNG = np.random.default_rng(0)
NETWORK: dict[str, Any] = {"base_channels": 4, "stage_blocks": [1, 1, 1]}
MAPS = (
    "--trainer.epochs 1 --data.repeat 1 --data.workers 0 --trainer.precision 32-true --trainer.ema 0 "
    "--trainer.batch_size 8 --pipeline.test_clips 1 --pipeline.clip_len 4 "
    "--pipeline.image_size 16 --pipeline.test_image_size 16 "
    f"--model.options.base_channels {NETWORK['base_channels']} --model.options.stage_blocks [1,1,1] --accelerator cpu"
)
GRAPH = (
    "--trainer.epochs 1 --trainer.batch_size 8 --trainer.precision 32-true --trainer.ema 0 "
    "--pipeline.test_clips 1 --pipeline.clip_len 4 "
    "--model.options.base_channels 8 --model.options.num_blocks 2 --model.options.widen_at [] "
    "--model.options.downsample_at [2] --accelerator cpu"
)


def noise(skeleton: str, channels: int) -> np.ndarray:
    return (RNG.random((1, 6, get_skeleton(skeleton).num_joints, channels)) * 200 + 1).astype(np.float32)


def write_noise(path: Path, benchmark: str, skeleton: str, channels: str, train: int = 16, test: int = 16) -> None:
    """Some training clips and some test clips."""
    known = get_benchmark(benchmark)
    names = tuple(known.class_names or ())
    clips = [
        Clip(noise(skeleton, len(channels)), row % len(names), f"clip{row}", None if channels == "xyz" else (240, 320))
        for row in range(train + test)
    ]
    splits = dict(zip(known.splits[0], (list(range(train)), list(range(train, train + test))), strict=True))
    facts: dict[str, Any] = {"class_names": names, "splits": splits, "channels": channels, "benchmark": benchmark}
    write_store(path, clips, skeleton=skeleton, **facts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the lines of the page ask for."""
    folder = tmp_path_factory.mktemp("page")
    write_noise(folder / "data" / "penn_action", "penn_action", "penn13", "xys")
    write_noise(folder / "data" / "nw_ucla", "nw_ucla", "ucla20", "xyz")
    write_noise(folder / "data" / "ntu60_hrnet", "ntu60_xsub", "coco17", "xys", train=32, test=2)
    labels = ["wave", "clap"] * 8
    poses = np.concatenate([noise("coco17", 2) for _ in labels])
    np.savez(folder / "poses.npz", keypoints=poses, labels=labels, split=["train"] * 8 + ["test"] * 8)
    original = create_model("posec3d_slowonly", num_classes=60, **NETWORK)
    weights = original.state_dict()
    official = {name: weights[own] for own, (name,) in original.official_entries().items()}
    official["cls_head.fc_cls.weight"] = official["cls_head.fc_cls.weight"].view(60, -1)
    torch.save({"state_dict": official}, folder / "ntu60_xsub_joint.pth")
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


def in_small(words: list[str]) -> list[str]:
    """A command line with what makes its training small."""
    if words[0] != "train":
        return words
    small = (GRAPH if "stgcnpp" in words[1] else MAPS).split()
    said = {word for word in words if word.startswith("--")} - {"--trainer.epochs"}
    changes = zip(small[::2], small[1::2], strict=True)
    return [*words, *(word for option, value in changes if option not in said for word in (option, value))]


def test_documented_lines(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In one test, as some need the runs of others."""
    monkeypatch.chdir(folder)
    # A matrix of 60 classes takes longer to draw than all else.
    monkeypatch.setattr("protogcn.evaluation.plots.plot_confusion", lambda *_: None)
    outs = {}
    for line in LINES:
        assert main(in_small(shlex.split(line))) == 0, (line, capsys.readouterr())
        outs[line] = capsys.readouterr().out
    (converted,) = [out for line, out in outs.items() if "convert" in line]
    assert "found posec3d_slowonly: 60 classes, 17 heat maps" in converted and "layout coco17" in converted
    assert all("fused" in out for line, out in outs.items() if line.startswith("ensemble"))
    (more,) = [out for line, out in outs.items() if "--init" in line]
    assert "finetune: weights from runs/penn_action/posec3d/j" in more
    joints = get_skeleton("penn13")
    for name, maps in (("posec3d/j", 13), ("posec3d/b", len(joints.limbs)), ("posec3d_both/j", 13 + len(joints.limbs))):
        assert load_model(folder / "runs" / "penn_action" / name).in_channels == maps
    metrics = json.loads((folder / "runs" / "own" / "posec3d" / "b" / "metrics.json").read_text())
    assert metrics["model"] == "posec3d_slowonly"


def test_the_table_of_recipes_says_what_they_say() -> None:
    lines = [line for line in PAGE.splitlines() if line.count("|") == 4]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    for column, path in ((1, "configs/ntu60_xsub/posec3d.yaml"), (2, "configs/penn_action/posec3d.yaml")):
        recipe = load_recipe(ROOT / path, "j")
        pipeline, options = recipe.pipeline, recipe.model.options
        cells = {row[0]: row[column] for row in rows if len(row) == 3}
        sizes = f"{pipeline.clip_len}, {pipeline.image_size} and {pipeline.test_image_size}"
        assert cells["frames, pixels in training and test"] == sizes
        assert cells["persons"] == str(pipeline.num_persons)
        assert cells["views of a test clip"] == f"{pipeline.test_clips}, each in the mirror too" and pipeline.double
        blocks = ", ".join(map(str, options["stage_blocks"]))
        assert cells["SlowOnly"] == f"width {options.get('base_channels', 32)}, blocks {blocks}"
        passes = "one pass" if recipe.data.repeat == 1 else f"{recipe.data.repeat} passes"
        training = recipe.trainer
        batch = f"batch {training.batch_size}, rate {recipe.optimizer.lr:g}"
        assert cells["training"] == f"{training.epochs} epochs of {passes}, {batch}"


def test_the_python_of_the_page_runs() -> None:
    # With fewer frames and a smaller network, for speed.
    text = EXAMPLE.replace(" 48,", " 4,").replace("num_classes=60", "num_classes=60, base_channels=8")
    found: dict[str, Any] = {}
    exec(text, found)
    assert found["volume"].shape == (1, 4, 34, 56, 56) and found["logits"].shape == (1, 60)
