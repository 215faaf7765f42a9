"""Options that the command line and the scripts share: what is fitted, what is told, where it is written."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from protogcn.evaluation.analysis import Analysis
from protogcn.evaluation.evidence import Fitting
from protogcn.evaluation.full_report import write_report
from protogcn.evaluation.presets import PRESETS
from protogcn.evaluation.report import Row
from protogcn.evaluation.run_scores import HELD_OUT
from protogcn.evaluation.scores import save_scores
from protogcn.evaluation.sections import sections

__all__ = ["add_shared_options", "fitting_of", "print_analyses", "wants_analysis", "write_out"]


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `fitting_of`, `wants_analysis` and `write_out` read."""
    parser.add_argument(
        "--preset", help=f"published weights and rule: {', '.join(PRESETS)} (default of a table: that of the model)"
    )
    parser.add_argument("--rule", help="probabilities or logits (default: that of the preset, else probabilities)")
    fit = parser.add_argument_group("fitted weights")
    fit.add_argument(
        "--fit-weights",
        action="store_true",
        help=f"fit the weights on {HELD_OUT} beside each scores_test.npz or, where there is none, by cross-fitting: "
        "each fold of the test clips is fused with weights of the other folds",
    )
    fit.add_argument(
        "--fit-on",
        nargs="+",
        metavar="FILE",
        help="fit the weights on these score files of another split, one per part; for a table, on the files of this "
        "name in the run folders",
    )
    fit.add_argument(
        "--fit-on-test",
        action="store_true",
        help="fit the weights on the test labels themselves: an optimistic upper bound, not a result",
    )
    fit.add_argument(
        "--calibrate", action="store_true", help="divide the logits of each part by a fitted temperature before fusing"
    )
    told = parser.add_argument_group("what is told")
    told.add_argument(
        "--analyse", action="store_true", help="print contributions, diversity, calibration and confused classes too"
    )
    told.add_argument("--subsets", action="store_true", help="fuse all subsets of up to six parts too")
    told.add_argument(
        "--out",
        type=Path,
        help="write the whole report (CSV, Markdown, figures) into this folder, or the fused scores to this .npz",
    )
    told.add_argument("--csv", type=Path, help="write the table to this file")
    told.add_argument("--plot", type=Path, help="draw the table into this file (.png, .pdf, .svg)")


def fitting_of(args: argparse.Namespace) -> Fitting:
    """What is to be fitted.

    Raises:
        ValueError: options that exclude each other.
    """
    if args.fit_on and args.fit_on_test:
        raise ValueError("--fit-on names clips to fit on, --fit-on-test takes the test clips; give one of them")
    weights = args.fit_weights or bool(args.fit_on) or args.fit_on_test
    if weights and (args.weights or args.preset):
        raise ValueError("weights are fitted or given; leave out --weights and --preset, and choose the rule by --rule")
    return Fitting(weights=weights, temperatures=args.calibrate, on_test=args.fit_on_test)


def wants_analysis(args: argparse.Namespace) -> bool:
    """Whether more than the table is asked for.

    Raises:
        ValueError: --out is neither a folder nor an .npz.
    """
    if args.out and args.out.suffix and not args.out.is_dir() and args.out.suffix != ".npz":
        raise ValueError(f"--out takes a folder, or a score file that must end in .npz; got {args.out.name!r}")
    return args.analyse or args.subsets or bool(args.out and args.out.suffix != ".npz")


def print_analyses(analyses: Sequence[Analysis]) -> None:
    """Print all tables of analyses, last: they are long, and their reader may go before their end."""
    for analysis in analyses:
        for section in sections(analysis):
            print(f"\n{f'{analysis.name}: ' if len(analyses) > 1 else ''}{section.text()}")


def write_out(
    args: argparse.Namespace, title: str, rows: Sequence[Row], notes: Sequence[str], analyses: Sequence[Analysis]
) -> list[Path]:
    """Write what --out, --csv and --plot ask for, and return the paths."""
    from protogcn.evaluation.plots import plot_table
    from protogcn.evaluation.report import write_csv

    written = []
    if args.out and args.out.suffix == ".npz":
        fused = [row.fusion for row in rows if row.fusion]
        if not fused:
            raise ValueError("there is no fusion to write; --out with a name ending in .npz needs one")
        written.append(save_scores(args.out, max(fused, key=lambda fusion: len(fusion.names)).scores))
    elif args.out:
        written.append(write_report(args.out, title, rows, notes, analyses))
    if args.csv:
        written.append(write_csv(rows, args.csv))
    if args.plot:
        written.append(plot_table(rows, args.plot, title))
    return written
