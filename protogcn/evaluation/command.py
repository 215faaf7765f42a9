"""`protogcn ensemble`: fuse any score files."""

import argparse
from pathlib import Path

from protogcn.evaluation.clip_list import read_clip_list
from protogcn.evaluation.ensemble import PRESETS, RULES, fuse, get_preset
from protogcn.evaluation.foreign import clips_in, read_scores
from protogcn.evaluation.metrics import bootstrap_mean_class
from protogcn.evaluation.plots import plot_confusion, plot_table
from protogcn.evaluation.report import Row, format_comparison, format_table, write_csv
from protogcn.evaluation.scores import KINDS, ScoreFile, check_choice, save_scores

__all__ = ["add_ensemble_parser", "run"]

_DESCRIPTION = """\
Fuse score files of the same test split, aligned clip by clip.

Besides the score files of protogcn, files of other projects are read: pickled lists (PYSKL, ProtoGCN), pickled dicts
(CTR-GCN, InfoGCN), .npy matrices, and matrices inside an .npz, picked as file.npz:name. Their labels come from the file
itself, from --labels, or from the first score file that has them."""

_EPILOG = """\
examples:
  protogcn ensemble runs/nw_ucla/protogcn/j/scores_test.npz runs/nw_ucla/protogcn/b/scores_test.npz
  protogcn ensemble j.npz b.npz jm.npz bm.npz --preset ctrgcn --out fused.npz
  protogcn ensemble joint.pkl bone.pkl --labels test.csv --weights 0.6 0.4 --rule logits"""


def add_ensemble_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb `ensemble`; its arguments are for `run`."""
    parser = subparsers.add_parser(
        "ensemble",
        help="fuse score files and print what the fusion gains",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="score files; file.npz:name picks one matrix")
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help="one per file (default: equal)")
    parser.add_argument("--rule", help="probabilities or logits (default: that of --preset, else probabilities)")
    parser.add_argument("--preset", help=f"published weights and rule: {', '.join(PRESETS)}")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="stream of each file, such as j b jm bm")
    parser.add_argument("--labels", type=Path, help="file with ids and labels, for scores that carry none")
    parser.add_argument("--split", help="split inside --labels, if that is a file of PYSKL annotations")
    parser.add_argument("--kind", help="what foreign scores are, logits or probabilities (default: detected)")
    parser.add_argument("--out", type=Path, help="write the fused scores to this .npz")
    parser.add_argument("--csv", type=Path, help="write the table to this file")
    parser.add_argument("--plot", type=Path, help="draw the table into this file (.png, .pdf, .svg)")
    parser.add_argument("--confusion", type=Path, help="draw the confusion matrix of the fusion into this file")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: %(default)s)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Carry out `protogcn ensemble` and return 0.

    Raises:
        ValueError: options or files that cannot be fused; the message says why.
        OSError: a file cannot be read or written.
    """
    for value, choices, what in ((args.rule, RULES, "fusion rule"), (args.kind, KINDS, "kind of scores")):
        if value is not None:
            check_choice(value, choices, what)
    preset = get_preset(args.preset) if args.preset else None
    if preset and args.weights:
        raise ValueError("--preset brings its own weights; give --preset or --weights, not both")
    if args.names and len(args.names) != len(args.files):
        raise ValueError(f"got {len(args.names)} names for {len(args.files)} files")
    parts = _read_all(args)
    names = args.names or [part.name for part in parts]
    rule = args.rule or (preset.rule if preset else "probabilities")
    fusion = fuse(parts, preset.weights(_streams(names)) if preset else args.weights, rule, seed=args.seed)

    rows = [Row(name, "stream", metrics) for name, metrics in zip(names, fusion.part_metrics, strict=True)]
    rows.append(Row("fused", "fused", fusion.metrics, fusion))
    print(f"{len(fusion.scores.ids)} clips, {fusion.scores.num_classes} classes; fused by {rule}; figures in %\n")
    print(format_table(rows))
    low, high = bootstrap_mean_class(fusion.metrics.confusion, seed=args.seed)
    print(f"\nmean class accuracy, 95 % interval {100 * low:.2f} to {100 * high:.2f}")
    print(
        format_comparison("fused", names[fusion.best], fusion.gain, *fusion.gain_interval, fusion.mcnemar.p_mid)
        + f": {fusion.mcnemar.gained} clips gained, {fusion.mcnemar.lost} lost"
    )
    if args.out:
        print(f"wrote {save_scores(args.out, fusion.scores)}")
    if args.csv:
        print(f"wrote {write_csv(rows, args.csv)}")
    if args.plot:
        print(f"wrote {plot_table(rows, args.plot)}")
    if args.confusion:
        print(f"wrote {plot_confusion(fusion.metrics.confusion, args.confusion, fusion.scores.class_names)}")
    return 0


def _streams(names: list[str]) -> list[str]:
    known = ("j", "b", "k", "jm", "bm", "km")
    for name in names:
        if name.split("-")[0] not in known:
            raise ValueError(
                f"a preset weighs by stream, but {name!r} is none of {', '.join(known)}; name the streams with --names"
            )
    return names


def _read_all(args: argparse.Namespace) -> list[ScoreFile]:
    """Read the files; labels that a foreign file lacks come from --labels or the first file that has them."""
    given = read_clip_list(args.labels, args.split) if args.labels else None
    clips = given or next((found for file in args.files if (found := clips_in(file))), None)
    names = args.names or [None] * len(args.files)
    parts: list[ScoreFile] = []
    for file, name in zip(args.files, names, strict=True):
        part = read_scores(file, clips=clips, kind=args.kind, name=name)
        if "kind_from" in part.meta:
            print(f"{file}: {part.meta['format']}, taken as {part.kind} ({part.meta['kind_from']})")
        parts.append(part)
    return parts
