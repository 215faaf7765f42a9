"""Wording shared by the errors of this package."""

import difflib
from collections.abc import Iterable


def unknown(what: str, got: object, known: Iterable[str], *, show_all: bool = False) -> str:
    """One sentence for a name that does not exist: what was got and the nearest names that do.

    Args:
        what: the kind of thing that was named, e.g. ``"skeleton"``.
        got: the name as the user gave it.
        known: every valid name.
        show_all: list all valid names even when some are near; when none is near, up to 40 are listed anyway.
    """
    names = list(known)
    spelt = {name.lower(): name for name in names}
    word = str(got).lower()
    near = [word] if word in spelt else difflib.get_close_matches(word, spelt, n=3, cutoff=0.5)
    matches = [spelt[name] for name in near]
    message = f"unknown {what} {got!r}"
    if matches:
        message += f"; did you mean {' or '.join(repr(name) for name in matches)}?"
    if show_all or (not matches and len(names) <= 40):
        return f"{message}{'' if matches else ';'} known: {', '.join(names)}."
    return message if matches else f"{message}."
