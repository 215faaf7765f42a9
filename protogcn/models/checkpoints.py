"""Official checkpoints into our models: names and shapes checked entry by entry, tensors only."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protogcn.models.base import SkeletonClassifier

# State that the official networks keep outside their state dict.
UNSAVED = ("class_memory.memory",)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a PyTorch checkpoint from outside, tensors and plain containers only.

    Wrappers around the weights (``state_dict``, ``model``, a ``module.`` prefix) are taken off.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no checkpoint, or holds objects that would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and was not loaded, because such objects can run code. "
            "Ask its author for a file with the state dict alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is no readable PyTorch checkpoint: {error}") from error
    return unwrap_state_dict(content)


def unwrap_state_dict(content: Any) -> dict[str, Tensor]:
    """The tensors by name inside a loaded checkpoint.

    Raises:
        ValueError: there are none.
    """
    for key in ("state_dict", "model_state_dict", "model", "weights"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError("the checkpoint holds no state dict (a mapping from names to tensors)")
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def load_official(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load the weights of an official implementation, strictly.

    Args:
        model: a model of the catalogue, built with the options of the checkpoint.
        state_dict: official names to tensors, as :func:`read_state_dict` gives them.

    Raises:
        ValueError: an entry is missing, left over or of another shape; nothing was loaded then. The class memory of
            ProtoGCN is not part of official checkpoints and keeps its values.
    """
    if not isinstance(model, SkeletonClassifier):
        raise ValueError(f"{type(model).__name__} is no model of this library, so it has no official names")
    state = unwrap_state_dict(state_dict)
    own = model.state_dict()
    entries = model.official_entries()
    used = {name for names in entries.values() for name in names}
    problems = [f"missing: {name}" for name in sorted(used - set(state))]
    problems += [f"not known to this model: {name}" for name in sorted(set(state) - used)]
    converted: dict[str, Tensor] = {}
    for key, names in entries.items():
        if not all(name in state for name in names):
            continue
        parts = [state[name] for name in names]
        # Joined batch norms count the same batches, so their scalar counters agree.
        value = torch.cat(parts) if len(parts) > 1 and parts[0].ndim else parts[0]
        if value.shape == own[key].shape:
            converted[key] = value
        else:
            problems.append(
                f"{' + '.join(names)} has shape {tuple(value.shape)}, the model needs {tuple(own[key].shape)}"
            )
    if problems:
        shown = "\n  ".join(problems[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"the checkpoint does not fit this model; nothing was loaded. Build the model with the layout, the classes "
            f"and the options that the checkpoint was trained with.\n  {shown}{more}"
        )
    absent = set(own) - set(converted) - set(UNSAVED)
    if absent:
        raise ValueError(f"the official names of {type(model).__name__} do not cover {', '.join(sorted(absent))}")
    model.load_state_dict(converted, strict=False)
