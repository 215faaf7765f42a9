"""``protogcn checkpoint``: official weights into saved models, and what saved models say of themselves."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protogcn.cli.verbs import Verbs, add_verb


def add_checkpoint(verbs: Verbs) -> None:
    checkpoint = verbs.add_parser("checkpoint", help="convert official weights into a saved model, or describe one")
    actions = checkpoint.add_subparsers(dest="action", required=True, metavar="ACTION")
    convert = add_verb(
        actions, "convert", "turn a checkpoint of an official implementation into a saved model", _convert
    )
    convert.add_argument("source", type=Path, help="the checkpoint, such as ntu60_xsub_j.pth")
    convert.add_argument("out", type=Path, help="the file to write, *.safetensors")
    convert.add_argument("--model", help="the network it is of, where its weights do not tell")
    convert.add_argument("--skeleton", help="layout of its clips: a name of `protogcn skeletons` or a YAML file")
    convert.add_argument("--classes-file", type=Path, help="text file with one class name per line")
    convert.add_argument("--k", type=int, help="of InfoGCN: mode of the input, 1 for bones")
    convert.add_argument(
        "--compat", choices=["infogcn", "none"], help="of InfoGCN: the released graph, or the bone tree"
    )
    convert.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the model, over what its weights tell; repeat for several",
    )
    convert.add_argument(
        "--recipe", help="recipe it was trained by: says how clips are prepared, so that it can be tested"
    )
    convert.add_argument("--stream", help="one of j b k jm bm km")
    convert.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    show = add_verb(actions, "show", "print what a saved model says of itself, and verify its weights", _show)
    show.add_argument("model", type=Path, help="a file *.safetensors, or a run folder")
    show.add_argument("--json", action="store_true", help="all of it, for other programs")


def _convert(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.models.saved import read_description
    from protogcn.training.saved_models import convert

    options = dict(_option(word) for word in args.option)
    if args.k is not None:
        options["k"] = args.k
    if args.compat:
        options["compat"] = None if args.compat == "none" else args.compat
    path, found = convert(
        args.source,
        args.out,
        model=args.model,
        skeleton=args.skeleton,
        class_names=_class_names(args.classes_file) if args.classes_file else None,
        recipe=args.recipe,
        stream=args.stream,
        overwrite=args.overwrite,
        **options,
    )
    print(f"found {found.describe()}")
    for note in found.notes:
        print(f"  taken for granted: {note}")
    described = read_description(path)
    print(f"  every weight has its place; layout {described.skeleton.name}")
    if not described.preprocessing:
        print("  how its clips are prepared is not known; --recipe <recipe> --stream <stream> would say it")
    print(f"wrote {path}")
    return 0


def _option(word: str) -> tuple[str, Any]:
    import yaml

    name, equals, value = word.partition("=")
    if not equals or not name:
        raise ValueError(f"--option takes NAME=VALUE, such as --option dropout=0.5; got {word!r}")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"--option {word}: the value is not readable ({' '.join(str(error).split())})") from error


def _class_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text file with one class name per line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _show(args: argparse.Namespace, rest: list[str]) -> int:
    import json

    from protogcn.models.saved import find_model_file, read_description, verify

    path = find_model_file(args.model)
    described = read_description(path)
    tensors, numbers = verify(path)
    if args.json:
        print(json.dumps(described.as_dict(), indent=2))
        return 0
    print(_printable(f"{path}: {described.model}, {numbers:,} numbers in {tensors} tensors, checksum correct"))
    layout, persons = described.skeleton, f"{described.num_persons} person{'s' if described.num_persons > 1 else ''}"
    rows: dict[str, Any] = {
        "clips": f"{layout.num_joints} joints of {layout.name}, {described.in_channels} channels, {persons}",
        "classes": f"{described.num_classes}: {', '.join(described.class_names) or 'their names are not known'}",
        "options": described.options,
        "module": described.module,
        "trained on": ", ".join(
            word
            for word in (
                described.benchmark,
                described.stream and f"stream {described.stream}",
                "" if described.seed is None else f"seed {described.seed}",
            )
            if word
        ),
        "preprocessing": described.preprocessing,
        "evaluation": described.evaluation,
        "metrics": described.metrics,
        "converted from": described.source,
        "written by": f"protogcn {described.version}",
    }
    for title, value in rows.items():
        if value:
            print(_printable(f"  {title:<15}{_one_line(value)}"))
    return 0


def _one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_one_line(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_one_line(item) for item in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "-"


def _printable(text: str) -> str:
    """What a file from outside says must not steer the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
