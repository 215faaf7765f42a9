"""What networks with a text head answered about classes that their training had left out, as a table."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.scores import load_scores
from protogcn.training.finished import Run
from protogcn.training.result_tables import circumstances, markdown_table, percent, portable

FOLDER, FIGURES, SCORES = "zero_shot", "metrics.json", "scores_unseen.npz"
_HEADER = ["run", "stream", "seen classes", "their top-1", "unseen classes", "clips", "top-1 of unseen"]
_HEADER += ["95 % interval", "chance", "mean class", "H", "AUSUC", "best H"]
_NOTE = """\
Trained without some classes, then asked for these by name (`protogcn zero-shot <run folder>`). Top-1 of unseen is over
clips of unseen classes among their names alone. H is the harmonic mean of seen and unseen mean class accuracy over all
names, AUSUC the area under the curve of one over the other for every calibration, and the best H of that curve a bound
that looks at the labels."""


def leaves_classes_out(run: Run) -> bool:
    """Whether a run was trained without some classes of its store, so that its accuracy counts fewer."""
    return run.recipe is not None and bool(run.recipe.data.unseen) and not run.recipe.data.shots


def zero_shot_parts(runs: Sequence[Run]) -> list[str]:
    """The parts of a page on runs that left classes out: a table, means over splits, and what is missing.

    Streams of one run name are also fused, by equal weights on probabilities, and the top-1 of a stream is averaged
    over the run names, which stand for splits of the classes.
    """
    lines, problems = [], []
    tops: dict[str, dict[str, float]] = {}
    by_name: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for run in sorted(runs, key=lambda run: (run.folder.parts[-2], *run.order)):
        name = f"`{'/'.join(run.folder.parts[-3:])}`"
        if run.metrics is None:
            problems.append(f"- {name}: {portable(run.problem)}")
        elif (said := _read(run.folder / FOLDER / FIGURES)) is None:
            problems.append(f"- {name}: not asked yet; protogcn zero-shot {'/'.join(run.folder.parts[-4:])}")
        else:
            by_name.setdefault(run.folder.parts[-2], []).append((run, said))
    for name, members in by_name.items():
        for run, said in members:
            assert run.metrics is not None
            answers, general = said["zero_shot"], said["generalised"]
            lines.append(
                [
                    name,
                    run.folder.name,
                    str(said["trained_classes"]),
                    percent(run.metrics["top1"]),
                    str(len(said["unseen"])),
                    str(answers["clips"]),
                    percent(answers["top1"]),
                    " to ".join(map(percent, answers["top1_interval"])),
                    percent(answers["chance"]),
                    percent(answers["mean_class"]),
                    percent(general["harmonic"]),
                    f"{general['ausuc']:.3f}",
                    percent(general["best_harmonic"]),
                ]
            )
            tops.setdefault(run.folder.name, {})[name] = answers["top1"]
        files = [run.folder / FOLDER / SCORES for run, _ in members]
        if len(members) > 1 and all(file.is_file() for file in files):
            metrics = fuse([load_scores(file) for file in files]).metrics
            streams = "+".join(run.folder.name for run, _ in members)
            answers = members[0][1]["zero_shot"]
            interval = " to ".join(map(percent, metrics.top1_interval))
            told = [str(answers["clips"]), percent(metrics.top1), interval, percent(answers["chance"])]
            classes = str(len(members[0][1]["unseen"]))
            lines.append([name, streams, "", "", classes, *told, percent(metrics.mean_class), "", "", ""])
            tops.setdefault(streams, {})[name] = metrics.top1
    for stream, each in tops.items():
        if len(each) > 1:
            mean = percent(statistics.mean(each.values()))
            lines.append([f"mean of {len(each)}", stream, "", "", "", "", mean, *[""] * 6])
    answered = [run for members in by_name.values() for run, _ in members]
    parts = [_NOTE, markdown_table(_HEADER, lines), *circumstances(answered)] if lines else []
    return [*parts, *(["Without answers:\n\n" + "\n".join(problems)] if problems else [])]


def _read(path: Path) -> dict[str, Any] | None:
    """Figures of `protogcn zero-shot`; None where there are none, or not those of this version."""
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = [said["zero_shot"][key] for key in ("top1", "chance", "mean_class", "clips")]
        figures += [*said["zero_shot"]["top1_interval"], *(said["generalised"][key] for key in ("harmonic", "ausuc"))]
        [float(figure) for figure in (*figures, said["generalised"]["best_harmonic"], said["trained_classes"])]
        list(said["unseen"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said
