"""What each part adds to a fusion: the fusion without it, and the fusions of all subsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from protogcn.evaluation.alignment import align
from protogcn.evaluation.blocks import each_block
from protogcn.evaluation.ensemble import check_rule, convert, per_part
from protogcn.evaluation.metrics import Interval, McNemar, bootstrap_difference, label_ranks, mcnemar
from protogcn.evaluation.scores import ScoreFile

__all__ = ["MOST_PARTS", "Contribution", "Subset", "all_subsets", "leave_one_out", "subset_correct"]

# 2 ** 6 - 1 = 63 fusions; each further part doubles them.
MOST_PARTS = 6


@dataclass(frozen=True)
class Contribution:
    """What the fusion loses when one part is left out, the weights of the others staying as they are.

    Attributes:
        name: of the part.
        without: top-1 of the fusion of the others, as a fraction of one.
        drop: top-1 of the whole fusion minus `without`; negative where the part does harm.
        interval: 95 % interval of the drop, resampling clips (paired).
        mcnemar: test of the whole fusion against the others.
    """

    name: str
    without: float
    drop: float
    interval: Interval
    mcnemar: McNemar


@dataclass(frozen=True)
class Subset:
    """Top-1, as a fraction of one, of the fusion of some of the parts."""

    names: tuple[str, ...]
    top1: float


def subset_correct(
    parts: Sequence[ScoreFile],
    subsets: Sequence[Sequence[int]],
    weights: Sequence[float] | np.ndarray | None = None,
    rule: str = "probabilities",
    temperatures: Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """Which clips the fusion of each subset (indices of parts) gets right: bool (subsets, n), as the first part's.

    Weights and temperatures are as in `fuse`. A subset without any weight for a clip gets that clip wrong.

    Raises:
        ValueError: as in `fuse`.
    """
    check_rule(rule, parts)
    rows = align(parts)
    labels, (clips, classes) = parts[0].labels, parts[0].scores.shape
    shares = np.broadcast_to(per_part(weights, len(parts), "weights"), (len(parts), clips))
    scales = np.broadcast_to(per_part(temperatures, len(parts), "temperatures"), (len(parts), clips))
    correct = np.zeros((len(subsets), clips), bool)

    def work(block: slice) -> None:
        weighted = []
        for index, part in enumerate(parts):
            heat = 1.0 if temperatures is None else scales[index, block, None]
            values = convert(part.scores[rows[index][block]], part.kind, rule, heat)
            weighted.append(np.multiply(values, shares[index, block, None], dtype=np.float64))
        for index, subset in enumerate(subsets):
            fused = np.add.reduce([weighted[member] for member in subset])
            told = shares[list(subset)][:, block].max(axis=0) > 0
            correct[index, block] = (label_ranks(fused, labels[block]) < 1) & told

    each_block(work, clips, classes)
    return correct


def leave_one_out(
    parts: Sequence[ScoreFile],
    weights: Sequence[float] | np.ndarray | None = None,
    rule: str = "probabilities",
    *,
    temperatures: Sequence[float] | np.ndarray | None = None,
    names: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Contribution]:
    """Contribution of each part to the fusion of all; parts that alone carry weight are left out of the list.

    Raises:
        ValueError: as in `fuse`, or a single part.
    """
    count = len(parts)
    if count < 2:
        raise ValueError("the contribution of a part can be told from two parts on")
    shares = per_part(weights, count, "weights")
    kept = [part for part in range(count) if np.delete(shares, part, axis=0).max(axis=0).min() > 0]
    subsets = [tuple(range(count)), *(tuple(i for i in range(count) if i != part) for part in kept)]
    whole, *others = subset_correct(parts, subsets, weights, rule, temperatures)
    labels = list(names) if names else [part.name for part in parts]
    return [
        Contribution(
            labels[part],
            float(other.mean()),
            float(whole.mean() - other.mean()),
            bootstrap_difference(whole, other, resamples, seed),
            mcnemar(whole, other),
        )
        for part, other in zip(kept, others, strict=True)
    ]


def all_subsets(
    parts: Sequence[ScoreFile],
    weights: Sequence[float] | np.ndarray | None = None,
    rule: str = "probabilities",
    *,
    temperatures: Sequence[float] | np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> list[Subset]:
    """Fusions of every subset of at most `MOST_PARTS` parts, the best first and, among equals, the smaller.

    The best of many subsets is picked by the very clips it is judged on: a description, not a result.

    Raises:
        ValueError: as in `fuse`, or too many parts.
    """
    if len(parts) > MOST_PARTS:
        raise ValueError(
            f"{len(parts)} parts have {2 ** len(parts) - 1:,} subsets; at most {MOST_PARTS} parts are taken"
        )
    shares = per_part(weights, len(parts), "weights")
    subsets = [
        subset
        for size in range(1, len(parts) + 1)
        for subset in combinations(range(len(parts)), size)
        if shares[list(subset)].max(axis=0).min() > 0
    ]
    labels = list(names) if names else [part.name for part in parts]
    correct = subset_correct(parts, subsets, weights, rule, temperatures)
    found = [
        Subset(tuple(labels[member] for member in subset), float(right.mean()))
        for subset, right in zip(subsets, correct, strict=True)
    ]
    return sorted(found, key=lambda subset: (-subset.top1, len(subset.names)))
