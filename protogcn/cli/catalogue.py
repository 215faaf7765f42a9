"""``protogcn models``, ``skeletons`` and ``benchmarks``: what there is."""

import argparse
from pathlib import Path

from protogcn.cli.verbs import Verbs, add_verb


def add_catalogue(verbs: Verbs) -> None:
    models = add_verb(verbs, "models", "list the models, or the options of one", _models)
    models.add_argument("name", nargs="?", help="a model, or a pattern such as '*gcn*'")
    skeletons = add_verb(verbs, "skeletons", "list the skeleton layouts, or describe one", _skeletons)
    skeletons.add_argument("name", nargs="?", help="a layout, or a YAML file of your own")
    skeletons.add_argument("--plot", type=Path, help="draw the layout into this file")
    benchmarks = add_verb(verbs, "benchmarks", "list the benchmarks, or what is published on one", _benchmarks)
    benchmarks.add_argument("name", nargs="?", help="a benchmark")


def _models(args: argparse.Namespace, rest: list[str]) -> int:
    import inspect

    from protogcn.evaluation.report import format_columns
    from protogcn.models import list_models, model_info
    from protogcn.models.clip_head import HEAD_OPTIONS, text_head

    if args.name and not set(args.name) & set("*?["):
        info = model_info(args.name)
        print(f"{info.name}: {info.summary} ({info.paper})\n")
        criterion = {name: p.default for name, p in inspect.signature(info.criterion).parameters.items()}
        for title, options in (("model.options", info.options), ("loss", criterion)):
            lines = [[f"--{title}.{name}", _brief(default)] for name, default in options.items()]
            if lines:
                print(format_columns(["option", "default"], lines, left=2), end="\n\n")
        if not info.reads_names():
            named = inspect.signature(text_head).parameters
            lines = [[f"--model.options.{name}", _brief(named[name].default)] for name in HEAD_OPTIONS]
            print("With --model.options.head=clip, clips are compared with the names of the classes:\n")
            print(format_columns(["option", "default"], lines, left=2), end="\n\n")
        return 0
    if not (names := list_models(args.name or "*")):
        raise ValueError(f"no model matches {args.name!r}; there are: {', '.join(list_models())}")
    infos = [model_info(name) for name in names]
    print(format_columns(["model", "what it is", "paper"], [[i.name, i.summary, i.paper] for i in infos], left=3))
    return 0


def _brief(default: object) -> str:
    if isinstance(default, tuple) and len(text := repr(default)) > 80:
        return f"{text[:40]}... ({len(default)} in all)"
    return repr(default)


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
    from protogcn.data.repeated import REPEATED
    from protogcn.evaluation.report import format_columns

    if args.name:
        known = get_benchmark(args.name)
        pairs = [f"{train} / {test}" for train, test in known.splits]
        folds = f"{pairs[0]} to {pairs[-1]} ({len(pairs)} folds)" if len(pairs) > 1 else pairs[0]
        print(f"{known.name}: {known.title}, {known.num_classes} classes, {known.skeleton}, splits {folds}")
        print(f"data: {known.source}\ncite: {known.citation}")
        if known.name in REPEATED:
            print(f"note: {REPEATED[known.name].note.replace('*', '')}")
        print()
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
