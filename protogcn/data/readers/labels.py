"""The class and the split of clips that are files: told by the folders they lie in, or by a table ``labels.csv``."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LABELS = "labels.csv"
_SUFFIXES = (".npy", ".npz", ".json", ".csv")
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "eval"))


@dataclass
class Labels:
    """What is known of clips beside their joints.

    Attributes:
        label_of: clip -> class, as text, for every clip.
        split_of: clip -> split, for those that have one; the clips in their order.
        image_shape_of: clip -> (height, width), for those that have one.
    """

    label_of: dict[str, str] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)
    image_shape_of: dict[str, tuple[int, int]] = field(default_factory=dict)

    def splits(self) -> dict[str, list[str]]:
        """Split -> its clips."""
        members: dict[str, list[str]] = {}
        for name, split in self.split_of.items():
            members.setdefault(split, []).append(name)
        return members


def read_labels(folder: Path, clips: Iterable[str], places: Mapping[str, str] | None = None) -> Labels:
    """Class and split of each clip, from ``labels.csv`` in the folder if there is one, else from the folders below.

    Args:
        folder: where the clips are.
        clips: their names, paths below the folder without suffix.
        places: clip -> the path that tells its class, where that is not its name.

    Raises:
        ValueError: a clip without a class, or a table that cannot be read; the message names file and line.
    """
    names = list(clips)
    table = folder / LABELS
    return _from_table(table, names) if table.is_file() else _from_folders(folder, names, places or {})


def are_splits(names: Iterable[str]) -> bool:
    """Whether these are names of splits rather than of classes."""
    return all(name.lower() in _SPLITS for name in names)


def _from_folders(folder: Path, names: list[str], places: Mapping[str, str]) -> Labels:
    found = Labels()
    for name in names:
        parts = places.get(name, name).split("/")
        if len(parts) not in (2, 3):
            raise ValueError(
                f"{folder / name} has no class: put clips into {folder}/<class>/ or {folder}/<split>/<class>/, "
                f"or write {folder / LABELS} with the columns clip,label."
            )
        found.label_of[name] = parts[-2]
        if len(parts) == 3:
            found.split_of[name] = parts[0]
    if found.split_of and len(found.split_of) < len(found.label_of):
        odd = next(name for name in names if name not in found.split_of)
        raise ValueError(
            f"{folder / odd} lies in {folder}/<class>/, and other clips in {folder}/<split>/<class>/; put all of them "
            f"one way, or write {folder / LABELS} with the columns clip,label,split."
        )
    if found.label_of and not found.split_of and are_splits(found.label_of.values()):
        words = ", ".join(dict.fromkeys(found.label_of.values()))
        raise ValueError(
            f"{folder} has the folders {words}, which are splits, but no class: put clips into "
            f"{folder}/<split>/<class>/, or write {folder / LABELS} with the columns clip,label,split."
        )
    return found


def _from_table(table: Path, names: list[str]) -> Labels:
    found, split_of, known = Labels(), {}, _spellings(names)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if not {"clip", "label"} <= set(rows.fieldnames or ()):
                raise ValueError(f"{table}: the first line must name the columns clip,label (and optionally split).")
            for row in rows:
                where = f"{table}, line {rows.line_num}"
                text, label = (row["clip"] or "").strip(), (row["label"] or "").strip()
                name = _known(text, known, where)
                if not label or name in found.label_of:
                    reason = "it is listed twice" if label else "its label is empty"
                    raise ValueError(f"{where}: clip {text!r}: {reason}.")
                found.label_of[name] = label
                if split := (row.get("split") or "").strip():
                    split_of[name] = split
                if (height := (row.get("height") or "").strip()) and (width := (row.get("width") or "").strip()):
                    found.image_shape_of[name] = _pixels(height, where), _pixels(width, where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{table} is not a readable csv file in UTF-8 ({error}).") from error
    if missing := [name for name in names if name not in found.label_of]:
        raise ValueError(f"{table} has no label for {len(missing)} clips, the first of them {missing[0]!r}.")
    # In the order of the clips, whatever the order of the lines.
    found.split_of = {name: split_of[name] for name in names if name in split_of}
    return found


def _spellings(names: list[str]) -> dict[str, list[str]]:
    """How a table may write a clip -> the clips it may mean: the whole path, or its last part."""
    meant: dict[str, list[str]] = {}
    for name in names:
        for spelling in {name, name.rpartition("/")[2]}:
            meant.setdefault(spelling, []).append(name)
    return meant


def _known(text: str, known: Mapping[str, list[str]], where: str) -> str:
    key = text.replace("\\", "/").removeprefix("./").rstrip("/")
    plain = next((key.removesuffix(suffix) for suffix in _SUFFIXES if key.endswith(suffix)), key)
    meant = known.get(key) or known.get(plain) or []
    # A path in full is never ambiguous, even if it is also the last part of another.
    if exact := [name for name in meant if name in (key, plain)]:
        return exact[0]
    if not meant:
        raise ValueError(f"{where}: there is no clip file {text!r} below the folder.")
    if len(meant) > 1:
        raise ValueError(f"{where}: {text!r} may be {meant[0]!r} or {meant[1]!r}; write the path below the folder.")
    return meant[0]


def _pixels(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"{where}: height and width must be whole numbers of pixels; got {text[:40]!r}.")
    return int(text[:9])
