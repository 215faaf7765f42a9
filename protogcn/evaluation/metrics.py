"""Figures of merit of a score matrix, and the statistics that say how far they can be trusted."""

from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.blocks import row_blocks

__all__ = [
    "Interval",
    "McNemar",
    "Metrics",
    "average_clips",
    "bootstrap_difference",
    "bootstrap_mean_class",
    "bootstrap_rate",
    "confusion_matrix",
    "evaluate",
    "label_ranks",
    "mcnemar",
    "mean_class_accuracy",
    "per_class_accuracy",
    "softmax",
    "summarise",
    "top_k_correct",
]

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Metrics:
    """Accuracies of n clips as fractions of one, with 95 % bootstrap intervals.

    `top5` counts the best `k` = min(5, classes) answers. `correct` (n,) says which clips have the right first answer,
    `confusion` (classes, classes) counts clips by true and predicted class.
    """

    top1: float
    top5: float
    k: int
    mean_class: float
    top1_interval: Interval
    top5_interval: Interval
    correct: np.ndarray
    confusion: np.ndarray


@dataclass(frozen=True)
class McNemar:
    """Clips that only the first (`gained`) or only the second (`lost`) of two models gets right, and what that proves.

    Both p-values are two-sided: `p_exact` is the binomial test, `p_mid` its mid-p variant, which is less conservative
    (Fagerland et al. 2013).
    """

    gained: int
    lost: int
    p_exact: float
    p_mid: float


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in the floating type of `scores`."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def average_clips(logits: np.ndarray, how: str = "probabilities") -> np.ndarray:
    """Average the clips of each sample, (n, clips, classes) -> (n, classes).

    "probabilities" is the mean after softmax (PYSKL's default), "logits" the mean of the logits.
    """
    if how not in ("probabilities", "logits"):
        raise ValueError(f"clips are averaged by 'probabilities' or 'logits', not by {how!r}")
    return (softmax(logits) if how == "probabilities" else logits).mean(axis=1)


def label_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes rank above the true one: (n, classes), (n,) -> int64 (n,).

    Among equal scores the later class ranks higher, as in a stable argsort (the PYSKL family takes an unstable one).
    Note that `mean_class_accuracy` takes the first of equal scores, as its origin does.
    """
    ranks = np.empty(len(labels), np.int64)
    for rows in row_blocks(*scores.shape):
        block, truth = scores[rows], labels[rows, None]
        own = np.take_along_axis(block, truth, axis=1)
        higher = np.count_nonzero(block > own, axis=1)
        ties = block == own
        if np.count_nonzero(ties) > len(block):
            higher += np.count_nonzero(ties & (np.arange(block.shape[1]) > truth), axis=1)
        ranks[rows] = higher
    return ranks


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each label is among the last `k` of the sorted scores (see `label_ranks` for ties): bool (n,)."""
    return label_ranks(scores, labels) < k


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Count clips by (true class, predicted class): int64 (classes, classes)."""
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class that is recognised, NaN for a class without clips: (classes,)."""
    support = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), support, out=np.full(len(support), np.nan), where=support > 0)


def mean_class_accuracy(confusion: np.ndarray) -> float:
    """Mean recall over the classes that occur in truth or predictions, as the PYSKL family defines it.

    A class that is predicted but never true counts as zero, so it lowers the mean.
    """
    recalls = per_class_accuracy(confusion)
    occurring = (confusion.sum(axis=1) + confusion.sum(axis=0)) > 0
    return float(np.nan_to_num(recalls[occurring]).mean())


def bootstrap_rate(correct: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of the mean of a boolean vector.

    A resample of n yes/no clips has a binomial number of yes, so that number is drawn instead of n indices.
    """
    rng = np.random.default_rng(seed)
    return _interval(rng.binomial(len(correct), correct.mean(), resamples) / len(correct))


def bootstrap_difference(first: np.ndarray, second: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % interval of accuracy(first) - accuracy(second) on the same clips, resampling clips (paired)."""
    size = len(first)
    gained, lost = np.count_nonzero(first & ~second) / size, np.count_nonzero(second & ~first) / size
    drawn = np.random.default_rng(seed).multinomial(size, [gained, lost, max(0.0, 1 - gained - lost)], resamples)
    return _interval((drawn[:, 0] - drawn[:, 1]) / size)


def bootstrap_mean_class(confusion: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % interval of `mean_class_accuracy`, resampling clips; a class that is only predicted stays in as zero."""
    support, hits = confusion.sum(axis=1), confusion.diagonal()
    cells = np.concatenate([hits, support - hits]) / confusion.sum()
    drawn = np.random.default_rng(seed).multinomial(confusion.sum(), cells, resamples).reshape(resamples, 2, -1)
    totals = drawn.sum(axis=1)
    recalls = np.divide(drawn[:, 0], totals, out=np.zeros(totals.shape), where=totals > 0)
    never_true = np.count_nonzero((support == 0) & (confusion.sum(axis=0) > 0))
    return _interval(recalls.sum(axis=1) / (np.count_nonzero(totals, axis=1) + never_true))


def _interval(draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Compare two models by the clips on which exactly one of them is right; boolean (n,) each."""
    gained, lost = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
    total, fewer = gained + lost, min(gained, lost)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    counts = np.arange(fewer + 1)
    logs = log_factorials[total] - log_factorials[counts] - log_factorials[total - counts] - total * np.log(2)
    pmf = np.exp(logs)
    return McNemar(gained, lost, min(1.0, 2 * float(pmf.sum())), min(1.0, 2 * float(pmf.sum()) - float(pmf[-1])))


def evaluate(scores: np.ndarray, labels: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Metrics:
    """All figures of a score matrix (n, classes) against labels (n,).

    Raises:
        ValueError: there is no clip, or the shapes disagree.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f"expected scores (n, classes) and labels (n,), got {scores.shape} and {labels.shape}")
    ranks, predictions = label_ranks(scores, labels), scores.argmax(axis=1)
    return summarise(ranks, predictions, labels, scores.shape[1], resamples=resamples, seed=seed)


def summarise(
    ranks: np.ndarray,
    predictions: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """All figures from the rank of each true class (see `label_ranks`) and the predicted classes, (n,) each."""
    k = min(5, num_classes)
    confusion = confusion_matrix(labels, predictions, num_classes)
    return Metrics(
        top1=float(np.mean(ranks < 1)),
        top5=float(np.mean(ranks < k)),
        k=k,
        mean_class=mean_class_accuracy(confusion),
        top1_interval=bootstrap_rate(ranks < 1, resamples, seed),
        top5_interval=bootstrap_rate(ranks < k, resamples, seed),
        correct=ranks < 1,
        confusion=confusion,
    )
