"""`protogcn ensemble`: fuse any score files, or tabulate the models of a benchmark."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from protogcn.evaluation.analysis import analyse
from protogcn.evaluation.ensemble import RULES, Fusion, fuse, get_preset
from protogcn.evaluation.ensemble_table import add_table_options, print_table
from protogcn.evaluation.evidence import Evidence, Fitting, gather_evidence
from protogcn.evaluation.fitting import fit_temperatures, fit_weights
from protogcn.evaluation.metrics import bootstrap_mean_class
from protogcn.evaluation.options import add_shared_options, fitting_of, print_analyses, wants_analysis, write_out
from protogcn.evaluation.part_list import parse_weights, read_parts
from protogcn.evaluation.plots import plot_confusion
from protogcn.evaluation.published import OwnBenchmark, PublishedBenchmark
from protogcn.evaluation.report import Row, format_comparison, format_table
from protogcn.evaluation.run_fusions import STREAMS
from protogcn.evaluation.run_scores import HELD_OUT, SCORES
from protogcn.evaluation.scores import KINDS, ScoreFile, check_choice

__all__ = ["add_ensemble_parser", "run"]

_DESCRIPTION = """\
Fuse score files of the same test split, aligned clip by clip; or, with --benchmark, print the table of a model's
streams, of several models, and of all of them together.

Besides the score files of protogcn, files of other projects are read: pickled lists (PYSKL, ProtoGCN, MMAction2),
pickled dicts (CTR-GCN, InfoGCN), .npy matrices, and .npz of one or several matrices; file.npz:name picks one, --parts
some, and of a folder all score files below it are taken. Labels come from the file itself, from --labels, or from the
first score file that has them."""

_EPILOG = """\
examples:
  protogcn ensemble runs/nw_ucla/protogcn/{j,b}/scores_test.npz
  protogcn ensemble j.npz b.npz jm.npz bm.npz --preset ctrgcn --out fused.npz
  protogcn ensemble joint.pkl bone.pkl --labels test.csv --weights 0.6 0.4 --rule logits
  protogcn ensemble all_streams.npz --parts 'ctrgcn*' --rule logits --fit-weights --out report
  protogcn ensemble --benchmark nw_ucla --models protogcn,ctrgcn --out report"""

# Options that only make sense with files, and only with a benchmark, by their names in the result of the parser.
_OF_FILES = ("names", "parts", "labels", "split", "kind", "confusion", "fit_labels")
_OF_TABLES = ("models", "runs", "compare")

GetBenchmark = Callable[[str], PublishedBenchmark]


def add_ensemble_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the verb `ensemble`; its arguments are for `run`."""
    parser = subparsers.add_parser(
        "ensemble",
        help="fuse score files, or tabulate the models of a benchmark, and say what fusing gains",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="score files or folders; file.npz:name picks a matrix")
    parser.add_argument("--benchmark", metavar="NAME", help="tabulate the runs on this benchmark instead")
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="W",
        help="one per part in their order, or NAME=W for each (default: equal); for a table of j b k jm bm km",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap; for a table, of the first trainings")
    parts = parser.add_argument_group("parts and labels")
    parts.add_argument("--parts", nargs="+", metavar="PATTERN", help="take the parts of these names, such as 'ctrgcn*'")
    parts.add_argument("--names", nargs="+", metavar="NAME", help="stream of each part, such as j b jm bm")
    parts.add_argument("--labels", type=Path, help="file with ids and labels, for scores that carry none")
    parts.add_argument("--split", help="split inside --labels, if that is a file of PYSKL annotations")
    parts.add_argument("--kind", help="what foreign scores are, logits or probabilities (default: detected)")
    parts.add_argument("--fit-labels", type=Path, help="the same for the files of --fit-on")
    add_shared_options(parser)
    parser.add_argument("--confusion", type=Path, help="draw the confusion matrix of the fusion into this file")
    add_table_options(parser)
    return parser


def run(args: argparse.Namespace, get_benchmark: GetBenchmark | None = None) -> int:
    """Carry out `protogcn ensemble` and return the exit status.

    Args:
        args: from the parser.
        get_benchmark: finds the benchmarks that --benchmark may name.

    Raises:
        ValueError: options or files that cannot be fused; the message says why.
        OSError: a file cannot be read or written.
    """
    for value, choices, what in ((args.rule, RULES, "fusion rule"), (args.kind, KINDS, "kind of scores")):
        if value is not None:
            check_choice(value, choices, what)
    if bool(args.files) == bool(args.benchmark):
        raise ValueError("name score files to fuse, or a benchmark to tabulate with --benchmark")
    foreign = [name for name in (_OF_TABLES if args.files else _OF_FILES) if getattr(args, name)]
    if foreign:
        whose = "a table, with --benchmark" if args.files else "score files, without --benchmark"
        raise ValueError(f"--{foreign[0].replace('_', '-')} is for {whose}")
    if args.benchmark:
        status = print_table(_benchmark(args.benchmark, args.runs or [Path("runs")], get_benchmark), args)
    else:
        status = _fuse_files(args)
    # What a closed pipe refuses is to be known while somebody can still deal with it.
    sys.stdout.flush()
    return status


def _benchmark(name: str, roots: Sequence[Path], get_benchmark: GetBenchmark | None) -> PublishedBenchmark:
    """The benchmark of the catalogue, or own clips that have been trained on."""
    try:
        if get_benchmark:
            return get_benchmark(name)
    except ValueError:
        if not any((root / name).is_dir() for root in roots):
            raise
    return OwnBenchmark(name, name)


def _fuse_files(args: argparse.Namespace) -> int:
    preset = get_preset(args.preset) if args.preset else None
    if preset and args.weights:
        raise ValueError("--preset brings its own weights; give --preset or --weights, not both")
    fitting, wanted = fitting_of(args), wants_analysis(args)
    names, parts = read_parts(
        args.files,
        patterns=args.parts or (),
        names=args.names,
        labels=args.labels,
        split=args.split,
        kind=args.kind,
    )
    _say_kinds(parts)
    rule = args.rule or (preset.rule if preset else "probabilities")
    weights = parse_weights(args.weights, names) if args.weights else None
    if preset:
        weights = list(preset.weights(_streams(names, parts, bool(args.names))))
    evidence = _evidence(args, parts, names, fitting)
    if wanted:
        analysis = analyse(
            parts,
            weights,
            rule,
            evidence=evidence,
            fit=fitting.weights,
            heat=fitting.temperatures,
            subsets=args.subsets,
            names=names,
            seed=args.seed,
        )
        fusion, analyses = analysis.fusion, [analysis]
    else:
        fusion, analyses = _fuse(parts, weights, rule, fitting, evidence, names, args.seed), []
    rows = [Row(name, "stream", metrics) for name, metrics in zip(names, fusion.part_metrics, strict=True)]
    rows.append(Row("fused", "fused", fusion.metrics, fusion))
    notes = _print_fusion(rows, fusion, fitting, evidence, args.seed)
    written = write_out(args, f"Fusion of {len(parts)} score files", rows, notes, analyses)
    if args.confusion:
        written.append(plot_confusion(fusion.metrics.confusion, args.confusion, fusion.scores.class_names))
    print_analyses(analyses)
    print(*(f"wrote {path}" for path in written), sep="\n", end="\n" if written else "")
    return 0


def _fuse(
    parts: Sequence[ScoreFile],
    weights: Sequence[float] | None,
    rule: str,
    fitting: Fitting,
    evidence: Evidence | None,
    names: Sequence[str],
    seed: int,
) -> Fusion:
    heat = fit_temperatures(evidence) if evidence and fitting.temperatures else None
    fitted = fit_weights(evidence, rule, heat).applied if evidence and fitting.weights else weights
    how = f"{fitting} {evidence.how}" if fitting and evidence else ""
    return fuse(parts, fitted, rule, temperatures=heat.applied if heat else None, names=names, fitted=how, seed=seed)


def _print_fusion(
    rows: Sequence[Row], fusion: Fusion, fitting: Fitting, evidence: Evidence | None, seed: int
) -> list[str]:
    """Print the table and what it means; returns the same for a report."""
    notes = [
        f"{len(fusion.scores.ids)} clips, {fusion.scores.num_classes} classes; fused by {fusion.rule}; figures in %"
    ]
    if fitting and evidence:
        notes.append(f"{fitting} {evidence.how}")
    low, high = bootstrap_mean_class(fusion.metrics.confusion, seed=seed)
    best = fusion.names[fusion.best]
    comparison = format_comparison("fused", best, fusion.gain, *fusion.gain_interval, fusion.mcnemar.p_mid)
    below = [
        f"mean class accuracy, 95 % interval {100 * low:.2f} to {100 * high:.2f}",
        f"{comparison}: {fusion.mcnemar.gained} clips gained, {fusion.mcnemar.lost} lost",
    ]
    print(*notes, "", format_table(rows), "", *below, sep="\n")
    return [*notes, *below]


def _evidence(
    args: argparse.Namespace, parts: Sequence[ScoreFile], names: Sequence[str], fitting: Fitting
) -> Evidence | None:
    """Clips to fit on: those of --fit-on, the held-out files beside all of the parts, or the parts' own, in folds."""
    if args.fit_on:
        _, held_out = read_parts(args.fit_on, patterns=args.parts or (), labels=args.fit_labels, kind=args.kind)
        return gather_evidence(parts, held_out)
    if not fitting:
        return None
    beside = [Path(str(part.meta.get("source", ""))) for part in parts]
    if all(path.name == SCORES and path.with_name(HELD_OUT).is_file() for path in beside) and not fitting.on_test:
        _, held_out = read_parts([path.with_name(HELD_OUT) for path in beside])
        return gather_evidence(parts, held_out)
    return gather_evidence(parts, on_test=fitting.on_test)


def _say_kinds(parts: Sequence[ScoreFile]) -> None:
    """Say as what foreign scores were taken, once per file."""
    said: dict[tuple[str, str], int] = {}
    for part in parts:
        if "kind_from" in part.meta:
            file = str(part.meta["source"])
            file = file.removesuffix(f":{file.rpartition('.npz:')[2]}") if ".npz:" in file else file
            text = f"{part.meta['format']}, taken as {part.kind} ({part.meta['kind_from']})"
            said[file, text] = said.get((file, text), 0) + 1
    for (file, text), count in said.items():
        print(f"{file}: {f'{count} parts, ' if count > 1 else ''}{text}")


def _streams(names: Sequence[str], parts: Sequence[ScoreFile], given: bool) -> list[str]:
    """Stream of each part, by which a preset weighs."""
    streams = list(names) if given else [str(part.meta.get("stream", part.name)) for part in parts]
    streams = [stream.rpartition("/")[2] for stream in streams]
    for stream in streams:
        if stream.split("-")[0] not in STREAMS:
            raise ValueError(
                f"a preset weighs by stream, but {stream!r} is none of {', '.join(STREAMS)}; name the streams with "
                "--names"
            )
    return streams
