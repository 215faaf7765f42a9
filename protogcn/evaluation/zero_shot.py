"""Figures of zero-shot and few-shot recognition: seen against unseen classes, calibrated stacking, nearest means."""

from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.metrics import Interval

__all__ = ["Curve", "Episodes", "Generalised", "calibration_curve", "few_shot", "generalised", "harmonic_mean"]


@dataclass(frozen=True)
class Generalised:
    """Clips of seen and unseen classes recognised among the names of all classes.

    Attributes:
        seen: S, mean over the seen classes of the share of their clips that is recognised.
        unseen: U, the same of the unseen classes.
        harmonic: H = 2 S U / (S + U).
        gamma: what was taken from the scores of the seen classes.
        seen_interval, unseen_interval, harmonic_interval: 95 % bootstrap intervals, resampling clips within classes.
    """

    seen: float
    unseen: float
    harmonic: float
    gamma: float
    seen_interval: Interval
    unseen_interval: Interval
    harmonic_interval: Interval


@dataclass(frozen=True, eq=False)
class Curve:
    """Every pair of accuracies that calibrated stacking can give, from all answers seen to all answers unseen.

    Attributes:
        gammas: rising float64 (points,); each is the largest number that gives its point.
        seen, unseen: accuracies S and U at each, (points,).
        area: under the curve of S over U (AUSUC).
    """

    gammas: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray
    area: float

    @property
    def best(self) -> int:
        """The point of the highest harmonic mean; it looks at the labels, so it is a bound and no result."""
        return int(np.argmax(harmonic_mean(self.seen, self.unseen)))


@dataclass(frozen=True, eq=False)
class Episodes:
    """Accuracies of repeated few-shot draws.

    Attributes:
        accuracies: mean class accuracy of each episode, (episodes,).
        mean: over the episodes.
        interval: 95 % interval of that mean, from the spread of the episodes; of one episode, its value.
    """

    accuracies: np.ndarray
    mean: float
    interval: Interval


def harmonic_mean(seen: np.ndarray | float, unseen: np.ndarray | float) -> np.ndarray:
    """2 S U / (S + U), and 0 where both are 0."""
    seen, unseen = np.asarray(seen, dtype=np.float64), np.asarray(unseen, dtype=np.float64)
    total = seen + unseen
    return np.divide(2 * seen * unseen, total, out=np.zeros(total.shape), where=total > 0)


def generalised(
    scores: np.ndarray,
    labels: np.ndarray,
    unseen: np.ndarray,
    gamma: float = 0.0,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Generalised:
    """Generalised zero-shot accuracies, with calibrated stacking (Chao et al. 2016).

    ``gamma`` is taken from the scores of the seen classes before the best answer is chosen. Between a seen and an
    unseen class of then equal scores the seen one is chosen, within either group the first.

    Args:
        scores: (n, classes).
        labels: true classes, (n,).
        unseen: which classes training did not know, bool (classes,).
        gamma: finite number in the units of the scores.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: shapes disagree, gamma is not finite, or there are no clips of seen or of unseen classes.
    """
    margins, correct = _margins(scores, labels, unseen)
    if not np.isfinite(gamma):
        raise ValueError(f"gamma must be a finite number, got {gamma}")
    hits = correct & (unseen[labels] == (margins < gamma))
    rng = np.random.default_rng(seed)
    rates, draws = [], []
    for group in (~unseen, unseen):
        support = np.bincount(labels, minlength=len(unseen))[group]
        right = np.bincount(labels, weights=hits, minlength=len(unseen))[group][support > 0]
        support = support[support > 0]
        rates.append(float((right / support).mean()))
        draws.append((rng.binomial(support, right / support, (resamples, len(support))) / support).mean(axis=1))
    harmonic = float(harmonic_mean(rates[0], rates[1]))
    intervals = [_interval(draw) for draw in (*draws, harmonic_mean(draws[0], draws[1]))]
    return Generalised(rates[0], rates[1], harmonic, float(gamma), intervals[0], intervals[1], intervals[2])


def calibration_curve(scores: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> Curve:
    """Accuracies under calibrated stacking for every gamma that makes a difference; arguments as `generalised`.

    Raises:
        ValueError: shapes disagree, or there are no clips of seen or of unseen classes.
    """
    margins, correct = _margins(scores, labels, unseen)
    support = np.bincount(labels, minlength=len(unseen))
    classes = np.where(unseen, np.count_nonzero(support[unseen]), np.count_nonzero(support[~unseen]))
    weights = correct / (support * classes)[labels]
    steps, place = np.unique(margins, return_inverse=True)
    # Raising gamma past a margin turns the answer of its clips from a seen class to an unseen one.
    lost = np.bincount(place, weights=weights * ~unseen[labels], minlength=len(steps))
    gained = np.bincount(place, weights=weights * unseen[labels], minlength=len(steps))
    seen = np.append(np.cumsum(lost[::-1])[::-1], 0.0)
    found = np.append(0.0, np.cumsum(gained))
    gammas = np.append(steps, np.nextafter(steps[-1], np.inf))
    return Curve(gammas, seen, found, float(np.trapezoid(seen, found)))


def few_shot(
    features: np.ndarray,
    labels: np.ndarray,
    support: np.ndarray,
    queries: np.ndarray,
    *,
    shots: int,
    episodes: int,
    seed: int = 0,
) -> Episodes:
    """Accuracy of the nearest class mean over few examples (after Snell et al. 2017, by cosine).

    Every episode draws ``shots`` clips of each class; their features, each of unit length, are averaged, and a query
    belongs to the class whose mean has the largest cosine with it. A clip that was drawn is no query of its episode.

    Args:
        features: (n, channels).
        labels: 0-based classes, (n,); the classes are those of the queries.
        support: which clips may be drawn, bool (n,).
        queries: which clips are recognised, bool (n,).
        shots: examples per class.
        episodes: number of draws.
        seed: of the draws; episode i is the same for any number of episodes.

    Raises:
        ValueError: shapes disagree, a number is below 1, or a class has too few clips.
    """
    if features.ndim != 2 or {labels.shape, support.shape, queries.shape} != {features.shape[:1]}:
        raise ValueError(f"expected features (n, channels) and three vectors (n,), got {features.shape} and others")
    if shots < 1 or episodes < 1:
        raise ValueError(f"shots and episodes must be at least 1, got {shots} and {episodes}")
    classes = np.unique(labels[queries])
    if len(classes) < 2:
        raise ValueError(f"the clips to recognise are of {len(classes)} class; at least 2 are needed")
    pools = [np.flatnonzero(support & (labels == label)) for label in classes]
    for label, pool in zip(classes, pools, strict=True):
        asked = np.count_nonzero(queries & (labels == label))
        if len(pool) < shots or asked <= min(shots, int(np.count_nonzero(queries[pool]))):
            raise ValueError(
                f"class {label} has {len(pool)} clips for examples and {asked} to recognise: too few for {shots} shots"
            )
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    accuracies = np.empty(episodes)
    for episode in range(episodes):
        rng = np.random.default_rng([seed, episode])
        drawn = np.stack([rng.choice(pool, shots, replace=False) for pool in pools])
        means = directions[drawn].mean(axis=1)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        left = queries.copy()
        left[drawn.reshape(-1)] = False
        right = classes[(directions[left] @ means.T).argmax(axis=1)] == labels[left]
        accuracies[episode] = np.mean([right[labels[left] == label].mean() for label in classes])
    mean = float(accuracies.mean())
    half = 1.96 * float(accuracies.std(ddof=1)) / float(np.sqrt(episodes)) if episodes > 1 else 0.0
    return Episodes(accuracies, mean, (mean - half, mean + half))


def _margins(scores: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much the best seen class leads the best unseen one, and whether the best of the own group is the truth."""
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or unseen.shape != scores.shape[1:]:
        raise ValueError(
            "expected scores (n, classes), labels (n,) and the unseen classes as booleans (classes,), got "
            f"{scores.shape}, {labels.shape} and {unseen.shape}"
        )
    mine = unseen[labels]
    if not mine.any() or mine.all():
        raise ValueError(f"there are no clips of {'seen' if mine.any() or not len(mine) else 'unseen'} classes")
    best, answers = [], []
    for group in (~unseen, unseen):
        members = np.flatnonzero(group)
        places = scores[:, members].argmax(axis=1)
        answers.append(members[places])
        best.append(scores[np.arange(len(scores)), members[places]].astype(np.float64))
    return best[0] - best[1], np.where(mine, answers[1], answers[0]) == labels


def _interval(draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
