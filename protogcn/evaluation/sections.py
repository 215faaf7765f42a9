"""The tables of an analysis, for the screen, for Markdown and for CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protogcn.evaluation.analysis import Analysis
from protogcn.evaluation.calibration import BINS, Calibration
from protogcn.evaluation.contribution import Contribution, Subset
from protogcn.evaluation.diversity import Diversity
from protogcn.evaluation.fitting import Fitted
from protogcn.evaluation.report import format_columns, format_comparison, format_p, markdown_table

__all__ = ["Section", "sections"]

_PAIRS_ON_SCREEN = 10


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        name: short, for files.
        title: in words.
        header, lines: text cells.
        notes: sentences below the table.
        records: the numbers behind the cells, in full precision.
        left: columns of text, flush left.
        most: lines shown on the screen.
    """

    name: str
    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]
    records: Sequence[Mapping[str, object]]
    left: int = 1
    most: int = 1000

    def text(self) -> str:
        """For the screen."""
        table = format_columns(self.header, self.lines[: self.most], left=self.left)
        more = [f"and {len(self.lines) - self.most} more"] if len(self.lines) > self.most else []
        return "\n".join([f"{self.title}\n", table, *more, *self.notes])

    def markdown(self) -> str:
        """For a report."""
        notes = "\n\n".join(f"{note[0].upper()}{note[1:]}." for note in self.notes)
        return "\n\n".join(
            [f"## {self.title}", markdown_table(self.header, self.lines, left=self.left), notes]
        ).rstrip()


def sections(analysis: Analysis) -> list[Section]:
    """The tables of an analysis that have content."""
    found = [_contributions(analysis.contributions, analysis.fusion.metrics.top1)] if analysis.contributions else []
    if analysis.weights:
        found.insert(0, _weights(analysis.weights, analysis.fusion.names))
    found += [_diversity(analysis.diversity), _calibration(analysis.calibration, bool(analysis.temperatures))]
    if analysis.subsets:
        found.append(_subsets(analysis.subsets))
    if analysis.pairs:
        found.append(_pairs(analysis))
    return found


def _weights(fitted: Fitted, names: Sequence[str]) -> Section:
    low, high = fitted.spread
    rows = list(zip(names, fitted.mean, low, high, strict=True))
    return Section(
        "weights",
        "Fitted weights",
        ["", "weight", "over the folds"],
        [[name, f"{mean:.3f}", f"{a:.3f} - {b:.3f}"] for name, mean, a, b in rows],
        [f"weights {fitted.evidence.how}"],
        [{"part": name, "weight": float(mean), "lowest": float(a), "highest": float(b)} for name, mean, a, b in rows],
    )


def _contributions(contributions: Sequence[Contribution], whole: float) -> Section:
    return Section(
        "contributions",
        "What each part adds: the fusion without it",
        ["left out", "top-1 without", "drop", "95 % interval", "p"],
        [
            [
                part.name,
                f"{100 * part.without:.2f}",
                _points(part.drop),
                f"{_points(part.interval[0])} to {_points(part.interval[1])}",
                format_p(part.mcnemar.p_mid),
            ]
            for part in contributions
        ],
        [f"of all together: {100 * whole:.2f}; the others keep their weights; p: McNemar's test, mid-p"],
        [
            {
                "part": part.name,
                "top1_without": 100 * part.without,
                "drop": 100 * part.drop,
                "drop_low": 100 * part.interval[0],
                "drop_high": 100 * part.interval[1],
                "mcnemar_exact": part.mcnemar.p_exact,
                "mcnemar_mid": part.mcnemar.p_mid,
            }
            for part in contributions
        ],
    )


def _diversity(measured: Diversity) -> Section:
    pairs = measured.pairs()
    return Section(
        "diversity",
        "Diversity of the parts, by pairs",
        ["", "", "disagreement", "Q", "error correlation", "oracle"],
        [
            [a, b, f"{100 * disagreement:.2f}", _number(q), _number(correlation), f"{100 * oracle:.2f}"]
            for a, b, disagreement, q, correlation, oracle in pairs
        ],
        [
            f"oracle of all: {100 * measured.oracle_all:.2f}; all right: {100 * measured.unanimous:.2f}",
            "disagreement: clips that exactly one gets right; oracle: clips that at least one does",
            "Q and correlation: 1 where two always err together, 0 where they do so by chance",
        ],
        [
            {
                "first": a,
                "second": b,
                "disagreement": 100 * disagreement,
                "q": q,
                "error_correlation": correlation,
                "oracle": 100 * oracle,
            }
            for a, b, disagreement, q, correlation, oracle in pairs
        ],
        left=2,
        most=_PAIRS_ON_SCREEN,
    )


def _calibration(calibration: Calibration, applied: bool) -> Section:
    low, high = calibration.temperatures.spread
    values = zip(
        calibration.names, calibration.temperatures.mean, low, high, calibration.before, calibration.after, strict=True
    )
    rows = [
        (name, float(mean), float(a), float(b), before.ece, after.ece) for name, mean, a, b, before, after in values
    ]
    rows.append(("fused", math.nan, math.nan, math.nan, calibration.fused_before.ece, calibration.fused_after.ece))
    change = calibration.top1_after - calibration.top1_before
    test = calibration.mcnemar
    return Section(
        "calibration",
        "Calibration: a temperature per part",
        ["", "temperature", "over the folds", "ECE before", "ECE after"],
        [
            [
                name,
                "" if math.isnan(mean) else f"{mean:.2f}",
                "" if math.isnan(mean) else f"{a:.2f} - {b:.2f}",
                f"{100 * before:.2f}",
                f"{100 * after:.2f}",
            ]
            for name, mean, a, b, before, after in rows
        ],
        [
            f"temperatures {calibration.temperatures.evidence.how}; they are "
            f"{'' if applied else 'not '}applied in the figures above",
            f"ECE in %, {BINS} bins of equal width; a temperature above 1 means that the part was too sure",
            format_comparison("fused with temperatures", "fused without", change, *calibration.interval, test.p_mid),
        ],
        [
            {
                "part": name,
                "temperature": "" if math.isnan(mean) else mean,
                "lowest": "" if math.isnan(mean) else a,
                "highest": "" if math.isnan(mean) else b,
                "ece_before": 100 * before,
                "ece_after": 100 * after,
            }
            for name, mean, a, b, before, after in rows
        ],
    )


def _subsets(subsets: Sequence[Subset]) -> Section:
    best: dict[int, Subset] = {}
    for subset in subsets:
        best.setdefault(len(subset.names), subset)
    return Section(
        "subsets",
        "The best subset of each size",
        ["parts", "", "top-1"],
        [[str(size), "+".join(best[size].names), f"{100 * best[size].top1:.2f}"] for size in sorted(best)],
        ["picked by the clips they are judged on: a description, not a result"],
        [{"size": len(subset.names), "parts": "+".join(subset.names), "top1": 100 * subset.top1} for subset in subsets],
        left=2,
    )


def _pairs(analysis: Analysis) -> Section:
    return Section(
        "confused_pairs",
        "Most confused pairs of classes",
        ["class", "taken for", "clips", f"by {analysis.fusion.names[analysis.fusion.best]}", "fused"],
        [[pair.true, pair.taken_for, str(pair.clips), str(pair.before), str(pair.after)] for pair in analysis.pairs],
        [],
        [
            {
                "class": pair.true,
                "taken_for": pair.taken_for,
                "clips": pair.clips,
                "best_part": pair.before,
                "fused": pair.after,
            }
            for pair in analysis.pairs
        ],
        left=2,
    )


def _points(share: float) -> str:
    return f"{100 * share + 0.0:+.2f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
