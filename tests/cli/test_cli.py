"""The command line as its user meets it: help, tables, the way from nothing to fused scores, and what it imports."""

import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from tiny_runs import (
    Stopped,
    environment,
    error_of,
    kill_after,
    run_process,
    stop_before_epoch,
    tiny_recipe,
    train,
)

from graphs.layouts import list_skeletons
from graphs.streams import STREAMS
from protogcn import __version__
from protogcn.cli import main
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.evaluation.ensemble import fuse, get_preset
from protogcn.evaluation.scores import load_scores
from protogcn.models import list_models, model_info
from protogcn.training.run_folder import read_config

VERBS = (
    "data",
    "train",
    "test",
    "ensemble",
    "demo",
    "results",
    "sweep",
    "zero-shot",
    "bench",
    "models",
    "skeletons",
    "benchmarks",
)


def printed(capsys, line):
    """Output of a command that must succeed and say nothing on the error stream."""
    assert main(line.split()) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


@pytest.mark.parametrize("words", [(), *((verb,) for verb in VERBS), ("data", "prepare"), ("data", "synthetic")])
def test_help_is_printed_for_every_verb(capsys, words):
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert out.startswith(f"usage: protogcn{' ' if words else ''}{' '.join(words)}")
    if not words:
        assert all(re.search(rf"^    {verb}\b", out, re.MULTILINE) for verb in VERBS)


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"protogcn {__version__}\n"


@pytest.mark.parametrize(
    "words", [[], ["trane"], ["train"], ["test"], ["models", "--colour"], ["data"], ["benchmarks", "nw_ucla", "more"]]
)
def test_words_that_make_no_command(capsys, words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and "usage: protogcn" in capsys.readouterr().err


def imported_by(statement):
    code = f"import sys; {statement}; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    return set(done.stdout.split())


HEAVY = {"pytorch_lightning", "lightning_fabric", "sklearn", "scipy", "matplotlib", "torch_geometric", "networkx"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import protogcn, graphs, protogcn.cli, protogcn.evaluation.ensemble", HEAVY | {"torch", "jsonargparse"}),
        ("import protogcn.models, protogcn.data.store, protogcn.data.pipeline", HEAVY),
    ],
)
def test_imports_are_light(statement, absent):
    assert not imported_by(statement) & absent


def test_tables_of_models(capsys):
    out = printed(capsys, "models")
    for name in list_models():
        assert model_info(name).summary in out and model_info(name).paper in out
    assert "protogcn" in printed(capsys, "models proto*")
    out = printed(capsys, "models protogcn")
    for option, default in model_info("protogcn").options.items():
        assert re.search(rf"--model\.options\.{option} +{re.escape(repr(default))}", out)
    assert re.search(r"--loss\.contrastive_weight +0\.2", out) and re.search(r"--loss\.label_smoothing +0\.0", out)


def test_tables_of_skeletons(capsys, tmp_path):
    out = printed(capsys, "skeletons")
    rows = [line.split() for line in out.splitlines()]
    assert {row[0] for row in rows if row} >= set(list_skeletons())
    assert ["ntu25", "25"] in [row[:2] for row in rows]
    out = printed(capsys, "skeletons coco17")
    assert "coco17: 17 joints" in out and "nose" in out and re.search(r"left arm: .*left_wrist", out)
    path = tmp_path / "coco.png"
    assert f"wrote {path}" in printed(capsys, f"skeletons coco17 --plot {path}")
    assert path.read_bytes().startswith(b"\x89PNG")
    own = tmp_path / "own.yaml"
    own.write_text("name: stick\njoints:\n  hip:\n  chest: hip\n  hand: chest\n")
    assert "stick: 3 joints" in printed(capsys, f"skeletons {own}")


def test_tables_of_benchmarks(capsys):
    out = printed(capsys, "benchmarks")
    for name in list_benchmarks():
        known = get_benchmark(name)
        line = next(line for line in out.splitlines() if line.split()[:1] == [name])
        assert str(known.num_classes) in line and known.skeleton in line and known.train_split in line
    out = printed(capsys, "benchmarks nw_ucla")
    assert "10 classes" in out and "ucla20" in out and re.search(r"CTR-GCN: .*96\.50", out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["models", "protgcn"], ["protgcn", "'protogcn'"]),
        (["skeletons", "coc17"], ["coc17", "coco17"]),
        (["benchmarks", "ntu60"], ["ntu60", "ntu60_xsub"]),
        (["benchmarks", "nwucla"], ["'nw_ucla'"]),
    ],
)
def test_unknown_names_are_answered_with_near_ones(capsys, words, expected):
    assert main(words) == 2
    message = error_of(capsys)
    assert all(word in message for word in expected), message


def test_a_pattern_without_a_model_says_so(capsys):
    assert main(["models", "zzz*"]) == 2
    assert "zzz*" in error_of(capsys)


def test_from_nothing_to_fused_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = "data synthetic clips --skeleton kinect15 --subjects 3 --repetitions 1 --seed 4"
    out = printed(capsys, made)
    assert "kinect15" in out and "xsub_test" in out
    assert "checksum  correct" in printed(capsys, "data show clips")
    recipe = tiny_recipe("clips", trainer={"epochs": 1, "batch_size": 16, "eval_batch_size": 16})
    recipe["streams"] = {"b,k": {"loss": {"contrastive_weight": 0.1}}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))

    out = printed(capsys, "train tiny.yaml --streams j,b --accelerator cpu --optimizer.lr 0.02")
    lines = out.splitlines()
    assert lines[0] == "stream j: runs/tiny/protogcn/j" and lines[2] == "stream b: runs/tiny/protogcn/b"
    assert re.match(
        r"epoch 1/1  loss \d\.\d+  training +[\d.]+ %  test split +[\d.]+ %  \d+ clips/s  0 s left", lines[1]
    )
    parts = [load_scores(tmp_path / f"runs/tiny/protogcn/{name}/scores_test.npz") for name in ("j", "b")]
    for line, name, part in zip(lines[4:6], ("j", "b"), parts, strict=True):
        accuracy = 100 * (part.scores.argmax(1) == part.labels).mean()
        assert line == f"  {name:<3} {accuracy:6.2f} % top-1   runs/tiny/protogcn/{name}"
    preset = get_preset("protogcn")
    fused = fuse(parts, weights=preset.weights(["j", "b"]), rule=preset.rule).metrics.top1
    assert lines[6] == f"  all {100 * fused:6.2f} % top-1   fused by probabilities"
    assert read_config("runs/tiny/protogcn/b").loss == {"contrastive_weight": 0.1}
    assert read_config("runs/tiny/protogcn/b").optimizer.lr == 0.02

    out = printed(capsys, "train tiny.yaml --streams b,k --accelerator cpu --optimizer.lr 0.02")
    assert "stream b: runs/tiny/protogcn/b is finished" in out and out.count("epoch 1/1") == 1
    files = [f"runs/tiny/protogcn/{name}/scores_test.npz" for name in ("j", "b", "k")]
    out = printed(capsys, f"ensemble {' '.join(files)} --preset protogcn --out fused.npz")
    assert "wrote fused.npz" in out and "fused" in out
    expected = fuse([load_scores(file) for file in files], weights=preset.weights(["j", "b", "k"]), rule=preset.rule)
    np.testing.assert_allclose(load_scores("fused.npz").scores, expected.scores.scores, rtol=1e-6)


def test_the_value_of_an_option_is_not_the_recipe(tmp_path, tiny_yaml):
    words = ["train", "--trainer.epochs", "1", "--runs", str(tmp_path), "--benchmark", "other", str(tiny_yaml)]
    assert main([*words, "--accelerator", "cpu"]) == 0
    assert read_config(tmp_path / "other" / "protogcn" / "j").trainer.epochs == 1


@pytest.mark.parametrize("stream", STREAMS)
def test_every_stream_trains(tmp_path, tiny_yaml, stream):
    assert train(tiny_yaml, tmp_path, "--stream", stream, "--trainer.epochs", 1) == 0
    assert load_scores(tmp_path / "tiny" / "protogcn" / stream / "scores_test.npz").meta["stream"] == stream


def test_a_moved_store_is_given_to_the_test(tmp_path, tiny_yaml, tiny_store, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(tiny_store, moved)
    assert train(tiny_yaml, tmp_path, "--data.store", moved, "--trainer.epochs", 1) == 0
    folder = tmp_path / "tiny" / "protogcn" / "j"
    before = load_scores(folder / "scores_test.npz").scores
    shutil.rmtree(moved)
    capsys.readouterr()
    assert main(["test", str(folder)]) == 2
    assert "moved" in error_of(capsys)
    assert main(["test", str(folder), "--store", str(tiny_store)]) == 0
    assert (load_scores(folder / "scores_test.npz").scores == before).all()


def test_an_interrupted_training_ends_as_shells_expect(tmp_path, tiny_yaml):
    status = kill_after(
        "epoch  2/50", tiny_yaml, tmp_path, "--accelerator", "cpu", "--trainer.epochs", 50, how=signal.SIGINT
    )
    assert status == 130


def test_a_program_error_is_not_hidden(tmp_path, tiny_yaml):
    with stop_before_epoch(1), pytest.raises(Stopped):
        train(tiny_yaml, tmp_path)


def test_output_may_be_cut_off(tmp_path):
    words = [sys.executable, "-m", "protogcn.cli", "skeletons"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=environment())
    os.close(writer)
    assert done.returncode == 0 and not done.stderr


def test_console_script_and_module_agree():
    done = run_process([sys.executable, "-m", "protogcn.cli", "--version"])
    assert done.returncode == 0 and done.stdout == f"protogcn {__version__}\n"
