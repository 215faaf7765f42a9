import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.metrics import evaluate
from protogcn.evaluation.scores import ScoreFile, load_scores, save_scores
from protogcn.training.recipe import Recipe, TrainerConfig, in_fold
from protogcn.training.results import write_results_page
from protogcn.training.run_folder import run_folder, write_config

SIX = ("j", "b", "k", "jm", "bm", "km")
RECIPE = Recipe("nw_ucla", trainer=TrainerConfig(epochs=28))


def write_run(root, stream, seed=0, recipe=RECIPE, finished=True, **changes):
    recipe = dataclasses.replace(recipe, stream=stream, seed=seed)
    folder = run_folder(root, recipe)
    write_config(folder, recipe)
    if not finished:
        return folder
    rng = np.random.default_rng([SIX.index(stream), seed])
    labels = np.arange(120) % 6
    ids = np.array([f"clip{i:03}" for i in range(120)])
    scores = rng.standard_normal((120, 6)) + 1.6 * np.eye(6)[labels]
    meta = {"benchmark": recipe.benchmark, "stream": stream, "seed": seed, "model": "protogcn"}
    save_scores(folder / "scores_test.npz", ScoreFile(ids, scores, "logits", labels, (), meta))
    metrics = evaluate(scores.astype(np.float32), labels)
    content = {
        "versions": {"protogcn": "0.1.0", "torch": "2.13.0"},
        "git": {"commit": "0123456789abcdef", "modified": True},
        "hardware": {"devices": "1 x cpu", "cpu": "Some | CPU", "cores": 2},
        "command": f"protogcn train configs/nw_ucla/protogcn.yaml --data.store={Path.cwd()}/data/x --seed {seed}",
        "checkpoint": "last",
        "epochs": 28,
        "training_seconds": 900.0,
        "threads": 1,
        "training_clips": 1020,
        "clips": 120,
        "split": "xview_val",
        "top1": metrics.top1,
        "top1_interval": list(metrics.top1_interval),
        "top5": metrics.top5,
        "mean_class": metrics.mean_class,
        **meta,
        **changes,
    }
    (folder / "metrics.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return folder


def table_below(page, heading):
    """Rows of the first table after a line: lists of cells."""
    lines = page[page.index(heading) :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")])
    return rows


@pytest.fixture(scope="module")
def both_readings(tmp_path_factory):
    root = tmp_path_factory.mktemp("both") / "runs"
    for stream in SIX:
        write_run(root, stream)
    for stream in ("j", "b", "k"):
        write_run(root, stream, seed=1)
    write_run(root, "km", seed=1, finished=False)
    return root


def test_single_streams_have_the_figures_of_their_files(both_readings, tmp_path):
    page = write_results_page(both_readings, tmp_path / "RESULTS.md").read_text()
    header, _, *rows = table_below(page, "### protogcn")
    assert header[:4] == ["stream", "seed", "top-1", "95 % interval"]
    assert [row[:2] for row in rows] == [[s, "0"] for s in SIX] + [[s, "1"] for s in ("j", "b", "k")]
    for row, folder in zip(rows, [*SIX, "j-s1", "b-s1", "k-s1"], strict=True):
        metrics = json.loads((both_readings / "nw_ucla/protogcn" / folder / "metrics.json").read_text())
        low, high = metrics["top1_interval"]
        assert row[2] == f"{100 * metrics['top1']:.2f}"
        assert row[3] == f"{100 * low:.2f} to {100 * high:.2f}"
        assert row[header.index("mean class")] == f"{100 * metrics['mean_class']:.2f}"
        assert row[header.index("training")] == "15.0 min"


def test_both_readings_of_four_and_six_streams_are_fused_and_compared(both_readings, tmp_path):
    page = write_results_page(both_readings, tmp_path / "RESULTS.md").read_text()
    header, _, *rows = table_below(page, "Fused by probabilities:")
    assert [row[0] for row in rows] == [
        "2 streams: j+b",
        "4 with motion: j+b+jm+bm",
        "6 with motion: j+b+k+jm+bm+km",
        "4 with second seeds: j+j-s1+b+b-s1",
        "6 with second seeds: j+j-s1+b+b-s1+k+k-s1",
        "2 with motion: j+jm",
        "2 with second seeds: j+j-s1",
    ]
    assert [row[header.index("weights")] for row in rows] == [
        "1:1",
        "2:2:1:1",
        "2:2:2:1:1:1",
        "1:1:1:1",
        "1:1:1:1:1:1",
        "2:1",
        "1:1",
    ]
    assert float(rows[2][2]) > 85 and float(rows[2][header.index("over best")]) > 0
    assert rows[2][header.index("published")] == "97.00 (InfoGCN)"
    assert "\n6 with motion against 6 with second seeds: " in page
    assert page.index("### Published\n") > page.index("Fused by")


def test_what_runs_share_is_said_once_and_no_path_of_the_machine_remains(both_readings, tmp_path):
    page = write_results_page(both_readings, tmp_path / "RESULTS.md").read_text()
    assert page.count("- Hardware: Some | CPU with 2 cores, 1 x cpu, 1 thread\n") == 1
    assert page.count("- Software: protogcn 0.1.0, torch 2.13.0, commit 0123456789ab with changes\n") == 1
    assert "1,020 training clips, 120 test clips (split `xview_val`)." in page
    commands = page[page.index("Made by") :].split("```")[1].strip().splitlines()
    assert commands == [
        f"protogcn train configs/nw_ucla/protogcn.yaml --data.store=data/x --seed {seed}" for seed in (0, 1)
    ]
    assert str(Path.cwd()) not in page and str(both_readings.parent) not in page


def test_the_same_runs_give_the_same_page(both_readings, tmp_path):
    first = write_results_page(both_readings, tmp_path / "a" / "RESULTS.md").read_bytes()
    assert write_results_page(both_readings, tmp_path / "b.md").read_bytes() == first


def test_what_differs_between_runs_names_them(tmp_path):
    write_run(tmp_path / "runs", "j", threads=1)
    write_run(tmp_path / "runs", "b", threads=16, command="protogcn train /elsewhere/my/recipe.yaml --runs /tmp")
    page = write_results_page(tmp_path / "runs", tmp_path / "RESULTS.md").read_text()
    assert "1 thread (j)" in page and "16 threads (b)" in page
    assert "protogcn train .../recipe.yaml --runs .../tmp" in page


def test_runs_without_results_are_listed_as_such(tmp_path):
    root = tmp_path / "runs"
    write_run(root, "j")
    begun = write_run(root, "b", finished=False)
    (begun / "metrics.csv").write_text("epoch,train_loss\n1,2.0\n2,1.5\n3,1.2\n")
    (write_run(root, "k") / "metrics.json").write_text('{"top1": 0.9')
    write_run(root, "jm", mean_class=None)
    (write_run(root, "bm") / "config.yaml").write_text("[]")
    page = write_results_page(root, tmp_path / "RESULTS.md").read_text()
    assert [row[0] for row in table_below(page, "### protogcn")[2:]] == ["j"]
    assert "No fusion yet" in page
    listed = page[page.index("Without results:") :]
    assert "- `nw_ucla/protogcn/b`: unfinished, 3 of 28 epochs" in listed
    assert "- `nw_ucla/protogcn/k`: its metrics.json cannot be read" in listed
    assert "- `nw_ucla/protogcn/jm`: its metrics.json cannot be read (KeyError: 'mean_class')" in listed
    assert "- `nw_ucla/protogcn/bm`: " in listed and str(tmp_path) not in listed


def test_scores_that_do_not_fit_together_leave_the_single_streams(tmp_path):
    root = tmp_path / "runs"
    write_run(root, "j")
    folder = write_run(root, "b")
    part = ScoreFile(np.array(["x", "y"]), np.eye(2), "logits", np.arange(2), (), {"benchmark": "nw_ucla"})
    save_scores(folder / "scores_test.npz", part)
    page = write_results_page(root, tmp_path / "RESULTS.md").read_text()
    assert [row[0] for row in table_below(page, "### protogcn")[2:]] == ["j", "b"]
    assert "Left out of the fusions: " in page


def test_own_benchmarks_follow_the_known_ones_and_have_nothing_published(tmp_path):
    own = dataclasses.replace(RECIPE, benchmark="falls")
    for recipe in (own, RECIPE):
        for stream in ("j", "b"):
            write_run(tmp_path / "runs", stream, recipe=recipe)
    page = write_results_page(tmp_path / "runs", tmp_path / "RESULTS.md").read_text()
    before, after = page.split("## falls")
    assert "## Northwestern-UCLA" in before and "2 streams: j+b" in after
    assert "published" not in after.lower()


def test_folds_are_one_line_with_their_mean(tmp_path):
    recipe = dataclasses.replace(RECIPE, benchmark="sbu")
    top1 = {}
    for stream in ("j", "b"):
        for fold in (0, 1, 2):
            folder = write_run(tmp_path / "runs", stream, recipe=in_fold(recipe, fold), fold=fold)
            score_file = load_scores(folder / "scores_test.npz")
            rng = np.random.default_rng([fold, len(stream)])
            scores = score_file.scores + rng.standard_normal(score_file.scores.shape).astype(np.float32) * fold
            ids = np.char.add(f"{fold}_", score_file.ids)
            save_scores(folder / "scores_test.npz", dataclasses.replace(score_file, scores=scores, ids=ids))
            top1.setdefault(stream, []).append(100 * (scores.argmax(1) == score_file.labels).mean())
    page = write_results_page(tmp_path / "runs", tmp_path / "RESULTS.md").read_text()
    header, _, *rows = table_below(page, "### protogcn")
    assert [row[0] for row in rows] == ["j", "b"]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert cells["top-1"] == f"{np.mean(top1[row[0]]):.2f}"
        assert cells["folds"] == " ".join(f"{each:.1f}" for each in top1[row[0]])
        assert cells["training"] == "45.0 min"
    fused = table_below(page, "Fused by")
    assert "folds" in fused[0] and len(fused[2][fused[0].index("folds")].split()) == 3


def test_clips_that_training_has_seen_are_left_out_beside(tmp_path):
    folders = [write_run(tmp_path / "runs", stream) for stream in ("j", "b")]
    parts = [load_scores(folder / "scores_test.npz") for folder in folders]
    ids = np.array([f"a{2 if i < 50 else 4:02}_s01_e{i:02}_v03" for i in range(120)])
    for folder, part in zip(folders, parts, strict=True):
        save_scores(folder / "scores_test.npz", dataclasses.replace(part, ids=ids))
    page = write_results_page(tmp_path / "runs", tmp_path / "RESULTS.md").read_text()
    header, _, *rows = table_below(page, "### protogcn")
    for part, row in zip(parts, rows, strict=True):
        correct = part.scores.argmax(1) == part.labels
        assert row[header.index("unseen")] == f"{100 * correct[50:].mean():.2f}" != f"{100 * correct.mean():.2f}"
    assert "byte for byte" in page and "unseen" in table_below(page, "Fused by")[0]
    other = dataclasses.replace(RECIPE, benchmark="utd_mhad")
    write_run(tmp_path / "other", "j", recipe=other)
    assert "unseen" not in write_results_page(tmp_path / "other", tmp_path / "OTHER.md").read_text()


def test_several_models_stand_side_by_side(tmp_path):
    root = tmp_path / "runs"
    for name in ("protogcn", "ctrgcn"):
        model = dataclasses.replace(RECIPE.model, name=name)
        for stream in SIX[: 4 if name == "ctrgcn" else 6]:
            write_run(root, stream, recipe=dataclasses.replace(RECIPE, model=model), model=name)
    page = write_results_page(root, tmp_path / "RESULTS.md").read_text()
    header, _, *rows = table_below(page, "## Northwestern")
    assert header == ["model", "j", "b", "k", "jm", "bm", "km", "2 streams", "4 streams", "6 streams"]
    by_model = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_model["ctrgcn"]["6 streams"] == "" != by_model["protogcn"]["6 streams"]
    detail = dict(zip(("stream", "seed", "top-1"), table_below(page, "### protogcn")[2], strict=False))
    assert by_model["protogcn"]["j"] == detail["top-1"]


def test_no_runs_says_what_to_type(tmp_path):
    with pytest.raises(FileNotFoundError, match="protogcn train"):
        write_results_page(tmp_path, tmp_path / "RESULTS.md")


def test_two_models_are_fused_by_what_both_have(tmp_path):
    other = dataclasses.replace(RECIPE, name="other")
    lonely = dataclasses.replace(RECIPE, name="lonely")
    for stream in ("j", "b", "jm", "bm"):
        write_run(tmp_path, stream)
    for stream in ("j", "b"):
        write_run(tmp_path, stream, recipe=other)
    write_run(tmp_path, "j", recipe=lonely)
    page = write_results_page(tmp_path, tmp_path / "RESULTS.md").read_text()
    ((models, streams, top1, interval, alone, gain, p),) = table_below(page, "### Two models together")[2:]
    assert (models, streams) == ("other + protogcn", "2")
    files = [
        load_scores(tmp_path / "nw_ucla" / name / stream / "scores_test.npz")
        for name in ("other", "protogcn")
        for stream in ("j", "b")
    ]
    assert float(top1) == pytest.approx(100 * fuse(files).metrics.top1, abs=0.005)
    pairs = [100 * fuse(pair).metrics.top1 for pair in (files[:2], files[2:])]
    assert [float(each) for each in alone.split(", ")] == pytest.approx(pairs, abs=0.005)
    assert float(gain) == pytest.approx(float(top1) - max(pairs), abs=0.011)
    assert " to " in interval and p
