"""Several streams of one recipe at once, in one process and from one decode of the data."""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from protogcn.evaluation.metrics import Metrics
from protogcn.training.fit import Machine, train_stream
from protogcn.training.loaders import make_dataset, open_store
from protogcn.training.recipe import Recipe
from protogcn.training.relay import Relay, RelayStopped, Seat, SharedBatches
from protogcn.training.run_folder import is_finished


def group_streams(recipes: Sequence[Recipe]) -> list[list[int]]:
    """Places of the recipes that can share their batches, in the order of the first of each group.

    Batches are shared by recipes of the same clips, order, draws and batch sizes: benchmark, seed, sections ``data``
    and ``pipeline``, layout of the network, batch sizes of the trainer.
    """
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for place, recipe in enumerate(recipes):
        key = tuple((name, repr(value)) for name, value in _decides_batches(recipe).items())
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def describe_groups(recipes: Sequence[Recipe], groups: Sequence[Sequence[int]]) -> list[str]:
    """A line for each group: which streams train at once, and what keeps them from those of the first group."""
    first = _decides_batches(recipes[groups[0][0]])
    lines = []
    for members in groups:
        names = ", ".join(recipes[place].stream for place in members)
        own = _decides_batches(recipes[members[0]])
        differs = [f"{name} {own[name]!r} instead of {first[name]!r}" for name in own if own[name] != first[name]]
        how = "at once, from the same batches" if len(members) > 1 else "by itself"
        lines.append(f"{names}: {how}" + (f" ({'; '.join(differs[:3])})" if differs else ""))
    return lines


def _decides_batches(recipe: Recipe) -> dict[str, Any]:
    """What decides which clips a batch holds and how they are shown, by the names of a recipe."""
    found: dict[str, Any] = {"benchmark": recipe.benchmark, "seed": recipe.seed}
    for section in ("data", "pipeline"):
        values = dataclasses.asdict(getattr(recipe, section))
        found |= {f"{section}.{name}": value for name, value in values.items()}
    found["model.skeleton"] = recipe.model.skeleton
    return found | {f"trainer.{name}": getattr(recipe.trainer, name) for name in ("batch_size", "eval_batch_size")}


def train_together(
    recipes: Sequence[Recipe], folders: Sequence[Path], machine: Machine, *, fresh: bool = False
) -> list[Metrics | None]:
    """Train, test and write streams of the same batches, one step of each after the other.

    Every stream has its own network, optimiser, schedule, checkpoints and run folder, and ends with the numbers that it
    would have reached by itself; what was cut off goes on, together or alone. Clips are read, prepared, augmented and
    sampled once for all streams; in the test, where each may take another epoch, once for each.

    Args:
        recipes: one for each stream, of one group of `group_streams`.
        folders: run folder of each.
        machine: one process.
        fresh: remove what the folders hold first.

    Returns:
        Test metrics of each; None for a run that was finished already.

    Raises:
        ValueError: several processes, or recipes that do not share their batches.
        FileNotFoundError, ValueError: store, recipe or folder do not fit; see the message.
    """
    if machine.processes > 1:
        raise ValueError(
            f"streams train together in one process, got {machine.processes}: leave out --devices and --num-nodes, or "
            "--together"
        )
    groups = group_streams(recipes)
    if len(groups) > 1:
        told = "; ".join(describe_groups(recipes, groups))
        raise ValueError(f"these streams cannot train on the same batches: {told}")
    open_ones = [place for place, folder in enumerate(folders) if fresh or not is_finished(folder)]
    results: list[Metrics | None] = [None] * len(recipes)
    if len(open_ones) < 2:
        for place in open_ones:
            results[place] = train_stream(recipes[place], folders[place], machine, fresh=fresh)
        return results

    chosen = [recipes[place] for place in open_ones]
    store = open_store(chosen[0])
    training, validation = (
        SharedBatches(chosen[0], [make_dataset(recipe, store, mode) for recipe in chosen]) for mode in ("train", "val")
    )
    relay = Relay(len(chosen))

    def run(runner: int) -> Metrics | None:
        seat = Seat(relay, runner, (training, validation), [recipe.stream for recipe in chosen])
        with seat:
            return train_stream(chosen[runner], folders[open_ones[runner]], machine, fresh=fresh, seat=seat)

    with ThreadPoolExecutor(len(chosen)) as pool:
        futures = [pool.submit(run, runner) for runner in range(len(chosen))]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Whether one failed or the user interrupts: the others end at their next batch.
            relay.stop()
    errors = [error for error in (future.exception() for future in futures) if error]
    for error in sorted(errors, key=lambda error: isinstance(error, RelayStopped)):
        raise error
    for place, future in zip(open_ones, futures, strict=True):
        results[place] = future.result()
    return results
