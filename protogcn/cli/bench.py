"""``protogcn bench``."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from protogcn.cli.verbs import Verbs, add_verb

if TYPE_CHECKING:
    from protogcn.bench.rows import Settings


def add_bench(verbs: Verbs) -> None:
    bench = add_verb(verbs, "bench", "measure speed and memory on this machine", _bench)
    bench.epilog = (
        "protogcn bench forward/protogcn train/protogcn measures two rows; protogcn bench growth shows how cost grows; "
        "without rows all but growth and process are measured. Alternatives of a row run in turn, in random order, and "
        "are compared round by round, so that other work on the machine falls on all of them."
    )
    bench.add_argument("rows", nargs="*", help="a row, the first parts of its name, or a pattern such as '*/mix'")
    bench.add_argument("--list", action="store_true", help="print the rows and their alternatives, measure nothing")
    bench.add_argument("--quick", action="store_true", help="tiny sizes and one round: whether all of it works")
    bench.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of results (default: %(default)s)")
    bench.add_argument("--device", choices=["cpu", "cuda"], help="(default: cpu, with --gpu-report cuda)")
    bench.add_argument("--threads", type=int, default=0, help="of torch on the processor (default: its own choice)")
    bench.add_argument("--repeat", type=int, default=0, help="rounds (default: as many as fit into 20 s, 3 to 30)")
    bench.add_argument("--clips", type=int, default=100_000, help="of the largest store (default: %(default)s)")
    bench.add_argument("--alternatives", default="", metavar="A,B,...", help="only these, beside the first of each row")
    bench.add_argument("--seed", type=int, default=0, help="of order, weights and clips (default: %(default)s)")
    bench.add_argument(
        "--gpu-report", action="store_true", help="the measurements for a large GPU, in less than 8 minutes"
    )


def _bench(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.bench.rows import Settings

    for name, least in (("threads", 0), ("repeat", 0), ("clips", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} must be at least {least}; got {getattr(args, name)}")
    device = args.device or ("cuda" if args.gpu_report and not args.quick else "cpu")
    settings = Settings(
        quick=args.quick,
        device=device,
        repeat=args.repeat,
        seed=args.seed,
        clips=args.clips,
        alternatives=tuple(word for word in args.alternatives.split(",") if word),
    )
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch sees no GPU here; measure on the processor by --device cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.list:
        return _list(args.rows, settings)
    command = shlex.join(["protogcn", "bench", *args.words])
    if args.gpu_report:
        from protogcn.bench.gpu import run_gpu_report

        if args.rows:
            raise ValueError(f"--gpu-report has rows of its own; leave out {' '.join(args.rows)}")
        run_gpu_report(settings, args.out, command)
    else:
        from protogcn.bench.suite import run_suite

        run_suite(args.rows, settings, args.out, command)
    print(f"wrote {args.out}")
    return 0


def _list(words: list[str], settings: "Settings") -> int:
    from protogcn.bench.suite import all_rows, choose
    from protogcn.evaluation.report import format_columns

    rows = all_rows(settings)
    chosen = choose(rows, words) if words else rows
    lines = [[row.name, row.what, ", ".join(row.alternatives)] for row in chosen]
    print(format_columns(["row", "input", "alternatives"], lines, left=3))
    return 0
