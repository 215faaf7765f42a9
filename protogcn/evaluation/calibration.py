"""Whether a model that says 80 % is right in 80 % of the cases, and what a temperature mends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.alignment import align
from protogcn.evaluation.blocks import each_block
from protogcn.evaluation.ensemble import convert, fuse
from protogcn.evaluation.evidence import Evidence
from protogcn.evaluation.fitting import Fitted, fit_temperatures
from protogcn.evaluation.metrics import Interval, McNemar, bootstrap_difference, mcnemar
from protogcn.evaluation.scores import ScoreFile

__all__ = ["BINS", "Calibration", "Reliability", "calibrate", "confidences", "reliability"]

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Clips in `BINS` bins of equal width by the probability of their answer: (0, 1/15], (1/15, 2/15], ...

    Attributes:
        count: clips in each bin.
        confidence: mean probability of the answer in each bin, NaN where it is empty.
        accuracy: share of right answers in each bin, NaN where it is empty.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over clips of |accuracy - confidence| of their bin (Guo et al. 2017)."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((self.count[filled] * gaps).sum() / self.count.sum())


@dataclass(frozen=True, eq=False)
class Calibration:
    """Temperatures of the parts of a fusion, and what they change.

    Attributes:
        names: of the parts.
        temperatures: one per part; how they were fitted is in their evidence.
        before, after: reliability of each part.
        fused_before, fused_after: reliability of the fusion without and with them.
        top1_before, top1_after: of the fusion, as fractions of one.
        interval: 95 % interval of the change of top-1, resampling clips (paired).
        mcnemar: test of the fusion with temperatures against the one without.
    """

    names: tuple[str, ...]
    temperatures: Fitted
    before: tuple[Reliability, ...]
    after: tuple[Reliability, ...]
    fused_before: Reliability
    fused_after: Reliability
    top1_before: float
    top1_after: float
    interval: Interval
    mcnemar: McNemar


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Sort clips by the probability of their answer (n,) and compare with whether it is right, bool (n,)."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count,
            np.bincount(bins, confidence, BINS) / count,
            np.bincount(bins, correct, BINS) / count,
        )


def confidences(part: ScoreFile, temperature: float | np.ndarray = 1.0, rows: np.ndarray | None = None) -> np.ndarray:
    """Probability of the answer to each clip, float64 (n,).

    Args:
        part: the scores.
        temperature: by which their logits are divided, one for all or (n,).
        rows: order of the clips, that of the part where not given.
    """
    order = np.arange(len(part.ids)) if rows is None else rows
    heat, found = np.asarray(temperature, np.float64), np.empty(len(order))

    def work(block: slice) -> None:
        own = heat[block, None] if heat.ndim else float(heat)
        found[block] = convert(part.scores[order[block]], part.kind, "probabilities", own).max(axis=1)

    each_block(work, len(order), part.num_classes)
    return found


def calibrate(
    parts: Sequence[ScoreFile],
    evidence: Evidence,
    weights: Sequence[float] | np.ndarray | None = None,
    rule: str = "probabilities",
    *,
    names: Sequence[str] | None = None,
    temperatures: Fitted | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Fit a temperature per part and compare the parts and their fusion without and with it.

    Args:
        parts, weights, rule, names: of the fusion, as in `fuse`.
        evidence: clips to fit the temperatures on.
        temperatures: if they have been fitted already.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: as in `fuse`.
    """
    fitted = temperatures or fit_temperatures(evidence)
    plain = fuse(parts, weights, rule, names=names, resamples=resamples, seed=seed)
    heated = fuse(parts, weights, rule, temperatures=fitted.applied, names=names, resamples=resamples, seed=seed)
    rows, right = align(parts), [metrics.correct for metrics in plain.part_metrics]
    before = [reliability(confidences(part, 1.0, row), ok) for part, row, ok in zip(parts, rows, right, strict=True)]
    after = [
        reliability(confidences(part, heat, row), ok)
        for part, heat, row, ok in zip(parts, fitted.applied, rows, right, strict=True)
    ]
    return Calibration(
        plain.names,
        fitted,
        tuple(before),
        tuple(after),
        reliability(confidences(plain.scores), plain.metrics.correct),
        reliability(confidences(heated.scores), heated.metrics.correct),
        plain.metrics.top1,
        heated.metrics.top1,
        bootstrap_difference(heated.metrics.correct, plain.metrics.correct, resamples, seed),
        mcnemar(heated.metrics.correct, plain.metrics.correct),
    )
