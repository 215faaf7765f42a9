"""Bring score files of one split into the same order of clips, and refuse what does not belong together."""

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from protogcn.evaluation.scores import ScoreFile

__all__ = ["align", "describe"]


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
            position = dict(zip(part.ids.tolist(), range(len(part.ids)), strict=True))
            index = np.fromiter(map(position.get, reference.ids.tolist(), repeat(-1)), np.int64, len(reference.ids))
            if len(part.ids) != len(index) or index.min() < 0:
                raise ValueError(_id_mismatch(reference, part))
        wrong = np.flatnonzero(part.labels[index] != reference.labels)
        if len(wrong):
            first = wrong[0]
            raise ValueError(
                f"{describe(reference)} and {describe(part)} disagree on the labels of {len(wrong)} of {len(index)} "
                f"clips, such as {reference.ids[first]} ({reference.labels[first]} and {part.labels[index[first]]}); "
                "are they of the same benchmark, and are both counted from 0?"
            )
        rows.append(index)
    return rows


def _check_classes(reference: ScoreFile, part: ScoreFile) -> None:
    if part.num_classes != reference.num_classes:
        raise ValueError(
            f"{describe(part)} has {part.num_classes} classes, {describe(reference)} has {reference.num_classes}; "
            "only scores over the same classes can be fused"
        )
    if part.class_names and reference.class_names and part.class_names != reference.class_names:
        pairs = zip(reference.class_names, part.class_names, strict=True)
        differing = [f"{index}: {a!r} and {b!r}" for index, (a, b) in enumerate(pairs) if a != b]
        raise ValueError(
            f"{describe(reference)} and {describe(part)} name {len(differing)} classes differently "
            f"({'; '.join(differing[:3])})"
        )


def describe(part: ScoreFile) -> str:
    source = part.meta.get("source")
    return part.name if source in (None, part.name) else f"{part.name} ({source})"


def _id_mismatch(reference: ScoreFile, part: ScoreFile) -> str:
    absent, extra = np.setdiff1d(reference.ids, part.ids), np.setdiff1d(part.ids, reference.ids)
    sides = [
        f"{len(ids)} only in {describe(owner)}: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}"
        for ids, owner in ((absent, reference), (extra, part))
        if len(ids)
    ]
    return (
        f"the clips of {describe(reference)} ({len(reference.ids)}) and {describe(part)} ({len(part.ids)}) differ: "
        f"{'; '.join(sides)}. Scores are fused clip by clip, so both must come from the same split."
    )
