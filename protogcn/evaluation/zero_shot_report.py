"""What a zero-shot comparison found, as text and as files."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protogcn.evaluation.metrics import Metrics, bootstrap_mean_class, evaluate, softmax
from protogcn.evaluation.report import format_columns
from protogcn.evaluation.scores import ScoreFile, save_scores
from protogcn.evaluation.zero_shot import Curve, Episodes, Generalised, calibration_curve, generalised, harmonic_mean

UNSEEN_SCORES, ALL_SCORES = "scores_unseen.npz", "scores_all.npz"
_WIDEST = 12


@dataclass(frozen=True, eq=False)
class Found:
    """The figures of a comparison; None where there is nothing to compare.

    Attributes:
        unseen: names of the unseen classes.
        among_unseen: scores of unseen clips among the names of unseen classes.
        among_all: scores of all clips among all names.
        metrics: of ``among_unseen``.
        plain: of ``among_all``, seen and unseen alike.
        calibrated: the same with gamma taken from the probabilities of the seen.
        curve: the same for every gamma.
        episodes: of few-shot recognition.
        shots: examples per class in these.
        queries: clips recognised in each.
    """

    unseen: tuple[str, ...]
    among_unseen: ScoreFile | None = None
    among_all: ScoreFile | None = None
    metrics: Metrics | None = None
    plain: Generalised | None = None
    calibrated: Generalised | None = None
    curve: Curve | None = None
    episodes: Episodes | None = None
    shots: int = 0
    queries: int = 0


def judge(
    unseen: Sequence[str],
    among_unseen: ScoreFile | None,
    among_all: ScoreFile | None,
    gamma: float | None = None,
    episodes: tuple[Episodes, int, int] | None = None,
) -> Found:
    """Count what there is.

    Args:
        unseen: names of the unseen classes.
        among_unseen, among_all: scores, see :class:`Found`.
        gamma: of calibrated stacking, in probabilities; None reports none.
        episodes: few-shot accuracies, shots, clips recognised.

    Raises:
        ValueError: gamma is not finite, or clips of seen or of unseen classes are missing.
    """
    metrics = evaluate(among_unseen.scores, among_unseen.labels) if among_unseen else None
    plain = calibrated = curve = None
    if among_all:
        chances = probabilities(among_all.scores, among_all.kind)
        mask = np.isin(among_all.class_names, list(unseen))
        plain = generalised(chances, among_all.labels, mask)
        curve = calibration_curve(chances, among_all.labels, mask)
        if gamma is not None:
            calibrated = generalised(chances, among_all.labels, mask, gamma)
    few, shots, queries = episodes or (None, 0, 0)
    return Found(tuple(unseen), among_unseen, among_all, metrics, plain, calibrated, curve, few, shots, queries)


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """Scores of a score file as probabilities, float64."""
    return softmax(scores.astype(np.float64)) if kind == "logits" else scores.astype(np.float64)


def describe(found: Found) -> str:
    """The figures as text, accuracies in percent."""
    lines: list[str] = []
    if found.metrics and found.among_unseen:
        lines += _zero_shot_lines(found.metrics, found.among_unseen)
    if found.plain and found.curve and found.among_all:
        lines += _generalised_lines(found.plain, found.calibrated, found.curve, found.among_all)
    if found.episodes:
        few = found.episodes
        lines.append(
            f"few-shot: {found.queries} clips of {len(found.unseen)} unseen classes, {found.shots} examples of each, "
            f"{len(few.accuracies)} episodes"
        )
        lines.append(f"  mean class {_percent(few.mean, few.interval)}, chance {100 / len(found.unseen):.2f} %")
    return "\n".join(lines)


def _zero_shot_lines(metrics: Metrics, scores: ScoreFile) -> list[str]:
    names = scores.class_names
    lines = [
        f"zero-shot: {len(scores.ids)} clips of unseen classes among the {len(names)} names of these",
        f"  top-1 {_percent(metrics.top1, metrics.top1_interval)}, chance {100 / len(names):.2f} %",
        f"  mean class {_percent(metrics.mean_class, bootstrap_mean_class(metrics.confusion))}",
    ]
    if metrics.k < len(names):
        lines.append(f"  top-{metrics.k} {_percent(metrics.top5, metrics.top5_interval)}")
    if len(names) <= _WIDEST:
        rows = [[name, *(str(count) for count in row)] for name, row in zip(names, metrics.confusion, strict=True)]
        table = format_columns(["true, and answers", *names], rows)
        lines += [f"  {line}" for line in table.splitlines()]
    return lines


def _generalised_lines(
    plain: Generalised, calibrated: Generalised | None, curve: Curve, scores: ScoreFile
) -> list[str]:
    lines = [f"generalised: {len(scores.ids)} clips among all {len(scores.class_names)} names"]
    for result, word in ((plain, "as it is"), (calibrated, "calibrated")):
        if result:
            held = f", gamma {result.gamma:g} taken from the seen" if result is calibrated else ""
            lines.append(
                f"  {word}: seen S {100 * result.seen:.2f} %, unseen U {100 * result.unseen:.2f} %, harmonic mean H "
                f"{_percent(result.harmonic, result.harmonic_interval)}{held}"
            )
    best = float(harmonic_mean(curve.seen, curve.unseen)[curve.best])
    lines.append(
        f"  over every gamma: area under S over U {curve.area:.4f}; at best H {100 * best:.2f} %, by gamma "
        f"{curve.gammas[curve.best]:.4g}, a bound that looks at the labels"
    )
    return lines


def write_files(found: Found, folder: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Write score files, the confusion of the unseen, the curve of the calibration and ``metrics.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, scores in ((UNSEEN_SCORES, found.among_unseen), (ALL_SCORES, found.among_all)):
        if scores:
            written.append(save_scores(folder / name, scores))
    if found.metrics and found.among_unseen:
        from protogcn.evaluation.plots import plot_confusion

        title = f"unseen classes: {100 * found.metrics.top1:.2f} % top-1"
        written.append(plot_confusion(found.metrics.confusion, folder / "confusion.png", found.unseen, title))
    if found.curve:
        path = folder / "calibration.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["gamma", "seen", "unseen", "harmonic"])
            harmonic = harmonic_mean(found.curve.seen, found.curve.unseen)
            columns = (found.curve.gammas, found.curve.seen, found.curve.unseen, harmonic)
            writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
        written.append(path)
    path = folder / "metrics.json"
    path.write_text(json.dumps(dict(facts) | as_dict(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, path]


def as_dict(found: Found) -> dict[str, Any]:
    """The figures as plain containers; accuracies as fractions of one."""
    content: dict[str, Any] = {"unseen": list(found.unseen)}
    if found.metrics and found.among_unseen:
        metrics = found.metrics
        content["zero_shot"] = {
            "clips": len(found.among_unseen.ids),
            "top1": metrics.top1,
            "top1_interval": list(metrics.top1_interval),
            f"top{metrics.k}": metrics.top5,
            "mean_class": metrics.mean_class,
            "chance": 1 / len(found.unseen),
            "confusion": metrics.confusion.tolist(),
        }
    if found.plain and found.curve and found.among_all:
        best = found.curve.best
        content["generalised"] = {
            "clips": len(found.among_all.ids),
            "classes": len(found.among_all.class_names),
            **_as_dict(found.plain),
            **({"calibrated": _as_dict(found.calibrated)} if found.calibrated else {}),
            "ausuc": found.curve.area,
            "best_gamma": float(found.curve.gammas[best]),
            "best_harmonic": float(harmonic_mean(found.curve.seen, found.curve.unseen)[best]),
        }
    if found.episodes:
        content["few_shot"] = {
            "shots": found.shots,
            "episodes": len(found.episodes.accuracies),
            "clips": found.queries,
            "mean_class": found.episodes.mean,
            "interval": list(found.episodes.interval),
            "chance": 1 / len(found.unseen),
        }
    return content


def _as_dict(found: Generalised) -> dict[str, Any]:
    return {
        "gamma": found.gamma,
        "seen": found.seen,
        "seen_interval": list(found.seen_interval),
        "unseen": found.unseen,
        "unseen_interval": list(found.unseen_interval),
        "harmonic": found.harmonic,
        "harmonic_interval": list(found.harmonic_interval),
    }


def _percent(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * value:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"
