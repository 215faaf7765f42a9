"""Official checkpoints into our models: names and shapes checked entry by entry, tensors only."""

import collections
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from protogcn.models.base import SkeletonClassifier
from protogcn.models.model_file import ENTRY

# State that the official networks keep outside their state dict.
UNSAVED = ("class_memory.memory", "prior", "classifier.tokens", "classifier.embeddings")
# Means and deviations of colours that recognizers of MMAction2 hold, no weights.
PREPROCESSOR = "data_preprocessor."
CLASSIFIER = "classifier."
WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")

# What damaged files make the unpickler of torch raise.
_MALFORMED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


class _Ignored:
    """Stands for an object beside the weights, such as the best score so far, whose pickle is not interpreted."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


# What published checkpoints hold beside their weights: the numbers of NumPy, and the configuration of the training as
# a mapping of mmcv or as parsed arguments. None of their own code is looked up, let alone run.
_HARMLESS: list[Any] = [
    *(
        (_Ignored, f"numpy.{name}")
        for name in (
            "dtype",
            "ndarray",
            *(f"{core}.multiarray.{word}" for core in ("core", "_core") for word in ("scalar", "_reconstruct")),
        )
    ),
    (_Ignored, "argparse.Namespace"),
    *(
        (collections.OrderedDict, name)
        for name in ("addict.addict.Dict", "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict")
    ),
]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a PyTorch checkpoint from outside, tensors and plain containers only; or a file ``*.safetensors``.

    Wrappers around the weights (``state_dict``, ``model``, a ``module.`` prefix) are taken off.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no checkpoint, or holds objects that would run code when loaded.
    """
    content = read_checkpoint(path)
    try:
        return unwrap_state_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_checkpoint(path: str | Path) -> Any:
    """What a checkpoint holds, wrappers included, for those that keep their weights in several parts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no checkpoint, or holds objects that would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _MALFORMED as error:
        if refused := re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error)):
            raise ValueError(
                f"{path} asks for {refused[1]}, which is no tensor, and was not loaded: such objects can run code. "
                "Ask its author for a file with the state dict alone."
            ) from error
        raise ValueError(
            f"{path} is no PyTorch checkpoint, or a damaged one: download or copy it again, and compare its size"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if ENTRY in (file.metadata() or {}):
                raise ValueError(f"{path} is a model of this library already: load_model({str(path)!r}) builds it")
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one ({error}): copy it again") from error


def unwrap_state_dict(content: Any) -> dict[str, Tensor]:
    """The tensors by name inside a loaded checkpoint.

    Raises:
        ValueError: there are none.
    """
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    named = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not named or not content:
        raise ValueError(f"there is no state dict (names to tensors) in it, nor under {', '.join(WRAPPERS)}")
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return {key: value for key, value in content.items() if not key.startswith(PREPROCESSOR)}


def load_official(model: nn.Module, state_dict: Mapping[str, Tensor], *, classifier: bool = True) -> None:
    """Load the weights of an official implementation, strictly.

    Args:
        model: a model of the catalogue, built with the options of the checkpoint.
        state_dict: official names to tensors, as :func:`read_state_dict` gives them.
        classifier: False keeps the classifier of the model as it is and leaves out that of the checkpoint, which may be
            of other classes.

    Raises:
        ValueError: an entry is missing, left over or of another shape; nothing was loaded then. Entries that only hold
            the fixed skeleton may be absent. The class memory of ProtoGCN and the class prior of InfoGCN are no part of
            official checkpoints and keep their values.
    """
    if not isinstance(model, SkeletonClassifier):
        raise ValueError(f"{type(model).__name__} is no model of this library, so it has no official names")
    state = unwrap_state_dict(state_dict)
    own = model.state_dict()
    entries = model.official_entries()
    if not classifier:
        left_out = {name for key, names in entries.items() if key.startswith(CLASSIFIER) for name in names}
        entries = {key: names for key, names in entries.items() if not key.startswith(CLASSIFIER)}
        state = {name: value for name, value in state.items() if name not in left_out}
        own = {key: value for key, value in own.items() if not key.startswith(CLASSIFIER)}
    if absent := set(entries) - set(own):
        raise ValueError(
            f"official checkpoints of this network hold {', '.join(sorted(absent))}, which it was built without: build "
            "it with head='linear', or leave the classifier as it is by load_official(..., classifier=False)"
        )
    used = {name for names in entries.values() for name in names}
    optional = model.official_optional()
    problems = [f"missing: {name}" for name in sorted(used - set(state) - optional)]
    problems += [f"not known to this model: {name}" for name in sorted(set(state) - used - optional)]
    converted: dict[str, Tensor] = {}
    for key, names in entries.items():
        if not all(name in state for name in names):
            continue
        parts = [state[name] for name in names]
        if _joined_shape(parts) == own[key].shape:
            # Joined batch norms count the same batches, so their scalar counters agree.
            converted[key] = torch.cat(parts) if parts[0].ndim else parts[0]
        else:
            shapes = " + ".join(str(tuple(part.shape)) for part in parts)
            problems.append(f"{' + '.join(names)} has shape {shapes}, the model needs {tuple(own[key].shape)}")
    if problems:
        shown = "\n  ".join(problems[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"the checkpoint does not fit this model; nothing was loaded. Build the model with the layout, the classes "
            f"and the options that the checkpoint was trained with.\n  {shown}{more}"
        )
    covered = {key for key, names in entries.items() if optional.issuperset(names)}
    if absent := set(own) - set(converted) - covered - set(UNSAVED):
        raise ValueError(f"the official names of {type(model).__name__} do not cover {', '.join(sorted(absent))}")
    model.load_state_dict(converted, strict=False)


def _joined_shape(parts: list[Tensor]) -> tuple[int, ...] | None:
    """Shape of tensors joined along their first axis, of scalars that are one; None where they do not go together."""
    shapes = [tuple(part.shape) for part in parts]
    if len({shape[1:] for shape in shapes}) > 1 or len({len(shape) for shape in shapes}) > 1:
        return None
    return (sum(shape[0] for shape in shapes), *shapes[0][1:]) if shapes[0] else ()
