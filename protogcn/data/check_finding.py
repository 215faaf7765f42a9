"""One thing that a check has to say about a store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What was found and what to do about it.

    Attributes:
        level: ``"error"`` (the store cannot be trained on as it is), ``"warning"`` (it will hurt) or ``"note"``.
        kind: a short name of the check, such as ``"short clips"``.
        text: one sentence.
        advice: one sentence; empty for notes that ask for nothing.
    """

    level: str
    kind: str
    text: str
    advice: str = ""


def counted(number: int, what: str, verb: str = "") -> str:
    """``1 clip shows``, ``3 clips show``: the noun, and the verb of the plural, as the number asks for."""
    plural = what + ("es" if what.endswith("s") else "s")
    single = {"are": "is", "have": "has", "": ""}.get(verb, verb + "s")
    return f"{number:,} {what if number == 1 else plural} {single if number == 1 else verb}".rstrip()


def named(names: Iterable[str], most: int = 4) -> str:
    """The first few names."""
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")
