"""Seen against unseen classes, calibrated stacking and few-shot episodes, on examples small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from protogcn.evaluation.zero_shot import calibration_curve, few_shot, generalised, harmonic_mean

# Two seen classes (0, 1) and two unseen ones (2, 3). Margins, best seen minus best unseen: 3, 1, 1, 2, -1, 2, -4, 0.
UNSEEN = np.array([False, False, True, True])
SCORES = np.array(
    [
        [5.0, 0, 2, 1],  # class 0, right
        [1, 4, 3, 0],  # class 0, wrong among the seen
        [0, 6, 5, 1],  # class 1, right
        [3, 4, 2, 1],  # class 1, right
        [1, 0, 2, 0],  # class 2, right
        [7, 0, 5, 4],  # class 2, right once the seen are held back by more than 2
        [0, 1, 3, 5],  # class 3, right
        [2, 0, 2, 1],  # class 3, wrong among the unseen
    ]
)
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize(
    "gamma, seen, unseen",
    [
        (0.0, (0.5 + 1) / 2, (0.5 + 0.5) / 2),
        (1.0, (0.5 + 1) / 2, 0.5),
        (1.5, (0.5 + 0.5) / 2, 0.5),
        (2.5, (0.5 + 0) / 2, (1 + 0.5) / 2),
        (9.0, 0.0, 0.75),
        (-9.0, 0.75, 0.0),
        (-3.9, 0.75, 0.25),
    ],
)
def test_generalised_accuracies(gamma, seen, unseen):
    found = generalised(SCORES, LABELS, UNSEEN, gamma)
    assert (found.seen, found.unseen, found.gamma) == (seen, unseen, gamma)
    assert found.harmonic == pytest.approx(2 * seen * unseen / (seen + unseen), abs=1e-15)
    for value, (low, high) in (
        (found.seen, found.seen_interval),
        (found.unseen, found.unseen_interval),
        (found.harmonic, found.harmonic_interval),
    ):
        assert 0 <= low <= value <= high <= 1


def test_classes_count_alike_whatever_their_clips():
    labels = np.array([0, 0, 0, 1, 2])
    scores = np.eye(3)[[0, 0, 1, 1, 2]]
    found = generalised(scores, labels, np.array([False, False, True]))
    assert found.seen == pytest.approx((2 / 3 + 1) / 2) and found.unseen == 1.0
    # A class without clips is left out of the mean.
    wider = np.concatenate([scores, np.full((5, 1), -9.0)], axis=1)
    assert generalised(wider, labels, np.array([False, False, True, True])).unseen == 1.0


def test_gamma_takes_from_the_seen_alone():
    held = SCORES.copy()
    held[:, ~UNSEEN] -= 1.5
    right = held.argmax(axis=1) == LABELS
    found = generalised(SCORES, LABELS, UNSEEN, 1.5)
    assert found.seen == right[:4].mean() and found.unseen == right[4:].mean()


def test_curve():
    curve = calibration_curve(SCORES, LABELS, UNSEEN)
    assert curve.gammas[:-1].tolist() == [-4, -1, 0, 1, 2, 3] and 3 < curve.gammas[-1] < 3.001
    assert curve.seen.tolist() == [0.75, 0.75, 0.75, 0.75, 0.5, 0.25, 0]
    assert curve.unseen.tolist() == [0, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75]
    assert curve.area == pytest.approx(0.75 * 0.5 + 0.25 * (0.5 + 0.25) / 2)
    assert curve.best == 3 - 1 and curve.gammas[curve.best] == 0


def test_perfect_scores_have_the_whole_area():
    scores = np.eye(4)[LABELS]
    assert calibration_curve(scores, LABELS, UNSEEN).area == 1
    assert generalised(scores, LABELS, UNSEEN).harmonic == 1
    assert calibration_curve(-scores, LABELS, UNSEEN).area == 0


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (8, 4), elements=st.floats(-4, 4, width=32)))
def test_every_point_of_the_curve_is_what_its_gamma_gives(scores):
    curve = calibration_curve(scores, LABELS, UNSEEN)
    assert 0 <= curve.area <= 1 + 1e-12 and (np.diff(curve.gammas) > 0).all()
    for gamma, seen, unseen in zip(curve.gammas, curve.seen, curve.unseen, strict=True):
        found = generalised(scores, LABELS, UNSEEN, gamma, resamples=2)
        assert (found.seen, found.unseen) == (pytest.approx(seen), pytest.approx(unseen))
    assert curve.unseen[0] == 0 and curve.seen[-1] == 0
    assert (np.diff(curve.seen) <= 1e-12).all() and (np.diff(curve.unseen) >= -1e-12).all()


def test_harmonic_means():
    assert harmonic_mean(0.5, 0.5) == 0.5 and harmonic_mean(0, 0) == 0 and harmonic_mean(1, 0) == 0
    assert harmonic_mean(np.array([0.2, 0]), np.array([0.6, 0])).tolist() == pytest.approx([0.3, 0])


@pytest.mark.parametrize(
    "scores, labels, unseen, gamma, message",
    [
        (SCORES, LABELS[:-1], UNSEEN, 0, "expected scores"),
        (SCORES, LABELS, UNSEEN[:-1], 0, "expected scores"),
        (SCORES[:4], LABELS[:4], UNSEEN, 0, "no clips of unseen"),
        (SCORES[4:], LABELS[4:], UNSEEN, 0, "no clips of seen"),
        (SCORES, LABELS, UNSEEN, np.nan, "finite"),
        (SCORES, LABELS, UNSEEN, np.inf, "finite"),
    ],
)
def test_what_cannot_be_counted(scores, labels, unseen, gamma, message):
    with pytest.raises(ValueError, match=message):
        generalised(scores, labels, unseen, gamma)


def test_nearest_means_by_hand():
    # One example of each class, no choice: the two last clips are asked, one of them on the wrong side.
    features = np.array([[1.0, 0], [0, 5], [9, 1], [3, 1]])
    labels = np.array([0, 1, 0, 1])
    support = np.array([True, True, False, False])
    found = few_shot(features, labels, support, ~support, shots=1, episodes=3)
    assert found.accuracies.tolist() == [0.5] * 3 and found.mean == 0.5 and found.interval == (0.5, 0.5)


def test_means_are_of_directions():
    """A long example does not outvote short ones."""
    features = np.array([[100.0, 0], [0, 1], [0, 1], [-1, 0], [-1, 0], [-1, 0], [1, 3], [-1, 0]])
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    support = np.arange(8) < 6
    assert few_shot(features, labels, support, ~support, shots=3, episodes=1).mean == 1
    # The mean of class 0 lies at (1, 2) / 3; were the length to count, it would be near (1, 0).
    features[7] = [3.0, -0.9]
    labels[7] = 1
    assert few_shot(features, labels, support, ~support, shots=3, episodes=1).accuracies[0] == 0.5


def test_drawn_clips_are_not_asked():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((12, 300)), np.repeat(np.arange(3), 4)
    everywhere = np.ones(12, dtype=bool)
    # One clip of each class is left to ask, so accuracies are thirds; were examples asked too, they would be twelfths.
    found = few_shot(features, labels, everywhere, everywhere, shots=3, episodes=50)
    assert len(found.accuracies) == 50 and set(np.round(3 * found.accuracies, 9)) <= {0, 1, 2, 3}


def test_episodes_repeat_by_seed():
    rng = np.random.default_rng(1)
    features, labels = rng.standard_normal((60, 3)), np.arange(60) % 3
    support = np.arange(60) < 30
    runs = [few_shot(features, labels, support, ~support, shots=2, episodes=n, seed=s) for n, s in ((9, 4), (20, 4))]
    assert runs[0].accuracies.tolist() == runs[1].accuracies[:9].tolist()
    other = few_shot(features, labels, support, ~support, shots=2, episodes=20, seed=5)
    assert other.accuracies.tolist() != runs[1].accuracies.tolist()
    values = runs[1].accuracies
    half = 1.96 * values.std(ddof=1) / np.sqrt(20)
    assert runs[1].interval == pytest.approx((values.mean() - half, values.mean() + half))


@pytest.mark.parametrize(
    "shots, episodes, labels, message",
    [
        (0, 1, [0, 1, 0, 1], "at least 1"),
        (1, 0, [0, 1, 0, 1], "at least 1"),
        (2, 1, [0, 1, 0, 1], "too few for 2 shots"),
        (1, 1, [0, 0, 0, 0], "at least 2 are needed"),
        (1, 1, [0, 1, 0], "expected features"),
    ],
)
def test_episodes_that_cannot_be_drawn(shots, episodes, labels, message):
    support = np.array([True, True, False, False])
    with pytest.raises(ValueError, match=message):
        few_shot(np.eye(4), np.array(labels), support, ~support, shots=shots, episodes=episodes)
    if message.startswith("too few"):
        with pytest.raises(ValueError, match=message):
            few_shot(np.eye(4), np.array(labels), support | True, support | True, shots=2, episodes=1)
