import argparse
import csv
import pickle

import numpy as np
import pytest

from protogcn.evaluation.command import add_ensemble_parser, run
from protogcn.evaluation.scores import ScoreFile, load_scores, save_scores

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 80)
IDS = np.array([f"clip{i:02}" for i in range(80)])


def ensemble(*arguments) -> int:
    parser = argparse.ArgumentParser()
    add_ensemble_parser(parser.add_subparsers())
    return run(parser.parse_args(["ensemble", *map(str, arguments)]))


@pytest.fixture
def files(tmp_path):
    paths = []
    for stream in ("j", "b", "jm", "bm"):
        scores = RNG.standard_normal((80, 5)) + 1.5 * np.eye(5)[LABELS]
        part = ScoreFile(IDS, scores, "logits", LABELS, tuple("abcde"), {"stream": stream, "benchmark": "nw_ucla"})
        paths.append(save_scores(tmp_path / stream / "scores_test.npz", part))
    return paths


def test_fuses_prints_and_writes(tmp_path, files, capsys):
    out, table, plot, matrix = (tmp_path / name for name in ("fused.npz", "t.csv", "t.png", "c.png"))
    options = (
        "--weights",
        0.6,
        0.6,
        "--rule",
        "logits",
        "--out",
        out,
        "--csv",
        table,
        "--plot",
        plot,
        "--confusion",
        matrix,
    )
    assert ensemble(*files[:2], *options) == 0
    text = capsys.readouterr().out
    assert "80 clips, 5 classes; fused by logits" in text and "clips gained" in text and f"wrote {out}" in text
    fused = load_scores(out)
    expected = (load_scores(files[0]).scores + load_scores(files[1]).scores) / 2
    np.testing.assert_allclose(fused.scores, expected, rtol=1e-5, atol=1e-6)
    assert fused.meta["weights"] == [0.6, 0.6] and fused.meta["benchmark"] == "nw_ucla"
    with table.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["top1"]) == pytest.approx(100 * np.mean(fused.scores.argmax(1) == LABELS), abs=1e-4)
    assert plot.stat().st_size > 1000 and matrix.stat().st_size > 1000


def test_preset_brings_weights_and_rule(files, capsys):
    assert ensemble(*files, "--preset", "ctrgcn") == 0
    text = capsys.readouterr().out
    assert "fused by logits" in text and "0.6:0.6:0.4:0.4" in text


def test_foreign_files_take_labels_from_whichever_file_has_them(tmp_path, files, capsys):
    foreign = tmp_path / "pred.pkl"
    foreign.write_bytes(pickle.dumps({str(name): RNG.standard_normal(5).astype("f4") for name in IDS[::-1]}))
    assert ensemble(foreign, files[0]) == 0
    assert "pred.pkl: dict of scores by clip name, taken as logits (detected" in capsys.readouterr().out
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{i},{c}\n" for i, c in zip(IDS, LABELS, strict=True)))
    assert ensemble(foreign, "--labels", tmp_path / "labels.csv", "--kind", "logits", "--names", "k") == 0
    assert "taken as logits (given)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="add them with --labels"):
        ensemble(foreign)


@pytest.mark.parametrize(
    "options, message",
    [
        (("--rule", "logit"), "did you mean 'logits'"),
        (("--kind", "prob"), "expected one of logits, probabilities"),
        (("--preset", "ctr-gcn"), "did you mean 'ctrgcn'"),
        (("--preset", "equal", "--weights", 1, 1, 1, 1), "not both"),
        (("--weights", 1), "got 1 weights for 4 score files"),
        (("--names", "j", "b"), "got 2 names for 4 files"),
        (("--preset", "ctrgcn", "--names", "j", "b", "jm", "limb"), "'limb' is none of j, b, k"),
        (("--out", "fused.pkl"), r"end in \.npz"),
        (("--fit-weights", "--weights", 1, 1, 1, 1), "weights are fitted or given"),
        (("--fit-weights", "--preset", "ctrgcn"), "choose the rule by --rule"),
        (("--fit-on", "x.npz", "--fit-on-test"), "give one of them"),
        (("--models", "protogcn"), "--models is for a table, with --benchmark"),
        (("--benchmark", "nw_ucla"), "name score files to fuse, or a benchmark"),
        (("--parts", "x*"), r"no part is called 'x\*'; there are j, b, jm, bm"),
    ],
)
def test_bad_options(files, options, message):
    with pytest.raises(ValueError, match=message):
        ensemble(*files, *options)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.npz"):
        ensemble(tmp_path / "none.npz")


def test_real_score_files(shared_data, capsys):
    source = shared_data / "frhead_nw_ucla_scores.npz"
    assert ensemble(*(f"{source}:{stream}" for stream in ("j", "b", "jm", "bm")), "--preset", "ctrgcn") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fused "))
    assert line.split()[2] == "96.77" and "+2.37" in line


def fused_line(capsys):
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fused ")).split()


def test_fitted_weights_are_cross_fitted_unless_scores_are_held_out(tmp_path, files, capsys):
    assert ensemble(*files, "--fit-weights") == 0
    assert "weights cross-fitted over 5 folds of the test clips" in capsys.readouterr().out
    assert ensemble(*files, "--fit-weights", "--calibrate") == 0
    assert "weights and temperatures cross-fitted" in capsys.readouterr().out
    assert ensemble(*files, "--fit-on-test", "--out", tmp_path / "fused.npz") == 0
    assert "FITTED ON THE TEST LABELS" in load_scores(tmp_path / "fused.npz").meta["fitted"]
    assert "weights FITTED ON THE TEST LABELS: an optimistic upper bound" in capsys.readouterr().out
    held = []
    for path in files:
        part = load_scores(path)
        renamed = ScoreFile(np.char.add("val_", part.ids), part.scores, part.kind, part.labels, (), part.meta)
        held.append(save_scores(path.with_name("scores_val.npz"), renamed))
    assert ensemble(*files, "--fit-weights") == 0
    beside = capsys.readouterr().out
    assert "weights fitted on 80 held-out clips" in beside
    assert ensemble(*files, "--fit-on", *held) == 0
    assert capsys.readouterr().out == beside
    with pytest.raises(ValueError, match="80 of the clips to fit on are among those to be fused"):
        ensemble(*files, "--fit-on", *files)


def test_out_may_be_a_folder(tmp_path, files, capsys):
    assert ensemble(*files[:2], "--out", tmp_path / "report", "--subsets") == 0
    text = capsys.readouterr().out
    for title in ("What each part adds", "Diversity of the parts", "Calibration: ", "best subset", "Most confused"):
        assert title in text
    assert text.endswith(f"wrote {tmp_path / 'report' / 'report.md'}\n")
    assert (tmp_path / "report" / "diversity.png").stat().st_size > 1000


def test_analysis_on_the_screen_only(tmp_path, monkeypatch, files, capsys):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert ensemble(*files, "--analyse", "--preset", "ctrgcn") == 0
    assert "oracle of all: " in capsys.readouterr().out and set(tmp_path.rglob("*")) == before


def test_foreign_held_out_scores_have_labels_of_their_own(tmp_path, capsys):
    for name, clips in (("test", 80), ("val", 50)):
        for stream in ("j", "b"):
            np.save(tmp_path / f"{name}_{stream}.npy", RNG.standard_normal((clips, 5)) + 2 * np.eye(5)[LABELS[:clips]])
        np.save(tmp_path / f"{name}_label.npy", LABELS[:clips])
    test, val = ([tmp_path / f"{name}_{stream}.npy" for stream in ("j", "b")] for name in ("test", "val"))
    labels, other = ("--labels", tmp_path / "test_label.npy"), ("--fit-labels", tmp_path / "val_label.npy")
    assert ensemble(*test, *labels, "--fit-on", *val, *other) == 0
    assert "weights fitted on 50 held-out clips" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds no labels"):
        ensemble(*test, *labels, "--fit-on", *val)
    with pytest.raises(ValueError, match="all of the clips to fit on"):
        ensemble(*test, *labels, "--fit-on", *test, "--fit-labels", tmp_path / "test_label.npy")


def test_table_of_a_benchmark(tmp_path, files, capsys):
    runs = files[0].parent.parent
    assert ensemble("--benchmark", "nw_ucla", "--runs", runs, "--models", "gcn") == 0
    text = capsys.readouterr().out
    assert "nw_ucla: gcn in" in text and "4 with motion: j+b+jm+bm" in text
    assert ensemble("--benchmark", "mine", "--runs", runs, "--models", "gcn") == 2
    assert "is of nw_ucla, not of mine" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--names is for score files"):
        ensemble("--benchmark", "nw_ucla", "--names", "j")
