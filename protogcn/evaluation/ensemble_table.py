"""The table of one benchmark on the screen: the command line of the scripts in ensembles/."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from protogcn.evaluation.model_table import read_models
from protogcn.evaluation.options import (
    add_shared_options,
    fitting_of,
    print_analyses,
    wants_analysis,
    write_out,
)
from protogcn.evaluation.published import PublishedBenchmark, find_model
from protogcn.evaluation.scores import check_choice
from protogcn.evaluation.stream_table import SCORES, STREAMS, StreamTable

__all__ = ["add_table_options", "main", "print_table"]


def main(benchmarks: Mapping[str, PublishedBenchmark], argv: Sequence[str] | None = None) -> int:
    """Print the table of one of `benchmarks` (split -> benchmark, the first is the default).

    Returns:
        0, or 2 where there is nothing to show or the input was refused (the reason is printed).
    """
    args = _parser(benchmarks).parse_args(argv)
    try:
        status = print_table(benchmarks[args.split], args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(benchmarks: Mapping[str, PublishedBenchmark]) -> argparse.ArgumentParser:
    default = next(iter(benchmarks))
    parser = argparse.ArgumentParser(
        description=f"Fuse the streams of {benchmarks[default].title} and print them beside published numbers."
    )
    parser.add_argument("--split", choices=list(benchmarks), default=default, help="which split (default: %(default)s)")
    add_table_options(parser)
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="W",
        help="weights of j b k jm bm km in this order, or as j=2 jm=1 ...; a second seed weighs like its stream",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first trainings (default: %(default)s)")
    add_shared_options(parser)
    return parser


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a table of a benchmark has."""
    table = parser.add_argument_group("tables of a benchmark")
    table.add_argument(
        "--models",
        "--model",
        metavar="MODELS",
        help="models, such as protogcn,ctrgcn: each alone, and all fused (default: that of --runs, else protogcn)",
    )
    table.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folders of the runs: of one model, or roots with BENCHMARK/MODEL below (default: runs)",
    )
    table.add_argument("--second-seed", type=int, default=1, help="seed of the second trainings (default: %(default)s)")
    table.add_argument("--compare", metavar="MODEL", help="show the published numbers of this model")


def print_table(benchmark: PublishedBenchmark, args: argparse.Namespace) -> int:
    """Print, and write, what the options ask for; 2 where there is nothing to show.

    Raises:
        ValueError: options or score files that do not fit together.
        OSError: a file cannot be read or written.
    """
    fitting, wanted = fitting_of(args), wants_analysis(args)
    if args.fit_on:
        fitting = replace(fitting, held_out=_held_out_name(args.fit_on))
    models = _models(benchmark.name, args)
    read = read_models(
        benchmark,
        models,
        args.runs or (),
        preset=args.preset,
        rule=args.rule,
        weights=_parse_weights(args.weights),
        fitting=fitting,
        seed=args.seed,
        second_seed=args.second_seed,
        compare=args.compare,
    )
    notes: list[str] = []
    for model, table in read.tables.items():
        if notes:
            print()
        if args.fit_on and (bare := sorted(table.found - table.held_out.parts.keys())):
            raise ValueError(f"{table.runs} has no {fitting.held_out} of {', '.join(bare)} to fit on")
        _print_model(benchmark, model, table, args)
        notes += [f"{model}: {note}" for note in (f"fused by {table.rule}", *table.notes, *table.comparisons)]
    if len(models) > 1:
        print("\n" + (str(read) or "no fusion holds all models: they have no two streams in common"))
        print("", *read.comparisons, sep="\n")
        notes += read.comparisons
    if not read.rows:
        return 2
    analyses = read.analyses(fitting, args.subsets) if wanted else []
    written = write_out(args, f"{benchmark.title}: {', '.join(models)}", read.rows, notes, analyses)
    print_analyses(analyses)
    print(*(f"wrote {path}" for path in written), sep="\n", end="\n" if written else "")
    return 0


def _held_out_name(words: Sequence[str]) -> str:
    if len(words) != 1 or Path(words[0]).name != words[0]:
        raise ValueError(
            f"for a table, --fit-on takes the name that a score file has in every run folder, such as scores_val.npz; "
            f"got {' '.join(words)}"
        )
    return words[0]


def _models(benchmark: str, args: argparse.Namespace) -> list[str]:
    """Names of the models: as given, else that of the one folder of runs, else protogcn."""
    if args.models:
        return [name.strip() for name in args.models.split(",") if name.strip()]
    if args.runs and len(args.runs) == 1:
        (folder,) = args.runs
        if any(folder.glob(f"*/{SCORES}")) or not any((folder / name).is_dir() for name in (benchmark, "protogcn")):
            return [folder.name]
    return ["protogcn"]


def _print_model(benchmark: PublishedBenchmark, model: str, table: StreamTable, args: argparse.Namespace) -> None:
    print(f"{benchmark.title}: {model} in {table.runs}")
    if table.rows:
        print(table)
        print("", *table.comparisons, sep="\n")
        _explain(benchmark, args.compare or model, any(row.published is not None for row in table.rows))
    for problem in table.problems:
        print(f"\nleft out: {problem}")
    _print_missing(table, benchmark, model, args)


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


def _explain(benchmark: PublishedBenchmark, model: str, published: bool) -> None:
    own = find_model(benchmark, model)
    if own and published:
        unsaid = "; whether its 4 and 6 use motion streams or second seeds is not said" if own == "ProtoGCN" else ""
        print(f"published: {own}{unsaid}.")
    elif published:
        print(f"published: nothing of {model} on this benchmark; the best of others, who may fuse other streams.")
    print("over best: gain over the best part on the same clips; p: McNemar's test of that gain, mid-p.")


def _print_missing(table: StreamTable, benchmark: PublishedBenchmark, model: str, args: argparse.Namespace) -> None:
    config = f"configs/{benchmark.name}/{model}.yaml"
    # Run folders lie at <root>/<benchmark>/<model>; `protogcn train` has to be told of another root.
    root = table.runs.parent.parent
    elsewhere = "" if root == Path("runs") else f" --runs {shlex.quote(str(root))}"
    folds = " --folds all" if len(getattr(benchmark, "splits", ())) > 1 else ""

    def command(streams: Sequence[str], seed: int) -> str:
        suffix = f" --seed {seed}" if seed else ""
        return f"    protogcn train {config} --streams {','.join(streams)}{folds}{suffix}{elsewhere}"

    motion = [stream for stream, run in table.first.items() if run not in table.found]
    seeds = [stream for stream, run in table.second.items() if run not in table.found]
    if motion:
        print(f"\nno {SCORES} in {table.runs} for {', '.join(table.first[s] for s in motion)}; these are made by")
        print(command(motion, args.seed))
    if seeds:
        print("\nthe comparison with second seeds needs" + (" also" if motion else ""))
        print(command(seeds, args.second_seed))
