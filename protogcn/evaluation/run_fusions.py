"""The fusions that the runs of one model allow.

Streams are fused in two ways. The motion reading fuses j, b, k with their motion streams (complementary); the seed
reading fuses them with a second training of each from another seed (stochastic). Both are compared, run for run: j+jm
against j+j, j+jm+b+bm against j+j+b+b, and so on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from protogcn.evaluation.ensemble import Fusion, fuse
from protogcn.evaluation.evidence import Evidence, Fitting, gather_evidence
from protogcn.evaluation.fitting import fit_temperatures, fit_weights
from protogcn.evaluation.metrics import bootstrap_difference, mcnemar
from protogcn.evaluation.report import format_comparison
from protogcn.evaluation.scores import ScoreFile

__all__ = ["SEEDED", "STREAMS", "FusedRuns", "compare_readings", "fuse_runs", "plan_fusions"]

STREAMS = ("j", "b", "k", "jm", "bm", "km")
# The streams that are trained a second time, from another seed.
SEEDED = ("j", "b", "k")
_MOTION = {"2": ("j", "b"), "4": ("j", "b", "jm", "bm"), "6": STREAMS}
_SEEDS = {"2": SEEDED[:1], "4": SEEDED[:2], "6": SEEDED}
NOTHING = Fitting()


@dataclass(frozen=True, eq=False)
class FusedRuns:
    """One fusion of runs.

    Attributes:
        parts: score files by name of the run.
        given: their weights of the preset or the user.
        fusion: the result.
        evidence: what its weights or temperatures were fitted on, where they were fitted.
    """

    parts: Mapping[str, ScoreFile]
    given: tuple[float, ...]
    fusion: Fusion
    evidence: Evidence | None = None


def fuse_runs(
    parts: Mapping[str, ScoreFile],
    held_out: Mapping[str, ScoreFile],
    weights: Sequence[float],
    rule: str,
    fitting: Fitting = NOTHING,
) -> FusedRuns:
    """Fuse runs by given weights or by fitted ones.

    Args:
        parts: the runs to fuse, by name.
        held_out: scores of a split to fit on, by name of the run; used if all of `parts` are there.
        weights: of the parts.
        rule: by which to fuse.
        fitting: what is fitted.

    Raises:
        ValueError: parts that do not match.
    """
    own = list(parts.values())
    evidence, used, heat = None, np.asarray(weights, np.float64), None
    if fitting:
        others = [held_out[run] for run in parts if run in held_out]
        evidence = gather_evidence(own, others if len(others) == len(own) else None, on_test=fitting.on_test)
        temperatures = fit_temperatures(evidence) if fitting.temperatures else None
        heat = temperatures.applied if temperatures else None
        used = fit_weights(evidence, rule, temperatures).applied if fitting.weights else used
    how = f"{fitting} {evidence.how}" if evidence else ""
    fusion = fuse(own, used, rule, temperatures=heat, names=list(parts), fitted=how)
    return FusedRuns(dict(parts), tuple(weights), fusion, evidence)


def plan_fusions(
    there: Collection[str], first: Mapping[str, str], second: Mapping[str, str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """What can be fused of the runs that are `there`: (number of runs, reading, runs).

    Args:
        there: names of runs.
        first, second: run by stream, of the first trainings and of those from a second seed.
    """
    plans = [
        (size, "streams" if size == "2" else "motion", tuple(first[stream] for stream in names))
        for size, names in _MOTION.items()
    ]
    seeds = [
        (size, "seeds", tuple(runs[stream] for stream in names for runs in (first, second)))
        for size, names in _SEEDS.items()
    ]
    # Two runs of one modality are no published fusion; they stand last, for the comparison.
    plans += [*seeds[1:], ("2", "motion", (first["j"], first["jm"])), seeds[0]]
    plans = [plan for plan in plans if set(plan[2]) <= set(there) and len(set(plan[2])) == len(plan[2])]
    return plans if plans and plans[-1][:2] == ("2", "seeds") else [p for p in plans if p[:2] != ("2", "motion")]


def compare_readings(fusions: Mapping[tuple[str, str], FusedRuns]) -> list[str]:
    """Motion reading against seed reading, clip by clip."""
    lines = []
    for size in _SEEDS:
        motion, seeds = fusions.get((size, "motion")), fusions.get((size, "seeds"))
        if motion and seeds:
            # Both start with the first training of j, so their clips are in the same order.
            a, b = motion.fusion.metrics, seeds.fusion.metrics
            low, high = bootstrap_difference(a.correct, b.correct)
            test = mcnemar(a.correct, b.correct)
            names = (f"{size} with motion", f"{size} with second seeds")
            lines.append(format_comparison(*names, a.top1 - b.top1, low, high, test.p_mid))
    return lines
