import numpy as np
import pytest
from score_parts import STREAMS, make_parts

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.evidence import Fitting
from protogcn.evaluation.model_table import find_runs, read_models
from protogcn.evaluation.published import OwnBenchmark
from protogcn.evaluation.scores import ScoreFile, save_scores

BENCHMARK = OwnBenchmark("x", "X")


def write_model(folder, seed, streams=STREAMS, kind="logits", clips=200):
    parts = make_parts(0, 6, clips=clips, strengths=tuple(1 + 0.1 * seed for _ in range(6)), kind=kind)
    rng = np.random.default_rng(seed)
    written = {}
    for part in parts:
        if part.name in streams:
            noisy = part.scores if kind != "logits" else part.scores + rng.standard_normal(part.scores.shape)
            written[part.name] = ScoreFile(part.ids, noisy, kind, part.labels, (), {**part.meta, "benchmark": "x"})
            save_scores(folder / part.name / "scores_test.npz", written[part.name])
    return written


@pytest.fixture
def root(tmp_path):
    for seed, model in enumerate(("protogcn", "ctrgcn", "infogcn")):
        write_model(tmp_path / "x" / model, seed)
    return tmp_path


def test_each_model_alone_and_all_together(root):
    read = read_models(BENCHMARK, ["protogcn", "ctrgcn", "infogcn"], [root])
    assert [row.name for row in read.together] == [
        "2 streams of each: protogcn + ctrgcn + infogcn",
        "4 with motion of each: protogcn + ctrgcn + infogcn",
        "6 with motion of each: protogcn + ctrgcn + infogcn",
    ]
    # The presets of the three do not agree on a rule.
    assert [table.rule for table in read.tables.values()] == ["probabilities", "logits", "logits"]
    assert read.rule == "probabilities" and "fused by probabilities" in str(read)
    assert len(read.rows) == 3 * 9 + 3 and read.rows[0].model == "protogcn" and read.rows[-1].model == ""
    parts = [part for table in read.tables.values() for part in table.fusions["4", "motion"].parts.values()]
    weights = [w / 6 for w in (2, 2, 1, 1)] + [w / 2 for w in (0.6, 0.6, 0.4, 0.4)] + [w / 5 for w in (1.5, 1.5, 1, 1)]
    assert read.together[1].metrics.top1 == fuse(parts, weights).metrics.top1
    assert read.fusions["4", "motion"].fusion.names[:5] == (
        "protogcn/j",
        "protogcn/b",
        "protogcn/jm",
        "protogcn/bm",
        "ctrgcn/j",
    )
    assert len(read.comparisons) == 3 and "2 streams of all models against those of" in read.comparisons[0]


def test_one_rule_for_all(root):
    assert read_models(BENCHMARK, ["ctrgcn", "infogcn"], [root]).rule == "logits"
    assert read_models(BENCHMARK, ["ctrgcn", "infogcn"], [root], rule="probabilities").rule == "probabilities"


def test_comparison_is_with_the_best_model_on_the_same_clips(root):
    read = read_models(BENCHMARK, ["protogcn", "ctrgcn"], [root])
    alone = max(table.fusions["2", "streams"].fusion.metrics.top1 for table in read.tables.values())
    gain = 100 * (read.together[0].metrics.top1 - alone)
    assert f": {gain:+.2f} points" in read.comparisons[0]


def test_only_what_every_model_has_is_fused(root):
    write_model(root / "x" / "small", 5, streams=("j", "b"))
    read = read_models(BENCHMARK, ["protogcn", "small"], [root])
    assert list(read.fusions) == [("2", "streams")]
    write_model(root / "x" / "tiny", 5, streams=("j",))
    assert str(read_models(BENCHMARK, ["protogcn", "tiny"], [root])) == ""


def test_models_of_different_clips_are_refused(root):
    write_model(root / "x" / "other", 5, clips=150)
    with pytest.raises(ValueError, match="50 only in"):
        read_models(BENCHMARK, ["protogcn", "other"], [root])
    with pytest.raises(ValueError, match="takes different names"):
        read_models(BENCHMARK, ["protogcn", "protogcn"], [root])


def test_fitted_weights_of_all_models(root):
    read = read_models(BENCHMARK, ["protogcn", "ctrgcn"], [root], rule="logits", fitting=Fitting(weights=True))
    assert sum(read.fusions["2", "streams"].fusion.weights) == pytest.approx(1)
    assert "weights cross-fitted over 5 folds" in str(read.tables["ctrgcn"])
    analyses = read.analyses(Fitting(weights=True), subsets=True)
    assert [a.name for a in analyses] == [
        "protogcn: 6 with motion",
        "ctrgcn: 6 with motion",
        "all models: 6 with motion",
    ]
    assert [len(a.subsets) for a in analyses] == [63, 63, 0]
    assert analyses[2].fusion.metrics.top1 == read.together[2].metrics.top1


def test_weights_are_fitted_on_held_out_scores_where_all_runs_have_them(root):
    folder = root / "x" / "protogcn"
    for part in make_parts(9, 6, prefix="val"):
        meta = {**part.meta, "benchmark": "x"}
        held = ScoreFile(part.ids, part.scores, part.kind, part.labels, (), meta)
        save_scores(folder / part.name / "scores_val.npz", held)
    read = read_models(BENCHMARK, ["protogcn"], [root], fitting=Fitting(weights=True))
    assert "weights fitted on 300 held-out clips" in str(read.tables["protogcn"])
    (folder / "km" / "scores_val.npz").unlink()
    table = read_models(BENCHMARK, ["protogcn"], [root], fitting=Fitting(weights=True)).tables["protogcn"]
    assert "cross-fitted" in str(table) and "held-out" in str(table)
    on_test = read_models(BENCHMARK, ["protogcn"], [root], fitting=Fitting(weights=True, on_test=True))
    assert "FITTED ON THE TEST LABELS" in str(on_test.tables["protogcn"])


def test_where_runs_are_looked_for(root, tmp_path):
    assert find_runs("x", "ctrgcn", [root]) == root / "x" / "ctrgcn"
    assert find_runs("x", "ctrgcn", [root / "x"]) == root / "x" / "ctrgcn"
    assert find_runs("x", "ctrgcn", [root / "x" / "ctrgcn"]) == root / "x" / "ctrgcn"
    assert find_runs("x", "mine", [root / "x" / "ctrgcn"]) == root / "x" / "ctrgcn"
    assert find_runs("x", "infogcn", [tmp_path / "none", root]) == root / "x" / "infogcn"
    assert find_runs("x", "stgcn", [root]) == root / "x" / "stgcn"
    assert str(find_runs("x", "stgcn")) == "runs/x/stgcn"
