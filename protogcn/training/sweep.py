"""One recipe under many settings: which rows there are, training what is missing, and what each one reached."""

import dataclasses
import hashlib
import itertools
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graphs.messages import unknown
from protogcn.training.recipe import Recipe, load_recipe, merge, parse_recipe, read_yaml
from protogcn.training.recipe_files import find_recipe
from protogcn.training.run_folder import run_folder

# What names the place of the runs, where a table compares runs of one place.
_FIXED = ("benchmark", "name")
_KEYS = ("base", "rows", "vary", "zip", "select_on")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Row:
    """One run of a sweep: what it changes in the recipe (dotted key -> value), its whole recipe, its run folder."""

    settings: dict[str, Any]
    recipe: Recipe
    folder: Path


@dataclass(frozen=True)
class Sweep:
    """What a sweep trains.

    Attributes:
        rows: one run each.
        table: path of its tables, without a suffix.
        select_on: the held-out split that decides; empty for none.
    """

    rows: tuple[Row, ...]
    table: Path
    select_on: str = ""

    @property
    def keys(self) -> list[str]:
        """The settings that some row changes, sorted."""
        return sorted({key for row in self.rows for key in row.settings})


def plan_sweep(
    path: str | Path,
    vary: Sequence[str] = (),
    *,
    zipped: bool = False,
    stream: str | None = None,
    overrides: Sequence[str] = (),
    runs: str | Path = "runs",
    name: str | None = None,
    select_on: str = "",
) -> Sweep:
    """The rows of a sweep.

    Args:
        path: a recipe, or a file with the keys ``base`` (a recipe) and ``rows`` (a list of settings), or ``vary``
            (setting -> list of values); it may also say ``zip`` and ``select_on``.
        vary: words like ``optimizer.lr=1e-2,5e-3``, for a recipe.
        zipped: the first values of all settings make the first row, and so on, instead of every combination.
        stream: which stream; None takes the recipe's own.
        overrides: command-line words for all rows, such as ``--trainer.epochs=30``.
        runs: folder of all runs.
        name: of the sweep; by default that of its file, or the settings.
        select_on: a held-out split to choose by.

    Raises:
        FileNotFoundError: no such file, or no such recipe.
        ValueError: an unknown setting, nothing to vary, a value twice, or a row that is no valid recipe.
    """
    file = find_recipe(path)
    content = read_yaml(file)
    base: str | Path = path
    if "rows" in content or "vary" in content:
        if vary or zipped:
            raise ValueError(f"{path} says itself what varies: leave out --vary and --zip, or name its recipe instead")
        for key in content:
            if key not in _KEYS:
                raise ValueError(f"{path}: {unknown('key of a sweep', key, _KEYS, show_all=True)}")
        settings = _read_rows(content, path)
        base = _base_of(content, file)
        select_on = select_on or str(content.get("select_on") or "")
        name = name or file.stem
    else:
        settings = combine(parse_vary(vary), zipped)
    if len(settings) < 2:
        raise ValueError(
            "there is nothing to vary: give a setting two values or more, such as --vary optimizer.lr=1e-2,5e-3, or a "
            "file that lists rows"
        )
    labels = _labels(settings)
    common = load_recipe(base, stream, overrides)
    name = name or "-".join(labels[key] for key in sorted(labels))
    title = common.name or common.model.name
    rows = [_row(common, changes, labels, runs, base) for changes in settings]
    if len({row.folder for row in rows}) < len(rows):
        raise ValueError("two rows of the sweep are the same; every row must change something else")
    leaf = run_folder(runs, common, f"{title}-sweep-{name}")
    return Sweep(tuple(rows), leaf, select_on)


def parse_vary(words: Sequence[str]) -> dict[str, list[Any]]:
    """``["optimizer.lr=1e-2,5e-3"]`` to settings and their values.

    Raises:
        ValueError: no values, a setting twice, or a value twice.
    """
    vary: dict[str, list[Any]] = {}
    for word in words:
        key, _, text = word.partition("=")
        try:
            values = yaml.safe_load(f"[{text}]")
        except yaml.YAMLError:
            values = None
        if not key or not values:
            raise ValueError(f"--vary takes a setting and its values, such as optimizer.lr=1e-2,5e-3; got {word!r}")
        if key in vary:
            raise ValueError(f"--vary {key} is there twice: list all its values in one")
        vary[key] = values
    return vary


def combine(vary: Mapping[str, Sequence[Any]], zipped: bool = False) -> list[dict[str, Any]]:
    """Every combination of values, or with ``zipped`` the first values of all settings, the second ones, ...

    Raises:
        ValueError: an unknown setting, a value twice, or lists of different length that are to be zipped.
    """
    known: dict[str, list[Any]] = {}
    for key, given in vary.items():
        _place(key)
        values = [_number(value) for value in given]
        for place, value in enumerate(values):
            # Zipped lists repeat values, and their rows are what must differ.
            if not zipped and value in values[:place]:
                raise ValueError(f"{key} has the value {value} twice; every value makes a run of its own")
        known[key] = values
    if zipped and len({len(values) for values in known.values()}) > 1:
        counts = ", ".join(f"{key} has {len(values)}" for key, values in known.items())
        raise ValueError(f"--zip takes as many values of every setting: {counts}")
    rows = zip(*known.values(), strict=True) if zipped else itertools.product(*known.values())
    return [dict(zip(known, row, strict=True)) for row in rows] if known else []


def _read_rows(content: Mapping[str, Any], path: str | Path) -> list[dict[str, Any]]:
    rows, vary, zipped = content.get("rows"), content.get("vary"), content.get("zip", False)
    if rows is not None and vary is not None:
        raise ValueError(f"{path}: a sweep lists rows or says what to vary, not both")
    if not isinstance(zipped, bool):
        raise ValueError(f"{path}: zip must be true or false, got {zipped!r}")
    if vary is not None:
        if not isinstance(vary, Mapping) or not all(isinstance(values, list) for values in vary.values()):
            raise ValueError(f"{path}: vary must map settings to lists of values, such as optimizer.lr: [0.01, 0.005]")
        return combine({str(key): values for key, values in vary.items()}, zipped)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and row for row in rows):
        raise ValueError(f"{path}: rows must be a list of settings, such as - {{optimizer.lr: 0.01}}; got {rows!r:.80}")
    known = [{str(key): _number(value) for key, value in row.items()} for row in rows]
    for place, row in enumerate(known):
        for key in row:
            _place(key)
        if row in known[:place]:
            raise ValueError(f"{path}: the row {row} is there twice")
    return known


def _base_of(content: Mapping[str, Any], file: Path) -> Path:
    base = content.get("base")
    if not isinstance(base, str) or not base:
        raise ValueError(f"{file}: base must be the path of the recipe that the rows change; got {base!r}")
    beside = file.parent / base
    return beside if beside.is_file() else find_recipe(base)


def _number(value: Any) -> Any:
    """A value as YAML 1.2 reads it: 1e-2 is a number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return [_number(each) for each in value] if isinstance(value, list) else value


def _place(key: str) -> list[str]:
    """Where a setting lies in a recipe: section, key, and entry of a mapping.

    Raises:
        ValueError: a recipe has no such setting; the message lists near ones.
    """
    known: list[str] = []
    first, *rest = key.split(".")
    for each in dataclasses.fields(Recipe):
        if each.name in _FIXED:
            continue
        if not (isinstance(each.type, type) and dataclasses.is_dataclass(each.type)):
            known.append(each.name)
            if each.name == first and (not rest or _is_mapping(each.type)):
                return [first, ".".join(rest)] if rest else [first]
            continue
        for inner in dataclasses.fields(each.type):
            known.append(f"{each.name}.{inner.name}")
            if [each.name, inner.name] == [first, *rest[:1]] and (len(rest) == 1 or _is_mapping(inner.type)):
                # The entries of a mapping may hold dots themselves, as parts of parameter names do.
                return [first, rest[0], *([".".join(rest[1:])] if len(rest) > 1 else [])]
    raise ValueError(unknown("setting of a recipe", key, known))


def _is_mapping(kind: Any) -> bool:
    return typing.get_origin(kind) is dict or any(_is_mapping(each) for each in typing.get_args(kind))


def _labels(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Short names of settings: the last word, where no two share it."""
    keys = {key for row in settings for key in row}
    last = [key.rpartition(".")[2] for key in keys]
    return {key: word if last.count(word) == 1 else key for key in keys if (word := key.rpartition(".")[2])}


def _row(
    common: Recipe, changes: Mapping[str, Any], labels: Mapping[str, str], runs: str | Path, origin: str | Path
) -> Row:
    content = common.as_dict()
    for key, value in changes.items():
        nested: Any = value
        for word in reversed(_place(key)):
            nested = {word: nested}
        content = merge(content, nested)
    said = ", ".join(f"{key} {value}" for key, value in changes.items())
    recipe = parse_recipe(content, f"{origin} with {said}")
    tag = "-".join(f"{labels[key]}{_slug(changes[key])}" for key in sorted(changes))
    folder = run_folder(runs, recipe, f"{recipe.name or recipe.model.name}-{_short(tag, 120)}")
    return Row(dict(changes), recipe, folder)


def _slug(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    plain = re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)
    return _short(text if plain == text else f"{plain}_{_digest(text)}", 40)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 7]}_{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
