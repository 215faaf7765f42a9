import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_parts import aligned, make_parts

from protogcn.evaluation.calibration import BINS, calibrate, confidences, reliability
from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.evidence import cross_evidence, optimistic_evidence
from protogcn.evaluation.fitting import fit_temperatures
from protogcn.evaluation.metrics import softmax
from protogcn.evaluation.scores import ScoreFile


def plain_ece(confidence, correct, bins=15):
    total, error = len(confidence), 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = [i for i in range(total) if low < confidence[i] <= high or (index == 0 and confidence[i] == 0)]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            sure = sum(confidence[i] for i in inside) / len(inside)
            error += len(inside) / total * abs(accuracy - sure)
    return error


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=80))
@settings(max_examples=100)
def test_ece_is_that_of_a_plain_loop(clips):
    confidence, correct = (np.array(column) for column in zip(*clips, strict=True))
    # A number on the border of two bins may fall on either side by rounding.
    scaled = confidence * BINS
    confidence = np.where(np.abs(scaled - np.rint(scaled)) < 1e-9, np.minimum(confidence * 0.99, 1), confidence)
    measured = reliability(confidence, correct)
    assert measured.ece == pytest.approx(plain_ece(confidence, correct), abs=1e-12)
    assert measured.count.sum() == len(clips)


def test_bins_are_closed_above():
    measured = reliability(np.array([1 / 15, 1 / 15 + 1e-9, 1.0, 0.0]), np.ones(4, bool))
    assert measured.count[0] == 2 and measured.count[1] == 1 and measured.count[-1] == 1
    assert np.isnan(measured.accuracy[5]) and np.isnan(measured.confidence[5])


def test_a_calibrated_model_has_no_error_and_a_boaster_has():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, 200_000)
    correct = rng.random(200_000) < confidence
    assert reliability(confidence, correct).ece < 0.006
    assert reliability(np.minimum(confidence + 0.2, 1), correct).ece > 0.15


def sharpened(part, factor):
    return ScoreFile(part.ids, part.scores * factor, part.kind, part.labels, (), part.meta)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_temperature_undoes_what_sharpened_the_logits(factor):
    # Unit noise and a strength of 1.5: the true posterior has logits 1.5 times the scores.
    part = make_parts(0, 1, clips=4000, classes=5, strengths=(1.5,))[0]
    found = fit_temperatures(optimistic_evidence([sharpened(part, factor)])).values[0]
    assert found == pytest.approx(factor / 1.5, rel=0.08)


def test_temperature_agrees_with_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.frozen import FrozenEstimator

    part = sharpened(make_parts(1, 1, clips=1500)[0], 3.0)

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(6)

        def fit(self, x, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def decision_function(self, x):
            return x

        def predict(self, x):
            return x.argmax(axis=1)

    scores = part.scores.astype(np.float64)
    model = calibration.CalibratedClassifierCV(FrozenEstimator(Given()), method="temperature").fit(scores, part.labels)
    heat = fit_temperatures(optimistic_evidence([part])).values[0]
    np.testing.assert_allclose(softmax(scores / heat), model.predict_proba(scores), atol=2e-3)


def test_temperature_keeps_every_answer_and_mends_the_confidence():
    parts = [sharpened(part, 4.0) for part in make_parts(2, 3, clips=1000)]
    result = calibrate(parts, cross_evidence(parts))
    assert all(after.ece < before.ece for before, after in zip(result.before, result.after, strict=True))
    assert all(heat > 2 for heat in result.temperatures.mean)
    assert result.names == ("j", "b", "k") and result.interval[0] <= result.top1_after - result.top1_before
    assert result.top1_before == fuse(parts).metrics.top1
    hot = fuse(parts, temperatures=result.temperatures.applied)
    assert result.top1_after == hot.metrics.top1
    assert [m.top1 for m in hot.part_metrics] == [m.top1 for m in fuse(parts).part_metrics]


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_temperatures_divide_the_logits_before_fusing(rule):
    parts, heat = make_parts(3, 2), (2.0, 0.5)
    fused = fuse(parts, [1, 3], rule, temperatures=heat).scores.scores
    cooled = [aligned(part, parts[0]) / t for part, t in zip(parts, heat, strict=True)]
    cooled = [softmax(logits) for logits in cooled] if rule == "probabilities" else cooled
    np.testing.assert_allclose(fused, (cooled[0] + 3 * cooled[1]) / 4, rtol=1e-4, atol=1e-6)


def test_probabilities_have_their_logarithms_for_logits():
    part = make_parts(4, 1, kind="probabilities")[0]
    expected = part.scores.astype(np.float64) ** 0.5
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(confidences(part, 2.0), expected.max(axis=1), rtol=1e-5)
    order = np.arange(300)[::-1]
    np.testing.assert_allclose(confidences(part, np.full(300, 2.0), order), expected.max(axis=1)[order], rtol=1e-5)
    np.testing.assert_allclose(confidences(part), part.scores.max(axis=1))


@pytest.mark.parametrize("temperatures", [[1.0], [0.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_bad_temperatures(temperatures):
    with pytest.raises(ValueError, match="temperatures"):
        fuse(make_parts(5, 2), temperatures=temperatures)
