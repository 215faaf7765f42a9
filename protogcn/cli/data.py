"""``protogcn data``: convert data into clip stores, look at them, make synthetic clips."""

import argparse
import dataclasses
from pathlib import Path

from protogcn.cli.verbs import Verbs, add_verb


def add_data(verbs: Verbs) -> None:
    data = verbs.add_parser("data", help="convert data into a clip store, look at one, or make synthetic clips")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = add_verb(actions, "prepare", "convert a data set into a clip store", _prepare)
    prepare.add_argument("benchmark", help="a name of `protogcn benchmarks`, or own")
    prepare.add_argument("source", type=Path, help="file or folder of the data; docs/own_data.md lists the formats")
    prepare.add_argument("store", type=Path, help="folder to write")
    prepare.add_argument("--skeleton", help="layout of the joints: a name of `protogcn skeletons` or a YAML file")
    prepare.add_argument("--class-names", type=Path, help="text file with one class name per line")
    prepare.add_argument("--overwrite", action="store_true", help="replace a store that is there")
    raw = prepare.add_argument_group("raw NTU RGB+D (.skeleton files)")
    raw.add_argument("--denoise", help="how bodies become persons: pyskl (default) or ctrgcn")
    raw.add_argument("--missing", type=Path, help="text file of the clips to leave out")
    raw.add_argument("--align", action="store_true", help="align persons as InfoGCN does; also for CTR-GCN's .npz")
    raw.add_argument("--workers", type=int, help="processes (default: one per processor)")
    kinetics = prepare.add_argument_group("Kinetics-400 (list of kpfiles)")
    kinetics.add_argument("--kpfiles", type=Path, help="folder of the kpfiles")
    kinetics.add_argument("--valid-ratio", type=float, help="least share of frames with a sure box (default: 0)")
    kinetics.add_argument("--box-threshold", type=float, help="score of a sure box (default: 0.5)")
    poses = prepare.add_argument_group("own poses (OpenPose, MediaPipe, COCO, Kinetics-Skeleton)")
    poses.add_argument("--image-size", help="of the videos where the files do not say it, such as 1280x720")
    poses.add_argument("--max-persons", type=int, help="the most persons of a clip (default: 5)")
    show = add_verb(actions, "show", "summarise a clip store and verify its checksum", _show)
    show.add_argument("store", type=Path, help="folder of the store")
    check = add_verb(actions, "check", "look a clip store over: is it whole, and what will hurt training", _check)
    check.add_argument("store", type=Path, help="folder of the store")
    check.add_argument("--out", type=Path, help="folder for check.png and check.txt (default: that of the store)")
    synthetic = add_verb(actions, "synthetic", "record procedural humans into a clip store", _synthetic)
    synthetic.add_argument("store", type=Path, help="folder to write")
    synthetic.add_argument("--skeleton", default="ntu25", help="layout of the joints (default: %(default)s)")
    synthetic.add_argument("--subjects", type=int, default=12, help="people who perform (default: %(default)s)")
    synthetic.add_argument("--repetitions", type=int, default=2, help="of each action (default: %(default)s)")
    synthetic.add_argument("--noise", type=float, default=1.0, help="of the sensor, 0 for none (default: %(default)s)")
    synthetic.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    synthetic.add_argument("--overwrite", action="store_true", help="replace a store that is there")


def _prepare(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.prepare import describe, prepare
    from protogcn.data.readers.options import ReadOptions

    options = ReadOptions(**{field.name: getattr(args, field.name) for field in dataclasses.fields(ReadOptions)})
    store = prepare(
        args.benchmark,
        args.source,
        args.store,
        skeleton=args.skeleton,
        class_names=args.class_names,
        overwrite=args.overwrite,
        options=options,
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


def _check(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.check import check_store
    from protogcn.data.check_plot import plot_check

    report = check_store(args.store)
    print(report.text())
    if report.store is not None and report.facts is not None:
        folder = args.out or args.store
        figure = plot_check(report.store, report.facts, folder / "check.png")
        (folder / "check.txt").write_text(report.text() + "\n", encoding="utf-8")
        print(f"wrote {figure} and {folder / 'check.txt'}")
    return 0 if report.ok else 1


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
