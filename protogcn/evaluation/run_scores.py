"""The score files of one model as its run folders hold them; the folds of a stream are pooled."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from protogcn.evaluation.metrics import Metrics
from protogcn.evaluation.scores import ScoreFile, load_scores

__all__ = ["HELD_OUT", "SCORES", "RunScores", "load_runs", "pool_folds", "run_name"]

SCORES = "scores_test.npz"
HELD_OUT = "scores_val.npz"


@dataclass(frozen=True, eq=False)
class RunScores:
    """Scores by run, ``<stream>[-s<seed>]``; where there are folds, all of them in one.

    Attributes:
        parts: scores by name of the run.
        problems: why files that are there were left out.
        folds: numbers of the folds that the parts pool, empty without folds.
        fold_sizes: clips of each fold by name of the run, fold after fold.
    """

    parts: Mapping[str, ScoreFile] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    fold_sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def fold_top1(self, name: str, metrics: Metrics) -> tuple[float, ...]:
        """Top-1 of each fold as a fraction of one; `metrics` are in the order of the run called `name`."""
        ends = np.cumsum(self.fold_sizes.get(name, ()))[:-1].astype(np.int64)
        return tuple(float(fold.mean()) for fold in np.split(metrics.correct, ends)) if self.folds else ()


def run_name(stream: str, seed: int) -> str:
    """Name of a run but for its fold; seed 0 has no suffix."""
    return f"{stream}-s{seed}" if seed else stream


def load_runs(
    runs: Path, names: Sequence[str], benchmark: str, *, file: str = SCORES, several_folds: bool = False
) -> RunScores:
    """Read the score files of runs below a folder.

    Args:
        runs: folder with one run folder each, ``<stream>[-f<fold>][-s<seed>]``.
        names: of the runs wanted, ``<stream>[-s<seed>]``.
        benchmark: files of another are left out.
        file: which file of each run folder.
        several_folds: whether the benchmark has several, so that a run folder without one does not count beside them.
    """
    parts: dict[str, ScoreFile] = {}
    problems: list[str] = []
    pools: dict[str, dict[int, ScoreFile]] = {}
    for name in dict.fromkeys(names):
        folders = _folders(runs, name, file)
        whole = folders.pop(None, None)
        if whole is not None and not (folders and several_folds):
            part = _load(whole / file, benchmark, problems)
            if part is not None:
                parts[name] = part
            continue
        found = {fold: _load(folder / file, benchmark, problems) for fold, folder in sorted(folders.items())}
        usable = {fold: part for fold, part in found.items() if fold is not None and part is not None}
        try:
            if usable:
                parts[name], pools[name] = pool_folds(usable), usable
        except ValueError as error:
            problems.append(f"{runs / name}: {error}")
    folds = tuple(sorted({fold for own in pools.values() for fold in own}))
    for name, own in pools.items():
        if missing := [str(fold) for fold in folds if fold not in own]:
            problems.append(f"{runs / name} lacks the folds {', '.join(missing)} that other streams have")
            del parts[name]
    sizes = {name: tuple(len(part.ids) for part in own.values()) for name, own in pools.items()}
    return RunScores(parts, tuple(problems), folds, sizes)


def _folders(runs: Path, name: str, file: str) -> dict[int | None, Path]:
    """Folders of one run that hold the file, by fold; None for one without."""
    stream, _, seed = name.partition("-s")
    pattern = re.compile(rf"{re.escape(stream)}(?:-f(\d+))?{f'-s{seed}' if seed else ''}")
    found: dict[int | None, Path] = {}
    for folder in sorted(runs.glob(f"{stream}*")):
        match = pattern.fullmatch(folder.name)
        if match and (folder / file).exists():
            found[int(match[1]) if match[1] else None] = folder
    return found


def _load(path: Path, benchmark: str, problems: list[str]) -> ScoreFile | None:
    try:
        part = load_scores(path)
    except ValueError as error:
        problems.append(str(error))
        return None
    if part.meta.get("benchmark", benchmark) != benchmark:
        problems.append(f"{path} is of {part.meta['benchmark']}, not of {benchmark}")
        return None
    return part


def pool_folds(folds: Mapping[int, ScoreFile]) -> ScoreFile:
    """The test clips of several folds in one score file, fold after fold.

    A clip that several folds test is counted in each, under the name "fold<number>/<id>".

    Raises:
        ValueError: the folds hold different classes or kinds of scores.
    """
    parts = list(folds.values())
    first = parts[0]
    for fold, part in folds.items():
        if (part.num_classes, part.kind, part.class_names) != (first.num_classes, first.kind, first.class_names):
            raise ValueError(
                f"fold {fold} holds {part.kind} of {part.num_classes} classes, others {first.kind} of "
                f"{first.num_classes}, or their classes are named differently"
            )
    ids = np.concatenate([part.ids for part in parts])
    if len(set(ids.tolist())) < len(ids):
        ids = np.concatenate([np.char.add(f"fold{fold}/", part.ids) for fold, part in folds.items()])
    meta = {key: value for key, value in first.meta.items() if key not in ("fold", "split", "source")}
    return ScoreFile(
        ids,
        np.concatenate([part.scores for part in parts]),
        first.kind,
        np.concatenate([part.labels for part in parts]),
        first.class_names,
        meta,
    )
