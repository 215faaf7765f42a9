"""Work on many small things in several processes, results in order and few of them waiting at a time."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
_BATCH = 16
_AHEAD = 4


def ordered_map(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None = None) -> Iterator[Result]:
    """``map(function, jobs)`` by several processes.

    Args:
        function: a function at the top level of a module.
        workers: processes; 1 works in this one, and so does any number if there are few jobs. None: one per processor.

    Raises:
        ValueError: ``workers`` is below 1.
        OSError: a process ended before its work, as when memory runs out.
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    rest = iter(jobs)
    first = list(islice(rest, 2 * _BATCH))
    if workers == 1 or len(first) < 2 * _BATCH:
        yield from map(function, first)
        yield from map(function, rest)
        return
    batches = _batches(first, rest)
    waiting: deque[Future[list[Result]]] = deque()
    with ProcessPoolExecutor(workers, initializer=_leave_interrupts) as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(_work, function, batch))
                if len(waiting) > _AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise OSError(
                "One of the working processes was ended from outside, perhaps because memory ran out; try fewer "
                "of them (--workers 1)."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _batches(first: list[Job], rest: Iterator[Job]) -> Iterator[list[Job]]:
    """Sending jobs one at a time would cost more than some of them take."""
    yield first[:_BATCH]
    yield first[_BATCH:]
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _work(function: Callable[[Job], Result], batch: list[Job]) -> list[Result]:
    return [function(job) for job in batch]


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that gives the work; it stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
