"""Which classes a training never sees: named split files, a store narrowed to some classes, and draws of few clips."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from graphs.messages import unknown
from protogcn.data.store import ClipStore

FOLDER = "zero_shot"
_LARGEST = 1 << 20
_SUFFIXES = (".yaml", ".yml")
_KEYS = ("name", "benchmark", "unseen", "comment", "source")


@dataclass(frozen=True)
class ClassSplit:
    """The content of a split file.

    Attributes:
        name: of the split.
        benchmark: whose classes it divides.
        unseen: names of the classes that training leaves out.
        comment: what the choice is about.
        source: where it was taken from, or how it was drawn.
    """

    name: str
    benchmark: str
    unseen: tuple[str, ...]
    comment: str = ""
    source: str = ""


def read_class_split(path: str | Path) -> ClassSplit:
    """Read a split file: YAML with ``name``, ``benchmark``, ``unseen`` and perhaps ``comment`` and ``source``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no split file; the message names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no split file {path}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is larger than 1 MiB and no split file, which lists names of classes")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, dict) or "unseen" not in content:
        raise ValueError(f"{path} is no split file: it must hold name, benchmark and unseen, a list of class names")
    for key, value in content.items():
        if key not in _KEYS:
            raise ValueError(f"{path}: {unknown('key', key, _KEYS, show_all=True)}")
        if key != "unseen" and not isinstance(value, str):
            raise ValueError(f"{path}: {key} must be text, got {value!r}")
    if missing := [key for key in ("name", "benchmark") if not content.get(key)]:
        raise ValueError(f"{path} is no split file: it does not say its {' and '.join(missing)}")
    try:
        names = _plain_names(content.pop("unseen"))
    except ValueError as error:
        raise ValueError(f"{path}: unseen: {error}") from error
    return ClassSplit(unseen=names, **content)


def list_class_splits(benchmark: str) -> list[str]:
    """Names of the split files that ship with the recipes of a benchmark."""
    return sorted(path.stem for path in _shipped(benchmark).glob("*.yaml"))


def find_class_split(name: str | Path, benchmark: str = "") -> Path:
    """The split file of that path, in the working directory or among the installed recipes, or of that name.

    Args:
        name: a path, of which ``configs/...`` also finds what the package brings; or the name of a file in
            ``configs/<benchmark>/zero_shot``.
        benchmark: whose splits go by their names.

    Raises:
        FileNotFoundError: no such file; the message lists near matches.
    """
    if str(name) in list_class_splits(benchmark):
        return _shipped(benchmark) / f"{name}.yaml"
    path = Path(name)
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    if path.suffix in _SUFFIXES:
        for candidate in (path, _configs() / inside):
            if candidate.is_file():
                return candidate
    raise FileNotFoundError(
        f"{unknown('split file', str(name), list_class_splits(benchmark))} Give a YAML file with name, benchmark and "
        "unseen, or the names of the classes themselves"
    )


def unseen_classes(spec: str | Sequence[str], class_names: Sequence[str], benchmark: str = "") -> tuple[str, ...]:
    """What ``data.unseen`` stands for, checked against the classes there are; in their order.

    Args:
        spec: a list of class names; or as one text a split file, the name of a split of the benchmark, or class names
            separated by commas. Capitals make no difference.
        class_names: all classes.
        benchmark: whose splits go by their names.

    Raises:
        FileNotFoundError: no such split file.
        ValueError: an unknown class, one named twice, none at all, or no class left to be seen.
    """
    origin = "unseen"
    if isinstance(spec, str):
        spec, origin = _names_of(spec, class_names, benchmark)
    try:
        names = _plain_names(list(spec))
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error
    spelt = {name.lower(): name for name in class_names}
    chosen = [name if name in class_names else spelt.get(name.lower()) for name in names]
    for name, found in zip(names, chosen, strict=True):
        if found is None:
            raise ValueError(f"{origin}: {unknown('class', name, class_names)}")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{origin}: a class is named twice among {', '.join(names)}")
    if len(chosen) == len(class_names):
        raise ValueError(
            f"{origin}: all {len(class_names)} classes are unseen; at least one must be left to learn from"
        )
    return tuple(name for name in class_names if name in chosen)


def draw_unseen(class_names: Sequence[str], count: int, fold: int = 0, seed: int = 0) -> tuple[str, ...]:
    """Draw a fold of unseen classes: ``count`` of a permutation by ``numpy.random.default_rng(seed)``.

    The folds of one seed and count share no class. The classes come in the order of ``class_names``.

    Raises:
        ValueError: there are not as many classes.
    """
    first, last = count * fold, count * (fold + 1)
    if not 1 <= count < len(class_names) or not 0 <= first < last <= len(class_names):
        raise ValueError(f"fold {fold} of {count} unseen classes each cannot be drawn from {len(class_names)} classes")
    drawn = np.random.default_rng(seed).permutation(len(class_names))[first:last]
    return tuple(class_names[index] for index in sorted(drawn.tolist()))


class ClassSubset(ClipStore):
    """A store narrowed to some of its classes: the other clips are not there, and labels count what is left.

    Keypoints are the same views into the same file. Clips keep their order, ids and splits.

    Args:
        store: all clips.
        class_names: the classes to keep, in any order; theirs is that of the store.

    Attributes:
        left_out: names of the classes that are not kept.

    Raises:
        ValueError: an unknown class, or no clip of these classes.
    """

    def __init__(self, store: ClipStore, class_names: Sequence[str]) -> None:
        for name in class_names:
            if name not in store.class_names:
                raise ValueError(f"The store {store.path}: {unknown('class', name, store.class_names)}")
        kept = [index for index, name in enumerate(store.class_names) if name in class_names]
        renumbered = np.full(store.num_classes, -1, dtype=np.int64)
        renumbered[kept] = np.arange(len(kept))
        rows = np.flatnonzero(renumbered[store.labels] >= 0)
        if not len(rows):
            raise ValueError(f"{store.path} holds no clip of {', '.join(class_names) or 'no class'}")
        place = np.full(len(store), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        self.path, self.meta, self.skeleton, self.channels = store.path, store.meta, store.skeleton, store.channels
        self.class_names = tuple(store.class_names[index] for index in kept)
        self.left_out = tuple(name for name in store.class_names if name not in class_names)
        self.labels = _fixed(renumbered[store.labels[rows]])
        self.persons, self.lengths = _fixed(store.persons[rows]), _fixed(store.lengths[rows])
        self.ids = tuple(store.ids[row] for row in rows)
        splits = {name: place[indices] for name, indices in store.splits.items()}
        self.splits = MappingProxyType({name: _fixed(found[found >= 0]) for name, found in splits.items()})
        self._rows = store._rows
        self._spans = [store._spans[row] for row in rows]
        self._labels = self.labels.tolist()
        self._image_shapes = [store._image_shapes[row] for row in rows]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.class_names)


def pick_shots(
    store: ClipStore,
    indices: npt.NDArray[np.int64],
    shots: int,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """At most ``shots`` of the clips of each class, in the order of ``indices``.

    The draw depends on the seed, the name of the class and the ids of its clips alone. Fewer shots of the same seed are
    some of the more.

    Args:
        store: the clips.
        indices: clips to choose from, (n,).
        shots: how many to keep of a class, 1 or more.
        seed: of the draw.
        class_names: classes that are thinned; None thins all.
    """
    labels = store.labels[indices]
    keep = np.ones(len(indices), dtype=bool)
    for label in np.unique(labels):
        name = store.class_names[label]
        if class_names is not None and name not in class_names:
            continue
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda item: store.ids[indices[item]])
        order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(members))
        keep[[members[item] for item in order[shots:]]] = False
    return indices[keep]


def _reopened(path: Path, class_names: Sequence[str]) -> ClassSubset:
    return ClassSubset(ClipStore(path), class_names)


def _fixed(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    values.flags.writeable = False
    return values


def _plain_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a list of class names, at least one; got {value!r}")
    # YAML reads an unquoted 99, or no, as something else than text.
    if wrong := [name for name in value if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"class names are text and not empty, in YAML quoted where needed; got {wrong[0]!r}")
    return tuple(name.strip() for name in value)


def _names_of(spec: str, class_names: Sequence[str], benchmark: str) -> tuple[Sequence[str], str]:
    """Class names of a split file or of a list in one text, and what to call it in messages."""
    spelt = [name.lower() for name in class_names]
    if spec.strip().lower() in spelt:
        return [spec], "unseen"
    try:
        path = find_class_split(spec, benchmark)
    except FileNotFoundError:
        if Path(spec).suffix in _SUFFIXES or "," not in spec:
            known = [*list_class_splits(benchmark), *class_names]
            raise FileNotFoundError(
                f"unseen must be a split file or classes: {unknown('class or split file', spec, known)}"
            ) from None
        return spec.split(","), "unseen"
    return read_class_split(path).unseen, f"split file {path}"


def _configs() -> Path:
    import protogcn.configs

    return Path(protogcn.configs.__file__).parent


def _shipped(benchmark: str) -> Path:
    return _configs() / (benchmark or ".") / FOLDER
