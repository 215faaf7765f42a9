"""The command line of the scripts in ensembles/: the table of one benchmark, on the screen, as CSV and as a plot."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from protogcn.evaluation.ensemble import PRESETS
from protogcn.evaluation.plots import plot_table
from protogcn.evaluation.report import write_csv
from protogcn.evaluation.scores import check_choice
from protogcn.evaluation.stream_table import (
    SCORES,
    STREAMS,
    PublishedBenchmark,
    StreamTable,
    find_model,
    read_table,
)

__all__ = ["main"]


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
    table = read_table(
        benchmark,
        runs,
        model,
        preset=args.preset,
        rule=args.rule,
        weights=_parse_weights(args.weights),
        seed=args.seed,
        second_seed=args.second_seed,
        compare=args.compare,
    )
    print(f"{benchmark.title}: {model} in {runs}")
    if table.rows:
        print(table)
        print("", *table.comparisons, sep="\n")
        _notes(benchmark, args.compare or model)
    for problem in table.problems:
        print(f"\nleft out: {problem}")
    _print_missing(table, f"configs/{benchmark.name}/{model}.yaml", args)
    if not table.rows:
        return 2
    if args.csv:
        print(f"wrote {write_csv(table.rows, args.csv)}")
    if args.plot:
        print(f"wrote {plot_table(table.rows, args.plot, f'{benchmark.title}: {model}')}")
    return 0


def _parse_weights(tokens: Sequence[str] | None) -> dict[str, float]:
    tokens = tokens or ()
    named = [token.partition("=") for token in tokens if "=" in token]
    if tokens and not named and len(tokens) != len(STREAMS):
        raise ValueError(
            f"got {len(tokens)} weights; give six, for {' '.join(STREAMS)}, or name them as in j=2 b=2 jm=1"
        )
    if named and len(named) != len(tokens):
        raise ValueError("either all weights have a name, as in j=2 b=2, or none")
    pairs = [(name, value) for name, _, value in named] or list(zip(STREAMS, tokens, strict=False))
    for name, _ in pairs:
        check_choice(name, STREAMS, "stream")
    try:
        return {name: float(value) for name, value in pairs}
    except ValueError:
        raise ValueError(f"weights must be numbers, got {' '.join(tokens)}") from None


def _notes(benchmark: PublishedBenchmark, model: str) -> None:
    own = find_model(benchmark, model)
    if own:
        unsaid = "; whether its 4 and 6 use motion streams or second seeds is not said" if own == "ProtoGCN" else ""
        print(f"published: {own}{unsaid}.")
    elif benchmark.published:
        print(f"published: nothing of {model} on this benchmark; the best of others, who may fuse other streams.")
    print("over best: gain over the best part on the same clips; p: McNemar's test of that gain, mid-p.")


def _print_missing(table: StreamTable, config: str, args: argparse.Namespace) -> None:
    # Run folders lie at <root>/<benchmark>/<model>; `protogcn train` has to be told of another root.
    root = table.runs.parent.parent
    elsewhere = "" if root == Path("runs") else f" --runs {shlex.quote(str(root))}"

    def command(streams: Sequence[str], seed: int) -> str:
        suffix = f" --seed {seed}" if seed else ""
        return f"    protogcn train {config} --streams {','.join(streams)}{suffix}{elsewhere}"

    motion = [stream for stream, folder in table.first.items() if folder not in table.found]
    seeds = [stream for stream, folder in table.second.items() if folder not in table.found]
    if motion:
        print(f"\nno {SCORES} in {table.runs} for {', '.join(table.first[s] for s in motion)}; these are made by")
        print(command(motion, args.seed))
    if seeds:
        print("\nthe comparison with second seeds needs" + (" also" if motion else ""))
        print(command(seeds, args.second_seed))
