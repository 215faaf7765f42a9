"""The recipe of a run: typed sections read from YAML, differences between streams written once, overrides on top."""

import copy
import dataclasses
import functools
import math
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from graphs.messages import unknown
from graphs.streams import check_stream
from protogcn.data.pipeline_config import PipelineConfig
from protogcn.training.recipe_files import find_recipe
from protogcn.training.sections import (
    DataConfig,
    EvaluationConfig,
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
)

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "InitConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Recipe",
    "ScheduleConfig",
    "TrainerConfig",
    "find_recipe",
    "in_fold",
    "load_recipe",
    "merge",
    "parse_recipe",
    "read_yaml",
]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run.

    Attributes:
        benchmark: an entry of ``protogcn benchmarks``, or any name for own data.
        name: of the run folder, where it is not to be that of the model.
        stream: ``j b k jm bm km``.
        seed: of weights, order and augmentation.
        data: which clips.
        pipeline: from clips to network input.
        model: which network.
        init: what its weights start from.
        loss: options of the model's training criterion.
        optimizer: how weights move.
        schedule: how the learning rate moves.
        trainer: how long and how exactly.
        evaluation: how scores come about.
    """

    benchmark: str
    name: str = ""
    stream: str = "j"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_stream(self.stream)
        if not self.benchmark or "/" in self.benchmark or self.benchmark.startswith("."):
            raise ValueError(f"benchmark names the run folder and must be a plain name, got {self.benchmark!r}")
        if "/" in self.name or self.name.startswith("."):
            raise ValueError(f"name names the run folder and must be a plain name, got {self.name!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        for section, low, words in (
            (self.trainer, 1, ("epochs", "batch_size", "eval_batch_size", "accumulate")),
            (self.trainer, 0, ("gradient_clip", "patience", "validate_every")),
            (self.data, 1, ("repeat",)),
            (self.data, 0, ("workers", "fold")),
            (self.optimizer, 0, ("lr", "weight_decay", "momentum")),
            (self.schedule, 0, ("warmup_epochs", "gamma")),
        ):
            for word in words:
                if not low <= getattr(section, word) < math.inf:
                    raise ValueError(f"{word} must be at least {low}, got {getattr(section, word)}")
        if not 0 <= self.trainer.ema < 1:
            raise ValueError(f"trainer.ema must lie in [0, 1), got {self.trainer.ema}")
        if self.trainer.patience and not self.trainer.validate_every:
            raise ValueError("trainer.patience needs trainer.validate_every of 1 or more")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, as they are written to the run folder."""
        return _plain(dataclasses.asdict(self))


def load_recipe(path: str | Path, stream: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe for one stream.

    A recipe is YAML with the sections of :class:`Recipe`, only what differs from the defaults. Its section ``streams``
    maps a stream or several (``"b,bm"``) to what differs for them. A key ``base`` names a recipe to start from, by its
    path from the folder of this one or as ``configs/...``: what it says for the stream holds wherever this one says
    nothing, and ``null`` takes it back. Overrides look like ``--optimizer.lr=0.1``.

    Args:
        path: a YAML file; ``configs/...`` also finds the recipes of the installed package.
        stream: which stream; None takes the recipe's own.
        overrides: command-line words, applied last.

    Raises:
        FileNotFoundError: no such recipe, or no such base.
        ValueError: not YAML, a base that builds on itself, a section or value unknown or of the wrong type; the message
            lists near matches.
    """
    layers = _with_bases(find_recipe(path))
    own = [content["stream"] for _, content in layers if "stream" in content]
    stream = check_stream(stream or (own[-1] if own else "j"))
    merged: dict[str, Any] = {}
    for file, content in layers:
        by_stream = content.pop("streams", None) or {}
        for change in (content, *_stream_parts(by_stream, stream, file)):
            merged = merge(merged, change)
    merged["stream"] = stream
    return parse_recipe(merged, path, overrides)


def _with_bases(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The contents of a recipe and of all that it builds on, the deepest base first.

    Raises:
        FileNotFoundError, ValueError: see `load_recipe`.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    seen: list[Path] = []
    while True:
        seen.append(path.resolve())
        content = read_yaml(path)
        base = content.pop("base", None)
        layers.insert(0, (path, content))
        if base is None:
            return layers
        if not isinstance(base, str) or not base:
            raise ValueError(f"{path}: base must be the path of a recipe, such as ../pyskl.yaml; got {base!r}")
        above = path.parent / base
        if not above.is_file():
            try:
                above = find_recipe(base)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{path} builds on {base}, and {above} is no file: {error}") from error
        if above.resolve() in seen:
            chain = " -> ".join(file.name for file in (*seen, above))
            raise ValueError(f"{path}: base {base} leads back to where it came from ({chain}); leave one of them out")
        path = above


def in_fold(recipe: Recipe, fold: int) -> Recipe:
    """The recipe for another fold of its benchmark."""
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, fold=fold))


def parse_recipe(content: Mapping[str, Any], origin: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from plain containers, every key and type checked.

    Raises:
        ValueError: naming the key and, where one is close, what was probably meant.
    """
    _check_keys(content, Recipe, "", origin)
    parser = _parser()
    try:
        parsed = parser.parse_object(copy.deepcopy(dict(content)))
        if overrides:
            _check_overrides(overrides)
            parsed = parser.parse_args(list(overrides), namespace=parsed)
        return Recipe(**vars(parser.instantiate(parsed)))
    except ArgumentError as error:
        raise ValueError(f"{origin}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error


@functools.cache
def _parser() -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe, None)
    return parser


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested mappings with another's entries put over it; an entry of None takes back what is there."""
    merged = dict(copy.deepcopy(base))
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """The sections of a YAML file.

    Raises:
        ValueError: it is not YAML, or no mapping of sections.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} must hold the sections of a recipe ({', '.join(_fields(Recipe))}, streams, base)")
    return content


def _stream_parts(by_stream: Any, stream: str, origin: str | Path) -> list[Mapping[str, Any]]:
    if not isinstance(by_stream, Mapping):
        raise ValueError(f"{origin}: streams must map streams to what differs for them, got {by_stream!r}")
    parts: list[Mapping[str, Any]] = []
    for names, change in by_stream.items():
        listed = [check_stream(name.strip()) for name in str(names).split(",")]
        if not isinstance(change, Mapping):
            raise ValueError(f"{origin}: streams.{names} must hold sections of a recipe, got {change!r}")
        if stream in listed:
            parts.append(change)
    return parts


def _check_keys(content: Mapping[str, Any], kind: type, where: str, origin: str | Path) -> None:
    known = _fields(kind)
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"{origin}: {unknown(f'key in {where}' if where else 'section', key, list(known))}")
        inner = known[key]
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise ValueError(
                    f"{origin}: {key} must be a section with keys {', '.join(_fields(inner))}; got {value!r}"
                )
            _check_keys(value, inner, key, origin)


def _check_overrides(overrides: Sequence[str]) -> None:
    for word in overrides:
        if not word.startswith("--"):
            continue
        section, _, key = word[2:].split("=")[0].partition(".")
        if section not in (known := _fields(Recipe)):
            sections = [(name, kind) for name, kind in known.items() if isinstance(kind, type)]
            inside = [
                f"--{name}.{section}"
                for name, kind in sections
                if dataclasses.is_dataclass(kind) and section in _fields(kind)
            ]
            raise ValueError(
                unknown("option", f"--{section}", inside or [f"--{name}" for name in known], show_all=True)
            )
        inner = known[section]
        if (
            key
            and dataclasses.is_dataclass(inner)
            and isinstance(inner, type)
            and key.split(".")[0] not in _fields(inner)
        ):
            raise ValueError(
                unknown("option", f"--{section}.{key}", [f"--{section}.{name}" for name in _fields(inner)])
            )


def _fields(kind: type) -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(kind)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
