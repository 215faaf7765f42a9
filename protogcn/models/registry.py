"""The catalogue of models: builders registered beside their classes, found and built by name."""

import fnmatch
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from graphs.layouts import get_skeleton
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.models.base import SkeletonClassifier
from protogcn.models.description import ModelDescription, is_plain, plain
from protogcn.models.losses import CrossEntropy
from protogcn.models.options import check_counts, check_options

Builder = Callable[..., SkeletonClassifier]
COMMON = ("skeleton", "num_classes", "in_channels")
# A builder takes the number of persons only where its network depends on it.
PERSONS = "num_persons"
TAKES = ("clips", "heatmaps")
"""What networks take: clips (N, M, T, V, C), or heat-map volumes (N, K, T, H, W)."""


@dataclass(frozen=True)
class ModelInfo:
    """What the catalogue knows of a model: name, summary, paper, options with defaults, training criterion, input."""

    name: str
    summary: str
    paper: str
    options: dict[str, Any]
    criterion: type[nn.Module]
    takes: str = "clips"


_BUILDERS: dict[str, tuple[Builder, ModelInfo]] = {}


def register_model(
    name: str, *, paper: str, criterion: type[nn.Module] = CrossEntropy, takes: str = "clips"
) -> Callable[[Builder], Builder]:
    """Decorator that enters a builder ``(skeleton, num_classes, in_channels, **options)`` into the catalogue.

    A builder that also names ``num_persons`` is told how many persons a clip has at most.
    ``criterion`` is the training loss of the model, called as ``criterion(logits, aux, target)`` on what its
    ``forward_train`` returns. ``takes`` says what the network sees: ``clips`` (N, M, T, V, C), or ``heatmaps``
    (N, K, T, H, W), of which ``in_channels`` is K. The first line of the builder's docstring is the summary that
    ``protogcn models`` prints.

    Raises:
        ValueError: the name is taken, the builder lacks one of the three common arguments, an option has no default, or
            ``takes`` is neither of the two.
    """
    if takes not in TAKES:
        raise ValueError(unknown("input of a model", takes, TAKES, show_all=True))

    def enter(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ValueError(f"a model named {name!r} is registered already; choose another name")
        parameters = inspect.signature(builder).parameters
        missing = [word for word in COMMON if word not in parameters]
        if missing:
            raise ValueError(
                f"the builder of {name!r} must take {', '.join(missing)}, as every model of the catalogue does"
            )
        options = {key: parameter.default for key, parameter in parameters.items() if key not in (*COMMON, PERSONS)}
        bare = [key for key, default in options.items() if default is inspect.Parameter.empty]
        if bare:
            raise ValueError(f"the builder of {name!r} must give every option a default; {', '.join(bare)} has none")
        summary = (inspect.getdoc(builder) or "").split("\n")[0]
        _BUILDERS[name] = (builder, ModelInfo(name, summary, paper, options, criterion, takes))
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


def is_shipped(name: str) -> bool:
    """Whether a model of the catalogue is one of this library, not one that its user registered.

    Raises:
        ValueError: no such model.
    """
    return _find(name)[0].__module__.startswith("protogcn.models.")


def create_model(
    name: str,
    *,
    skeleton: str | Path | Skeleton | None = None,
    num_classes: int,
    in_channels: int | None = None,
    num_persons: int = 2,
    **options: Any,
) -> SkeletonClassifier:
    """Build a model of the catalogue.

    Args:
        name: an entry of :func:`list_models`.
        skeleton: a layout of the catalogue, a YAML file, or a :class:`graphs.Skeleton`; None is ``ntu25``, and
            ``coco17`` for networks of heat maps.
        num_classes: size of the classifier.
        in_channels: C of the input clips (3, the default, for x, y, z or x, y, score), or K, the number of heat maps
            (one per joint by default).
        num_persons: most persons of a clip, for the networks that normalise every person slot by itself; the others
            take any number, whatever is said here.
        **options: what :func:`model_info` lists for this model.

    Returns:
        A module that takes clips (N, M, T, V, C), or heat maps (N, K, T, H, W), and returns logits (N, num_classes).

    Raises:
        ValueError: unknown model or option, or a value of the wrong type or out of range; the message names it.
    """
    builder, info = _find(name)
    check_options(info.name, builder, options, info.options)
    on_maps = info.takes == "heatmaps"
    layout = get_skeleton(skeleton or ("coco17" if on_maps else "ntu25"))
    if in_channels is None:
        in_channels = layout.num_joints if on_maps else 3
    check_counts(num_classes=num_classes, in_channels=in_channels, num_persons=num_persons)
    persons = {PERSONS: num_persons} if PERSONS in inspect.signature(builder).parameters else {}
    model = builder(skeleton=layout, num_classes=num_classes, in_channels=in_channels, **persons, **options)
    # Defaults are noted too, lest a later version that changes them should build another network.
    noted = {key: default for key, default in info.options.items() if is_plain(plain(default))} | options
    model.description = ModelDescription(info.name, layout, num_classes, in_channels, num_persons, noted)
    return model


def import_models(module: str) -> None:
    """Import a Python file (``my_model.py``) or module (``my_package.models``), so that its models are registered.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such module, or it cannot be imported; the message says why.
    """
    path = Path(module)
    name = f"protogcn_models_{path.resolve().as_posix()}" if path.suffix == ".py" else module
    if name in sys.modules:
        return
    if path.suffix == ".py" and not path.is_file():
        raise FileNotFoundError(f"there is no file {module} to import models from")
    try:
        if path.suffix != ".py":
            importlib.import_module(module)
            return
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        loaded = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    except BaseException as error:
        # What failed half-way must be read again when it is asked for again.
        sys.modules.pop(name, None)
        if isinstance(error, ImportError | SyntaxError):
            raise ValueError(f"{module} cannot be imported: {error}") from error
        raise


def create_criterion(name: str, **options: Any) -> nn.Module:
    """The training criterion of a model, ``criterion(logits, aux, target) -> {"loss": ...}``.

    Raises:
        ValueError: unknown model or option, or a value of the wrong type or out of range; the message names it.
    """
    criterion = model_info(name).criterion
    check_options(f"the loss of {name}", criterion, options)
    return criterion(**options)


def _find(name: str) -> tuple[Builder, ModelInfo]:
    if name not in _BUILDERS:
        raise ValueError(unknown("model", name, list_models(), show_all=True))
    return _BUILDERS[name]
