"""Results as JSON, as a table in Markdown and as pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protogcn.bench.rows import Measured, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT, VERSION = "protogcn-bench", 1
_HEADER = ("row", "input", "way", "median", "quartiles", "rate", "ratio (95 %)", "deviation")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_COLOURS = ("#1f6fb4", "#d9822b", "#3a923a", "#a14fa1", "#7a7f87", "#b03a2e", "#3aa6a0", "#8c6d46", "#5d4fa3")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a file of results in one step, so that an interruption leaves the one before."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def markdown(results: Sequence[Result], machine: dict[str, Any], load: dict[str, Any], command: str) -> str:
    """The whole report: the command, the machine, the table, what was left out."""
    lines = [f"`{command}`", "", _machine_line(machine), "", _load_line(load), ""]
    lines += [_line(_HEADER), _line(["---"] * len(_HEADER))]
    missing = []
    for result in results:
        shown = [each for each in result.alternatives if each.spread]
        for index, each in enumerate(shown):
            start = [result.name, result.what] if index == 0 else ["", ""]
            lines.append(_line([*start, *_cells(result, each)]))
        missing += [f"- {result.name}, {each.name}: {each.error}" for each in result.alternatives if each.error]
    if grown := [result for result in results if result.exponent is not None]:
        lines += ["", _line(("growth of", "power of the size")), _line(["---"] * 2)]
        lines += [_line([f"{result.name} ({result.what})", f"{result.exponent:.2f}"]) for result in grown]
    if missing:
        lines += ["", "Not measured:", "", *missing]
    return "\n".join(lines) + "\n"


def plot_ratios(results: Sequence[Result], path: Path) -> Path | None:
    """Bars of the ratios to the reference of each row, with their 95 % intervals; None where there are no ratios."""
    from protogcn.evaluation.figures import bare, new_figure, save_figure

    bars = [(result.name, each) for result in results for each in result.alternatives if each.ratio]
    if not bars:
        return None
    names = list(dict.fromkeys(each.name for _, each in bars))
    # A gap in front of every new row.
    starts = [place > 0 and row != bars[place - 1][0] for place, (row, _) in enumerate(bars)]
    places = [place + 0.6 * sum(starts[: place + 1]) for place in range(len(bars))]
    figure = new_figure(8.5, 1.0 + 0.2 * places[-1])
    axes = figure.subplots()
    for place, (_, each) in zip(places, bars, strict=True):
        assert each.ratio is not None
        middle = each.ratio.median
        colour = _COLOURS[names.index(each.name) % len(_COLOURS)]
        reach = [[max(0.0, middle - each.ratio.least)], [max(0.0, each.ratio.most - middle)]]
        axes.barh(place, middle - 1, left=1, color=colour, height=0.8, xerr=reach, error_kw={"lw": 1, "capsize": 2})
        axes.text(max(1.0, each.ratio.most), place, f"  {middle:.2f}", va="center", fontsize=7)
    axes.set_yticks(places, [f"{row}: {each.name}" for row, each in bars], fontsize=7)
    axes.set_ylim(places[-1] + 0.8, -0.8)
    axes.axvline(1, color="black", lw=0.8)
    # From a hundredth to a thousand times, and a half is as far from one as two.
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("times ahead of the reference of the row, median of the paired ratios and its 95 % interval")
    bare(axes)
    return save_figure(figure, path)


def plot_growth(results: Sequence[Result], path: Path) -> Path | None:
    """One double logarithmic panel for each row about growth, with its power; None where there is no such row."""
    from protogcn.evaluation.figures import bare, new_figure, save_figure

    grown = [result for result in results if result.exponent is not None]
    if not grown:
        return None
    columns = min(3, len(grown))
    rows = -(-len(grown) // columns)
    figure = new_figure(3.2 * columns, 2.7 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, result in zip(panels, grown, strict=False):
        _panel(panel, result)
        bare(panel)
    for panel in panels[len(grown) :]:
        panel.set_axis_off()
    return save_figure(figure, path)


def in_words(figure: float, quantity: str) -> str:
    """``0.647`` seconds as ``647 ms``, or megabytes, or operations in billions."""
    if quantity == "operations":
        return f"{figure / 1e9:.4g} G"
    if quantity == "megabytes":
        return f"{figure:,.0f} MB"
    size, unit = next((each for each in _UNITS if figure >= each[0]), _UNITS[-1])
    return f"{figure / size:.3g} {unit}" if figure / size < 1000 else f"{figure / size:,.0f} {unit}"


def _panel(panel: "Axes", result: Result) -> None:
    points = [(each.size, each.spread) for each in result.alternatives if each.size and each.spread]
    sizes = [size for size, _ in points]
    medians = [spread.median for _, spread in points]
    below = [spread.median - spread.low for _, spread in points]
    above = [spread.high - spread.median for _, spread in points]
    panel.errorbar(sizes, medians, yerr=[below, above], marker="o", ms=4, lw=1, color=_COLOURS[0])
    panel.set_xscale("log")
    panel.set_yscale("log")
    # What was measured, rather than powers of ten; labels that would touch are left out.
    shown = [medians[0]]
    for median in medians[1:]:
        if max(median / shown[-1], shown[-1] / median) > 1.2:
            shown.append(median)
    panel.minorticks_off()
    panel.set_xticks(sizes, [f"{size:g}" if size < 1e4 else f"{size:.0e}".replace("e+0", "e") for size in sizes])
    panel.set_yticks(shown, [in_words(median, result.quantity) for median in shown])
    panel.set_title(f"{result.name}: power {result.exponent:.2f}", fontsize=8)
    panel.set_ylabel(result.quantity, fontsize=7)
    panel.tick_params(labelsize=7)


def _cells(result: Result, each: Measured) -> list[str]:
    assert each.spread is not None
    median, low, high = (in_words(value, result.quantity) for value in (each.spread.median, *_quartiles(each)))
    rate = f"{each.per_second:,.4g} {result.unit}/s" if each.per_second and result.items > 1 else ""
    ratio = f"{each.ratio.median:.2f} ({each.ratio.least:.2f} to {each.ratio.most:.2f})" if each.ratio else ""
    deviation = "" if each.deviation is None else f"{each.deviation:.1e}"
    return [each.name, median, f"{low} to {high}", rate, ratio, deviation]


def _quartiles(each: Measured) -> tuple[float, float]:
    assert each.spread is not None
    return each.spread.low, each.spread.high


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine_line(machine: dict[str, Any]) -> str:
    where = f"{machine['processor']}, {machine['usable_cores']} cores, {machine['threads']} threads"
    if "gpu" in machine:
        where = f"{machine['gpu']} ({where})"
    return f"{where}; torch {machine['torch']}, protogcn {machine['protogcn']}, commit {machine['commit'] or 'none'}"


def _load_line(load: dict[str, Any]) -> str:
    told = (f"{', '.join(map(str, load[when]))} {when}" for when in ("before", "after") if load.get(when))
    return f"Load average of the last 1, 5 and 15 minutes: {'; '.join(told) or 'unknown'}."


def gpu_markdown(document: dict[str, Any]) -> str:
    """The report about a GPU: what the device can do, the table, shares of what it can do, minutes, what is missing."""
    jobs = document["jobs"]
    rows = [Result.from_dict(job["row"]) for job in jobs if "row" in job]
    lines = [markdown(rows, document["machine"], document["load"], document["command"])]
    peaks = next((job["peaks"] for job in jobs if "peaks" in job), None)
    if peaks:
        lines += ["Measured in this run:", ""]
        lines += [f"- copying: {peaks['bandwidth'] / 1e9:,.0f} GB/s, read and written together"]
        rates = (f"{name} {rate / 1e12:,.1f}" for name, rate in peaks.items() if name != "bandwidth")
        lines += [f"- square matrix products, in TFLOP/s: {', '.join(rates)}", ""]
        shares = ("row", "way", "TFLOP/s", "of the matrix rate", "GB/s counted", "of the bandwidth")
        lines += [_line(shares), _line(["---"] * len(shares))]
        for job in jobs:
            lines += [_line(cells) for cells in _shares(job, peaks, document["machine"])]
        lines += [
            "",
            "Bytes are counted as if every operation read and wrote memory, so compiled code may exceed 1.",
            "",
        ]
    for job in jobs:
        if "minutes" in job:
            told = job["minutes"]
            clips = "clips of noise of that size" if told["synthetic"] else "the data"
            each = f"{told['epochs']} epochs of {told['seconds_per_epoch']:.2f} s each on {clips}"
            lines += [f"Six streams of NW-UCLA, full recipe: {told['minutes']:.1f} minutes ({each}).", ""]
    unfinished = [f"- {job['name']}: {job['error']}" for job in jobs if job.get("error")]
    return "\n".join(lines + (["Not finished:", "", *unfinished] if unfinished else [])).rstrip() + "\n"


def _shares(job: dict[str, Any], peaks: dict[str, float], machine: dict[str, Any]) -> list[list[str]]:
    """What each way of a row achieves, beside what the device can do."""
    rows = []
    for each in job.get("row", {}).get("alternatives", ()):
        work = job["work"].get(each["name"], {})
        if not each["spread"] or "operations" not in work:
            continue
        single = "tf32" if machine.get("cudnn_tf32") and "tf32" in peaks else "float32"
        peak = "bfloat16" if each["name"].startswith("bf16") else single
        seconds = each["spread"]["median"]
        operations, moved = work["operations"] / seconds, work["bytes"] / seconds
        cells = [f"{operations / 1e12:.3g}", f"{operations / peaks[peak]:.3f} of {peak}"]
        rows.append([job["name"], each["name"], *cells, f"{moved / 1e9:,.0f}", f"{moved / peaks['bandwidth']:.2f}"])
    return rows
