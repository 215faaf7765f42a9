import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_parts import aligned, make_parts

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.evidence import (
    Fitting,
    cross_evidence,
    gather_evidence,
    held_out_evidence,
    optimistic_evidence,
    stratified_folds,
)
from protogcn.evaluation.fitting import fit_scales, fit_temperatures, fit_weights
from protogcn.evaluation.metrics import softmax
from protogcn.evaluation.part_list import read_parts
from protogcn.evaluation.scores import ScoreFile


def relabelled(part, rows, label):
    labels = part.labels.copy()
    labels[rows] = label
    return ScoreFile(part.ids, part.scores, part.kind, labels, (), part.meta)


@given(st.integers(2, 60), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=60)
def test_folds_are_of_equal_size_and_like_classes_whatever_the_order(clips, folds, classes, seed):
    rng = np.random.default_rng(seed)
    labels, ids = rng.integers(0, classes, clips), np.array([f"c{i}" for i in range(clips)])
    dealt = stratified_folds(labels, ids, folds)
    assert np.ptp(np.bincount(dealt, minlength=folds)) <= 1
    for label in range(classes):
        assert np.ptp(np.bincount(dealt[labels == label], minlength=folds)) <= 1
    order = rng.permutation(clips)
    np.testing.assert_array_equal(stratified_folds(labels[order], ids[order], folds), dealt[order])


@pytest.mark.parametrize("folds, clips", [(1, 10), (5, 1)])
def test_too_few_to_cross_fit(folds, clips):
    with pytest.raises(ValueError, match="at least 2 folds"):
        stratified_folds(np.zeros(clips, int), np.array([str(i) for i in range(clips)]), folds)


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_weights_do_not_depend_on_how_loud_a_stream_is(rule):
    """Logits of three times the size need a third of the weight; as probabilities they need the same."""
    parts = make_parts(0, 3, clips=600, strengths=(2.0, 1.0, 1.5))
    first = parts[0]
    loud = [ScoreFile(first.ids, 3 * first.scores, "logits", first.labels, (), first.meta), *parts[1:]]
    plain, other = (fit_weights(optimistic_evidence(p), rule).values for p in (parts, loud))
    factors = np.array([1.0 if rule == "probabilities" else 1 / 3, 1.0, 1.0])
    np.testing.assert_allclose(other, plain * factors / (plain @ factors), atol=5e-3)


def test_probabilities_and_their_logits_have_the_same_weights():
    logits = make_parts(0, 3, clips=600, strengths=(2.0, 1.0, 1.5))
    soft = [ScoreFile(p.ids, softmax(p.scores), "probabilities", p.labels, (), p.meta) for p in logits]
    weights = [fit_weights(optimistic_evidence(parts), "probabilities").values for parts in (logits, soft)]
    np.testing.assert_allclose(*weights, atol=2e-3)


def test_logit_weights_minimise_the_log_loss():
    parts = make_parts(1, 3, strengths=(2.0, 0.5, 1.5))
    arrays = [aligned(part, parts[0]).astype(np.float32) for part in parts]
    found = fit_scales(arrays, parts[0].labels)

    def loss(scales):
        mixed = sum(scale * array.astype(float) for scale, array in zip(scales, arrays, strict=True))
        penalty = sum((scale * array.std()) ** 2 for scale, array in zip(scales, arrays, strict=True)) / 2
        return -np.log(softmax(mixed)[np.arange(300), parts[0].labels]).sum() + penalty

    rng = np.random.default_rng(0)
    best = loss(found)
    for _ in range(50):
        assert best < loss(np.maximum(found + rng.normal(0, 0.05, 3), 0)) + 1e-3
    weights = fit_weights(optimistic_evidence(parts), "logits").values
    np.testing.assert_allclose(weights, found / found.sum(), atol=1e-3)
    assert weights[0] > weights[2] > weights[1]


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
def test_weights_lie_on_the_simplex_and_leave_out_what_is_noise(rule):
    parts = make_parts(2, 3, strengths=(2.5, -2.0, 2.5))
    fitted = fit_weights(cross_evidence(parts), rule)
    for weights in (fitted.values, *fitted.by_fold):
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        assert weights[1] < 0.02 and weights[0] > 0.3
    low, high = fitted.spread
    assert (low <= fitted.mean).all() and (fitted.mean <= high).all()


@pytest.mark.parametrize("rule", ["probabilities", "logits"])
@pytest.mark.parametrize("heat", [False, True])
def test_no_label_has_a_say_in_its_own_prediction(rule, heat):
    """Change the labels of one fold: the fused scores of that fold must stay, those of the others must move."""
    parts = make_parts(3, 3, clips=200, strengths=(2.0, 1.0, 0.5))
    evidence = cross_evidence(parts)
    fold = np.flatnonzero(evidence.folds == 2)
    names = parts[0].ids[fold]

    def fused(parts, folds):
        own = gather_evidence(parts)
        # The same deal of clips, so that only labels differ.
        object.__setattr__(own, "folds", folds)
        temperatures = fit_temperatures(own) if heat else None
        weights = fit_weights(own, rule, temperatures).applied
        return fuse(parts, weights, rule, temperatures=temperatures.applied if temperatures else None).scores.scores

    other = [relabelled(part, np.isin(part.ids, names), 0) for part in parts]
    before, after = fused(parts, evidence.folds), fused(other, evidence.folds)
    np.testing.assert_array_equal(before[fold], after[fold])
    assert not np.allclose(np.delete(before, fold, axis=0), np.delete(after, fold, axis=0))


def test_cross_fitted_weights_follow_their_clips():
    parts = make_parts(4, 2)
    fitted = fit_weights(cross_evidence(parts), "probabilities")
    assert fitted.applied.shape == (2, 300)
    fusion = fuse(parts, fitted.applied)
    place = {name: row for row, name in enumerate(parts[1].ids.tolist())}
    for row in (0, 7, 150):
        weights = fitted.by_fold[fitted.evidence.folds[row]]
        own = [softmax(parts[0].scores[row]), softmax(parts[1].scores[place[parts[0].ids[row]]])]
        np.testing.assert_allclose(fusion.scores.scores[row], weights @ own, rtol=1e-5)
    assert fusion.weights == pytest.approx(tuple(fitted.applied.mean(axis=1)))


def test_cross_fitting_does_not_flatter_noise():
    """Streams without any information: fitting on the test labels gains what cross-fitting does not."""
    gains: dict[str, list[float]] = {"crossed": [], "test": []}
    for seed in range(8):
        parts = make_parts(seed, 6, clips=90, classes=3, strengths=(0.0,) * 6)
        plain = fuse(parts).metrics.top1
        gains["crossed"].append(fuse(parts, fit_weights(cross_evidence(parts), "logits").applied).metrics.top1 - plain)
        gains["test"].append(
            fuse(parts, fit_weights(optimistic_evidence(parts), "logits").applied).metrics.top1 - plain
        )
    assert np.mean(gains["test"]) > np.mean(gains["crossed"]) + 0.02
    assert np.mean(gains["crossed"]) < 0.02


def test_held_out_clips_serve_all_and_are_matched_by_stream():
    parts = make_parts(5, 3, strengths=(2.0, 1.0, 0.0))
    other = make_parts(6, 3, strengths=(2.0, 1.0, 0.0), prefix="val")
    straight = fit_weights(held_out_evidence(parts, other), "logits")
    turned = fit_weights(held_out_evidence(parts, other[::-1]), "logits")
    np.testing.assert_allclose(straight.values, turned.values, atol=1e-3)
    assert straight.applied.shape == (3,) and straight.values[0] > straight.values[1] > straight.values[2]
    assert straight.evidence.how == "fitted on 300 held-out clips"
    np.testing.assert_array_equal(straight.values, fit_weights(optimistic_evidence(other), "logits").values)


def test_clips_that_are_fused_are_no_held_out_clips():
    parts = make_parts(7, 2)
    with pytest.raises(ValueError, match=r"300 of the clips to fit on are among those to be fused.*--fit-on-test"):
        held_out_evidence(parts, parts)
    with pytest.raises(ValueError, match="got 1 held-out score files for 2 parts"):
        held_out_evidence(parts, parts[:1])
    with pytest.raises(ValueError, match="have 4 classes, those of j have 6"):
        held_out_evidence(parts, make_parts(8, 2, classes=4, prefix="val"))


def test_fitting_on_the_test_labels_says_so():
    evidence = gather_evidence(make_parts(9, 2), on_test=True)
    assert "FITTED ON THE TEST LABELS" in evidence.how and not evidence.crossed
    assert not Fitting() and str(Fitting(weights=True, temperatures=True)) == "weights and temperatures"


def test_logits_cannot_be_fitted_from_probabilities():
    with pytest.raises(ValueError, match="use rule 'probabilities'"):
        fit_weights(cross_evidence(make_parts(10, 2, kind="probabilities")), "logits")


def test_flawless_and_useless_streams_have_weights_too():
    flawless = make_parts(11, 2, strengths=(40.0, 40.0))
    for rule in ("probabilities", "logits"):
        np.testing.assert_allclose(fit_weights(cross_evidence(flawless), rule).mean, [0.5, 0.5], atol=0.05)
    useless = make_parts(12, 2, strengths=(-3.0, -3.0))
    assert np.isfinite(fit_weights(cross_evidence(useless), "logits").mean).all()
    assert np.isfinite(fit_temperatures(cross_evidence(useless)).mean).all()


def test_weights_fitted_on_real_streams_gain(shared_data):
    source = shared_data / "uav_scores_testA.npz"
    _, parts = read_parts([source], patterns=["ctrgcn*"])
    weights = fit_weights(cross_evidence(parts), "logits")
    assert fuse(parts, weights.applied, "logits").metrics.top1 > 0.760
    assert fuse(parts, None, "logits").metrics.top1 == pytest.approx(0.7570)
