"""Looking a store over before training on it: is it whole, what is in it, and what will hurt."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from protogcn.data.check_clips import check_clips, check_splits, performers_of
from protogcn.data.check_facts import Facts, gather
from protogcn.data.check_finding import LEVELS, Finding, counted
from protogcn.data.check_geometry import check_geometry
from protogcn.data.prepare import describe
from protogcn.data.store import Clip, ClipStore

__all__ = ["CheckReport", "Finding", "check_store"]

_MOST_ROWS = 12


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        path: folder of the store.
        findings: errors first, then warnings, then notes.
        store, facts: what was looked at; None where the store cannot be opened.
    """

    path: Path
    findings: tuple[Finding, ...]
    store: ClipStore | None = field(default=None, repr=False)
    facts: Facts | None = field(default=None, repr=False)

    def of(self, level: str) -> list[Finding]:
        """The findings of a level: ``error``, ``warning`` or ``note``."""
        return [finding for finding in self.findings if finding.level == level]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings may be."""
        return not self.of("error")

    def text(self) -> str:
        """Summary, table of splits and findings, in plain text."""
        parts = []
        if self.store is not None and self.facts is not None:
            parts += [describe(self.store), _split_table(self.store, self.facts)]
        parts += [_paragraph(finding) for finding in self.findings]
        found = [counted(len(self.of(level)), level) for level in ("error", "warning") if self.of(level)]
        parts.append(f"{self.path}: {', '.join(found) or 'nothing that will hurt training'}")
        return "\n\n".join(part for part in parts if part)


def check_store(path: str | Path) -> CheckReport:
    """Open a store, compare its checksums, read every clip once, and say what is wrong or will hurt training.

    Errors are damage, numbers that are not finite, clips that show nobody, and clips in train and test at once.
    Everything else is a warning: leaks, classes that cannot be learnt, clips too short, other units, axes, sides or
    joint orders than the layout promises.

    Raises:
        FileNotFoundError: there is no store at ``path``.
    """
    path = Path(path)
    try:
        store = ClipStore.open(path)
        store.verify()
    except ValueError as error:
        return CheckReport(path, (Finding("error", "store", str(error)),))
    facts = gather(store, _with_progress(store))
    found = [*check_clips(store, facts), *check_splits(store, facts), *check_geometry(store, facts)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return CheckReport(path, tuple(found), store, facts)


def _with_progress(store: ClipStore) -> Iterable[Clip]:
    """A bar on a terminal, silence elsewhere."""
    from tqdm import tqdm

    return tqdm(store, total=len(store), unit="clip", desc="check", disable=None, leave=False)


def _split_table(store: ClipStore, facts: Facts) -> str:
    """Clips, classes, lengths and performers of each split."""
    told = performers_of(store)
    header = ["split", "clips", "classes", "per class", "frames", "persons", *(["performers"] if told else [])]
    lines = []
    for name, rows in list(store.splits.items())[:_MOST_ROWS]:
        if not len(rows):
            continue
        counts = np.unique(store.labels[rows], return_counts=True)[1]
        frames = facts.valid[rows]
        persons = np.unique(facts.present[rows])
        line = [
            name,
            f"{len(rows):,}",
            str(len(counts)),
            _range(counts.min(), counts.max()),
            f"{_range(frames.min(), frames.max())}, median {np.median(frames):g}",
            _range(persons.min(), persons.max()),
        ]
        lines.append([*line, *([str(len(frozenset().union(*(told[i] for i in rows))))] if told else [])])
    if not lines:
        return ""
    more = f"\n... and {len(store.splits) - _MOST_ROWS} more splits" if len(store.splits) > _MOST_ROWS else ""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *lines)]
    return "\n".join(row.rstrip() for row in table) + more


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _paragraph(finding: Finding) -> str:
    text = f"{finding.level}: {finding.kind}: {finding.text}"
    return f"{text}\n  {finding.advice}" if finding.advice else text
