"""Fusion of score files: aligned by clip, with its rule and weights named and its gain tested."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.metrics import Interval, McNemar, Metrics, bootstrap_difference, evaluate, mcnemar, softmax
from protogcn.evaluation.scores import KINDS, ScoreFile, check_choice

__all__ = ["PRESETS", "RULES", "Fusion", "Preset", "align", "fuse", "get_preset", "weighted_sum"]

RULES = KINDS
_ROWS_PER_BLOCK = 2048


@dataclass(frozen=True)
class Preset:
    """Published way to fuse: the weight of position streams (j, b, k), of motion streams (jm, bm, km), and the rule."""

    position: float
    motion: float
    rule: str
    source: str

    def weights(self, streams: Sequence[str]) -> tuple[float, ...]:
        """Weight of each stream; a second seed such as "j-s1" weighs like its stream."""
        return tuple(self.motion if stream.split("-")[0].endswith("m") else self.position for stream in streams)


PRESETS = {
    "protogcn": Preset(2, 1, "probabilities", "J:B:K:JM:BM:KM = 2:2:2:1:1:1, J:B:JM:BM = 2:2:1:1, J:B = 1:1"),
    "pyskl": Preset(2, 1, "probabilities", "J:B:JM:BM = 2:2:1:1, J:B = 1:1"),
    "ctrgcn": Preset(0.6, 0.4, "logits", "J:B:JM:BM = 0.6:0.6:0.4:0.4, J:B = 1:1"),
    "infogcn": Preset(1.5, 1.0, "logits", "position 1.5, motion 1.0"),
    "equal": Preset(1, 1, "probabilities", "all streams alike"),
}


def get_preset(name: str) -> Preset:
    """Preset by name.

    Raises:
        ValueError: unknown name; the message lists all.
    """
    check_choice(name, tuple(PRESETS), "preset")
    return PRESETS[name]


@dataclass(frozen=True, eq=False)
class Fusion:
    """Result of `fuse`.

    Attributes:
        scores: the fused scores in the order of the first part: the weighted mean of logits or of probabilities.
        weights: as given, one per part.
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


def align(parts: Sequence[ScoreFile]) -> list[np.ndarray]:
    """Rows of each part that bring its clips into the order of the first part: int64 (n,) each.

    Raises:
        ValueError: ids, labels, classes or class names differ; the message names them.
    """
    reference = parts[0]
    rows = []
    for part in parts:
        _check_classes(reference, part)
        if np.array_equal(part.ids, reference.ids):
            index = np.arange(len(part.ids))
        else:
            position = {name: row for row, name in enumerate(part.ids.tolist())}
            index = np.array([position.get(name, -1) for name in reference.ids.tolist()])
            if len(part.ids) != len(index) or index.min() < 0:
                raise ValueError(_id_mismatch(reference, part))
        wrong = np.flatnonzero(part.labels[index] != reference.labels)
        if len(wrong):
            first = wrong[0]
            raise ValueError(
                f"{_describe(reference)} and {_describe(part)} disagree on the labels of {len(wrong)} of {len(index)} "
                f"clips, such as {reference.ids[first]} ({reference.labels[first]} and {part.labels[index[first]]}); "
                "are they of the same benchmark, and are both counted from 0?"
            )
        rows.append(index)
    return rows


def _check_classes(reference: ScoreFile, part: ScoreFile) -> None:
    if part.num_classes != reference.num_classes:
        raise ValueError(
            f"{_describe(part)} has {part.num_classes} classes, {_describe(reference)} has {reference.num_classes}; "
            "only scores over the same classes can be fused"
        )
    if part.class_names and reference.class_names and part.class_names != reference.class_names:
        pairs = zip(reference.class_names, part.class_names, strict=True)
        differing = [f"{index}: {a!r} and {b!r}" for index, (a, b) in enumerate(pairs) if a != b]
        raise ValueError(
            f"{_describe(reference)} and {_describe(part)} name {len(differing)} classes differently "
            f"({'; '.join(differing[:3])})"
        )


def _describe(part: ScoreFile) -> str:
    source = part.meta.get("source")
    return part.name if source in (None, part.name) else f"{part.name} ({source})"


def _id_mismatch(reference: ScoreFile, part: ScoreFile) -> str:
    absent, extra = np.setdiff1d(reference.ids, part.ids), np.setdiff1d(part.ids, reference.ids)
    sides = [
        f"{len(ids)} only in {_describe(owner)}: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}"
        for ids, owner in ((absent, reference), (extra, part))
        if len(ids)
    ]
    return (
        f"the clips of {_describe(reference)} ({len(reference.ids)}) and {_describe(part)} ({len(part.ids)}) differ: "
        f"{'; '.join(sides)}. Scores are fused clip by clip, so both must come from the same split."
    )


def _check_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * count
    if len(weights) != count:
        raise ValueError(f"got {len(weights)} weights for {count} score files; give one per file, in the same order")
    values = tuple(float(weight) for weight in weights)
    if not np.isfinite(values).all() or min(values) < 0 or not max(values) > 0:
        raise ValueError(f"weights must be finite, not negative and not all zero; got {', '.join(map(str, values))}")
    return values


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
    total = np.zeros(arrays[0].shape)
    convert = to_probabilities or [False] * len(arrays)
    # Blocks stay in the cache from the softmax to the sum, and bound the memory.
    for start in range(0, len(total), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)
        for index, (array, weight) in enumerate(zip(arrays, weights, strict=True)):
            values = array[block] if rows is None else array[rows[index][block]]
            total[block] += np.multiply(softmax(values) if convert[index] else values, weight, dtype=np.float64)
    return total


def fuse(
    scores: Sequence[ScoreFile],
    weights: Sequence[float] | None = None,
    rule: str = "probabilities",
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Fusion:
    """Fuse score files of the same test split by a weighted mean.

    Args:
        scores: the parts, in any order of clips.
        weights: one non-negative number per part; equal where not given. Only their ratios matter.
        rule: "probabilities" averages softmax probabilities (ProtoGCN, PYSKL), converting logits; "logits" averages raw
            logits (CTR-GCN, InfoGCN) and refuses files of probabilities, since those of several averaged clips have no
            logits to return to.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: nothing to fuse, unknown rule, weights, or parts that do not match; the message names what differs.
    """
    parts = list(scores)
    if not parts:
        raise ValueError("there are no scores to fuse")
    check_choice(rule, RULES, "fusion rule")
    checked = _check_weights(weights, len(parts))
    if rule == "logits":
        bare = [_describe(part) for part in parts if part.kind != "logits"]
        if bare:
            raise ValueError(
                f"rule 'logits' needs logits, but {', '.join(bare)} holds probabilities; use rule 'probabilities'"
            )
    rows = align(parts)
    total = weighted_sum(
        [part.scores for part in parts],
        [weight / sum(checked) for weight in checked],
        rows,
        [rule == "probabilities" and part.kind == "logits" for part in parts],
    )
    labels = parts[0].labels
    metrics = evaluate(total, labels, resamples=resamples, seed=seed)
    part_metrics = [evaluate(part.scores, part.labels, resamples=resamples, seed=seed) for part in parts]
    best = max(range(len(parts)), key=lambda index: part_metrics[index].top1)
    best_correct = part_metrics[best].correct[rows[best]]
    meta = {key: value for key, value in parts[0].meta.items() if key in ("benchmark", "split", "model", "version")}
    names = tuple(part.name for part in parts)
    return Fusion(
        scores=ScoreFile(
            ids=parts[0].ids,
            scores=total,
            kind=rule,
            labels=labels,
            class_names=next((part.class_names for part in parts if part.class_names), ()),
            meta={**meta, "stream": "+".join(names), "rule": rule, "weights": list(checked)},
        ),
        names=names,
        weights=checked,
        rule=rule,
        metrics=metrics,
        part_metrics=tuple(part_metrics),
        best=best,
        gain_interval=bootstrap_difference(metrics.correct, best_correct, resamples, seed),
        mcnemar=mcnemar(metrics.correct, best_correct),
    )
