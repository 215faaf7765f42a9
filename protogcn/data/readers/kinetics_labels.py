"""Classes as Kinetics-Skeleton tells them: in every clip, or in a json file for all of them, each with its number."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from protogcn.data.readers.pose_values import brief, read_json, whole_in
from protogcn.data.readers.source import number_classes

_MOST_CLASSES = 1 << 16


class Labelled(Protocol):
    """A clip that may be told its class."""

    label: str | None
    label_index: int | None


def is_label_file(file: Path) -> bool:
    """Whether it is named like ``kinetics_train_label.json``."""
    return file.name.lower().endswith("_label.json")


def read_label_files(
    files: Sequence[Path], folder: Path, entries: Mapping[str, Labelled], dropped: dict[str, str]
) -> None:
    """Tell each clip its class from the files of labels; a clip that they say shows nobody goes to ``dropped``.

    The clips of ``kinetics_train_label.json`` lie in the folder ``kinetics_train``, or anywhere below ``folder``.

    Raises:
        ValueError: a malformed file, or a clip that none of them lists.
    """
    told: dict[str, Any] = {}
    for file in files:
        content = read_json(file)
        if not isinstance(content, dict):
            raise ValueError(f"{file}: expected clip -> label, label_index and has_skeleton; got {brief(content)}.")
        prefix = file.name[: -len("_label.json")]
        for clip, entry in content.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
                raise ValueError(f"{file}, {clip[:80]!r}: expected label, label_index and has_skeleton.")
            told[f"{prefix}/{clip}"] = told[clip] = (entry, file)
    for name, clip_entry in entries.items():
        found = told.get(name) or told.get(name.rpartition("/")[2])
        if found is None:
            raise ValueError(f"{folder / name}.json is in none of {', '.join(map(str, files))}.")
        entry, file = found
        clip_entry.label = entry["label"]
        if entry.get("label_index") is not None:
            clip_entry.label_index = whole_in(entry["label_index"], f"{file}, {name!r}: label_index")
        if entry.get("has_skeleton") is False:
            dropped[name] = "shows nobody: has_skeleton is false"


def class_numbers(
    labels: Mapping[str, str], indices: Mapping[str, int | None], given: Sequence[str] | None
) -> tuple[dict[str, int], tuple[str, ...] | None, int]:
    """As `number_classes`; where every clip has a number beside its class, and no names were given, that number.

    Raises:
        ValueError: a class with two numbers, or a number with two classes.
    """
    if given is not None or not indices or any(index is None for index in indices.values()):
        return number_classes(labels.values(), given)
    numbers: dict[str, int] = {}
    for clip, label in labels.items():
        index = indices[clip] or 0
        if not 0 <= index < _MOST_CLASSES:
            raise ValueError(f"clip {clip!r}: its label_index is {index}; class numbers start at 0.")
        if numbers.setdefault(label, index) != index:
            raise ValueError(f"clip {clip!r}: the class {label!r} has number {index}, and {numbers[label]} before.")
    names = [f"class {i}" for i in range(max(numbers.values()) + 1)]
    for label, index in numbers.items():
        if names[index] != f"class {index}":
            raise ValueError(f"the classes {names[index]!r} and {label!r} both have the number {index}.")
        names[index] = label
    return numbers, tuple(names), len(names)
