import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protogcn.evaluation import metrics


@pytest.fixture(scope="module")
def golden(goldens):
    return json.loads((goldens / "data" / "evaluation.json").read_text())


def test_top_k_of_the_reference(golden):
    scores, labels = np.array(golden["scores"]), np.array(golden["labels"])
    assert [metrics.top_k_correct(scores, labels, k).mean() for k in (1, 5)] == golden["top1_top5"]
    result = metrics.evaluate(scores, labels)
    assert [result.top1, result.top5, result.k] == [*golden["top1_top5"], 5]


@pytest.mark.parametrize("suffix", ["", "_class3_absent"])
def test_mean_class_accuracy_of_the_reference(golden, suffix):
    scores, labels = np.array(golden["scores"]), np.array(golden["labels" + suffix])
    confusion = metrics.confusion_matrix(labels, scores.argmax(axis=1), 10)
    if not suffix:
        np.testing.assert_array_equal(confusion, golden["confusion"])
    assert metrics.mean_class_accuracy(confusion) == pytest.approx(golden["mean_class_accuracy" + suffix], rel=1e-12)
    assert metrics.evaluate(scores, labels).mean_class == metrics.mean_class_accuracy(confusion)


def test_clip_averaging_of_the_reference(golden):
    logits = np.array(golden["clip_logits"])
    by_probability, by_score = metrics.average_clips(logits), metrics.average_clips(logits, "logits")
    np.testing.assert_allclose(by_probability, golden["avg_prob"], rtol=1e-12)
    np.testing.assert_allclose(by_score, golden["avg_score"], rtol=1e-12)
    differing = np.flatnonzero(by_probability.argmax(1) != by_score.argmax(1))
    assert differing.tolist() == golden["prob_vs_score_argmax_differ"]
    with pytest.raises(ValueError, match="'probabilities' or 'logits'"):
        metrics.average_clips(logits, "median")


def test_ties_of_the_reference(golden):
    ties = golden["ties"]
    scores = np.array(ties["scores"])
    last = np.array([[metrics.top_k_correct(row[None], np.array([c]), 1)[0] for c in range(3)] for row in scores])
    assert last.argmax(axis=1).tolist() == ties["argsort_last"] and (last.sum(axis=1) == 1).all()
    labels = np.array([0, 1, 0])
    assert metrics.top_k_correct(scores, labels, 1).mean() == ties["top1_labels_0_1_0"]
    assert metrics.evaluate(scores, labels).mean_class == ties["mean_class_acc_labels_0_1_0"]


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_top_k_is_the_end_of_a_stable_argsort(clips, classes, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 4, (clips, classes)).astype(np.float32), rng.integers(0, classes, clips)
    for k in range(1, classes + 1):
        last = np.argsort(scores, axis=1, kind="stable")[:, -k:]
        np.testing.assert_array_equal(metrics.top_k_correct(scores, labels, k), (last == labels[:, None]).any(axis=1))


def test_top5_of_fewer_classes_is_capped():
    result = metrics.evaluate(np.eye(3), np.array([2, 1, 0]))
    assert (result.k, result.top5, result.top1) == (3, 1.0, pytest.approx(1 / 3))


def test_per_class_accuracy_leaves_absent_classes_open():
    confusion = metrics.confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    np.testing.assert_array_equal(metrics.per_class_accuracy(confusion), [0.5, np.nan, 1.0])
    assert metrics.mean_class_accuracy(confusion) == 0.5


def test_softmax_survives_huge_logits():
    np.testing.assert_allclose(metrics.softmax(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0.0]])


def test_binomial_draw_equals_resampling_of_clips():
    correct = np.random.default_rng(0).random(400) < 0.9
    rng = np.random.default_rng(1)
    resampled = correct[rng.integers(0, 400, (20000, 400))].mean(axis=1)
    np.testing.assert_allclose(
        metrics.bootstrap_rate(correct, 20000), np.percentile(resampled, [2.5, 97.5]), atol=1.5 / 400
    )


def test_paired_difference_equals_resampling_of_clips():
    rng = np.random.default_rng(0)
    first, second = rng.random(300) < 0.9, rng.random(300) < 0.8
    draws = np.random.default_rng(1).integers(0, 300, (20000, 300))
    resampled = (first[draws].mean(axis=1), second[draws].mean(axis=1))
    expected = np.percentile(resampled[0] - resampled[1], [2.5, 97.5])
    np.testing.assert_allclose(metrics.bootstrap_difference(first, second, 20000), expected, atol=1.5 / 300)


def test_mean_class_interval_equals_resampling_of_clips():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    predictions = np.where(rng.random(200) < 0.8, labels, rng.integers(0, 5, 200))
    confusion = metrics.confusion_matrix(labels, predictions, 5)
    draws = rng.integers(0, 200, (4000, 200))
    # Class 4 is never true: it stays in the mean as zero, also in a resample that happens not to predict it.
    recalls = [[np.mean(predictions[d][labels[d] == c] == c) for c in range(4)] + [0.0] for d in draws]
    expected = np.percentile(np.mean(recalls, axis=1), [2.5, 97.5])
    np.testing.assert_allclose(metrics.bootstrap_mean_class(confusion, 4000), expected, atol=0.01)


def test_intervals_repeat_with_their_seed_and_hold_the_estimate():
    correct = np.arange(464) % 16 != 0
    assert metrics.bootstrap_rate(correct, seed=3) == metrics.bootstrap_rate(correct, seed=3)
    assert metrics.bootstrap_rate(correct, seed=3) != metrics.bootstrap_rate(correct, seed=4)
    low, high = metrics.bootstrap_rate(correct)
    assert low < correct.mean() < high
    assert metrics.bootstrap_rate(np.ones(10, bool)) == (1.0, 1.0)


@pytest.mark.parametrize("gained, lost", [(0, 0), (3, 0), (5, 5), (14, 3), (1, 30), (700, 650)])
def test_mcnemar_agrees_with_scipy(gained, lost):
    scipy = pytest.importorskip("scipy.stats")
    first = np.concatenate([np.ones(gained), np.zeros(lost), np.ones(7)]).astype(bool)
    second = np.concatenate([np.zeros(gained), np.ones(lost), np.ones(7)]).astype(bool)
    result = metrics.mcnemar(first, second)
    exact = scipy.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    middle = 2 * scipy.binom.cdf(min(gained, lost), gained + lost, 0.5) - scipy.binom.pmf(gained, gained + lost, 0.5)
    assert (result.gained, result.lost) == (gained, lost)
    assert result.p_exact == pytest.approx(exact, rel=1e-9) and result.p_mid == pytest.approx(middle, rel=1e-9)


def test_mcnemar_is_symmetric_and_falls_with_evidence():
    ones, zeros = np.ones(40, bool), np.zeros(40, bool)
    values = [metrics.mcnemar(ones[:n], zeros[:n]).p_exact for n in (1, 5, 10, 40)]
    assert all(a > b for a, b in pairwise(values)) and values[0] == 1.0
    assert metrics.mcnemar(ones, zeros).p_mid == metrics.mcnemar(zeros, ones).p_mid


@pytest.mark.parametrize("scores, labels", [(np.zeros((0, 3)), []), (np.zeros((2, 3)), [0]), (np.zeros(3), [0, 1, 2])])
def test_shapes_are_checked(scores, labels):
    with pytest.raises(ValueError, match="expected scores"):
        metrics.evaluate(scores, np.array(labels, dtype=np.int64))
