"""Saved models through the command line: written by trainings, tested from the file alone, converted, described."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_runs import error_of, tiny_recipe, train, weights, write_recipe

from protogcn.cli import main
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.data.synthetic import write_synthetic
from protogcn.evaluation.scores import load_scores
from protogcn.models import create_model, load_model, registry, save_model
from protogcn.models.saved import read_description
from protogcn.training.model_facts import pipeline_of

WIDTHS: dict[str, Any] = {"base_channels": 8, "num_blocks": 2, "widen_at": [2], "downsample_at": [2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_store):
    """A finished run."""
    runs = tmp_path_factory.mktemp("runs")
    recipe = write_recipe(runs, tiny_store, trainer={"epochs": 3, "eval_batch_size": 4}, pipeline={"rotation": 0.1})
    assert train(recipe, runs, "--stream", "b") == 0
    return runs / "tiny" / "protogcn" / "b"


@pytest.fixture
def refused(capsys):
    """Run a command that must fail with one message that holds some words."""

    def refused(words, *expected):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        message = error_of(capsys)
        assert all(str(part) in message for part in expected), message
        return message

    return refused


def alone(folder, tmp_path):
    """The model of a run, moved away from it."""
    return shutil.copy(folder / "model.safetensors", tmp_path / "moved.safetensors")


def test_a_training_ends_with_a_model_that_describes_itself(folder, tiny_store):
    model = load_model(folder)
    state = weights(folder)
    assert all(torch.equal(value, state[f"model.{name}"]) for name, value in model.state_dict().items())
    store, said = ClipStore.open(tiny_store), read_description(folder)
    assert model.description == said
    assert said.skeleton == store.skeleton and said.class_names == tuple(store.class_names)
    assert (said.model, said.stream, said.benchmark, said.seed) == ("protogcn", "b", "tiny", 0)
    assert said.preprocessing["clip_len"] == 8 and said.preprocessing["rotation"] == 0.1
    assert said.evaluation["split"] == "xsub_test"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert said.metrics["top1"] == metrics["top1"] and said.metrics["epochs"] == 3
    # The file that marks the run as finished is the last one.
    assert (folder / "model.safetensors").stat().st_mtime_ns <= (folder / "metrics.json").stat().st_mtime_ns


def test_a_saved_model_is_tested_from_its_file_alone(folder, tmp_path, tiny_store, capsys):
    model, out = alone(folder, tmp_path), tmp_path / "tested"
    capsys.readouterr()
    assert main(["test", str(model), "--store", str(tiny_store)]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"top-1 {100 * metrics['top1']:.2f} %" in printed and "--out <folder>" in printed
    assert main(["test", str(model), "--store", str(tiny_store), "--out", str(out)]) == 0
    first, second = load_scores(folder / "scores_test.npz"), load_scores(out / "scores_test.npz")
    assert np.array_equal(first.scores, second.scores) and np.array_equal(first.ids, second.ids)
    assert first.kind == second.kind
    assert {**first.meta, "source": ""} == {**second.meta, "source": ""}
    tested = json.loads((out / "metrics.json").read_text())
    assert tested["top1_interval"] == metrics["top1_interval"] and (out / "confusion.png").is_file()
    assert main(["test", str(model), "--store", str(tiny_store), "--split", "xsub_train", "--out", str(out)]) == 0
    assert len(load_scores(out / "scores_test.npz").ids) == 30


def test_a_saved_model_brings_its_pipeline(folder, tiny_store):
    model, store = load_model(folder), ClipStore.open(tiny_store)
    pipeline = pipeline_of(read_description(folder))
    expected = load_scores(folder / "scores_test.npz")
    for row in store.split("xsub_test")[:3]:
        clips = torch.as_tensor(pipeline(store[row], np.random.default_rng(0)))
        with torch.no_grad():
            scores = model(clips).softmax(1).mean(0)
        np.testing.assert_allclose(scores, expected.scores[list(expected.ids).index(store.ids[row])], atol=1e-6)


def test_a_run_without_checkpoints_is_tested_by_its_model(folder, tmp_path, tiny_store, capsys):
    copied = shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(copied / "checkpoints")
    capsys.readouterr()
    assert main(["test", str(copied), "--store", str(tiny_store)]) == 0
    assert "top-1" in capsys.readouterr().out


def test_runs_from_before_get_their_model_by_a_test(folder, tmp_path, capsys):
    copied = shutil.copytree(folder, tmp_path / "run")
    (copied / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors, .* protogcn test"):
        load_model(copied)
    assert main(["test", str(copied)]) == 0
    assert read_description(copied) == read_description(folder)
    assert (load_scores(copied / "scores_test.npz").scores == load_scores(folder / "scores_test.npz").scores).all()
    assert main(["test", str(copied), "--checkpoint", "best"]) == 0
    assert read_description(copied).metrics["checkpoint"] == "best"
    state = weights(copied, "best")
    assert all(torch.equal(value, state[f"model.{name}"]) for name, value in load_model(copied).state_dict().items())


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_and_averages(precision, tmp_path, tiny_store):
    sections = {"trainer": {"epochs": 1, "precision": precision}, "evaluation": {"average": "logits"}}
    assert train(write_recipe(tmp_path, tiny_store, **sections), tmp_path) == 0
    folder = tmp_path / "tiny" / "protogcn" / "j"
    model, out = alone(folder, tmp_path), tmp_path / "tested"
    assert main(["test", str(model), "--store", str(tiny_store), "--out", str(out)]) == 0
    first, second = load_scores(folder / "scores_test.npz"), load_scores(out / "scores_test.npz")
    assert second.kind == "logits" and np.array_equal(first.scores, second.scores)


MY_NET = '''
from torch import Tensor, nn
from protogcn.models import SkeletonClassifier, register_model

class MyNet(SkeletonClassifier):
    def __init__(self, skeleton, num_classes, in_channels):
        super().__init__(skeleton, num_classes, in_channels, 16)
        self.mix = nn.Linear(in_channels, 16)

    def forward_features(self, clips: Tensor) -> Tensor:
        return self.mix(clips).relu().permute(0, 1, 4, 2, 3)

@register_model("{name}", paper="ours")
def build(skeleton, num_classes: int, in_channels: int = 3):
    """A linear map of every joint."""
    return MyNet(skeleton, num_classes, in_channels)
'''


def test_a_network_of_ones_own_is_run_only_when_asked_for(tmp_path, tiny_store, refused, monkeypatch):
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    file = tmp_path / "my_net.py"
    file.write_text(MY_NET.replace("{name}", "my_net"))
    model = {"name": "my_net", "module": str(file), "options": {}}
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny_without_options(tiny_store, model))
    assert train(recipe, tmp_path) == 0
    saved = alone(tmp_path / "tiny" / "my_net" / "j", tmp_path)
    del registry._BUILDERS["my_net"]
    moved = file.rename(tmp_path / "moved_net.py")
    words = ["test", saved, "--store", tiny_store]
    refused(words, "my_net", "not run unasked", "--module")
    assert main([str(word) for word in [*words, "--module", moved]]) == 0


def tiny_without_options(store, model):
    """The tiny recipe for a network without options, as text."""
    return yaml.safe_dump({**tiny_recipe(store, trainer={"epochs": 1}), "model": model})


def renamed_store(path, store, class_names):
    """The clips of a store under other class names."""
    source = ClipStore.open(store)
    splits = {name: [source.ids[row] for row in rows] for name, rows in source.splits.items()}
    clips = [Clip(np.array(clip.keypoints), clip.label, clip.id) for clip in source]
    return write_store(path, clips, skeleton=source.skeleton, class_names=class_names, splits=splits).path


def test_clips_that_are_not_those_of_the_model(folder, tmp_path, tiny_store, refused):
    model = alone(folder, tmp_path)
    names = list(ClipStore.open(tiny_store).class_names)
    swapped = renamed_store(tmp_path / "swapped", tiny_store, [names[1], names[0], *names[2:]])
    refused(["test", model, "--store", swapped], f"class 0 is '{names[0]}'", f"'{names[1]}' in", "other actions")
    anonymous = renamed_store(tmp_path / "anonymous", tiny_store, 5)
    assert main(["test", str(model), "--store", str(anonymous)]) == 0
    more = renamed_store(tmp_path / "more", tiny_store, [*names, "one more"])
    refused(["test", model, "--store", more], "tells 5 classes apart", "of 6")
    other = write_tiny_store_of("ntu25", tmp_path / "ntu25")
    refused(["test", model, "--store", other], "the 15 joints of kinect15", "the 25 of ntu25")
    refused(["test", model, "--store", tmp_path / "absent"], "No clip store")
    refused(["test", model], "--store <folder")
    refused(["test", model, "--store", tiny_store, "--split", "xsub"], "unknown split 'xsub'")
    refused(["test", model, "--store", tiny_store, "--checkpoint", "best"], "weights of one epoch")
    refused(["test", folder, "--split", "xsub_test"], "--split, --out and --module", "model.safetensors")
    refused(["test", tmp_path / "absent.safetensors"], "absent.safetensors")


def write_tiny_store_of(skeleton, path):
    actions = ["walk", "wave", "clap", "sit down", "kick"]
    return write_synthetic(path, skeleton, actions=actions, subjects=2, views=(1,), repetitions=1, frames=(6, 9)).path


def official_file(path, name="protogcn", skeleton="ntu25_pyskl", classes=5, **options):
    """A small checkpoint with the official names."""
    torch.manual_seed(0)
    model = create_model(name, skeleton=skeleton, num_classes=classes, **WIDTHS, **options).eval()
    own = model.state_dict()
    state: dict[str, torch.Tensor] = {}
    for key, names in model.official_entries().items():
        rows = own[key].shape[0] // len(names) if own[key].ndim else 0
        first = own[key].shape[0] - rows * (len(names) - 1) if own[key].ndim else 0
        parts = own[key].split([first, *[rows] * (len(names) - 1)]) if own[key].ndim else [own[key]] * len(names)
        state |= dict(zip(names, parts, strict=True))
    torch.save({"meta": {"epoch": 3, "score": np.float64(0.5)}, "state_dict": state}, path)
    return model


def test_official_weights_become_a_model_that_can_be_tested(tmp_path, capsys):
    source, out = tmp_path / "xsub_j.pth", tmp_path / "j.safetensors"
    model = official_file(source, "stgcn")
    store = write_tiny_store_of("ntu25", tmp_path / "store")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(ClipStore.open(store).class_names) + "\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "benchmark: mine\ndata: {test: xsub_test}\npipeline: {clip_len: 8, test_clips: 2}\nmodel: {name: stgcn}\n"
    )
    words = ["checkpoint", "convert", source, out, "--classes-file", names, "--recipe", recipe, "--stream", "b"]
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    printed = capsys.readouterr().out
    assert "found stgcn: 5 classes, 25 joints, 3 channels; base_channels 8, num_blocks 2" in printed
    assert "taken for granted: blocks that double the channels (2) halve the frame rate" in printed
    assert "layout ntu25_pyskl" in printed and f"wrote {out}" in printed
    loaded = load_model(out)
    said = read_description(out)
    assert said.source == "xsub_j.pth" and said.stream == "b"
    assert said.class_names == tuple(ClipStore.open(store).class_names)
    clips = torch.randn(2, 2, 8, 25, 3)
    assert torch.equal(loaded(clips), model(clips))
    assert main(["test", str(out), "--store", str(store), "--split", "xsub_train"]) == 0
    assert "top-1" in capsys.readouterr().out


def test_what_a_conversion_refuses(tmp_path, refused):
    source, out = tmp_path / "official.pth", tmp_path / "model.safetensors"
    official_file(source, "protogcn", "coco20", num_topologies=4, num_prototypes=3)
    words = ["checkpoint", "convert", source, out]
    refused(words, "20 joints of this protogcn", "coco20", "--skeleton")
    refused([*words, "--skeleton", "ntu25"], "ntu25 has 25 joints")
    refused([*words, "--skeleton", "coco20", "--k", 1], "unknown option of protogcn 'k'")
    refused([*words, "--skeleton", "coco20", "--option", "dropout"], "NAME=VALUE")
    refused([*words, "--skeleton", "coco20", "--option", "dropout=x"], "dropout must be a finite number, got 'x'")
    refused([*words, "--skeleton", "coco20", "--model", "stgcm"], "did you mean 'stgcn'")
    refused([*words, "--skeleton", "coco20", "--stream", "z"], "unknown stream 'z'")
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    refused([*words, "--skeleton", "coco20", "--classes-file", names], "each of the 5 classes", "got 2")
    refused([*words, "--skeleton", "coco20", "--classes-file", tmp_path / "no.txt"], "no.txt")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("benchmark: mine\nmodel: {name: stgcn}\n")
    refused([*words, "--skeleton", "coco20", "--recipe", recipe], "is of protogcn", "trains stgcn")
    assert not out.exists()
    assert main([str(word) for word in [*words, "--skeleton", "coco20"]]) == 0
    refused([*words, "--skeleton", "coco20"], "is there already", "--overwrite")
    assert main([str(word) for word in [*words, "--skeleton", "coco20", "--option", "dropout=0.5", "--overwrite"]]) == 0
    assert read_description(out).options["dropout"] == 0.5
    refused(["test", out, "--store", tmp_path], "does not say how the clips", "--recipe")
    refused(["checkpoint", "convert", out, tmp_path / "new.safetensors"], "is a model of this library already")
    refused(["checkpoint", "convert", tmp_path / "no.pth", out, "--overwrite"], "there is no checkpoint")
    refused([*words[:3], tmp_path / "out.pth", "--skeleton", "coco20"], "*.safetensors")
    refused(["checkpoint", "show", source], "is a PyTorch checkpoint", "checkpoint convert")


def test_infogcn_asks_for_its_mode(tmp_path, refused):
    source, out = tmp_path / "official.pth", tmp_path / "model.safetensors"
    official_file(source, "infogcn", "ucla20")
    refused(["checkpoint", "convert", source, out], "--k 1 for bones")
    assert main(["checkpoint", "convert", str(source), str(out), "--k", "1"]) == 0
    assert read_description(out).skeleton.name == "ucla20"
    assert read_description(out).options["compat"] == "infogcn"
    words = ["checkpoint", "convert", str(source), str(out), "--k", "2", "--compat", "none", "--overwrite"]
    assert main(words) == 0
    assert (read_description(out).options["k"], read_description(out).options["compat"]) == (2, None)


def test_a_training_checkpoint_needs_no_conversion(folder, tmp_path, refused):
    last = folder / "checkpoints" / "last.ckpt"
    refused(["checkpoint", "convert", last, tmp_path / "a.safetensors"], "training with this library", "protogcn test")


def test_a_model_is_described(folder, tmp_path, capsys, refused):
    capsys.readouterr()
    assert main(["checkpoint", "show", str(folder)]) == 0
    printed = capsys.readouterr().out
    for words in ("protogcn, ", "checksum correct", "15 joints of kinect15", "5: walk", "tiny, stream b, seed 0"):
        assert words in printed
    for words in ("num_prototypes 8", "widen_at [2]", "clip_len 8", "split xsub_test", "written by     protogcn 0."):
        assert words in printed
    assert main(["checkpoint", "show", str(folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"] == "protogcn" and content["skeleton"]["name"] == "kinect15"
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    refused(["checkpoint", "show", damaged], "not those that were written")
    refused(["test", damaged, "--store", tmp_path], "not those that were written")
    refused(["checkpoint", "show", tmp_path / "absent"], "there is no model")


def test_what_a_file_says_does_not_steer_the_terminal(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    model = create_model("stgcn", num_classes=2, **WIDTHS)
    save_model(model, path, class_names=["a\x1b[31m", "b\nfake line"], benchmark="\x1b]0;title\x07", source="夜")
    capsys.readouterr()
    assert main(["checkpoint", "show", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed and r"a\x1b[31m, b\nfake line" in printed and "夜" in printed


def test_a_network_that_cannot_be_built_twice_has_its_scores_all_the_same(tmp_path, tiny_store, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    file = tmp_path / "odd_net.py"
    file.write_text(
        MY_NET.replace("{name}", "odd_net")
        + "\nWIDTHS = iter(range(3, 99))\n\ndef odd(self, *args):\n    before(self, *args)\n"
        + "    self.more = nn.Linear(3, next(WIDTHS))\n\nbefore, MyNet.__init__ = MyNet.__init__, odd\n"
    )
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny_without_options(tiny_store, {"name": "odd_net", "module": str(file)}))
    capsys.readouterr()
    assert train(recipe, tmp_path) == 0
    assert "no model.safetensors: the model is no longer what" in capsys.readouterr().out
    assert (tmp_path / "tiny" / "odd_net" / "j" / "metrics.json").is_file()
