"""What single clips and their division into splits can hide: emptiness, repetition, missing classes, leaks."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

import numpy as np

from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.check_facts import Facts
from protogcn.data.check_finding import Finding, counted, named
from protogcn.data.store import ClipStore

_SHORT = 5
_SPARSE = 0.5
_USUAL_PERSONS = 2
_IMBALANCE = 10
_FEW = 5
_HELD_OUT = ("test", "val", "valid", "validation", "eval", "testing")

# Performer (or group of clips cut from one video), and camera, as clip names tell them.
_PERFORMERS = (
    re.compile(r"S\d{3}C\d{3}P(\d{3})R\d{3}A\d{3}"),
    re.compile(r"(?:^|[_/-])((?:s\d{1,3})+)(?=[_/.-]|$)", re.IGNORECASE),
    re.compile(r"(?:^|[_/-])(?:subject|subj|person|performer|actor|user)[_-]?(\w+?)(?=[_/.-]|$)", re.IGNORECASE),
    re.compile(r"_(g\d{2})_c\d{2}$"),
)
_CAMERAS = (
    re.compile(r"S\d{3}C(\d{3})P\d{3}"),
    re.compile(r"(?:^|[_/-])(?:v|view|cam|camera)[_-]?(\d{1,3})(?=[_/.-]|$)"),
)
_Told = TypeVar("_Told", bound=Hashable)
_EACH = re.compile(r"s\d{1,3}", re.IGNORECASE)


def pairs_of(store: ClipStore) -> list[tuple[str, str]]:
    """(train, test) names of the store: the benchmark's, else those that differ by the word train only."""
    if store.meta.get("benchmark") in list_benchmarks():
        known = get_benchmark(store.meta["benchmark"]).splits
        return [(train, test) for train, test in known if {train, test} <= set(store.splits)]
    found = []
    for train in store.splits:
        if "train" in train:
            others = (train.replace("training", "train").replace("train", word) for word in _HELD_OUT)
            found += [(train, other) for other in others if other in store.splits]
    return found


def performers_of(store: ClipStore) -> list[frozenset[str]] | None:
    """Who performs in each clip, if the names of all clips tell."""
    return _told(store, _PERFORMERS, lambda text: frozenset(_EACH.findall(text.lower()) or [text]))


def check_clips(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    """Findings about single clips."""
    ids = np.array(store.ids)
    if facts.bad.any():
        yield Finding(
            "error",
            "numbers",
            f"{counted(int((facts.bad > 0).sum()), 'clip', 'hold')} numbers that are not finite: "
            f"{named(ids[facts.bad > 0])}.",
            "Convert the data again; a conversion never writes such numbers.",
        )
    if (empty := facts.valid == 0).any():
        yield Finding(
            "error",
            "empty clips",
            f"{counted(int(empty.sum()), 'clip', 'show')} nobody: {named(ids[empty])}.",
            "Leave them out.",
        )
    short = (facts.valid > 0) & (facts.valid < _SHORT)
    if short.any():
        order = np.flatnonzero(short)[np.argsort(facts.valid[short], kind="stable")]
        yield Finding(
            "warning",
            "short clips",
            f"{counted(int(short.sum()), 'clip', 'show')} somebody in fewer than {_SHORT} frames: "
            + named(f"{ids[i]} ({facts.valid[i]})" for i in order)
            + ".",
            "Motion streams see next to nothing in them; leave them out of training, or cut longer clips.",
        )
    share = facts.valid / store.lengths
    sparse = (share < _SPARSE) & ~empty & ~short
    if sparse.any():
        order = np.flatnonzero(sparse)[np.argsort(share[sparse], kind="stable")]
        yield Finding(
            "warning",
            "empty frames",
            f"{counted(int(sparse.sum()), 'clip', 'show')} nobody in most of their frames: "
            + named(f"{ids[i]} ({facts.valid[i]} of {store.lengths[i]})" for i in order)
            + ".",
            "The 3-D protocols drop empty frames; for others cut the clips to the frames with people.",
        )
    yield from _persons(store, facts)


def _persons(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    ids = np.array(store.ids)
    if (many := facts.present > _USUAL_PERSONS).any():
        yield Finding(
            "warning",
            "persons",
            f"{counted(int(many.sum()), 'clip', 'show')} more than {_USUAL_PERSONS} persons (up to "
            f"{facts.present.max()}): {named(ids[many])}.",
            f"Recipes keep the first {_USUAL_PERSONS} or fewer: order persons by importance, or raise "
            "pipeline.num_persons.",
        )
    elif facts.present.max() == _USUAL_PERSONS and (two := facts.present == _USUAL_PERSONS).any():
        yield Finding(
            "note",
            "persons",
            f"{counted(int(two.sum()), 'clip', 'show')} two persons.",
            "Train with pipeline.num_persons 2.",
        )
    if facts.copied.any():
        yield Finding(
            "note",
            "copied persons",
            f"in {counted(int(facts.copied.sum()), 'clip')} the second person is the first one again.",
        )


def check_splits(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    """Findings about splits and classes."""
    pairs = pairs_of(store)
    if not pairs:
        got = f"the splits {', '.join(store.splits)}" if store.splits else "no splits"
        yield Finding(
            "warning",
            "splits",
            f"the store has {got}; training needs one to learn from and one to test on.",
            "Convert with a column split, or folders train and test (docs/own_data.md), or name them: --data.train, "
            "--data.test.",
        )
    for name, rows in store.splits.items():
        if not len(rows):
            yield Finding("warning", "splits", f"the split {name} has no clip.", "Check the list it was made from.")
    yield from _once_for_all(pairs, lambda train, test: _overlap(store, train, test))
    yield from _once_for_all(pairs, lambda train, test: _leak(store, facts, train, test))
    yield from _once_for_all(pairs, lambda train, test: _performers(store, train, test))
    yield from _once_for_all(pairs, lambda train, test: _classes(store, train, test))
    if not pairs:
        yield from _classes(store, None, None)


def _once_for_all(pairs: list[tuple[str, str]], find: Callable[[str, str], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of the first fold that has any of a kind, and how many folds have that kind."""
    first: dict[str, Finding] = {}
    folds: defaultdict[str, int] = defaultdict(int)
    for train, test in pairs:
        for finding in find(train, test):
            first.setdefault(finding.kind, finding)
            folds[finding.kind] += 1
    for kind, finding in first.items():
        again = f" (so or likewise in {folds[kind]} of {len(pairs)} folds)" if folds[kind] > 1 else ""
        yield Finding(finding.level, kind, finding.text.removesuffix(".") + again + ".", finding.advice)


def _overlap(store: ClipStore, train: str, test: str) -> Iterator[Finding]:
    both = np.intersect1d(store.split(train), store.split(test))
    if len(both):
        yield Finding(
            "error",
            "overlap",
            f"{counted(len(both), 'clip', 'are')} in {train} and in {test}: {named(store.ids[i] for i in both)}.",
            "A clip that was learnt says nothing in a test; give each clip one split and convert again.",
        )


def _leak(store: ClipStore, facts: Facts, train: str, test: str) -> Iterator[Finding]:
    learnt = {facts.digest[i]: i for i in store.split(train)}
    known = [i for i in store.split(test) if facts.digest[i] in learnt and learnt[facts.digest[i]] != i]
    if known:
        tested = len(store.split(test))
        shown = (f"{store.ids[i]} = {store.ids[learnt[facts.digest[i]]]}" for i in known)
        yield Finding(
            "warning",
            "repeated clips",
            f"{test} repeats {train} number for number in {len(known):,} of its {tested:,} clips: {named(shown, 3)}.",
            "Whoever learns by heart has these right; take them out of one split, or report results without them too.",
        )


def _performers(store: ClipStore, train: str, test: str) -> Iterator[Finding]:
    told = performers_of(store)
    if told is None:
        return
    learnt = frozenset().union(*(told[i] for i in store.split(train)))
    tested = frozenset().union(*(told[i] for i in store.split(test)))
    if not (both := learnt & tested):
        return
    text = f"{train} and {test} share {counted(len(both), 'performer')}: {named(sorted(both))}."
    cameras = _told(store, _CAMERAS, str)
    by_camera = cameras is not None and not (
        {cameras[i] for i in store.split(train)} & {cameras[i] for i in store.split(test)}
    )
    if by_camera or store.meta.get("benchmark") in list_benchmarks():
        yield Finding("note", "performers", text.removesuffix(".") + ", as the protocol has it.")
    else:
        yield Finding(
            "warning",
            "performers",
            text,
            "The test then says little about new people; divide by performer (or by video) instead of by clip.",
        )


def _classes(store: ClipStore, train: str | None, test: str | None) -> Iterator[Finding]:
    everything = np.arange(len(store))
    labels = store.labels[store.split(train) if train else everything]
    tested = set(store.labels[store.split(test)].tolist()) if test else set()
    counts = np.bincount(labels, minlength=store.num_classes)
    where = f"in {train}" if train else "in the store"
    unknown = [store.class_names[label] for label in sorted(tested) if not counts[label]]
    if unknown:
        yield Finding(
            "warning",
            "unseen classes",
            f"{counted(len(unknown), 'class', 'have')} no clip {where}, but some in {test}: {named(unknown)}.",
            "They cannot be learnt: add clips to the training split, or leave these classes out.",
        )
    elif (absent := [store.class_names[i] for i in np.flatnonzero(counts == 0)]) and not _by_design(store):
        yield Finding(
            "warning",
            "classes without clips",
            f"{counted(len(absent), 'class', 'have')} no clip {where}: {named(absent)}.",
            "Are the class names those of this data? Give --class-names with the classes that there are.",
        )
    there = counts[counts > 0]
    if not len(there):
        return
    rare = [store.class_names[i] for i in np.flatnonzero((counts > 0) & (counts < _FEW))]
    if rare:
        yield Finding(
            "warning",
            "rare classes",
            f"{counted(len(rare), 'class', 'have')} fewer than {_FEW} clips {where}: {named(rare)}.",
            "Record more of them, or mirror and turn what there is (pipeline.flip, pipeline.rotation).",
        )
    elif there.max() >= _IMBALANCE * there.min():
        most, least = (
            store.class_names[int(counts.argmax())],
            store.class_names[int(np.where(counts, counts, 1 << 60).argmin())],
        )
        yield Finding(
            "warning",
            "imbalance",
            f"{most} has {there.max():,} clips {where}, {least} only {there.min():,}.",
            "Train with data.sampling class_balanced, and look at the mean class accuracy beside top-1.",
        )


def _by_design(store: ClipStore) -> bool:
    """Whether the folds of the benchmark are subsets of its classes."""
    name = store.meta.get("benchmark")
    return name in list_benchmarks() and bool(get_benchmark(str(name)).packed.label_subsets)


def _told(store: ClipStore, patterns: tuple[re.Pattern[str], ...], read: Callable[[str], _Told]) -> list[_Told] | None:
    for pattern in patterns:
        found = [pattern.search(name) for name in store.ids]
        values = [read(match[1]) for match in found if match]
        if len(values) == len(store) and len(set(values)) > 1:
            return values
    return None
