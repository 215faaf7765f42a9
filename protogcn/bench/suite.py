"""The suite: which rows there are, which of them are asked for, and running them one after the other."""

import gc
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from graphs.messages import unknown
from protogcn.bench.report import FORMAT, VERSION, in_words, markdown, plot_growth, plot_ratios, write_json
from protogcn.bench.rows import Result, Row, Settings

GROUPS = {
    "forward": "networks:forward_rows",
    "train": "networks:train_rows",
    "operations": "networks:operation_rows",
    "six": "networks:six_stream_rows",
    "memory": "networks:memory_rows",
    "text": "networks:text_rows",
    "pipeline": "data:pipeline_rows",
    "workers": "data:worker_rows",
    "store": "data:store_rows",
    "heatmaps": "data:heatmap_rows",
    "fusion": "data:fusion_rows",
    "startup": "startup:startup_rows",
    "process": "networks:process_rows",
    "growth": "growth:growth_rows",
}
"""First part of a row's name -> module and function that make the rows."""
_ON_REQUEST = ("process", "growth")


def all_rows(settings: Settings) -> list[Row]:
    """Every row of the suite; none of them has built anything yet."""
    rows: list[Row] = []
    for place in GROUPS.values():
        module, name = place.split(":")
        make: Callable[[Settings], Iterator[Row]] = getattr(importlib.import_module(f"protogcn.bench.{module}"), name)
        rows += make(settings)
    return rows


def choose(rows: Sequence[Row], words: Iterable[str]) -> list[Row]:
    """The rows that some word names: in full, by their first parts (``forward/protogcn``), or by a pattern (``*/mix``).

    No words choose all rows but those about growth and whole processes, which take longest.

    Raises:
        ValueError: a word names no row; the message lists near matches.
    """
    words = [word.strip("/") for word in words]
    if not words:
        return [row for row in rows if row.name.split("/")[0] not in _ON_REQUEST]
    for word in words:
        if not any(_named(row, word) for row in rows):
            raise ValueError(f"{unknown('row of the suite', word, _names(rows))} Groups: {', '.join(GROUPS)}.")
    return [row for row in rows if any(_named(row, word) for word in words)]


def check_alternatives(rows: Sequence[Row], names: Iterable[str]) -> None:
    """Refuse names of alternatives that none of the rows has.

    Raises:
        ValueError: naming it, and those there are.
    """
    known = list(dict.fromkeys(name for row in rows for name in (*row.alternatives, *row.left_out)))
    for name in names:
        if name not in known:
            raise ValueError(unknown("alternative", name, known, show_all=True))


def run_suite(words: Sequence[str], settings: Settings, out: Path, command: str = "protogcn bench") -> dict[str, Any]:
    """Run rows and write ``bench.json`` (after every row), ``bench.md``, ``ratios.png`` and ``growth.png``.

    Args:
        words: which rows, see :func:`choose`.
        settings: how; its scratch folder is replaced by a temporary one.
        out: folder of the results.
        command: the command line, for the report.

    Returns:
        What ``bench.json`` holds.

    Raises:
        ValueError: a word names no row.
    """
    from protogcn.bench.machine import load_average, machine_facts
    from protogcn.bench.timing import time_row

    with tempfile.TemporaryDirectory(prefix="protogcn-bench-", ignore_cleanup_errors=True) as scratch:
        settings = replace(settings, scratch=Path(scratch))
        rows = choose(all_rows(settings), words)
        check_alternatives(rows, settings.alternatives)
        out.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "command": command,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "finished": None,
            "machine": machine_facts(settings.device),
            "load": {"before": load_average(), "after": None},
            "settings": {key: value for key, value in asdict(settings).items() if key != "scratch"},
            "rows": [],
        }
        results: list[Result] = []
        for number, row in enumerate(rows, 1):
            print(f"[{number}/{len(rows)}] {row.name} ({row.what})", flush=True)
            results.append(time_row(row, settings))
            if not settings.quick:
                _forget()
            print("\n".join(f"    {line}" for line in summary(results[-1])), flush=True)
            document["rows"].append(results[-1].as_dict())
            document["load"]["after"] = load_average()
            write_json(out / "bench.json", document)
    document["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(out / "bench.json", document)
    text = markdown(results, document["machine"], document["load"], command)
    (out / "bench.md").write_text(text, encoding="utf-8")
    plot_ratios(results, out / "ratios.png")
    plot_growth(results, out / "growth.png")
    return document


def summary(result: Result) -> list[str]:
    """A row in lines for a terminal."""
    lines = []
    for each in result.alternatives:
        if each.spread is None:
            lines.append(f"{each.name}: {each.error}")
            continue
        ratio = f", {each.ratio.median:.2f}x" if each.ratio else ""
        lines.append(f"{each.name}: {in_words(each.spread.median, result.quantity)}{ratio}")
    if result.exponent is not None:
        lines.append(f"grows with the power {result.exponent:.2f}")
    return lines


def _named(row: Row, word: str) -> bool:
    return row.name == word or row.name.startswith(word + "/") or fnmatch(row.name, word)


def _names(rows: Sequence[Row]) -> list[str]:
    """Names of rows and all their beginnings."""
    parts = (row.name.split("/") for row in rows)
    return list(dict.fromkeys("/".join(each[: end + 1]) for each in parts for end in range(len(each))))


def _forget() -> None:
    """Drop networks and compiled code of the last row, lest the compiler should give up on the next."""
    import torch

    # Asking for the compiler would load it, which takes seconds.
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
