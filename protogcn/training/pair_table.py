"""What two models of a benchmark give together, pair by pair, as a table."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from protogcn.evaluation.alignment import align
from protogcn.evaluation.metrics import mcnemar
from protogcn.evaluation.model_table import read_models
from protogcn.evaluation.published import PublishedBenchmark
from protogcn.evaluation.report import format_p
from protogcn.evaluation.stream_table import StreamTable
from protogcn.training.result_tables import markdown_table, percent

_HEADER = ["models", "streams of each", "top-1", "95 % interval", "each alone", "over the better", "p"]
_NOTE = "Two models together, each with the most streams that both have, every model counting alike."


def pair_parts(benchmark: PublishedBenchmark, tables: Mapping[str, StreamTable], runs: Path) -> list[str]:
    """The parts of a page on fusions of two models; none where there is no pair with the same streams.

    Args:
        benchmark: on what.
        tables: by model, of one seed.
        runs: folder of all runs.
    """
    lines = []
    for pair in combinations(tables, 2):
        common = [key for key in tables[pair[0]].fusions if key in tables[pair[1]].fusions and key[1] != "seeds"]
        if not common:
            continue
        key = max(common, key=lambda each: (int(each[0]), each[1]))
        fused = read_models(benchmark, pair, [runs]).fusions[key].fusion
        alone = {model: tables[model].fusions[key].fusion for model in pair}
        better = alone[max(alone, key=lambda model: alone[model].metrics.top1)]
        order = align([fused.scores, better.scores])[1]
        gain = fused.metrics.top1 - better.metrics.top1
        lines.append(
            [
                " + ".join(pair),
                key[0],
                percent(fused.metrics.top1),
                " to ".join(map(percent, fused.metrics.top1_interval)),
                ", ".join(percent(each.metrics.top1) for each in alone.values()),
                f"{100 * gain:+.2f}",
                format_p(mcnemar(fused.metrics.correct, better.metrics.correct[order]).p_mid),
            ]
        )
    return ["### Two models together", _NOTE, markdown_table(_HEADER, lines)] if lines else []
