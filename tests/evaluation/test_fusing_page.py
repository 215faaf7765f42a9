"""The lines of docs/fusing_scores.md do what the page says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from fusion_benchmark import measure, write_streams

from protogcn.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "fusing_scores.md").read_text()
LINES = re.findall(r"^    protogcn (ensemble .+?) +# (\d+\.\d\d)$", PAGE, flags=re.MULTILINE)


def fused(capsys):
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fused "))
    return line.split()[2]


@pytest.mark.parametrize("words, figure", LINES)
def test_documented_figures(shared_data, monkeypatch, capsys, words, figure):
    monkeypatch.chdir(shared_data)
    assert main(shlex.split(words)) == 0
    assert fused(capsys) == figure


def test_page_has_the_documented_sets():
    assert len(LINES) == 13 and {"75.70", "76.70", "96.77", "98.57", "93.33"} <= {figure for _, figure in LINES}


@pytest.mark.parametrize(
    "words, figure",
    [
        ("results/ctrgcn/k1/A.npy results/ctrgcn/k2/A.npy results/ctrgcn/k8/A.npy --rule logits", "75.80"),
        ("results --parts 'ctrgcn/*' --rule logits", "75.70"),
        ("results --parts 'ctrgcn/*' --weights k8=.6 k1=.8 k2=.6 k8_vel=.6 k2_vel=.2 k1_vel=0 --rule logits", "76.70"),
        ("results --parts '*/A'", "76.20"),
    ],
)
def test_the_same_streams_in_folders(tmp_path, shared_data, monkeypatch, capsys, words, figure):
    with np.load(shared_data / "uav_scores_testA.npz") as data:
        for stream, scores in zip(data["stream"].tolist(), data["scores"], strict=True):
            (tmp_path / "results" / stream).mkdir(parents=True)
            np.save(tmp_path / "results" / stream / "A.npy", scores)
        np.save(tmp_path / "label.npy", data["label"])
    monkeypatch.chdir(tmp_path)
    assert main(["ensemble", *shlex.split(words), "--labels", "label.npy"]) == 0
    assert fused(capsys) == figure


def test_a_large_split_is_fused_quickly(tmp_path):
    # A fortieth of 60,000 x 400, with bounds that a busy machine keeps too.
    found = measure(write_streams(tmp_path, 6000, 100))
    assert found["fusing"] < 2 and found["bootstrap"] < 5
