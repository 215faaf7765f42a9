"""Timing a row: every alternative is warmed up, then all are run in turn, in another random order in every round."""

import gc
import time
from typing import Any

import numpy as np

from protogcn.bench.rows import FAILURES, Call, Measured, Result, Row, Settings
from protogcn.bench.statistics import paired_ratio, spread

_LEAST_SAMPLE = 0.005
_MOST_CALLS = 10_000
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 30
_WARM_UP_CALLS = 2


def time_row(row: Row, settings: Settings) -> Result:
    """Measure a row.

    Calls of a few microseconds are repeated within a sample. An alternative that fails, in the warm-up or in any round,
    is reported with its error and taken out; the others go on.
    """
    chosen = [name for index, name in enumerate(row.alternatives) if index == 0 or _wanted(name, settings)]
    calls: dict[str, Call] = {}
    repeats: dict[str, int] = {}
    results: dict[str, Any] = {}
    warm: dict[str, float] = {}
    errors: dict[str, str] = {name: f"left out: {why}" for name, why in row.left_out.items()}
    for name in chosen:
        started = time.perf_counter()
        try:
            calls[name] = row.alternatives[name]()
            results[name], repeats[name] = _warm_up(calls[name], row, settings)
        except FAILURES as error:
            errors[name] = describe(error)
            calls.pop(name, None)
        warm[name] = time.perf_counter() - started
    deviations = _deviations(results, chosen[0]) if row.compare and chosen else {}
    del results
    figures = _rounds(row, settings, calls, repeats, errors)
    order = [*chosen, *(name for name in row.left_out if name not in chosen)]
    reference = chosen[0] if chosen and not row.sizes else None
    measured = []
    for name in order:
        size = row.sizes.get(name)
        if name in errors or not figures.get(name):
            measured.append(Measured(name, error=errors.get(name, "nothing was measured"), size=size))
            continue
        middle = spread(figures[name])
        ratio = None
        if reference and name != reference and figures.get(reference) and reference not in errors:
            ratio = paired_ratio(figures[reference], figures[name], settings.seed)
        rate = row.items / middle.median if row.quantity == "seconds" else None
        measured.append(
            Measured(name, tuple(figures[name]), middle, ratio, rate, deviations.get(name), warm[name], size=size)
        )
    rounds = max((len(each.figures) for each in measured), default=0)
    return Result(row.name, row.what, row.unit, row.quantity, row.items, rounds, tuple(measured))


def describe(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _wanted(name: str, settings: Settings) -> bool:
    return not settings.alternatives or name in settings.alternatives


def _warm_up(call: Call, row: Row, settings: Settings) -> tuple[Any, int]:
    """The result of a call, and how many calls one sample takes."""
    result = None
    seconds = 0.0
    # What measures itself is started anew each time; the first start only fills the caches of the disk.
    warm_ups = int(not settings.quick) if row.own_clock else 1 if settings.quick else _WARM_UP_CALLS
    for _ in range(warm_ups):
        _synchronise(settings.device)
        started = time.perf_counter()
        result = call()
        _synchronise(settings.device)
        seconds = time.perf_counter() - started
    if row.own_clock or settings.quick:
        return result, 1
    return result, int(np.clip(np.ceil(_LEAST_SAMPLE / max(seconds, 1e-9)), 1, _MOST_CALLS))


def _rounds(
    row: Row, settings: Settings, calls: dict[str, Call], repeats: dict[str, int], errors: dict[str, str]
) -> dict[str, list[float]]:
    """The figures of every round; what fails in a round is dropped from all of them, so that rounds stay paired."""
    figures: dict[str, list[float]] = {name: [] for name in calls}
    rng = np.random.default_rng(settings.seed)
    least, most = (1, 1) if settings.quick else (_LEAST_ROUNDS, _MOST_ROUNDS)
    if settings.repeat:
        least = most = settings.repeat
    # What is there already is set aside, so that collecting what a round leaves takes no time worth mentioning.
    gc.collect(0 if settings.quick else 2)
    gc.freeze()
    try:
        ends = time.perf_counter() + settings.seconds
        for number in range(most):
            if number >= least and time.perf_counter() > ends:
                break
            gc.collect()
            _round(row, settings, calls, repeats, errors, figures, rng)
    finally:
        gc.unfreeze()
    return figures


def _round(
    row: Row,
    settings: Settings,
    calls: dict[str, Call],
    repeats: dict[str, int],
    errors: dict[str, str],
    figures: dict[str, list[float]],
    rng: np.random.Generator,
) -> None:
    names = list(figures)
    for index in rng.permutation(len(names)).tolist():
        name = names[index]
        try:
            figures[name].append(_sample(calls[name], row, repeats[name], settings.device))
        except FAILURES as error:
            errors[name] = describe(error)
            del figures[name]


def _sample(call: Call, row: Row, repeats: int, device: str) -> float:
    """Seconds of one call, or what it says of itself."""
    if row.own_clock:
        return float(call())
    gc.disable()
    try:
        if device == "cuda":
            return _sample_on_gpu(call, repeats)
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - started) / repeats
    finally:
        gc.enable()


def _sample_on_gpu(call: Call, repeats: int) -> float:
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(repeats):
        call()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1000 / repeats


def _synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _deviations(results: dict[str, Any], reference: str) -> dict[str, float]:
    """Largest difference of each result from that of the reference, relative to the largest number of that."""
    arrays = {name: _array(result) for name, result in results.items()}
    first = arrays.pop(reference, None)
    if first is None:
        return {}
    largest = max(float(np.abs(first).max(initial=0.0)), 1e-30)
    return {
        name: float(np.abs(array - first).max(initial=0.0)) / largest
        for name, array in arrays.items()
        if array is not None and array.shape == first.shape
    }


def _array(result: Any) -> Any:
    """A numeric result in float64, wherever it is."""
    if hasattr(result, "detach"):
        result = result.detach().double().cpu().numpy()
    return np.asarray(result, np.float64) if isinstance(result, np.ndarray | float) else None
