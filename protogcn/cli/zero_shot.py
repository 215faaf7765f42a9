"""``protogcn zero-shot``: actions recognised by their names alone, or by a few examples."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protogcn.cli.verbs import Verbs, add_verb

if TYPE_CHECKING:
    from protogcn.training.zero_shot_model import Subject

_FOLDER = "zero_shot"
_SHOWN = 20


def add_zero_shot(verbs: Verbs) -> None:
    verb = add_verb(verbs, "zero-shot", "recognise actions that a model was not trained on, by name or example", _run)
    verb.add_argument("model", type=Path, help="run folder, or a model.safetensors, of a network with a text head")
    verb.add_argument("--store", default="", help="clip store (default: that of the run)")
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--classes", metavar="SPLIT", help="split file, or its name, that lists the unseen classes")
    which.add_argument("--unseen", metavar="A,B", help="the unseen classes (default: those the model does not know)")
    which.add_argument("--names", metavar="A,B", help="answer with any names instead, for clips of any classes")
    verb.add_argument("--clips", nargs="+", metavar="ID", default=[], help="with --names: which (default: all tested)")
    verb.add_argument("--top", type=int, default=3, help="with --names: answers per clip (default: %(default)s)")
    verb.add_argument(
        "--split", default="", help="of the store: test, all, or its name; all adds unseen clips outside the test split"
    )
    verb.add_argument("--text-encoder", default="", help="minilm, or where the text weights of the training lie here")
    verb.add_argument("--prompts", nargs="+", metavar="TEXT", help="templates around the names, such as 'a person, {}'")
    verb.add_argument("--calibration", type=float, metavar="GAMMA", help="taken from the probability of seen classes")
    verb.add_argument("--shots", type=int, metavar="K", help="also recognise by K examples of each unseen class")
    verb.add_argument("--episodes", type=int, default=100, help="draws of examples (default: %(default)s)")
    verb.add_argument("--seed", type=int, default=0, help="of these draws (default: %(default)s)")
    verb.add_argument("--out", type=Path, help=f"folder for scores and figures (default: {_FOLDER} in a run folder)")
    verb.add_argument("--module", help="file or module that registers the network of the model; it is run")
    verb.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")


def _run(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.training.zero_shot_model import open_subject

    for name, low in (("shots", 1), ("episodes", 1), ("top", 1), ("seed", 0)):
        if (value := getattr(args, name)) is not None and value < low:
            raise ValueError(f"--{name} must be at least {low}, got {value}")
    if args.names is None and args.clips:
        raise ValueError("--clips chooses what to answer with --names a,b; a comparison takes whole splits")
    subject = open_subject(args.model, args.store, split=args.split, device=args.device, module=args.module)
    return _answer(args, subject) if args.names is not None else _compare(args, subject)


def _answer(args: argparse.Namespace, subject: "Subject") -> int:
    import csv

    from protogcn.training.zero_shot import name_clips
    from protogcn.training.zero_shot_model import set_names

    names = [name.strip() for name in args.names.split(",")]
    if len(names) < 2:
        raise ValueError(f"--names needs two names or more to choose from, separated by commas; got {args.names!r}")
    set_names(subject, names, args.text_encoder, args.prompts)
    answers = name_clips(subject, args.clips, names, args.top)
    shown = answers if args.clips else answers[:_SHOWN]
    for clip, best in shown:
        print(f"{clip}: " + ", ".join(f"{name} {100 * chance:.1f} %" for name, chance in best))
    if len(shown) < len(answers):
        print(f"and {len(answers) - len(shown)} more clips; choose some by --clips, or keep all by --out <folder>")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / "answers.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", "rank", "name", "probability"])
            writer.writerows(
                (clip, rank, name, chance)
                for clip, best in answers
                for rank, (name, chance) in enumerate(best, start=1)
            )
        print(f"wrote {path}")
    return 0


def _compare(args: argparse.Namespace, subject: "Subject") -> int:
    from protogcn.evaluation.zero_shot_report import describe, write_files
    from protogcn.training.zero_shot import choose_unseen, compare

    unseen = choose_unseen(subject, args.unseen if args.unseen is not None else args.classes)
    known = sorted(set(unseen) & set(subject.trained))
    print(f"{subject.path}: {len(unseen)} unseen classes ({', '.join(unseen)})")
    if known:
        print(f"NOT unseen: {', '.join(known)} were trained on, so the figures below are no zero-shot result")
    elif not subject.trained:
        print("the model does not say which classes it was trained on: whether these are unseen is your word")
    found = compare(
        subject,
        unseen,
        text_encoder=args.text_encoder,
        prompts=args.prompts,
        gamma=args.calibration,
        shots=args.shots,
        episodes=args.episodes,
        seed=args.seed,
    )
    print(describe(found))
    out = args.out or (args.model / _FOLDER if args.model.is_dir() else None)
    if out is None:
        print("nothing was written; --out <folder> keeps scores and figures")
        return 0
    facts: dict[str, Any] = {
        "model_file": str(subject.path),
        "store": str(subject.store.path),
        "trained_classes": len(subject.trained),
        "not_unseen": known,
    }
    write_files(found, out, facts)
    print(f"wrote {out}")
    return 0
