"""The table of runs that left classes out: apart from the others, fused, averaged, and honest about what is missing."""

import json
from pathlib import Path

import numpy as np
import pytest

from protogcn.evaluation.metrics import evaluate
from protogcn.evaluation.scores import ScoreFile, save_scores
from protogcn.training.recipe import Recipe, parse_recipe
from protogcn.training.results import write_results_page
from protogcn.training.run_folder import run_folder, write_config

UNSEEN = ["wave", "clap", "jog"]


def narrowed(name: str, stream: str, **data: object) -> Recipe:
    content = {"benchmark": "utd_mhad", "name": name, "stream": stream, "data": {"unseen": UNSEEN, **data}}
    return parse_recipe(content, "test")


def write_run(root: Path, recipe: Recipe, top1: float = 0.9) -> Path:
    folder = run_folder(root, recipe)
    write_config(folder, recipe)
    scores = ScoreFile(np.array(["a", "b"]), np.eye(2, dtype=np.float32), "logits", np.arange(2), (), {})
    save_scores(folder / "scores_test.npz", scores)
    figures = {"top1": top1, "mean_class": top1, "top1_interval": [top1, top1], "stream": recipe.stream, "seed": 0}
    (folder / "metrics.json").write_text(json.dumps({**figures, "command": f"protogcn train {recipe.name}"}))
    return folder


def answer(folder: Path, seed: int) -> float:
    """Answers of the 60 clips of unseen classes, better than chance; returns their top-1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    scores = (rng.standard_normal((60, 3)) + 1.5 * np.eye(3)[labels]).astype(np.float32)
    ids = np.array([f"clip{index}" for index in range(60)])
    (folder / "zero_shot").mkdir()
    save_scores(folder / "zero_shot" / "scores_unseen.npz", ScoreFile(ids, scores, "logits", labels, tuple(UNSEEN), {}))
    found = evaluate(scores, labels)
    said = {
        "trained_classes": 24,
        "unseen": UNSEEN,
        "zero_shot": {
            "clips": 60,
            "top1": found.top1,
            "top1_interval": list(found.top1_interval),
            "chance": 1 / 3,
            "mean_class": found.mean_class,
        },
        "generalised": {"harmonic": 0.125, "ausuc": 0.25, "best_harmonic": 0.5},
    }
    (folder / "zero_shot" / "metrics.json").write_text(json.dumps(said))
    return found.top1


def rows(page: str) -> list[list[str]]:
    lines = page[page.index("### Classes that training left out") : page.index("### Published")].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_runs_that_left_classes_out_have_a_table_of_their_own(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    tops = {}
    for name, base in (("clip_a", 0), ("clip_b", 2)):
        for offset, stream in enumerate("jb"):
            tops[name, stream] = answer(write_run(runs, narrowed(name, stream)), base + offset)
    write_run(runs, parse_recipe({"benchmark": "utd_mhad", "name": "whole"}, "test"), 0.8)
    page = write_results_page(runs, tmp_path / "R.md").read_text()
    assert "### whole" in page and "### clip_a" not in page
    found = rows(page)
    assert [row[:2] for row in found] == [
        *([name, stream] for name in ("clip_a", "clip_b") for stream in ("j", "b", "j+b")),
        *(["mean of 2", stream] for stream in ("j", "b", "j+b")),
    ]
    assert found[0][2:7] == ["24", "90.00", "3", "60", f"{100 * tops['clip_a', 'j']:.2f}"]
    assert found[0][8] == "33.33" and found[0][10:] == ["12.50", "0.250", "50.00"]
    assert found[6][6] == f"{50 * (tops['clip_a', 'j'] + tops['clip_b', 'j']):.2f}"
    assert max(float(found[2][6]), float(found[5][6])) > max(100 * top for top in tops.values()) - 10
    assert "protogcn train clip_a" in page


def test_what_was_not_asked_is_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", narrowed("clip_a", "j"))
    page = write_results_page(tmp_path / "runs", tmp_path / "R.md").read_text()
    assert "not asked yet; protogcn zero-shot runs/utd_mhad/clip_a/j" in page
    (folder / "zero_shot").mkdir()
    for text in ("{", "{}", '{"zero_shot": 3}', "[]"):
        (folder / "zero_shot" / "metrics.json").write_text(text)
        assert "not asked yet" in write_results_page(tmp_path / "runs", tmp_path / "R.md").read_text()


@pytest.mark.parametrize("data", [{"unseen": []}, {"shots": 5}])
def test_runs_that_know_all_classes_are_among_the_others(tmp_path: Path, data: dict[str, object]) -> None:
    write_run(tmp_path / "runs", narrowed("few", "j", **data))
    page = write_results_page(tmp_path / "runs", tmp_path / "R.md").read_text()
    assert "### few" in page and "training left out" not in page
