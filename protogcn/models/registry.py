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
from protogcn.models.clip_head import HEAD_OPTIONS, check_head_options, text_head
from protogcn.models.clip_losses import ClipContrastive
from protogcn.models.description import ModelDescription, is_plain, plain
from protogcn.models.losses import CrossEntropy
from protogcn.models.options import check_counts, check_options
from protogcn.models.text_bank import TextBank
from protogcn.models.text_facts import TextFacts

Builder = Callable[..., SkeletonClassifier]
COMMON = ("skeleton", "num_classes", "in_channels")
# A builder takes the number of persons only where its network depends on it.
PERSONS = "num_persons"
HEADS = ("linear", "clip")
"""Classifiers that every network can have: a linear map, or a comparison with the names of the classes."""
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

    def reads_names(self, head: str = "linear") -> bool:
        """Whether a model compares clips with the names of its classes: by its own doing, or by its head."""
        return head == "clip" or "text_encoder" in self.options


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
    head: str = "linear",
    **options: Any,
) -> SkeletonClassifier:
    """Build a model of the catalogue.

    With ``head="clip"``, any network tells classes apart by their names: its features are compared with texts, see
    :class:`protogcn.models.clip_head.TextHead`. Further options are then ``class_names``, one for each class;
    ``text_encoder``, a file or folder with CLIP's weights, ``"minilm"``, or what else
    :func:`protogcn.models.text.create_text_encoder` takes; ``prompts``; ``train_text``; ``projection``;
    ``logit_scale`` and ``largest_logit_scale``.

    Args:
        name: an entry of :func:`list_models`.
        skeleton: a layout of the catalogue, a YAML file, or a :class:`graphs.Skeleton`; None is ``ntu25``, and
            ``coco17`` for networks of heat maps.
        num_classes: size of the classifier.
        in_channels: C of the input clips (3, the default, for x, y, z or x, y, score), or K, the number of heat maps
            (one per joint by default).
        num_persons: most persons of a clip, for the networks that normalise every person slot by itself; the others
            take any number, whatever is said here.
        head: ``"linear"``, or ``"clip"`` for class names.
        **options: what :func:`model_info` lists for this model.

    Returns:
        A module that takes clips (N, M, T, V, C), or heat maps (N, K, T, H, W), and returns logits (N, num_classes).

    Raises:
        ValueError: unknown model or option, or a value of the wrong type or out of range; the message names it.
    """
    builder, info = _find(name)
    if head not in HEADS:
        raise ValueError(unknown("head", head, HEADS, show_all=True))
    if head == "clip" and info.reads_names():
        raise ValueError(f"{name} compares clips with class names by itself: leave out head={head!r}")
    own = {key: value for key, value in options.items() if head == "linear" or key in info.options}
    _check_no_head_options(info, own)
    check_options(info.name, builder, own, info.options)
    of_head = {key: value for key, value in options.items() if key not in own}
    if head == "clip":
        check_head_options(info.name, of_head, info.options)
    on_maps = info.takes == "heatmaps"
    layout = get_skeleton(skeleton or ("coco17" if on_maps else "ntu25"))
    if in_channels is None:
        in_channels = layout.num_joints if on_maps else 3
    check_counts(num_classes=num_classes, in_channels=in_channels, num_persons=num_persons)
    persons = {PERSONS: num_persons} if PERSONS in inspect.signature(builder).parameters else {}
    model = builder(skeleton=layout, num_classes=num_classes, in_channels=in_channels, **persons, **own)
    # Defaults are noted too, lest a later version that changes them should build another network.
    noted = {key: default for key, default in info.options.items() if is_plain(plain(default))} | options
    if head == "clip":
        model.use_text_head(text_head(model.num_features, num_classes, **of_head))
        noted["head"] = head
    names: tuple[str, ...] = ()
    if isinstance(model.classifier, TextBank):
        noted |= model.classifier.noted()
        names = model.classifier.class_names
    model.description = ModelDescription(
        info.name, layout, num_classes, in_channels, num_persons, noted, class_names=names
    )
    return model


def _check_no_head_options(info: ModelInfo, options: dict[str, Any]) -> None:
    for key in options:
        if key in HEAD_OPTIONS and key not in info.options:
            raise ValueError(f"{key} is an option of head='clip', which {info.name} was not given: add head='clip'")


def rebuild_model(description: ModelDescription) -> SkeletonClassifier:
    """Build the network that a description is of, without any text weights, and without opening what it names.

    Raises:
        ValueError: it describes no network of the catalogue.
    """
    options = dict(description.options)
    if model_info(description.model).reads_names(options.get("head", "linear")):
        options["text_encoder"] = TextFacts.from_dict(options.get("text_encoder"))
    return create_model(
        description.model,
        skeleton=description.skeleton,
        num_classes=description.num_classes,
        in_channels=description.in_channels,
        num_persons=description.num_persons,
        **options,
    )


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


def create_criterion(name: str, *, head: str = "linear", **options: Any) -> nn.Module:
    """The training criterion of a model with a head, ``criterion(logits, aux, target) -> {"loss": ...}``.

    Raises:
        ValueError: unknown model or option, or a value of the wrong type or out of range; the message names it.
    """
    criterion = model_info(name).criterion
    if head != "linear":
        criterion = ClipContrastive
    check_options(f"the loss of {name}", criterion, options)
    return criterion(**options)


def _find(name: str) -> tuple[Builder, ModelInfo]:
    if name not in _BUILDERS:
        raise ValueError(unknown("model", name, list_models(), show_all=True))
    return _BUILDERS[name]
