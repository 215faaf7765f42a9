import numpy as np
import pytest
from score_parts import make_parts

from protogcn.evaluation.contribution import all_subsets, leave_one_out, subset_correct
from protogcn.evaluation.diversity import diversity
from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.evidence import cross_evidence
from protogcn.evaluation.fitting import fit_weights


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_leaving_a_part_out_is_the_fusion_of_the_others(rule):
    parts, weights = make_parts(0, 4, strengths=(2, 1, 1.5, 0)), [2, 1, 1, 0.5]
    whole = fuse(parts, weights, rule).metrics
    found = leave_one_out(parts, weights, rule)
    assert [part.name for part in found] == ["j", "b", "k", "jm"]
    for index, part in enumerate(found):
        keep = [i for i in range(4) if i != index]
        others = fuse([parts[i] for i in keep], [weights[i] for i in keep], rule)
        assert part.without == others.metrics.top1
        assert part.drop == pytest.approx(whole.top1 - others.metrics.top1)
        assert part.interval[0] <= part.drop <= part.interval[1]
        assert part.mcnemar.gained - part.mcnemar.lost == round(300 * part.drop)
    assert found[0].drop > 0.02 and found[0].mcnemar.p_mid < 0.05


def test_a_part_that_alone_has_weight_is_not_left_out():
    parts = make_parts(1, 3)
    assert [part.name for part in leave_one_out(parts, [1, 0, 0])] == ["b", "k"]
    with pytest.raises(ValueError, match="from two parts on"):
        leave_one_out(parts[:1])


def test_weights_of_each_clip_and_names():
    parts = make_parts(2, 3)
    weights = fit_weights(cross_evidence(parts), "logits").applied
    found = leave_one_out(parts, weights, "logits", names=["x", "y", "z"])
    assert found[1].name == "y"
    others = fuse([parts[0], parts[2]], np.delete(weights, 1, axis=0), "logits")
    assert found[1].without == others.metrics.top1


def test_all_subsets():
    parts, weights = make_parts(3, 4), [4, 3, 2, 1]
    found = all_subsets(parts, weights)
    assert len(found) == 15 and [s.top1 for s in found] == sorted((s.top1 for s in found), reverse=True)
    by_names = {subset.names: subset.top1 for subset in found}
    assert by_names["b", "jm"] == fuse([parts[1], parts[3]], [3, 1]).metrics.top1
    assert by_names["j", "b", "k", "jm"] == fuse(parts, weights).metrics.top1
    assert len(all_subsets(parts, [1, 1, 0, 0])) == 12
    with pytest.raises(ValueError, match="127 subsets; at most 6"):
        all_subsets([parts[0]] * 7)


def test_a_clip_without_weight_is_wrong():
    parts = make_parts(4, 2, strengths=(50, 50))
    weights = np.ones((2, 300))
    weights[0, :10] = 0
    assert subset_correct(parts, [(0,)], weights)[0].sum() == 290


def pair(first, second):
    return diversity([np.array(first, bool), np.array(second, bool)], ["a", "b"])


def test_measures_of_kuncheva_and_whitaker():
    # 4 both right, 2 only the first, 1 only the second, 3 neither.
    measured = pair([1] * 4 + [1] * 2 + [0] + [0] * 3, [1] * 4 + [0] * 2 + [1] + [0] * 3)
    assert measured.disagreement[0, 1] == pytest.approx(0.3)
    assert measured.q[0, 1] == pytest.approx((4 * 3 - 2 * 1) / (4 * 3 + 2 * 1))
    assert measured.error_correlation[0, 1] == pytest.approx((4 * 3 - 2 * 1) / np.sqrt(6 * 4 * 5 * 5))
    assert measured.oracle[0, 1] == pytest.approx(0.7) == measured.oracle_all
    assert measured.unanimous == pytest.approx(0.4)


def test_error_correlation_is_that_of_numpy():
    rng = np.random.default_rng(0)
    right = rng.random((5, 400)) < 0.7
    measured = diversity(right, "abcde")
    np.testing.assert_allclose(measured.error_correlation, np.corrcoef(~right))
    np.testing.assert_allclose(np.diag(measured.disagreement), 0, atol=1e-12)
    np.testing.assert_allclose(np.diag(measured.oracle), right.mean(axis=1))
    assert measured.oracle_all == right.any(axis=0).mean() and measured.unanimous == right.all(axis=0).mean()
    assert len(measured.pairs()) == 10
    shown = [p[2] for p in measured.pairs()]
    assert shown == sorted(shown, reverse=True)


def test_what_is_not_defined_is_nan():
    assert np.isnan(pair([1, 1], [1, 1]).q[0, 1]) and np.isnan(pair([1, 1], [1, 0]).error_correlation).any()
    assert pair([1, 0], [0, 1]).q[0, 1] == -1
    with pytest.raises(ValueError, match="a name and the right answers"):
        diversity([np.ones(3, bool)], ["a", "b"])
