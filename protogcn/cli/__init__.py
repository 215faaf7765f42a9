"""The command line: ``protogcn <verb>``. Each verb is thin; heavy imports wait until a verb needs them."""

import argparse
import os
import sys
from collections.abc import Sequence

from protogcn import __version__
from protogcn.cli.bench import add_bench
from protogcn.cli.catalogue import add_catalogue
from protogcn.cli.checkpoint import add_checkpoint
from protogcn.cli.data import add_data
from protogcn.cli.sweep import add_sweep
from protogcn.cli.training import add_evaluation, add_train
from protogcn.cli.zero_shot import add_zero_shot
from protogcn.evaluation.command import add_ensemble_parser
from protogcn.evaluation.command import run as run_ensemble


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; what the user can mend is printed as one message, with exit status 2."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    args, rest = parser.parse_known_args(_with_values(words))
    args.words = words[1:]
    if rest and not args.takes_overrides:
        parser.error(f"unrecognised arguments: {' '.join(rest)}; see protogcn {args.verb} --help")
    try:
        status: int = args.run(args, rest)
        # A reader that is gone shows when what is left is written, which would otherwise be at exit.
        sys.stdout.flush()
        return status
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
    add_data(verbs)
    add_train(verbs)
    add_sweep(verbs)
    add_ensemble_parser(verbs).set_defaults(run=_ensemble, takes_overrides=False)
    add_evaluation(verbs)
    add_zero_shot(verbs)
    add_checkpoint(verbs)
    add_bench(verbs)
    add_catalogue(verbs)
    return parser


def _ensemble(args: argparse.Namespace, rest: list[str]) -> int:
    from protogcn.data.benchmarks import get_benchmark

    return run_ensemble(args, get_benchmark)
