"""Work on large score matrices in blocks of rows: each fits the cache, and several are worked on at a time."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["each_block", "in_threads", "row_blocks"]

_CELLS_PER_BLOCK = 1 << 17
_MAX_THREADS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cover `rows` rows of `columns` numbers, at most 131,072 numbers each (a row at least)."""
    step = max(1, _CELLS_PER_BLOCK // max(columns, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def each_block(work: Callable[[slice], None], rows: int, columns: int) -> None:
    """Call `work` once for every block; calls may run at the same time and must write to places of their own."""
    for _ in in_threads(work, row_blocks(rows, columns)):
        pass


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results of `work` in the order of `items`; numpy and file reading let several threads run at a time."""
    waiting = list(items)
    threads = min(_MAX_THREADS, _cores(), len(waiting))
    if threads < 2:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, waiting))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
