"""Weights and temperatures of the parts of a fusion, by maximum likelihood on the clips of some evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.blocks import in_threads, row_blocks
from protogcn.evaluation.ensemble import check_rule
from protogcn.evaluation.evidence import Evidence

__all__ = ["Fitted", "fit_scales", "fit_temperatures", "fit_weights"]

# A probability of zero has no logarithm; one clip that all streams miss must not decide.
_FLOOR = 1e-6
_MOST_HEAT = 100.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """One number per part.

    Attributes:
        values: fitted on all clips of the evidence (parts,).
        by_fold: fitted without the clips of each fold (folds, parts); their spread says how firm the values are.
        evidence: what they were fitted on.
    """

    values: np.ndarray
    by_fold: np.ndarray
    evidence: Evidence

    @property
    def applied(self) -> np.ndarray:
        """What to fuse with: (parts,), or (parts, n) from the other folds of each clip where the fit is crossed."""
        return self.by_fold[self.evidence.folds].T if self.evidence.crossed else self.values

    @property
    def mean(self) -> np.ndarray:
        """Mean of what is applied (parts,)."""
        return self.by_fold.mean(axis=0) if self.evidence.crossed else self.values

    @property
    def spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest over the folds, (parts,) each."""
        return self.by_fold.min(axis=0), self.by_fold.max(axis=0)


def fit_weights(evidence: Evidence, rule: str, temperatures: Fitted | None = None) -> Fitted:
    """Weights on the simplex, in proportion to the factors of the logits that make their sum most likely.

    These are the coefficients a_i >= 0 of the log-linear pool, softmax(sum(a_i * logits_i)): a convex problem, so there
    is one optimum and no chance in finding it. Rule "probabilities" has no such problem of its own (its likelihood
    rewards the one sharpest stream instead of many); it takes the same coefficients, of logits that have been divided
    by their temperatures, because a probability does not grow with the scale of the logits.

    Args:
        evidence: clips to fit on.
        rule: by which the scores are to be fused.
        temperatures: fitted on the same evidence; by default those that rule "probabilities" needs.

    Raises:
        ValueError: a rule that the parts do not allow.
    """
    check_rule(rule, evidence.parts)
    if temperatures is None and rule == "probabilities":
        temperatures = fit_temperatures(evidence)

    def fitted(fold: int | None) -> np.ndarray:
        clips = _without(evidence, fold)
        heat = np.ones(len(evidence.parts))
        if temperatures is not None:
            heat = temperatures.values if fold is None else temperatures.by_fold[fold]
        arrays = [_logits(evidence, part, clips) / np.float32(own) for part, own in enumerate(heat)]
        return _on_simplex(fit_scales(arrays, evidence.labels[clips]))

    return _over_folds(evidence, fitted)


def fit_temperatures(evidence: Evidence) -> Fitted:
    """Temperature of each part by maximum likelihood (Guo et al. 2017, section 4.2); above one: it was too sure."""

    def fitted(fold: int | None) -> np.ndarray:
        clips = _without(evidence, fold)
        scales = [
            fit_scales([_logits(evidence, part, clips)], evidence.labels[clips], least=1 / _MOST_HEAT)[0]
            for part in range(len(evidence.parts))
        ]
        return 1 / np.array(scales)

    return _over_folds(evidence, fitted)


def _over_folds(evidence: Evidence, fitted: Callable[[int | None], np.ndarray]) -> Fitted:
    folds = range(int(evidence.folds.max()) + 1)
    return Fitted(fitted(None), np.array([fitted(fold) for fold in folds]), evidence)


def _without(evidence: Evidence, fold: int | None) -> np.ndarray:
    return np.flatnonzero(evidence.folds != (-1 if fold is None else fold))


def _logits(evidence: Evidence, part: int, clips: np.ndarray) -> np.ndarray:
    scores = evidence.parts[part].scores[evidence.rows[part][clips]]
    return scores if evidence.parts[part].kind == "logits" else np.log(np.maximum(scores, _FLOOR))


def _on_simplex(values: np.ndarray) -> np.ndarray:
    values = np.where(values < 1e-4 * values.max(initial=0.0), 0.0, values)
    return values / values.sum() if values.sum() > 0 else np.full(len(values), 1 / len(values))


def fit_scales(arrays: Sequence[np.ndarray], labels: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Factors a_i >= `least` by which the softmax of sum(a_i * array_i) makes the labels most likely.

    A multinomial logistic regression whose coefficients are shared by all classes; arrays (n, classes), labels (n,).
    The penalty is that of one clip, so that streams without a mistake have an optimum too.
    """
    from scipy.optimize import minimize

    size = len(labels)
    spread = np.array([max(float(array.std(dtype=np.float64)), 1e-12) for array in arrays])

    def of_block(rows: slice, scales: np.ndarray) -> tuple[float, np.ndarray]:
        blocks = [array[rows] for array in arrays]
        mixed = np.zeros(blocks[0].shape, np.float32)
        for block, scale in zip(blocks, scales, strict=True):
            mixed += block * np.float32(scale)
        mixed -= mixed.max(axis=1, keepdims=True)
        truth = labels[rows, None]
        own = np.take_along_axis(mixed, truth, axis=1)[:, 0]
        np.exp(mixed, out=mixed)
        sums = mixed.sum(axis=1, dtype=np.float64)
        loss = float((np.log(sums) - own).sum())
        expected = [np.einsum("nc,nc->n", block, mixed) / sums for block in blocks]
        true = [np.take_along_axis(block, truth, axis=1)[:, 0] for block in blocks]
        return loss, np.array([float((e - t).sum()) for e, t in zip(expected, true, strict=True)])

    def loss(unit: np.ndarray) -> tuple[float, np.ndarray]:
        scales = unit / spread
        results = in_threads(lambda rows: of_block(rows, scales), row_blocks(*arrays[0].shape))
        total = sum(value for value, _ in results) / size
        slope = np.sum([value for _, value in results], axis=0) / size / spread
        return total + float(unit @ unit) / (2 * size), slope + unit / size

    start = np.maximum(spread / len(arrays), least * spread)
    bounds = [(least * width, None) for width in spread]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-10, "gtol": 1e-6})
    return found.x / spread
