import numpy as np
import pytest
from score_parts import make_parts

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.published import OwnBenchmark
from protogcn.evaluation.run_scores import load_runs, pool_folds
from protogcn.evaluation.scores import ScoreFile, save_scores
from protogcn.evaluation.stream_table import read_table

PARTS = make_parts(0, 6, clips=100)
FOLDS = np.arange(100) % 5


def cut(part, keep, **meta):
    return ScoreFile(
        part.ids[keep], part.scores[keep], part.kind, part.labels[keep], (), {"benchmark": "x", **part.meta, **meta}
    )


def write_folds(folder, part, folds=range(5), seed=0, overlapping=False):
    for fold in folds:
        names = PARTS[0].ids[(fold == FOLDS) | (overlapping & (np.arange(100) < 3))]
        own = cut(part, np.isin(part.ids, names), fold=fold, seed=seed)
        suffix = f"-s{seed}" if seed else ""
        save_scores(folder / f"{part.name}-f{fold}{suffix}" / "scores_test.npz", own)
    return folder


def test_folds_are_pooled_and_their_mean_is_told(tmp_path):
    for part in PARTS[:2]:
        write_folds(tmp_path, part)
    write_folds(tmp_path, PARTS[0], seed=1)
    table = read_table(OwnBenchmark("x", "X"), tmp_path)
    assert [row.name for row in table.rows] == ["j", "b", "j-s1", "2 streams: j+b", "2 with second seeds: j+j-s1"]
    order = {name: row for row, name in enumerate(PARTS[0].ids.tolist())}
    for row in table.rows[:2]:
        part = PARTS[0] if row.name == "j" else PARTS[1]
        folds = FOLDS[[order[name] for name in part.ids.tolist()]]
        right = part.scores.argmax(axis=1) == part.labels
        assert row.fold_top1 == pytest.approx([right[folds == fold].mean() for fold in range(5)])
        assert row.metrics.top1 == pytest.approx(right.mean())
    assert table.rows[3].metrics.top1 == fuse(PARTS[:2]).metrics.top1
    assert np.mean(table.rows[3].fold_top1) == pytest.approx(table.rows[3].metrics.top1)
    assert "mean of 5 folds" in str(table) and "clips of 5 folds are pooled" in str(table)


def test_folds_are_counted_as_numbers(tmp_path):
    for fold in range(12):
        keep = np.isin(PARTS[0].ids, PARTS[0].ids[np.arange(100) % 12 == fold])
        save_scores(tmp_path / f"j-f{fold}" / "scores_test.npz", cut(PARTS[0], keep))
    assert load_runs(tmp_path, ["j"], "x").folds == tuple(range(12))


def test_a_stream_that_lacks_folds_is_left_out(tmp_path):
    write_folds(tmp_path, PARTS[0])
    write_folds(tmp_path, PARTS[1], folds=(0, 2))
    scores = load_runs(tmp_path, ["j", "b"], "x")
    assert list(scores.parts) == ["j"] and "lacks the folds 1, 3, 4" in scores.problems[0]


def test_few_folds_of_a_benchmark_are_shouted(tmp_path):
    class Five(OwnBenchmark):
        splits = tuple((f"train{i}", f"test{i}") for i in range(5))

    write_folds(tmp_path, PARTS[0], folds=(0, 3))
    assert "ONLY 2 OF 5 FOLDS: 0, 3" in str(read_table(Five("x", "X"), tmp_path))


def test_a_run_without_folds_counts_where_there_are_none(tmp_path):
    save_scores(tmp_path / "j" / "scores_test.npz", PARTS[0])
    write_folds(tmp_path, PARTS[0], folds=(0, 1))
    assert len(load_runs(tmp_path, ["j"], "x").parts["j"].ids) == 100
    assert len(load_runs(tmp_path, ["j"], "x", several_folds=True).parts["j"].ids) == 40
    assert load_runs(tmp_path, ["jm"], "x").parts == {}


def test_clips_that_several_folds_test_count_in_each(tmp_path):
    for part in PARTS[:2]:
        write_folds(tmp_path, part, overlapping=True)
    scores = load_runs(tmp_path, ["j", "b"], "x")
    assert len(scores.parts["j"].ids) == 112 and scores.parts["j"].ids[0] == "fold0/clip0000"
    assert len(fuse(list(scores.parts.values())).scores.ids) == 112


def test_folds_of_another_kind_are_not_mixed(tmp_path):
    folds = {0: cut(PARTS[0], FOLDS == 0), 1: make_parts(0, 1, clips=20, kind="probabilities")[0]}
    with pytest.raises(ValueError, match="fold 1 holds probabilities of 6 classes, others logits of 6"):
        pool_folds(folds)
    save_scores(tmp_path / "j-f0" / "scores_test.npz", folds[0])
    save_scores(tmp_path / "j-f1" / "scores_test.npz", folds[1])
    scores = load_runs(tmp_path, ["j"], "x")
    assert not scores.parts and "others logits" in scores.problems[0]


def test_damaged_folds_are_named(tmp_path):
    write_folds(tmp_path, PARTS[0])
    write_folds(tmp_path, PARTS[1])
    (tmp_path / "b-f3" / "scores_test.npz").write_bytes(b"PK")
    scores = load_runs(tmp_path, ["j", "b"], "x")
    assert list(scores.parts) == ["j"] and len(scores.problems) == 2 and "b-f3" in scores.problems[0]
