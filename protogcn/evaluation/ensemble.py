"""Fusion of score files: aligned by clip, with its rule and weights named and its gain tested."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.alignment import align, describe
from protogcn.evaluation.blocks import each_block
from protogcn.evaluation.metrics import (
    Interval,
    McNemar,
    Metrics,
    bootstrap_difference,
    label_ranks,
    mcnemar,
    softmax,
    summarise,
)
from protogcn.evaluation.presets import PRESETS, RULES, Preset, get_preset
from protogcn.evaluation.scores import ScoreFile, check_choice

__all__ = [
    "PRESETS",
    "RULES",
    "Fusion",
    "Preset",
    "align",
    "check_rule",
    "convert",
    "fuse",
    "get_preset",
    "per_part",
    "weighted_sum",
]

# Probabilities of a temperature of their own are raised to a power; a zero stays out of the logarithm.
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Fusion:
    """Result of `fuse`; everything that is per clip is in the order of the first part.

    Attributes:
        scores: the fused scores: the weighted mean of logits or of probabilities.
        names: of the parts.
        weights: as given, one per part; the mean over the clips where each clip has weights of its own.
        metrics: figures of the fused scores.
        part_metrics: figures of each part.
        best: index of the part with the highest top-1.
        gain_interval: 95 % bootstrap interval of top-1 minus the best part's, on the same clips.
        mcnemar: test of the fused scores against the best part. The best part is picked on these very clips, which
            flatters it, so the test is on the careful side.
    """

    scores: ScoreFile
    names: tuple[str, ...]
    weights: tuple[float, ...]
    rule: str
    metrics: Metrics
    part_metrics: tuple[Metrics, ...]
    best: int
    gain_interval: Interval
    mcnemar: McNemar

    @property
    def gain(self) -> float:
        """Top-1 over that of the best part, as a fraction of one."""
        return self.metrics.top1 - self.part_metrics[self.best].top1


def per_part(values: Sequence[float] | np.ndarray | None, count: int, what: str) -> np.ndarray:
    """Weights or temperatures as float64 (count, 1), or (count, n) where each of n clips has its own; ones by default.

    Raises:
        ValueError: not one per part, or negative, infinite or, for a clip, all zero.
    """
    if values is None:
        return np.ones((count, 1))
    array = np.asarray(values, np.float64)
    if len(array) != count or array.ndim > 2:
        raise ValueError(f"got {len(array)} {what} for {count} score files; give one per file, in the same order")
    array = array.reshape(count, -1)
    if not np.isfinite(array).all() or array.min() < 0 or not array.max(axis=0).min() > 0:
        given = ", ".join(f"{value:g}" for value in array.mean(axis=1))
        raise ValueError(f"{what} must be finite, not negative and not all zero; got {given}")
    return array


def check_rule(rule: str, parts: Sequence[ScoreFile]) -> None:
    """Refuse an unknown rule, and rule "logits" where some part holds probabilities."""
    check_choice(rule, RULES, "fusion rule")
    bare = [describe(part) for part in parts if part.kind != "logits"]
    if rule == "logits" and bare:
        raise ValueError(
            f"rule 'logits' needs logits, but {', '.join(bare)} holds probabilities; use rule 'probabilities'"
        )


def convert(scores: np.ndarray, kind: str, rule: str, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Scores (..., classes) of one kind as what `rule` averages; logits are divided by the temperature first.

    The logits of probabilities are taken to be their logarithms.
    """
    if np.ndim(temperature) or temperature != 1:
        scores = scores if kind == "logits" else np.log(np.maximum(scores, _TINY))
        return (softmax if rule == "probabilities" else np.asarray)(scores / temperature)
    return softmax(scores) if rule == "probabilities" and kind == "logits" else scores


def weighted_sum(
    arrays: Sequence[np.ndarray],
    weights: Sequence[float],
    rows: Sequence[np.ndarray] | None = None,
    to_probabilities: Sequence[bool] | None = None,
) -> np.ndarray:
    """Weighted sum of score matrices (n, classes) in float64, not divided by the sum of the weights.

    Args:
        arrays, weights: one each per part.
        rows: reordering of each part, from `align`.
        to_probabilities: which parts pass through the softmax first.
    """
    clips, classes = arrays[0].shape
    total = np.zeros((clips, classes))
    softened = to_probabilities or [False] * len(arrays)

    def add(block: slice) -> None:
        for index, (array, weight) in enumerate(zip(arrays, weights, strict=True)):
            values = array[block] if rows is None else array[rows[index][block]]
            total[block] += np.multiply(softmax(values) if softened[index] else values, weight, dtype=np.float64)

    each_block(add, clips, classes)
    return total


def fuse(
    scores: Sequence[ScoreFile],
    weights: Sequence[float] | np.ndarray | None = None,
    rule: str = "probabilities",
    *,
    temperatures: Sequence[float] | np.ndarray | None = None,
    names: Sequence[str] | None = None,
    fitted: str = "",
    resamples: int = 1000,
    seed: int = 0,
) -> Fusion:
    """Fuse score files of the same test split by a weighted mean.

    Args:
        scores: the parts, in any order of clips.
        weights: one non-negative number per part; equal where not given. Only their ratios matter. An array (parts, n)
            gives each clip of the first part its own.
        rule: "probabilities" averages softmax probabilities (ProtoGCN, PYSKL), converting logits; "logits" averages raw
            logits (CTR-GCN, InfoGCN) and refuses files of probabilities, since those of several averaged clips have no
            logits to return to.
        temperatures: by which the logits of each part are divided first (protogcn.evaluation.calibration); shaped like
            the weights.
        names: of the parts; their own where not given.
        fitted: how weights or temperatures were fitted, to be kept in the fused score file.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: nothing to fuse, unknown rule, weights, or parts that do not match; the message names what differs.
    """
    parts = list(scores)
    if not parts:
        raise ValueError("there are no scores to fuse")
    check_rule(rule, parts)
    given, scales = per_part(weights, len(parts), "weights"), per_part(temperatures, len(parts), "temperatures")
    rows = align(parts)
    labels, (clips, classes) = parts[0].labels, parts[0].scores.shape
    each_clip = (len(parts), clips)
    shares, scales = np.broadcast_to(given / given.sum(axis=0), each_clip), np.broadcast_to(scales, each_clip)
    heated = temperatures is not None
    total = np.empty((clips, classes), np.float32)
    ranks, predictions = np.empty((2, len(parts) + 1, clips), np.int64)

    # One pass over the numbers, all of a block while it is in the cache.
    def work(block: slice) -> None:
        fused, truth = np.zeros((block.stop - block.start, classes)), labels[block]
        for index, part in enumerate(parts):
            values = part.scores[rows[index][block]]
            ranks[index, block], predictions[index, block] = label_ranks(values, truth), values.argmax(axis=1)
            heat = scales[index, block, None] if heated else 1.0
            fused += np.multiply(convert(values, part.kind, rule, heat), shares[index, block, None], dtype=np.float64)
        total[block] = fused
        ranks[-1, block], predictions[-1, block] = label_ranks(fused, truth), fused.argmax(axis=1)

    each_block(work, clips, classes)
    metrics, *part_metrics = (
        summarise(ranks[index], predictions[index], labels, classes, resamples=resamples, seed=seed)
        for index in (-1, *range(len(parts)))
    )
    best = max(range(len(parts)), key=lambda index: part_metrics[index].top1)
    chosen = tuple(names) if names else tuple(part.name for part in parts)
    means = tuple(float(value) for value in given.mean(axis=1))
    meta = {key: value for key, value in parts[0].meta.items() if key in ("benchmark", "split", "model", "version")}
    meta |= {"fitted": fitted} if fitted else {}
    return Fusion(
        scores=ScoreFile(
            ids=parts[0].ids,
            scores=total,
            kind=rule,
            labels=labels,
            class_names=next((part.class_names for part in parts if part.class_names), ()),
            meta={**meta, "stream": "+".join(chosen), "rule": rule, "weights": list(means)},
        ),
        names=chosen,
        weights=means,
        rule=rule,
        metrics=metrics,
        part_metrics=tuple(part_metrics),
        best=best,
        gain_interval=bootstrap_difference(metrics.correct, part_metrics[best].correct, resamples, seed),
        mcnemar=mcnemar(metrics.correct, part_metrics[best].correct),
    )
