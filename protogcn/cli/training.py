"""``protogcn train``, ``test``, ``demo`` and ``results``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protogcn.cli.verbs import Verbs, add_verb

if TYPE_CHECKING:
    from protogcn.evaluation.metrics import Metrics
    from protogcn.training.recipe import Recipe


def add_train(verbs: Verbs) -> None:
    train = add_verb(verbs, "train", "train, test and score one stream or several; continues what was cut off", _train)
    train.epilog = (
        "Any value of the recipe can be changed: --optimizer.lr=0.05 --trainer.epochs 30 --pipeline.flip 0.5 "
        "--model.options.base_channels 48 --loss.contrastive_weight 0.3"
    )
    train.set_defaults(takes_overrides=True)
    train.add_argument("recipe", help="a YAML file, such as configs/nw_ucla/protogcn.yaml")
    which = train.add_mutually_exclusive_group()
    which.add_argument("--stream", help="one of j b k jm bm km (default: that of the recipe, else j)")
    which.add_argument("--streams", help="several, such as j,b,k,jm,bm,km; finished ones are skipped")
    train.add_argument(
        "--together",
        action="store_true",
        help="train the --streams at once from one decode of the data; those of another pipeline form another group",
    )
    train.add_argument("--folds", help="all, or some such as 0,1, of a benchmark that averages over folds")
    train.add_argument(
        "--seed", type=int, help="of weights, order and augmentation (default: that of the recipe, else 0)"
    )
    train.add_argument(
        "--init", help="start from these weights: model.safetensors, run folder, checkpoint of a run or official one"
    )
    train.add_argument(
        "--protocol",
        choices=["scratch", "linear", "finetune"],
        help="which weights train: all, or those of the classifier alone (default: finetune with --init, else scratch)",
    )
    train.add_argument(
        "--init-partial", action="store_true", help="take the weights that fit, let all others start afresh"
    )
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: %(default)s)")
    train.add_argument("--name", help="name of the run's folder instead of the model's")
    train.add_argument("--fresh", action="store_true", help="start over, removing what the run folder holds")
    train.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "gpu"], help="(default: %(default)s)")
    train.add_argument("--devices", type=int, default=1, help="processes per node (default: %(default)s)")
    train.add_argument("--num-nodes", type=int, default=1, help="nodes, under torchrun or SLURM (default: %(default)s)")


def add_evaluation(verbs: Verbs) -> None:
    test = add_verb(verbs, "test", "test a run again and rewrite its scores, or test a saved model on any store", _test)
    test.add_argument("folder", type=Path, help="run folder, such as runs/nw_ucla/protogcn/j, or a model.safetensors")
    test.add_argument(
        "--streams",
        help="of a folder such as runs/nw_ucla/protogcn: j,b,k,jm,bm,km, some of them or all; their saved models are "
        "tested from one decode of the clips and fused",
    )
    test.add_argument("--checkpoint", help="of a run: last or best (default: as the recipe says)")
    test.add_argument("--store", help="clip store; for a run, where it has moved")
    test.add_argument("--split", default="", help="of the store, for a saved model (default: as it was tested)")
    test.add_argument("--out", type=Path, help="folder for scores and plots of saved models (default: none)")
    test.add_argument("--module", help="file or module that registers the network of a saved model; it is run")
    test.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    demo = add_verb(
        verbs, "demo", "train, test and fuse six streams of synthetic clips, from nothing to the table", _demo
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of clips and training (default: %(default)s)")
    results = add_verb(verbs, "results", "write RESULTS.md from the run folders", _results)
    results.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: %(default)s)")
    results.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="file to write (default: %(default)s)")


def _train(args: argparse.Namespace, overrides: list[str]) -> int:
    from protogcn.training import streams as several
    from protogcn.training.processes import is_first, launched, leave_group
    from protogcn.training.recipe import in_fold, load_recipe
    from protogcn.training.run_folder import is_finished, run_folder

    if args.devices < 1 or args.num_nodes < 1:
        raise ValueError("--devices and --num-nodes must be at least 1")
    if args.seed is not None:
        overrides = [*overrides, f"--seed={args.seed}"]
    overrides = [*overrides, *_start(args)]
    names = several.parse_streams(args.streams) if args.streams else [args.stream]
    recipes = [load_recipe(args.recipe, name, overrides) for name in names]
    if args.folds:
        folds = several.parse_folds(args.folds, recipes[0])
        recipes = [in_fold(recipe, fold) for fold in folds for recipe in recipes]
    folders = [run_folder(args.runs, recipe, args.name) for recipe in recipes]
    if args.together:
        return _train_together(args, recipes, folders)
    # Asked before training: from then on a process that has launched others looks as if it were launched itself.
    first, here = is_first(), launched() or len(recipes) == 1 or args.devices * args.num_nodes == 1
    for recipe, folder in zip(recipes, folders, strict=True):
        if first and here:
            done = is_finished(folder) and not args.fresh
            print(f"stream {recipe.stream}: {folder}{' is finished' if done else ''}", flush=True)
        if here:
            from protogcn.training.fit import Machine, train_stream

            train_stream(recipe, folder, Machine(args.accelerator, args.devices, args.num_nodes), fresh=args.fresh)
        else:
            several.train_in_new_process(_without_choice(args), recipe)
    leave_group()
    if first:
        print(several.summary(folders, recipes))
    return 0


def _train_together(args: argparse.Namespace, recipes: "list[Recipe]", folders: list[Path]) -> int:
    from protogcn.training.fit import Machine
    from protogcn.training.streams import summary
    from protogcn.training.together import describe_groups, group_streams, train_together

    if not args.streams:
        raise ValueError("--together is about several streams: name them by --streams, such as --streams j,b,k")
    groups = group_streams(recipes)
    for members, line in zip(groups, describe_groups(recipes, groups), strict=True):
        print(f"streams {line}", flush=True)
        machine = Machine(args.accelerator, args.devices, args.num_nodes)
        chosen = ([recipes[place] for place in members], [folders[place] for place in members])
        train_together(*chosen, machine, fresh=args.fresh)
    print(summary(folders, recipes))
    return 0


def _start(args: argparse.Namespace) -> list[str]:
    """What is said of the first weights, as overrides of the recipe."""
    words = [f"--init.weights={args.init}"] if args.init is not None else []
    words += [f"--init.protocol={args.protocol}"] if args.protocol else []
    return [*words, "--init.partial=true"] if args.init_partial else words


def _without_choice(args: argparse.Namespace) -> list[str]:
    """The words of the command line but for the streams and folds, which another process gets one by one."""
    words: list[str] = []
    for word in args.words:
        if words and words[-1] in ("--streams", "--folds"):
            words.pop()
        elif not word.startswith(("--streams=", "--folds=")):
            words.append(word)
    return words


def _test(args: argparse.Namespace, rest: list[str]) -> int:
    import dataclasses

    from protogcn.training.evaluate import test_run
    from protogcn.training.run_folder import facts, read_config, read_metrics

    if args.streams:
        return _test_streams(args)
    if _is_saved_model(args.folder):
        return _test_saved(args)
    if args.split or args.out or args.module:
        raise ValueError(
            "--split, --out and --module are for a saved model: name the file model.safetensors of the run"
        )
    recipe = read_config(args.folder)
    if args.store:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, store=args.store))
    before = read_metrics(args.folder) or facts(f"1 x {args.device}")
    which = args.checkpoint or recipe.evaluation.checkpoint
    metrics = test_run(args.folder, recipe, which, before, args.device)
    print(f"{args.folder}, {which} epoch: {_accuracies(metrics)}")
    return 0


def _is_saved_model(path: Path) -> bool:
    """A file, or a folder that holds a saved model and no checkpoints of a training."""
    from protogcn.models.saved import MODEL_FILE
    from protogcn.training.run_folder import CHECKPOINTS

    return path.is_file() or ((path / MODEL_FILE).is_file() and not any((path / CHECKPOINTS).glob("*.ckpt")))


def _test_saved(args: argparse.Namespace) -> int:
    from protogcn.training.saved_models import test_saved

    if args.checkpoint:
        raise ValueError("--checkpoint is for a run: a saved model holds the weights of one epoch")
    if not args.store:
        raise ValueError(f"say on which clips to test {args.folder}: --store <folder written by protogcn data prepare>")
    metrics = test_saved(
        args.folder, args.store, split=args.split, out=args.out, device=args.device, module=args.module
    )
    print(f"{args.folder} on {args.store}: {_accuracies(metrics)}")
    print(f"wrote {args.out}" if args.out else "nothing was written; --out <folder> keeps scores and plots")
    return 0


def _test_streams(args: argparse.Namespace) -> int:
    from protogcn.evaluation.report import Row, format_table
    from protogcn.training.streams import parse_streams
    from protogcn.training.tested_streams import test_streams

    if args.checkpoint:
        raise ValueError("--checkpoint is for one run: --streams tests the saved models of several")
    names = None if args.streams == "all" else parse_streams(args.streams)
    fusion = test_streams(
        args.folder,
        names,
        store=args.store,
        split=args.split,
        out=args.out,
        device=args.device,
        module=args.module,
    )
    rows = [Row(name, "stream", metrics) for name, metrics in zip(fusion.names, fusion.part_metrics, strict=True)]
    print(f"{len(fusion.scores.ids)} clips of {fusion.scores.meta['split']}; fused by {fusion.rule}; figures in %", "")
    print(format_table([*rows, Row("fused", "fused", fusion.metrics, fusion)]))
    print(f"wrote {args.out}" if args.out else "nothing was written; --out <folder> keeps the scores")
    return 0


def _accuracies(metrics: "Metrics") -> str:
    low, high = metrics.top1_interval
    return (
        f"top-1 {100 * metrics.top1:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}), "
        f"top-{metrics.k} {100 * metrics.top5:.2f} %, mean class {100 * metrics.mean_class:.2f} %"
    )


def _demo(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.training.demo import run_demo

    return run_demo(args.out, args.seed)


def _results(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.training.results import write_results_page

    print(f"wrote {write_results_page(args.runs, args.out)}")
    return 0
