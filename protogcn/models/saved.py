"""Own checkpoints: one file of weights and a description, from which the network is built again."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graphs.messages import unknown
from protogcn import __version__
from protogcn.models.base import SkeletonClassifier
from protogcn.models.description import ModelDescription
from protogcn.models.model_file import MODEL_FILE, find_model_file, open_model_file, read_tensors, write_model_file
from protogcn.models.registry import import_models, is_shipped, list_models, rebuild_model
from protogcn.models.text_bank import TextBank

__all__ = ["MODEL_FILE", "find_model_file", "load_model", "read_description", "save_model", "verify"]

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# Beyond every network of this library: what a file from outside may ask a builder for.
_LARGEST, _LONGEST = 10_000, 1_000
_FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)
# What the options of a damaged or hostile file can make a builder raise.
_UNBUILDABLE = (RuntimeError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError)


def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    module: str | None = None,
    class_names: tuple[str, ...] | list[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    stream: str | None = None,
    benchmark: str | None = None,
    seed: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> Path:
    """Write a model of the catalogue into one file that says what it is; an older file is replaced in one step.

    What is left out stays as ``model.description`` has it: for a model that was loaded, what its file said.

    Args:
        model: built by :func:`protogcn.models.create_model`, or loaded.
        path: a file ``*.safetensors``; in a folder it is called ``model.safetensors``.
        module: the file or module that registers the model, where it is none of this library.
        class_names: one per class, in the order of the logits.
        preprocessing: section ``pipeline`` of a recipe.
        evaluation: how its scores came about.
        stream: ``j b k jm bm km``.
        benchmark: name of the data it was trained on.
        seed: of the training.
        metrics: what it reached.
        source: the file it was converted from.

    Returns:
        The file.

    Raises:
        ValueError: the model was not built by ``create_model`` or has been rebuilt since, or an entry does not fit.
    """
    path = Path(path)
    path = path / MODEL_FILE if path.is_dir() else path
    if path.suffix != ".safetensors":
        raise ValueError(f"a model is saved into a file *.safetensors, got {path}")
    if not isinstance(model, SkeletonClassifier) or model.description is None:
        raise ValueError(
            f"{type(model).__name__} does not say how it is built again: build models with create_model, and save the "
            "model itself, not what wraps it"
        )
    head = model.classifier
    if isinstance(head, TextBank) and len(head.class_names) != model.num_classes:
        raise ValueError("the head of the model was given other classes than the model: use model.set_classes([...])")
    known = model.description
    if known.num_classes != model.num_classes:
        known = known.for_classes(model.num_classes)
    given = {
        "module": module,
        "class_names": class_names,
        "preprocessing": preprocessing,
        "evaluation": evaluation,
        "stream": stream,
        "benchmark": benchmark,
        "seed": seed,
        "metrics": metrics,
        "source": source,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    description = dataclasses.replace(known, **changes, version=__version__)
    tensors, shared = _state(model)
    if differs := _differences(_build(description).state_dict(), model.state_dict()):
        raise ValueError(
            f"the model is no longer what create_model({description.model!r}) built ({differs}), so that it could not "
            "be loaded; register a model of your own that builds it"
        )
    write_model_file(path, tensors, shared, description.as_dict())
    return path


def load_model(path: str | Path, *, module: str | None = None) -> SkeletonClassifier:
    """Build the network of a file again, with its weights and with what is known of it in ``model.description``.

    It computes the very same numbers as the one that was saved. Loading runs no code of the file and draws no random
    numbers from the global generator.

    Args:
        path: a file that :func:`save_model` or ``protogcn checkpoint convert`` wrote, or the folder of a run.
        module: the file or module that registers a model of your own; it is run.

    Returns:
        The model in evaluation mode, on the CPU, in the precision it was saved in.

    Raises:
        FileNotFoundError: no such file, or a run folder without one.
        ValueError: the file is damaged or none of ours, or its network needs ``module``; the message says which.
    """
    path = find_model_file(path)
    with open_model_file(path) as (file, header):
        description = _description(header)
        if module:
            import_models(module)
        _check_known(description, path)
        tensors = read_tensors(file, header)
        model = _build_bounded(description, tensors)
        if differs := _differences(model.state_dict(), tensors):
            raise ValueError(f"its weights are not those of the network that it describes ({differs})")
        _fill(model, tensors, header["shared"])
    model.description = description
    return model.eval()


def read_description(path: str | Path) -> ModelDescription:
    """What a file says of its model, without building it.

    Raises:
        FileNotFoundError: no such file, or a run folder without one.
        ValueError: the file is damaged or none of ours.
    """
    with open_model_file(find_model_file(path)) as (_, header):
        return _description(header)


def verify(path: str | Path) -> tuple[int, int]:
    """Compare the weights of a file with what was written; gives how many tensors and how many numbers it holds.

    Raises:
        FileNotFoundError: no such file, or a run folder without one.
        ValueError: the file is damaged or none of ours.
    """
    with open_model_file(find_model_file(path)) as (file, header):
        tensors = read_tensors(file, header)
        return len(tensors), sum(value.numel() for name, value in tensors.items() if name not in header["shared"])


def _description(header: Mapping[str, Any]) -> ModelDescription:
    try:
        return ModelDescription.from_dict(header["description"])
    except ValueError as error:
        raise ValueError(f"its description does not describe a model: {error}") from error


def _check_known(description: ModelDescription, path: Path) -> None:
    if description.model in list_models():
        return
    way = "load_model({!r}, module={!r}), on the command line --module {}"
    if description.module:
        raise ValueError(
            f"its network {description.model!r} comes from a file of its author, {description.module!r}. What a "
            "checkpoint names is not run unasked; if you trust that file, say so: "
            + way.format(str(path), description.module, description.module)
        )
    raise ValueError(
        f"{unknown('model', description.model, list_models())} A model of your own is registered by its file: "
        + way.format(str(path), "my_net.py", "my_net.py")
    )


class _Bounded(TorchFunctionMode):
    """Ends the building of a network as soon as it becomes far larger than the weights of its file."""

    def __init__(self, numbers: int, entries: int) -> None:
        super().__init__()
        self.numbers, self.calls = 10_000_000 + 8 * numbers, 10_000 + 100 * entries

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _FACTORIES:
            size = args[0] if args and isinstance(args[0], list | tuple) else args
            self.numbers -= math.prod(each for each in size if isinstance(each, int))
        self.calls -= 1
        if self.numbers < 0 or self.calls < 0:
            raise ValueError("its options describe a network far larger than its weights")
        return func(*args, **(kwargs or {}))


def _build_bounded(description: ModelDescription, tensors: Mapping[str, Tensor]) -> SkeletonClassifier:
    """The network that a file describes, as long as it is about as large as the weights of the file."""
    # A model of one's own is trusted by whoever named its file.
    if not is_shipped(description.model):
        return _build(description)
    for name, value in description.options.items():
        listed = value if isinstance(value, list) else [value]
        if len(listed) > _LONGEST or any(isinstance(each, int) and abs(each) > _LARGEST for each in listed):
            raise ValueError(f"its option {name} is far beyond every network of this library")
    with _Bounded(sum(value.numel() for value in tensors.values()), len(tensors)):
        return _build(description)


def _build(description: ModelDescription) -> SkeletonClassifier:
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return rebuild_model(description)
    except _UNBUILDABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"its options build no network ({type(error).__name__}: {reason})") from error


def _state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, each once, and the names under which one of them appears again."""
    tensors: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise ValueError(f"{name} of the model is no plain tensor and cannot be saved")
        if id(value) in first:
            shared[name] = first[id(value)]
        else:
            first[id(value)] = name
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensors, shared


def _differences(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    found = [f"{name!r} is missing" for name in sorted(expected.keys() - got.keys())]
    found += [f"{name!r} is not known to it" for name in sorted(got.keys() - expected.keys())]
    found += [
        f"{name!r} is {tuple(got[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in got and got[name].shape != value.shape
    ]
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _fill(model: SkeletonClassifier, tensors: Mapping[str, Tensor], shared: Mapping[str, str]) -> None:
    """Give a network its weights in the precision they have, with what its tensors share."""
    state = model.state_dict(keep_vars=True)
    for name, value in tensors.items():
        exact = state[name].dtype
        if value.dtype not in _FLOATS if exact in _FLOATS else value.dtype != exact:
            raise ValueError(f"{name!r} is {value.dtype} instead of {exact}")
    # What is no part of the state follows the precision of the weights too.
    kinds = [value.dtype for value in tensors.values() if value.dtype in _FLOATS]
    if kinds:
        model.to(max(set(kinds), key=kinds.count))
    state = model.state_dict(keep_vars=True)
    for name, value in tensors.items():
        state[name].data = value
    for name, other in shared.items():
        owner, _, word = name.rpartition(".")
        setattr(model.get_submodule(owner), word, state[other])
