"""The command line: ``protogcn <verb>``. Each verb is thin; heavy imports wait until a verb needs them."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from protogcn import __version__
from protogcn.evaluation.command import add_ensemble_parser
from protogcn.evaluation.command import run as run_ensemble

Run = Callable[[argparse.Namespace, list[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; what the user can mend is printed as one message, with exit status 2."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    args, rest = parser.parse_known_args(_with_values(words))
    args.words = words[1:]
    if rest and not args.takes_overrides:
        parser.error(f"unrecognised arguments: {' '.join(rest)}; see protogcn {args.verb} --help")
    try:
        return args.run(args, rest)
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues from the last finished epoch", file=sys.stderr)
        return 130


def _with_values(words: Sequence[str]) -> list[str]:
    """Join ``--trainer.epochs 30`` to one word, lest the value be taken for the recipe that follows it."""
    joined: list[str] = []
    for word in words:
        override = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if override and ("." in joined[-1] or joined[-1] == "--benchmark") and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="protogcn", description="Recognise human actions from skeletons.")
    parser.add_argument("--version", action="version", version=f"protogcn {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_data(verbs)
    _add_train(verbs)
    test = _add(verbs, "test", "test the saved weights of a run again and rewrite its scores", _test)
    test.add_argument("folder", type=Path, help="run folder, such as runs/nw_ucla/protogcn/j")
    test.add_argument("--checkpoint", help="last or best (default: as the recipe says)")
    test.add_argument("--store", help="clip store, where it has moved")
    test.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    add_ensemble_parser(verbs).set_defaults(run=lambda args, rest: run_ensemble(args), takes_overrides=False)
    demo = _add(verbs, "demo", "train, test and fuse six streams of synthetic clips, from nothing to the table", _demo)
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of clips and training (default: %(default)s)")
    results = _add(verbs, "results", "write RESULTS.md from the run folders", _results)
    results.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: %(default)s)")
    results.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="file to write (default: %(default)s)")
    models = _add(verbs, "models", "list the models, or the options of one", _models)
    models.add_argument("name", nargs="?", help="a model, or a pattern such as '*gcn*'")
    skeletons = _add(verbs, "skeletons", "list the skeleton layouts, or describe one", _skeletons)
    skeletons.add_argument("name", nargs="?", help="a layout, or a YAML file of your own")
    skeletons.add_argument("--plot", type=Path, help="draw the layout into this file")
    benchmarks = _add(verbs, "benchmarks", "list the benchmarks, or what is published on one", _benchmarks)
    benchmarks.add_argument("name", nargs="?", help="a benchmark")
    return parser


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, run: Run
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run, takes_overrides=False)
    return parser


def _add_data(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    data = verbs.add_parser("data", help="convert data into a clip store, look at one, or make synthetic clips")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = _add(actions, "prepare", "convert a data set into a clip store", _prepare)
    prepare.add_argument("benchmark", help="a name of `protogcn benchmarks`, or own")
    prepare.add_argument("source", type=Path, help="file or folder of the data; docs/own_data.md lists the formats")
    prepare.add_argument("store", type=Path, help="folder to write")
    prepare.add_argument("--skeleton", help="layout of the joints: a name of `protogcn skeletons` or a YAML file")
    prepare.add_argument("--class-names", type=Path, help="text file with one class name per line")
    prepare.add_argument("--overwrite", action="store_true", help="replace a store that is there")
    show = _add(actions, "show", "summarise a clip store and verify its checksum", _show)
    show.add_argument("store", type=Path, help="folder of the store")
    synthetic = _add(actions, "synthetic", "record procedural humans into a clip store", _synthetic)
    synthetic.add_argument("store", type=Path, help="folder to write")
    synthetic.add_argument("--skeleton", default="ntu25", help="layout of the joints (default: %(default)s)")
    synthetic.add_argument("--subjects", type=int, default=12, help="people who perform (default: %(default)s)")
    synthetic.add_argument("--repetitions", type=int, default=2, help="of each action (default: %(default)s)")
    synthetic.add_argument("--noise", type=float, default=1.0, help="of the sensor, 0 for none (default: %(default)s)")
    synthetic.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    synthetic.add_argument("--overwrite", action="store_true", help="replace a store that is there")


def _add_train(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = _add(verbs, "train", "train, test and score one stream or several; continues what was cut off", _train)
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
        "--seed", type=int, help="of weights, order and augmentation (default: that of the recipe, else 0)"
    )
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: %(default)s)")
    train.add_argument("--name", help="name of the run's folder instead of the model's")
    train.add_argument("--fresh", action="store_true", help="start over, removing what the run folder holds")
    train.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "gpu"], help="(default: %(default)s)")
    train.add_argument("--devices", type=int, default=1, help="processes per node (default: %(default)s)")
    train.add_argument("--num-nodes", type=int, default=1, help="nodes, under torchrun or SLURM (default: %(default)s)")


def _train(args: argparse.Namespace, overrides: list[str]) -> int:
    from protogcn.training import streams as several
    from protogcn.training.processes import is_first, launched, leave_group
    from protogcn.training.recipe import load_recipe
    from protogcn.training.run_folder import is_finished, run_folder

    if args.devices < 1 or args.num_nodes < 1:
        raise ValueError("--devices and --num-nodes must be at least 1")
    if args.seed is not None:
        overrides = [*overrides, f"--seed={args.seed}"]
    names = several.parse_streams(args.streams) if args.streams else [args.stream]
    recipes = [load_recipe(args.recipe, name, overrides) for name in names]
    folders = [run_folder(args.runs, recipe, args.name) for recipe in recipes]
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
            several.train_in_new_process(_without_streams(args), recipe.stream)
    leave_group()
    if first:
        print(several.summary(folders, recipes))
    return 0


def _without_streams(args: argparse.Namespace) -> list[str]:
    words = list(args.words)
    for index, word in enumerate(words):
        if word == "--streams":
            return words[:index] + words[index + 2 :]
        if word.startswith("--streams="):
            return words[:index] + words[index + 1 :]
    return words


def _test(args: argparse.Namespace, rest: list[str]) -> int:
    import dataclasses

    from protogcn.training.evaluate import test_run
    from protogcn.training.run_folder import facts, read_config, read_metrics

    recipe = read_config(args.folder)
    if args.store:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, store=args.store))
    before = read_metrics(args.folder) or facts(f"1 x {args.device}")
    which = args.checkpoint or recipe.evaluation.checkpoint
    metrics = test_run(args.folder, recipe, which, before, args.device)
    low, high = metrics.top1_interval
    print(
        f"{args.folder}, {which} epoch: top-1 {100 * metrics.top1:.2f} % (95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f}), top-{metrics.k} {100 * metrics.top5:.2f} %, mean class {100 * metrics.mean_class:.2f} %"
    )
    return 0


def _demo(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.training.demo import run_demo

    return run_demo(args.out, args.seed)


def _results(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.training.results import write_results_page

    print(f"wrote {write_results_page(args.runs, args.out)}")
    return 0


def _prepare(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.prepare import describe, prepare

    store = prepare(
        args.benchmark,
        args.source,
        args.store,
        skeleton=args.skeleton,
        class_names=args.class_names,
        overwrite=args.overwrite,
    )
    print(describe(store))
    return 0


def _show(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.prepare import describe
    from protogcn.data.store import ClipStore

    store = ClipStore.open(args.store)
    print(describe(store))
    store.verify()
    print("  checksum  correct")
    return 0


def _synthetic(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.prepare import describe
    from protogcn.data.store_files import check_replaceable
    from protogcn.data.synthetic import write_synthetic

    check_replaceable(args.store, args.overwrite)
    store = write_synthetic(
        args.store,
        args.skeleton,
        subjects=args.subjects,
        repetitions=args.repetitions,
        noise=args.noise,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    print(describe(store))
    return 0


def _models(args: argparse.Namespace, rest: list[str]) -> int:
    import inspect

    from protogcn.evaluation.report import format_columns
    from protogcn.models import list_models, model_info

    if args.name and not set(args.name) & set("*?["):
        info = model_info(args.name)
        print(f"{info.name}: {info.summary} ({info.paper})\n")
        criterion = {name: p.default for name, p in inspect.signature(info.criterion).parameters.items()}
        for title, options in (("model.options", info.options), ("loss", criterion)):
            lines = [[f"--{title}.{name}", repr(default)] for name, default in options.items()]
            print(format_columns(["option", "default"], lines, left=2), end="\n\n")
        return 0
    if not (names := list_models(args.name or "*")):
        raise ValueError(f"no model matches {args.name!r}; there are: {', '.join(list_models())}")
    infos = [model_info(name) for name in names]
    print(format_columns(["model", "what it is", "paper"], [[i.name, i.summary, i.paper] for i in infos], left=3))
    return 0


def _skeletons(args: argparse.Namespace, rest: list[str]) -> int:
    from graphs.layouts import get_skeleton, list_skeletons
    from protogcn.evaluation.report import format_columns

    if args.name:
        skeleton = get_skeleton(args.name)
        lines = [
            [str(index), name, skeleton.joints[parent] if parent >= 0 else "-"]
            for index, (name, parent) in enumerate(zip(skeleton.joints, skeleton.parents, strict=True))
        ]
        print(f"{skeleton.name}: {skeleton.num_joints} joints\n")
        print(format_columns(["", "joint", "hangs on"], lines, left=3))
        for part, members in skeleton.parts.items():
            print(f"{part}: {', '.join(skeleton.joints[member] for member in members)}")
        if args.plot:
            from graphs.draw import draw_skeleton

            figure = draw_skeleton(None, skeleton)
            figure.savefig(args.plot, dpi=150)
            print(f"wrote {args.plot}")
        return 0
    rows = [get_skeleton(name) for name in list_skeletons()]
    lines = [[s.name, str(s.num_joints), s.joints[s.centre], ", ".join(s.parts) or "-"] for s in rows]
    print(format_columns(["skeleton", "joints", "root", "limbs"], lines, left=4))
    return 0


def _benchmarks(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.benchmarks import get_benchmark, list_benchmarks
    from protogcn.evaluation.report import format_columns

    if args.name:
        known = get_benchmark(args.name)
        print(f"{known.name}: {known.title}, {known.num_classes} classes, {known.skeleton}, splits {known.splits}")
        print(f"data: {known.source}\ncite: {known.citation}\n")
        for model, numbers in known.published.items():
            figures = "  ".join(f"{key} {value:.2f}" for key, value in numbers.items())
            print(f"{model}: {figures}   [{known.published_sources[model]}]")
        return 0
    rows = [get_benchmark(name) for name in list_benchmarks()]
    lines = [
        [b.name, b.title, str(b.num_classes), b.skeleton, f"{b.train_split} / {b.test_split}", b.protocol] for b in rows
    ]
    print(format_columns(["benchmark", "title", "classes", "skeleton", "train / test", "protocol"], lines, left=6))
    return 0


if __name__ == "__main__":
    sys.exit(main())
