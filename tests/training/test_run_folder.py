"""Resuming exactly, skipping what is finished, refusing what does not belong together."""

import json
import signal

import pytest
import yaml
from tiny_runs import (
    NETWORK,
    Stopped,
    assert_same_weights,
    checkpoint,
    error_of,
    history,
    kill_after,
    stop_before_epoch,
    train,
    weights,
    write_recipe,
)

from protogcn.evaluation.scores import load_scores
from protogcn.training import fit
from protogcn.training.recipe import parse_recipe
from protogcn.training.run_folder import is_finished, read_config, run_folder


def scores(folder):
    return load_scores(folder / "scores_test.npz").scores


def assert_same_run(first, second):
    for which in ("last", "best"):
        assert_same_weights(weights(first, which), weights(second, which))
    assert history(first) == history(second)
    assert (scores(first) == scores(second)).all()


INTERRUPTED = {
    "dropout": {"pipeline": {"flip": 0.5, "rotation": 0.3}, "model": {"options": {**NETWORK, "dropout": 0.3}}},
    "average": {"trainer": {"ema": 0.8, "validate_every": 3, "accumulate": 2}, "data": {"repeat": 2}},
    "workers": {"data": {"workers": 1}, "pipeline": {"part_drop": 0.5}, "optimizer": {"name": "adamw", "lr": 0.01}},
}


@pytest.mark.parametrize("kind", INTERRUPTED)
def test_a_killed_run_continues_to_the_very_same_weights(tmp_path, tiny_store, kind):
    sections = {**INTERRUPTED[kind]}
    sections["trainer"] = {"epochs": 4, **sections.get("trainer", {})}
    recipe = write_recipe(tmp_path, tiny_store, **sections)
    whole, cut = (tmp_path / name / "tiny" / "protogcn" / "j" for name in ("whole", "cut"))
    assert train(recipe, tmp_path / "whole") == 0
    if kind == "dropout":
        assert kill_after("epoch 3/4", recipe, tmp_path / "cut", "--accelerator", "cpu") == -signal.SIGKILL
    else:
        with stop_before_epoch(3), pytest.raises(Stopped):
            train(recipe, tmp_path / "cut")
    assert not is_finished(cut) and 1 <= checkpoint(cut)["epoch"] <= 2
    assert train(recipe, tmp_path / "cut") == 0
    assert_same_run(whole, cut)


def test_a_run_cut_off_in_its_test_only_tests(tmp_path, tiny_store, monkeypatch):
    recipe = write_recipe(
        tmp_path, tiny_store, trainer={"epochs": 20, "patience": 1, "ema": 0.999999}, optimizer={"lr": 0}
    )
    folder = tmp_path / "tiny" / "protogcn" / "j"

    def stop(*_, **__):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(fit, "score_clips", stop)
        with pytest.raises(Stopped):
            train(recipe, tmp_path)
    before = history(folder)
    assert len(before) < 40 and not is_finished(folder)
    state = weights(folder)
    assert train(recipe, tmp_path) == 0
    assert is_finished(folder) and history(folder) == before
    assert_same_weights(state, weights(folder))


@pytest.fixture
def finished(tmp_path, tiny_yaml):
    assert train(tiny_yaml, tmp_path) == 0
    return tmp_path / "tiny" / "protogcn" / "j"


def test_what_a_run_has_done_is_respected(finished, tmp_path, tiny_yaml, tiny_store, capsys):
    times = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert {path.name for path in times} == {
        *("config.yaml", "metrics.csv", "metrics.json", "scores_test.npz", "confusion.png", "curves.png"),
        *("last.ckpt", "best.ckpt", "model.safetensors"),
    }
    capsys.readouterr()

    assert train(tiny_yaml, tmp_path) == 0
    assert "is finished" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in times}

    other = ("--optimizer.lr=0.01", "--loss.label_smoothing", 0.2)
    assert train(tiny_yaml, tmp_path, *other) == 2
    message = error_of(capsys)
    assert "optimizer.lr: 0.05 there, 0.01 now" in message and "loss.label_smoothing" in message
    assert "--name" in message and "--fresh" in message
    assert times == {path: path.stat().st_mtime_ns for path in times}

    assert train(tiny_yaml, tmp_path, *other, "--name", "smooth", "--trainer.epochs", 1) == 0
    assert read_config(finished.parents[1] / "smooth" / "j").optimizer.lr == 0.01

    old = weights(finished)
    assert train(tiny_yaml, tmp_path, *other, "--fresh", "--trainer.epochs", 1) == 0
    assert read_config(finished).optimizer.lr == 0.01 and len(history(finished)) == 1
    with pytest.raises(AssertionError):
        assert_same_weights(old, weights(finished))


def test_workers_change_no_number_and_need_no_new_folder(finished, tmp_path, tiny_yaml, capsys):
    (finished / "metrics.json").unlink()
    assert train(tiny_yaml, tmp_path, "--data.workers", 1) == 0
    assert is_finished(finished)
    assert train(tiny_yaml, tmp_path / "again", "--data.workers", 2) == 0
    assert_same_run(finished, tmp_path / "again" / "tiny" / "protogcn" / "j")


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_a_damaged_checkpoint_is_named(tmp_path, tiny_yaml, capsys, damage):
    folder = tmp_path / "tiny" / "protogcn" / "j"
    with stop_before_epoch(2), pytest.raises(Stopped):
        train(tiny_yaml, tmp_path)
    path = folder / "checkpoints" / "last.ckpt"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "foreign": b"not a checkpoint"}[damage])
    capsys.readouterr()
    assert train(tiny_yaml, tmp_path) == 2
    message = error_of(capsys)
    assert "last.ckpt" in message and "--fresh" in message


@pytest.mark.parametrize("text", ["benchmark: [tiny", "- a list", "", "benchmark: tiny\nstreem: j"])
def test_a_damaged_config_is_named(finished, tmp_path, tiny_yaml, capsys, text):
    (finished / "config.yaml").write_text(text)
    capsys.readouterr()
    assert train(tiny_yaml, tmp_path) == 2
    assert "config.yaml" in error_of(capsys)


def test_facts_of_a_run(finished):
    facts = json.loads((finished / "metrics.json").read_text())
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert parse_recipe(config, "config") == read_config(finished)
    assert {"protogcn", "torch", "pytorch-lightning", "numpy", "python"} <= facts["versions"].keys()
    assert facts["git"] is None or {"commit", "modified"} == facts["git"].keys()
    assert facts["hardware"]["devices"] == "1 x cpu" and facts["hardware"]["cores"] >= 1
    assert (facts["benchmark"], facts["split"], facts["stream"], facts["seed"]) == ("tiny", "xsub_test", "j", 0)
    assert (facts["epochs"], facts["clips"], facts["training_clips"]) == (2, 15, 30)
    assert facts["training_seconds"] > 0 and facts["command"].startswith("protogcn")


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ({}, None, "runs/tiny/protogcn/j"),
        ({"stream": "km", "seed": 3}, None, "runs/tiny/protogcn/km-s3"),
        ({}, "wide", "runs/tiny/wide/j"),
        ({"name": "strong"}, None, "runs/tiny/strong/j"),
        ({"name": "strong"}, "wide", "runs/tiny/wide/j"),
    ],
)
def test_where_a_run_lies(change, name, expected):
    assert run_folder("runs", parse_recipe({"benchmark": "tiny", **change}, "test"), name).as_posix() == expected


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc"])
def test_a_run_stays_in_its_folder(name):
    with pytest.raises(ValueError, match="plain name"):
        run_folder("runs", parse_recipe({"benchmark": "tiny"}, "test"), name)
    if name:
        with pytest.raises(ValueError, match="name names the run folder"):
            parse_recipe({"benchmark": "tiny", "name": name}, "test")
