"""Labelled clips on which weights and temperatures are fitted: others than those they are judged on.

What is fitted on labels flatters itself on the same labels. So the clips to fit on are a held-out split; where there is
none, the test clips are dealt into folds, and each fold is fused with what the other folds say (cross-fitting): no
clip's own label has a say in its own prediction. Fitting on all test labels gives an optimistic upper bound, and is
called that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from protogcn.evaluation.alignment import align
from protogcn.evaluation.run_scores import HELD_OUT
from protogcn.evaluation.scores import ScoreFile

__all__ = [
    "FOLDS",
    "Evidence",
    "Fitting",
    "cross_evidence",
    "gather_evidence",
    "held_out_evidence",
    "optimistic_evidence",
    "stratified_folds",
]

FOLDS = 5


@dataclass(frozen=True)
class Fitting:
    """What of a fusion is fitted, and on which clips.

    Attributes:
        weights: fit the weights instead of taking given ones.
        temperatures: divide the logits of each part by a fitted temperature before fusing.
        on_test: fit on all test labels, which says how far it could go and is no result.
        held_out: name of the score file of a held-out split in each run folder; where a run has none, the test clips
            are cross-fitted.
    """

    weights: bool = False
    temperatures: bool = False
    on_test: bool = False
    held_out: str = HELD_OUT

    def __bool__(self) -> bool:
        return self.weights or self.temperatures

    def __str__(self) -> str:
        return " and ".join(name for name in ("weights", "temperatures") if getattr(self, name))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Labelled clips to fit on.

    Attributes:
        parts: score files of the streams, in the order of the fusion.
        folds: fold of each clip of the first part, int64 (n,).
        crossed: whether these are the clips to be fused: then each fold is served by the others.
        how: in words, for the report.
    """

    parts: tuple[ScoreFile, ...]
    folds: np.ndarray
    crossed: bool
    how: str
    rows: list[np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", align(self.parts))

    @property
    def labels(self) -> np.ndarray:
        return self.parts[0].labels


def gather_evidence(
    parts: Sequence[ScoreFile], held_out: Sequence[ScoreFile] | None = None, *, on_test: bool = False
) -> Evidence:
    """The clips to fit on: those of `held_out` where it is given, else the parts' own, crossed unless `on_test`."""
    if on_test:
        return optimistic_evidence(parts)
    return held_out_evidence(parts, held_out) if held_out else cross_evidence(parts)


def cross_evidence(parts: Sequence[ScoreFile], folds: int = FOLDS) -> Evidence:
    """The clips that are fused, in folds that serve each other."""
    dealt = stratified_folds(parts[0].labels, parts[0].ids, folds)
    return Evidence(tuple(parts), dealt, True, f"cross-fitted over {dealt.max() + 1} folds of the test clips")


def held_out_evidence(parts: Sequence[ScoreFile], held_out: Sequence[ScoreFile], folds: int = FOLDS) -> Evidence:
    """Clips of another split, scored by the same streams.

    Raises:
        ValueError: other streams or classes, or clips that are fused as well.
    """
    if len(held_out) != len(parts):
        raise ValueError(
            f"got {len(held_out)} held-out score files for {len(parts)} parts "
            f"({', '.join(part.name for part in parts)}); give one per part, in the same order"
        )
    for part, other in zip(parts, held_out, strict=True):
        if other.num_classes != part.num_classes:
            raise ValueError(
                f"held-out scores of {other.name} have {other.num_classes} classes, "
                f"those of {part.name} have {part.num_classes}"
            )
    numbered = all("ids_from" in part.meta for part in (parts[0], held_out[0]))
    both = np.intersect1d(parts[0].ids, held_out[0].ids)
    same = numbered and np.array_equal(parts[0].scores, held_out[0].scores)
    if same or (len(both) and not numbered):
        raise ValueError(
            f"{'all' if same else len(both)} of the clips to fit on are among those to be fused; fit on scores of "
            "another split, on none (they are then cross-fitted), or say that it is the test labels: --fit-on-test"
        )
    ours, theirs = ([part.name.split("-")[0] for part in side] for side in (parts, held_out))
    if ours != theirs and sorted(ours) == sorted(theirs):
        held_out = [held_out[theirs.index(name)] for name in ours] if len(set(ours)) == len(ours) else held_out
    dealt = stratified_folds(held_out[0].labels, held_out[0].ids, folds)
    return Evidence(tuple(held_out), dealt, False, f"fitted on {len(dealt):,} held-out clips")


def optimistic_evidence(parts: Sequence[ScoreFile], folds: int = FOLDS) -> Evidence:
    """The very clips that are fused: an optimistic upper bound, never a result."""
    dealt = stratified_folds(parts[0].labels, parts[0].ids, folds)
    return Evidence(
        tuple(parts), dealt, False, "FITTED ON THE TEST LABELS: an optimistic upper bound, not a result to report"
    )


def stratified_folds(labels: np.ndarray, ids: np.ndarray, count: int = FOLDS) -> np.ndarray:
    """Deal clips (n,) into folds of equal size and like classes: int64 (n,); the order of the clips does not matter.

    Raises:
        ValueError: fewer than two folds or clips.
    """
    if count < 2 or len(labels) < 2:
        raise ValueError(f"weights are cross-fitted over at least 2 folds of clips, got {count} of {len(labels)} clips")
    folds = np.empty(len(labels), np.int64)
    folds[np.lexsort((ids, labels))] = np.arange(len(labels)) % count
    return folds
