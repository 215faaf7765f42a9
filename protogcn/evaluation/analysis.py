"""What a fusion can be asked: its weights, what each part adds, how different the parts are, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.calibration import Calibration, calibrate
from protogcn.evaluation.contribution import MOST_PARTS, Contribution, Subset, all_subsets, leave_one_out
from protogcn.evaluation.diversity import Diversity, diversity
from protogcn.evaluation.ensemble import Fusion, fuse
from protogcn.evaluation.evidence import Evidence, Fitting, cross_evidence
from protogcn.evaluation.fitting import Fitted, fit_temperatures, fit_weights
from protogcn.evaluation.scores import ScoreFile

__all__ = ["Analysis", "ConfusedPair", "analyse", "confused_pairs"]


@dataclass(frozen=True)
class ConfusedPair:
    """Clips of class `true` taken for class `taken_for`, before (best single part) and after fusing; of `clips`."""

    true: str
    taken_for: str
    before: int
    after: int
    clips: int


@dataclass(frozen=True, eq=False)
class Analysis:
    """A fusion with its statistics.

    Attributes:
        name: of the fusion, such as "fused" or "6 with motion".
        fusion: the result.
        weights: where they were fitted.
        temperatures: where they were applied before fusing.
        contributions: of each part, in the order of the parts.
        diversity: of the parts.
        calibration: of the parts and the fusion.
        subsets: fusions of all subsets, where they were asked for.
        pairs: the most confused pairs of classes.
    """

    name: str
    fusion: Fusion
    weights: Fitted | None
    temperatures: Fitted | None
    contributions: tuple[Contribution, ...]
    diversity: Diversity
    calibration: Calibration
    subsets: tuple[Subset, ...]
    pairs: tuple[ConfusedPair, ...]


def analyse(
    parts: Sequence[ScoreFile],
    weights: Sequence[float] | None = None,
    rule: str = "probabilities",
    *,
    evidence: Evidence | None = None,
    fit: bool = False,
    heat: bool = False,
    subsets: bool = False,
    name: str = "fused",
    names: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Analysis:
    """Fuse parts and measure all that `Analysis` holds.

    Args:
        parts, weights, rule, names, resamples, seed: as in `fuse`.
        evidence: clips to fit temperatures, and perhaps weights, on; those to be fused, crossed, by default.
        fit: fit the weights on the evidence instead of taking `weights`.
        heat: divide the logits of each part by its temperature before fusing.
        subsets: fuse all subsets too, of at most six parts.
        name: of the fusion.

    Raises:
        ValueError: as in `fuse`, fewer than two parts, or too many for all subsets.
    """
    if len(parts) < 2:
        raise ValueError("an analysis compares at least two parts; got one")
    if subsets and len(parts) > MOST_PARTS:
        raise ValueError(
            f"{len(parts)} parts have {2 ** len(parts) - 1:,} subsets; choose at most {MOST_PARTS} parts for them"
        )
    evidence = evidence or cross_evidence(parts)
    temperatures = fit_temperatures(evidence)
    warm = temperatures if heat or rule == "probabilities" else None
    fitted = fit_weights(evidence, rule, warm) if fit else None
    used = fitted.applied if fitted else weights
    warmth = temperatures.applied if heat else None
    labels = list(names) if names else [part.name for part in parts]
    chance = {"resamples": resamples, "seed": seed}
    how = f"{Fitting(weights=fit, temperatures=heat)} {evidence.how}" if fit or heat else ""
    fusion = fuse(parts, used, rule, temperatures=warmth, names=labels, fitted=how, resamples=resamples, seed=seed)
    return Analysis(
        name=name,
        fusion=fusion,
        weights=fitted,
        temperatures=temperatures if heat else None,
        contributions=tuple(leave_one_out(parts, used, rule, temperatures=warmth, names=labels, **chance)),
        diversity=diversity([metrics.correct for metrics in fusion.part_metrics], labels),
        calibration=calibrate(parts, evidence, used, rule, names=labels, temperatures=temperatures, **chance),
        subsets=tuple(all_subsets(parts, used, rule, temperatures=warmth, names=labels)) if subsets else (),
        pairs=tuple(
            confused_pairs(
                fusion.part_metrics[fusion.best].confusion, fusion.metrics.confusion, fusion.scores.class_names
            )
        ),
    )


def confused_pairs(
    before: np.ndarray, after: np.ndarray, class_names: Sequence[str] = (), count: int = 12
) -> list[ConfusedPair]:
    """The pairs of classes most often confused before or after fusing, the worst first.

    Args:
        before, after: confusion matrices (true, predicted).
        class_names: numbers where they are not known.
        count: pairs at most.
    """
    names = list(class_names) or [f"class {index}" for index in range(len(before))]
    worst = np.maximum(before, after)
    np.fill_diagonal(worst, 0)
    order = np.argsort(-(worst.astype(np.float64) + before / (before.sum() + 1)), axis=None, kind="stable")[:count]
    cells = [divmod(int(cell), len(before)) for cell in order]
    return [
        ConfusedPair(names[i], names[j], int(before[i, j]), int(after[i, j]), int(before[i].sum()))
        for i, j in cells
        if worst[i, j] > 0
    ]
