"""``protogcn sweep``."""

import argparse
from pathlib import Path

from protogcn.cli.verbs import Verbs, add_verb


def add_sweep(verbs: Verbs) -> None:
    sweep = add_verb(verbs, "sweep", "train a recipe under several settings and write one table of them", _sweep)
    sweep.epilog = (
        "protogcn sweep configs/nw_ucla/protogcn.yaml --vary optimizer.lr=0.05,0.025 --vary loss.contrastive_weight=0,"
        "0.2 trains all four combinations. Finished rows are skipped, and what was cut off goes on. Any value of the "
        "recipe can be changed for all rows: --trainer.epochs=30 --init.weights=<run folder>"
    )
    sweep.set_defaults(takes_overrides=True)
    sweep.add_argument("recipe", help="a recipe, or a file with `base: <recipe>` and a list `rows` of settings")
    sweep.add_argument(
        "--vary", action="append", default=[], metavar="SETTING=A,B,...", help="a setting of the recipe and its values"
    )
    sweep.add_argument(
        "--zip", action="store_true", help="first values together, second values together, ..., not all combinations"
    )
    sweep.add_argument("--select-on", default="", metavar="SPLIT", help="a held-out split of the store to choose by")
    sweep.add_argument("--name", help="of the table's folder (default: that of the file, or the settings)")
    sweep.add_argument("--stream", help="one of j b k jm bm km (default: that of the recipe, else j)")
    sweep.add_argument("--seed", type=int, help="of weights, order and augmentation (default: that of the recipe)")
    sweep.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: %(default)s)")
    sweep.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "gpu"], help="(default: %(default)s)")
    sweep.add_argument("--devices", type=int, default=1, help="processes of each training (default: %(default)s)")


def _sweep(args: argparse.Namespace, overrides: list[str]) -> int:
    from protogcn.training.processes import launched
    from protogcn.training.sweep import plan_sweep

    if args.devices < 1:
        raise ValueError("--devices must be at least 1")
    if launched():
        raise ValueError(
            "a sweep starts its trainings itself: run it without torchrun or srun, with --devices <number>"
        )
    if args.seed is not None:
        overrides = [*overrides, f"--seed={args.seed}"]
    sweep = plan_sweep(
        args.recipe,
        args.vary,
        zipped=args.zip,
        stream=args.stream,
        overrides=overrides,
        runs=args.runs,
        name=args.name,
        select_on=args.select_on,
    )
    from protogcn.training.fit import Machine
    from protogcn.training.sweep_runs import run_sweep

    print(run_sweep(sweep, Machine(args.accelerator, args.devices)), end="")
    print(f"wrote {sweep.table}.md and {sweep.table.name}.csv")
    return 0
