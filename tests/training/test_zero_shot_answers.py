"""What a network says of classes that it has not seen: scores, figures, files, answers in any words, errors."""

import contextlib
import dataclasses
import io
import json
import re

import numpy as np
import pytest
import torch
import yaml
from tiny_runs import ACTIONS, error_of
from zero_shot_runs import SEEN, train_narrowed, train_with_text_head

from protogcn.cli import main
from protogcn.data.class_split import ClassSubset
from protogcn.data.store import ClipStore, write_store
from protogcn.evaluation.scores import load_scores, save_scores
from protogcn.evaluation.zero_shot import generalised
from protogcn.models.saved import load_model, read_description
from protogcn.training.model_facts import pipeline_of


@pytest.fixture(scope="module")
def narrowed(tmp_path_factory, tiny_store):
    """A run without a text head that has not seen two classes."""
    return train_narrowed(tmp_path_factory.mktemp("narrowed"), tiny_store)


@pytest.fixture(scope="module")
def named(tmp_path_factory, tiny_store):
    """A run with a text head that has not seen two classes, and its text encoder."""
    return train_with_text_head(tmp_path_factory.mktemp("named"), tiny_store)


@pytest.fixture(scope="module")
def compared(named, tmp_path_factory):
    """What a comparison with everything in it printed and wrote."""
    folder = tmp_path_factory.mktemp("compared")
    words = ["zero-shot", str(named[0]), "--text-encoder", named[1], "--calibration", "0.05", "--shots", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([*words, "--episodes", "7", "--out", str(folder)]) == 0
    return folder, printed.getvalue()


def ask(named, *words):
    return main(["zero-shot", str(named[0]), "--text-encoder", named[1], *map(str, words)])


def test_names_of_unseen_classes_never_reach_the_network(named):
    description = read_description(named[0])
    assert list(description.class_names) == SEEN == list(description.options["class_names"])
    state = load_model(named[0]).state_dict()
    assert state["classifier.embeddings"].shape == (2, 3, 16)


def test_scores_are_those_of_the_network_with_these_names(named, compared, tiny_store):
    model = load_model(named[0])
    store = ClipStore.open(tiny_store)
    for file, names in (("scores_unseen.npz", ["wave", "sit down"]), ("scores_all.npz", ACTIONS)):
        scores = load_scores(compared[0] / file)
        assert scores.class_names == tuple(names) and scores.kind == "probabilities"
        model.classifier.set_classes(names, named[1])
        pipeline = pipeline_of(read_description(named[0]))
        for place in (0, len(scores.ids) - 1):
            clip = store[store.ids.index(str(scores.ids[place]))]
            with torch.no_grad():
                expected = model(torch.from_numpy(pipeline(clip, None))).softmax(1).mean(0)
            assert scores.scores[place] == pytest.approx(expected.numpy(), abs=1e-5)
            assert names[scores.labels[place]] == store.class_names[clip.label]
    assert len(load_scores(compared[0] / "scores_unseen.npz").ids) == 6
    assert load_scores(compared[0] / "scores_all.npz").ids.tolist() == [store.ids[i] for i in store.split("xsub_test")]


def test_figures_follow_from_the_scores(compared):
    metrics = json.loads((compared[0] / "metrics.json").read_text())
    assert metrics["unseen"] == ["wave", "sit down"] and metrics["not_unseen"] == []
    unseen, every = (load_scores(compared[0] / f"scores_{name}.npz") for name in ("unseen", "all"))
    right = unseen.scores.argmax(1) == unseen.labels
    assert metrics["zero_shot"]["top1"] == right.mean() and metrics["zero_shot"]["chance"] == 0.5
    assert np.array(metrics["zero_shot"]["confusion"]).sum() == 6
    mask = np.isin(every.class_names, ["wave", "sit down"])
    for gamma, found in ((0.0, metrics["generalised"]), (0.05, metrics["generalised"]["calibrated"])):
        expected = generalised(every.scores, every.labels, mask, gamma)
        assert (found["seen"], found["unseen"], found["harmonic"]) == (
            pytest.approx(expected.seen),
            pytest.approx(expected.unseen),
            pytest.approx(expected.harmonic),
        )
        assert found["gamma"] == gamma
    few = metrics["few_shot"]
    assert (few["shots"], few["episodes"], few["clips"], few["chance"]) == (2, 7, 6, 0.5)
    rows = (compared[0] / "calibration.csv").read_text().splitlines()
    assert rows[0] == "gamma,seen,unseen,harmonic" and len(rows) > 2
    assert (compared[0] / "confusion.png").stat().st_size > 1000


def test_report_says_what_the_files_say(compared):
    metrics = json.loads((compared[0] / "metrics.json").read_text())
    for line in (
        "2 unseen classes (wave, sit down)",
        "zero-shot: 6 clips of unseen classes among the 2 names of these",
        f"top-1 {100 * metrics['zero_shot']['top1']:.2f} %",
        "chance 50.00 %",
        "generalised: 15 clips among all 5 names",
        f"unseen U {100 * metrics['generalised']['unseen']:.2f} %",
        "gamma 0.05 taken from the seen",
        "few-shot: 6 clips of 2 unseen classes, 2 examples of each, 7 episodes",
    ):
        assert line in compared[1]
    assert "NOT unseen" not in compared[1]


def test_files_lie_in_the_run_folder(named, capsys):
    assert ask(named) == 0
    assert f"wrote {named[0] / 'zero_shot'}" in capsys.readouterr().out
    assert (named[0] / "zero_shot" / "metrics.json").is_file()
    assert ask((named[0] / "model.safetensors", named[1]), "--store", _store(named)) == 0
    assert "nothing was written" in capsys.readouterr().out


def _store(named):
    return yaml.safe_load((named[0] / "config.yaml").read_text())["data"]["store"]


def test_streams_fuse(named, compared, tmp_path, capsys):
    other = load_scores(compared[0] / "scores_unseen.npz")
    save_scores(tmp_path / "b.npz", dataclasses.replace(other, meta={**other.meta, "stream": "b"}))
    assert main(["ensemble", str(compared[0] / "scores_unseen.npz"), str(tmp_path / "b.npz")]) == 0
    assert "fused" in capsys.readouterr().out


def test_all_unseen_clips_wherever_they_lie(named, tmp_path, capsys):
    assert ask(named, "--split", "all", "--out", tmp_path, "--shots", 3, "--episodes", 2) == 0
    out = capsys.readouterr().out
    # Nine clips of each unseen class, and the test clips of the seen ones, whose others were trained on.
    assert "zero-shot: 18 clips" in out and "generalised: 27 clips" in out and "few-shot: 18 clips" in out
    assert load_scores(tmp_path / "scores_unseen.npz").meta["split"] == "all"


def test_trained_classes_are_no_zero_shot_result(named, tmp_path, capsys):
    assert ask(named, "--unseen", "walk,wave", "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert "NOT unseen: walk" in out
    assert json.loads((tmp_path / "metrics.json").read_text())["not_unseen"] == ["walk"]
    # Clips of a class that is neither named nor trained are left out.
    assert "generalised: 12 clips among all 4 names" in out


def test_split_files_of_the_user(named, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbenchmark: tiny\nunseen: [wave]\n")
    assert ask(named, "--classes", path, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "zero-shot:" not in out and "generalised: 12 clips among all 4 names" in out
    assert not (tmp_path / "out" / "scores_unseen.npz").exists()


def test_prompts_change_the_scores_and_their_own_change_nothing(named, compared, tmp_path):
    before = load_scores(compared[0] / "scores_unseen.npz").scores
    assert ask(named, "--prompts", "{}", "a person, {}", "--out", tmp_path / "same") == 0
    assert (load_scores(tmp_path / "same" / "scores_unseen.npz").scores == before).all()
    assert ask(named, "--prompts", "look, {} again", "--out", tmp_path / "other") == 0
    assert (load_scores(tmp_path / "other" / "scores_unseen.npz").scores != before).any()


def test_answers_in_any_words(named, tmp_path, tiny_store, capsys):
    store = ClipStore.open(tiny_store)
    assert ask(named, "--names", "wave, throw a ball,jump", "--clips", *store.ids[:2], "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for clip, line in zip(store.ids, lines, strict=False):
        found = re.fullmatch(r"(.+?): (.+) (\d+\.\d) %, (.+) (\d+\.\d) %", line)
        assert found and found[1] == clip and {found[2], found[4]} < {"wave", "throw a ball", "jump"}
        assert float(found[3]) >= float(found[5])
    assert ask(named, "--names", "wave,jump", "--out", tmp_path) == 0
    rows = (tmp_path / "answers.csv").read_text().splitlines()
    assert rows[0] == "clip,rank,name,probability" and len(rows) == 1 + 2 * 15


def test_examples_need_no_text_head(narrowed, capsys):
    assert main(["zero-shot", str(narrowed), "--shots", "2", "--episodes", "3"]) == 0
    out = capsys.readouterr().out
    assert "few-shot: 6 clips of 2 unseen classes" in out and "zero-shot:" not in out


def test_a_trained_text_tower_reads_new_names(tmp_path, tiny_store, capsys):
    run = train_with_text_head(tmp_path, tiny_store, train_text=True)
    assert ask(run, "--prompts", "someone is {}") == 0
    assert "generalised: 15 clips among all 5 names" in capsys.readouterr().out


def test_classes_of_another_data_set(named, tmp_path, tiny_store, capsys):
    """Where no class of the store was trained on, there is nothing to compare but the unseen."""
    other = ClassSubset(ClipStore.open(tiny_store), ["wave", "kick"])
    write_store(
        tmp_path / "other",
        other,
        skeleton=other.skeleton,
        class_names=["push", "pull"],
        splits={"test": list(range(4)), "train": list(range(4, 18))},
        channels=other.channels,
        benchmark="utkinect",
    )
    assert ask(named, "--store", tmp_path / "other", "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "2 unseen classes (push, pull)" in out and "zero-shot: 4 clips" in out and "generalised" not in out
    meta = load_scores(tmp_path / "out" / "scores_unseen.npz").meta
    assert (meta["benchmark"], meta["split"]) == ("utkinect", "test")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--unseen", "wafe"], "did you mean 'wave'"),
        (["--unseen", "wave,,clap"], "not empty"),
        (["--unseen", ""], "unknown class or split file"),
        (["--classes", "gone.yaml"], "unknown class or split file"),
        (["--split", "xsub_tset"], "did you mean 'xsub_test'"),
        (["--store", "nowhere"], "nowhere"),
        (["--names", "wave"], "two names or more"),
        (["--names", "wave,,jump"], "has the name ''"),
        (["--names", "wave,Wave"], "same name"),
        (["--names", "wave,jump", "--clips", "nobody"], "unknown clip 'nobody'"),
        (["--clips", "a"], "--names"),
        (["--shots", "0"], "--shots must be at least 1"),
        (["--shots", "50"], "too few for 50 examples"),
        (["--calibration", "nan"], "finite"),
        (["--prompts", "a person"], "exactly once"),
        (["--text-encoder", "minilmm"], "did you mean 'minilm'"),
        (["--text-encoder", "no/such/weights.pt"], "no text weights"),
        (["--device", "cuda:77"], "cannot be used here"),
    ],
)
def test_questions_that_cannot_be_answered(named, capsys, words, message):
    assert ask(named, *words) == 2
    assert message in error_of(capsys)


def test_a_model_without_text_head_says_how_to_get_one(narrowed, capsys):
    assert main(["zero-shot", str(narrowed)]) == 2
    assert "no text head" in error_of(capsys)


def test_a_model_that_knows_all_classes_says_so(named, tmp_path, tiny_store, capsys):
    store = ClipStore.open(tiny_store)
    seen = ClassSubset(store, SEEN)
    write_store(
        tmp_path / "seen",
        seen,
        skeleton=seen.skeleton,
        class_names=SEEN,
        splits={name: rows.tolist() for name, rows in seen.splits.items()},
        channels=seen.channels,
    )
    assert ask(named, "--store", tmp_path / "seen") == 2
    assert "was trained on all 3 classes" in error_of(capsys)


def test_the_encoder_of_a_path_must_be_named(named, capsys):
    assert main(["zero-shot", str(named[0])]) == 2
    assert "text.safetensors:heads=2,activation=quick_gelu" in (error := error_of(capsys)) and "--text-encoder" in error


def test_a_file_alone_needs_a_store(named, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    path.write_bytes((named[0] / "model.safetensors").read_bytes())
    assert main(["zero-shot", str(path)]) == 2
    assert "--store" in error_of(capsys)
