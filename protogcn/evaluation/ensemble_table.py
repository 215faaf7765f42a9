"""The table of streams and their fusions for one benchmark: what the scripts in ensembles/ share.

Six streams are read in two ways. The motion reading fuses j, b, k with their motion streams (complementary); the seed
reading fuses j, b, k with a second training of each from another seed (stochastic). Both are shown and compared.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from protogcn.evaluation.ensemble import PRESETS, RULES, Fusion, fuse, get_preset
from protogcn.evaluation.metrics import bootstrap_difference, evaluate, mcnemar
from protogcn.evaluation.plots import plot_table
from protogcn.evaluation.report import Row, format_comparison, format_table, write_csv
from protogcn.evaluation.scores import ScoreFile, check_choice, load_scores

__all__ = ["PublishedBenchmark", "main"]

_STREAMS = ("j", "b", "k", "jm", "bm", "km")
_MOTION = {"2": ("j", "b"), "4": ("j", "b", "jm", "bm"), "6": _STREAMS}
_SCORES = "scores_test.npz"


class PublishedBenchmark(Protocol):
    """What the table needs to know of a benchmark; `published` maps model -> stream or "2", "4", "6" -> top-1 in %."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def published(self) -> Mapping[str, Mapping[str, float]]: ...


def main(benchmarks: Mapping[str, PublishedBenchmark], argv: Sequence[str] | None = None) -> int:
    """Print the table of one of `benchmarks` (split -> benchmark, the first is the default).

    Returns:
        0, or 2 where there is nothing to show or the input was refused (the reason is printed).
    """
    args = _parser(benchmarks).parse_args(argv)
    try:
        return _run(benchmarks[args.split], args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(benchmarks: Mapping[str, PublishedBenchmark]) -> argparse.ArgumentParser:
    default = next(iter(benchmarks))
    parser = argparse.ArgumentParser(
        description=f"Fuse the streams of {benchmarks[default].title} and print them beside published numbers."
    )
    parser.add_argument("--split", choices=list(benchmarks), default=default, help="which split (default: %(default)s)")
    parser.add_argument("--runs", type=Path, help="folder of the runs, one per stream (default: runs/BENCHMARK/MODEL)")
    parser.add_argument("--model", help="name of the model (default: the last part of --runs, else protogcn)")
    parser.add_argument(
        "--preset", help=f"published weights and rule: {', '.join(PRESETS)} (default: that of the model, else protogcn)"
    )
    parser.add_argument("--rule", help="probabilities or logits (default: that of the preset)")
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="W",
        help="weights of j b k jm bm km in this order, or as j=2 jm=1 ...; a second seed weighs like its stream",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first trainings (default: %(default)s)")
    parser.add_argument(
        "--second-seed", type=int, default=1, help="seed of the second trainings (default: %(default)s)"
    )
    parser.add_argument("--compare", metavar="MODEL", help="show the published numbers of this model")
    parser.add_argument("--csv", type=Path, help="write the table to this file")
    parser.add_argument("--plot", type=Path, help="draw the table into this file (.png, .pdf, .svg)")
    return parser


def _run(benchmark: PublishedBenchmark, args: argparse.Namespace) -> int:
    model = args.model or (args.runs.name if args.runs else "protogcn")
    runs = args.runs or Path("runs") / benchmark.name / model
    preset = get_preset(args.preset or (model if model in PRESETS else "protogcn"))
    rule = args.rule or preset.rule
    check_choice(rule, RULES, "fusion rule")
    weights = dict(zip(_STREAMS, preset.weights(_STREAMS), strict=True)) | _parse_weights(args.weights)
    first = {stream: _folder(stream, args.seed) for stream in _STREAMS}
    second = {stream: _folder(stream, args.second_seed) for stream in ("j", "b", "k")}
    parts, problems = _load(runs, [*first.values(), *second.values()], benchmark.name)

    print(f"{benchmark.title}: {model} in {runs}")
    rows, fusions = _rows(parts, first, second, weights, rule)
    if rows:
        rows = [_with_published(row, benchmark, args.compare or model, exact=bool(args.compare)) for row in rows]
        print(f"{len(rows[0].metrics.correct)} test clips; fused by {rule}; figures in %\n")
        print(format_table(rows))
        print("", *_comparisons(fusions), sep="\n")
        _notes(benchmark, args.compare or model)
    for problem in problems:
        print(f"\nleft out: {problem}")
    _print_missing(runs, parts, first, second, f"configs/{benchmark.name}/{model}.yaml", args)
    if not rows:
        return 2
    if args.csv:
        print(f"wrote {write_csv(rows, args.csv)}")
    if args.plot:
        print(f"wrote {plot_table(rows, args.plot, f'{benchmark.title}: {model}')}")
    return 0


def _folder(stream: str, seed: int) -> str:
    return f"{stream}-s{seed}" if seed else stream


def _parse_weights(tokens: Sequence[str] | None) -> dict[str, float]:
    tokens = tokens or ()
    named = [token.partition("=") for token in tokens if "=" in token]
    if tokens and not named and len(tokens) != len(_STREAMS):
        raise ValueError(
            f"got {len(tokens)} weights; give six, for {' '.join(_STREAMS)}, or name them as in j=2 b=2 jm=1"
        )
    if named and len(named) != len(tokens):
        raise ValueError("either all weights have a name, as in j=2 b=2, or none")
    pairs = [(name, value) for name, _, value in named] or list(zip(_STREAMS, tokens, strict=False))
    for name, _ in pairs:
        check_choice(name, _STREAMS, "stream")
    try:
        return {name: float(value) for name, value in pairs}
    except ValueError:
        raise ValueError(f"weights must be numbers, got {' '.join(tokens)}") from None


def _load(runs: Path, folders: Sequence[str], benchmark: str) -> tuple[dict[str, ScoreFile], list[str]]:
    """Score files by run folder, and what is wrong with those that could not be used."""
    parts: dict[str, ScoreFile] = {}
    problems = []
    for folder in dict.fromkeys(folders):
        path = runs / folder / _SCORES
        if not path.exists():
            continue
        try:
            part = load_scores(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if part.meta.get("benchmark", benchmark) != benchmark:
            problems.append(f"{path} is of {part.meta['benchmark']}, not of {benchmark}")
            continue
        parts[folder] = part
    return parts, problems


def _rows(
    parts: Mapping[str, ScoreFile],
    first: Mapping[str, str],
    second: Mapping[str, str],
    weights: Mapping[str, float],
    rule: str,
) -> tuple[list[Row], dict[tuple[str, str], Fusion]]:
    """Single streams, then every fusion whose parts are there, also by (size, reading)."""
    streams = {folder: stream for stream, folder in [*second.items(), *first.items()]}
    rows = [Row(folder, "stream", evaluate(part.scores, part.labels)) for folder, part in parts.items()]
    plans = [(size, "motion", [first[stream] for stream in names]) for size, names in _MOTION.items()]
    for size, names in (("4", "jb"), ("6", "jbk")):
        plans.append((size, "seeds", [folders[stream] for stream in names for folders in (first, second)]))
    fusions = {}
    for size, reading, folders in plans:
        if all(folder in parts for folder in folders) and len(set(folders)) == len(folders):
            chosen = [parts[folder] for folder in folders]
            fusion = fuse(chosen, [weights[streams[folder]] for folder in folders], rule)
            fusions[size, reading] = fusion
            label = "streams" if size == "2" else "with motion" if reading == "motion" else "with second seeds"
            rows.append(Row(f"{size} {label}: {'+'.join(folders)}", reading, fusion.metrics, fusion))
    return rows, fusions


def _with_published(row: Row, benchmark: PublishedBenchmark, model: str, exact: bool) -> Row:
    """The row beside the model's own published number or, failing that, the best that anyone has published."""
    key = row.name.split()[0].split("-")[0]
    own = _find_model(benchmark, model)
    if exact and own is None:
        check_choice(model, tuple(benchmark.published), f"model with published numbers on {benchmark.name}")
    candidates = {own: benchmark.published[own]} if own else benchmark.published
    found = {name: numbers[key] for name, numbers in candidates.items() if key in numbers}
    if not found:
        return row
    best = max(found, key=lambda name: found[name])
    return replace(row, published=found[best], publisher=best, own=own is not None)


def _find_model(benchmark: PublishedBenchmark, model: str) -> str | None:
    def plain(name: str) -> str:
        return "".join(letter for letter in name.lower() if letter.isalnum() or letter == "+")

    return next((name for name in benchmark.published if plain(name) == plain(model)), None)


def _comparisons(fusions: Mapping[tuple[str, str], Fusion]) -> list[str]:
    """Motion reading against seed reading, clip by clip."""
    lines = []
    for size in ("4", "6"):
        motion, seeds = fusions.get((size, "motion")), fusions.get((size, "seeds"))
        if motion and seeds:
            # Both start with the first training of j, so their clips are in the same order.
            a, b = motion.metrics, seeds.metrics
            low, high = bootstrap_difference(a.correct, b.correct)
            test = mcnemar(a.correct, b.correct)
            names = (f"{size} with motion", f"{size} with second seeds")
            lines.append(format_comparison(*names, a.top1 - b.top1, low, high, test.p_mid))
    return lines


def _notes(benchmark: PublishedBenchmark, model: str) -> None:
    own = _find_model(benchmark, model)
    if own:
        unsaid = "; whether its 4 and 6 use motion streams or second seeds is not said" if own == "ProtoGCN" else ""
        print(f"published: {own}{unsaid}.")
    elif benchmark.published:
        print(f"published: nothing of {model} on this benchmark; the best of others, who may fuse other streams.")
    print("over best: gain over the best part on the same clips; p: McNemar's test of that gain, mid-p.")


def _print_missing(
    runs: Path,
    parts: Mapping[str, ScoreFile],
    first: Mapping[str, str],
    second: Mapping[str, str],
    config: str,
    args: argparse.Namespace,
) -> None:
    def command(streams: Sequence[str], seed: int) -> str:
        return f"    protogcn train {config} --streams {','.join(streams)}" + (f" --seed {seed}" if seed else "")

    motion = [stream for stream, folder in first.items() if folder not in parts]
    seeds = [stream for stream, folder in second.items() if folder not in parts]
    if motion:
        print(f"\nno {_SCORES} in {runs} for {', '.join(first[stream] for stream in motion)}; these are made by")
        print(command(motion, args.seed))
    if seeds:
        print("\nthe comparison with second seeds needs" + (" also" if motion else ""))
        print(command(seeds, args.second_seed))
