"""The catalogue of models: builders registered beside their classes, found and built by name."""

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.models.base import SkeletonClassifier
from protogcn.models.losses import CrossEntropy

Builder = Callable[..., SkeletonClassifier]


@dataclass(frozen=True)
class ModelInfo:
    """What the catalogue knows of a model: name, one-line summary, paper, options with defaults, training criterion."""

    name: str
    summary: str
    paper: str
    options: dict[str, Any]
    criterion: type[nn.Module]


_BUILDERS: dict[str, tuple[Builder, ModelInfo]] = {}


def register_model(name: str, *, paper: str, criterion: type[nn.Module] = CrossEntropy) -> Callable[[Builder], Builder]:
    """Decorator that enters a builder ``(skeleton, num_classes, in_channels, **options)`` into the catalogue.

    ``criterion`` is the training loss of the model, called as ``criterion(logits, aux, target)`` on what its
    ``forward_train`` returns. The first line of the builder's docstring is the summary that ``protogcn models`` prints.

    Raises:
        ValueError: the name is taken, or the builder lacks one of the three common arguments.
    """

    def enter(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ValueError(f"a model named {name!r} is registered already; choose another name")
        parameters = inspect.signature(builder).parameters
        missing = [word for word in ("skeleton", "num_classes", "in_channels") if word not in parameters]
        if missing:
            raise ValueError(
                f"the builder of {name!r} must take {', '.join(missing)}, as every model of the catalogue does"
            )
        options = {
            key: parameter.default
            for key, parameter in parameters.items()
            if key not in ("skeleton", "num_classes", "in_channels") and parameter.kind is not parameter.VAR_KEYWORD
        }
        summary = (inspect.getdoc(builder) or "").split("\n")[0]
        _BUILDERS[name] = (builder, ModelInfo(name, summary, paper, options, criterion))
        return builder

    return enter


def list_models(pattern: str = "*") -> list[str]:
    """Names of the catalogue that match a shell-style pattern, sorted."""
    return sorted(fnmatch.filter(_BUILDERS, pattern))


def model_info(name: str) -> ModelInfo:
    """Look one model up.

    Raises:
        ValueError: no such model; the message lists near matches.
    """
    return _find(name)[1]


def create_model(
    name: str,
    *,
    skeleton: str | Path | Skeleton = "ntu25",
    num_classes: int,
    in_channels: int = 3,
    **options: Any,
) -> SkeletonClassifier:
    """Build a model of the catalogue.

    Args:
        name: an entry of :func:`list_models`.
        skeleton: a layout of the catalogue, a YAML file, or a :class:`graphs.Skeleton`.
        num_classes: size of the classifier.
        in_channels: C of the input clips (3 for x, y, z or x, y, score).
        **options: what :func:`model_info` lists for this model.

    Returns:
        A module that takes clips (N, M, T, V, C) and returns logits (N, num_classes).

    Raises:
        ValueError: unknown model or option, or a value out of range.
    """
    builder, info = _find(name)
    _refuse_unknown(name, options, info.options)
    for word, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{word} must be a positive integer, got {value!r}")
    return builder(skeleton=get_skeleton(skeleton), num_classes=num_classes, in_channels=in_channels, **options)


def create_criterion(name: str, **options: Any) -> nn.Module:
    """The training criterion of a model, ``criterion(logits, aux, target) -> {"loss": ...}``.

    Raises:
        ValueError: unknown model or option, or a value out of range.
    """
    criterion = model_info(name).criterion
    _refuse_unknown(f"the loss of {name}", options, inspect.signature(criterion).parameters)
    return criterion(**options)


def _refuse_unknown(owner: str, options: Iterable[str], known: Iterable[str]) -> None:
    for word in sorted(set(options) - set(known)):
        near = difflib.get_close_matches(word, list(known), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{owner} has no option {word!r}; {hint}It takes: {', '.join(known)}.")


def _find(name: str) -> tuple[Builder, ModelInfo]:
    if name not in _BUILDERS:
        near = difflib.get_close_matches(str(name), _BUILDERS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"there is no model {name!r}; {hint}The catalogue has: {', '.join(list_models())}.")
    return _BUILDERS[name]
