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
