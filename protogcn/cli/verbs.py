"""How a verb of the command line is declared."""

import argparse
from collections.abc import Callable

Verbs = argparse._SubParsersAction  # type: ignore[type-arg]
Run = Callable[[argparse.Namespace, list[str]], int]


def add_verb(verbs: Verbs, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    """Declare a verb: ``run(args, overrides)`` gives the exit status; ``text`` is its line in the list of verbs."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run, takes_overrides=False)
    return parser
