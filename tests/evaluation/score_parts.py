"""Score files that tests of fusions share."""

import numpy as np

from protogcn.evaluation.scores import ScoreFile

STREAMS = ("j", "b", "k", "jm", "bm", "km")


def make_parts(seed=0, count=3, clips=300, classes=6, strengths=(), kind="logits", prefix="clip"):
    """Score files of streams that are right more often the greater their strength; alike in clips, each in an order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, clips)
    ids = np.array([f"{prefix}{i:04}" for i in range(clips)])
    parts = []
    for index in range(count):
        strength = strengths[index] if strengths else 1.5
        scores = rng.standard_normal((clips, classes)) + strength * np.eye(classes)[labels]
        if kind == "probabilities":
            scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        order = rng.permutation(clips) if index else np.arange(clips)
        parts.append(ScoreFile(ids[order], scores[order], kind, labels[order], (), {"stream": STREAMS[index]}))
    return parts


def aligned(part, reference):
    """Scores of a part in the order of another."""
    place = {name: row for row, name in enumerate(part.ids.tolist())}
    return part.scores[[place[name] for name in reference.ids.tolist()]].astype(np.float64)
