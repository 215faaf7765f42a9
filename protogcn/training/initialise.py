"""Start from the weights of another training: what fits is taken, a classifier of other classes starts afresh."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from protogcn.models import SkeletonClassifier
from protogcn.models.checkpoints import UNSAVED, read_state_dict
from protogcn.models.model_file import ENTRY, MODEL_FILE, find_model_file, open_model_file, read_tensors
from protogcn.training.run_folder import CHECKPOINTS

# What implementations call the part that knows the classes.
_HEADS = ("classifier.", "cls_head.", "fc.", "head.")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Initialised:
    """Where the weights of a network came from.

    Attributes:
        weights: the file.
        sha256: of the file.
        taken: how many tensors of the network were taken from it.
        left: those that stayed as they were built.
        unused: those of the file that the network has no place for.
    """

    weights: str
    sha256: str
    taken: int
    left: tuple[str, ...]
    unused: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain containers for the results of a run."""
        listed = {"left": list(self.left), "unused": list(self.unused)}
        return {"weights": self.weights, "sha256": self.sha256, "taken": self.taken, **listed}

    def describe(self) -> str:
        """One line for the screen."""
        text = f"weights from {self.weights} (sha256 {self.sha256[:12]}): {self.taken} tensors taken"
        text += f", left as they were: {_some(self.left)}" if self.left else ""
        return text + (f", not used: {_some(self.unused)}" if self.unused else "")


def initialise(model: SkeletonClassifier, weights: str | Path, *, partial: bool = False) -> Initialised:
    """Give a network the weights of another training, by name and shape.

    What depends on the classes stays as it was built where their number differs; the vectors that a head of texts has
    for its classes always stay.

    Args:
        model: the network.
        weights: a ``model.safetensors``, a run folder, a checkpoint of a run, or a checkpoint of an official
            implementation of the same network.
        partial: take what fits even where entries outside the classifier do not, such as those of an input layer for
            another number of joints or maps.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read safely, or does not fit; the message names what differs.
    """
    path = _find(Path(weights))
    own = model.state_dict()
    found, unused, expected = _by_own_names(model, _read(path))
    classes = _num_classes(found)
    kept = {name for name, _ in model.named_buffers() if name.startswith("classifier.")}
    taken, left, problems = {}, [], [f"{name} is not known to the network" for name in unused if not _of_head(name)]
    for name, value in own.items():
        there = found.get(name)
        if there is not None and there.shape == value.shape and name not in kept:
            if there.is_floating_point() and not there.isfinite().all():
                raise ValueError(f"{path}: {name} holds values that are no finite numbers; take another checkpoint")
            taken[name] = there
            continue
        left.append(name)
        if _of_head(name) or name in UNSAVED or (there is None and (name not in expected or name.endswith(_COUNTER))):
            continue
        if there is None:
            problems.append(f"{name} is missing")
        elif not _differs_in_classes(there.shape, value.shape, classes, model.num_classes):
            problems.append(f"{name} is {tuple(there.shape)} there and {tuple(value.shape)} here")
    if not any(not _of_head(name) and not name.endswith(_COUNTER) for name in taken):
        raise ValueError(
            f"nothing in {path} fits the backbone of {type(model).__name__}: it holds {_some(list(found) + unused)}. "
            "Weights start a network of the same model and options"
        )
    if problems and not partial:
        raise ValueError(
            f"{path} does not fit the network: {_some(problems, '; ')}. Give the network the options that the weights "
            "were trained with, or take what fits, and let the rest start afresh, by --init-partial"
        )
    model.load_state_dict(taken, strict=False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Initialised(str(path), digest, len(taken), tuple(left), tuple(unused))


def _find(path: Path) -> Path:
    last = path / CHECKPOINTS / "last.ckpt"
    if path.is_dir() and not (path / MODEL_FILE).is_file() and last.is_file():
        return last
    if not path.exists():
        raise FileNotFoundError(f"there are no weights {path}; --init takes a checkpoint or the folder of a run")
    return find_model_file(path)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                own = ENTRY in (file.metadata() or {})
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file, or a damaged one ({error}): copy it again") from error
        if own:
            with open_model_file(path) as (content, header):
                return read_tensors(content, header)
    return read_state_dict(path)


def _by_own_names(
    model: SkeletonClassifier, state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], set[str]]:
    """Entries under the names of the network, those it has no name for, and the names that such a file must hold."""
    own = model.state_dict()
    inside = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    ways: list[tuple[dict[str, Tensor], list[str], set[str]]] = [
        ({name: value for name, value in each.items() if name in own}, sorted(each.keys() - own.keys()), set(own))
        for each in (dict(state), inside)
    ]
    if official := _from_official(model, state):
        ways.append(official)
    return max(ways, key=lambda way: len(way[0]))


def _from_official(
    model: SkeletonClassifier, state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], set[str]] | None:
    """The same by the names of the official implementation; None where there is none."""
    try:
        entries = model.official_entries()
    except ValueError:
        return None
    optional = model.official_optional()
    found = {}
    for name, parts in entries.items():
        tensors = [state[part] for part in parts if part in state]
        if len(tensors) == len(parts):
            if len({each.shape[1:] for each in tensors}) > 1 or len({each.ndim for each in tensors}) > 1:
                return None
            found[name] = torch.cat(tensors) if tensors[0].ndim else tensors[0]
    used = {part for parts in entries.values() for part in parts} | optional
    expected = {name for name, parts in entries.items() if not optional.issuperset(parts)}
    return found, sorted(state.keys() - used), expected


def _num_classes(state: Mapping[str, Tensor]) -> int | None:
    bias = state.get("classifier.bias")
    return None if bias is None else len(bias)


def _differs_in_classes(there: torch.Size, here: torch.Size, classes: int | None, own: int) -> bool:
    """Whether two shapes differ in nothing but the number of classes."""
    return len(there) == len(here) and all(a == b or (a, b) == (classes, own) for a, b in zip(there, here, strict=True))


def _of_head(name: str) -> bool:
    return name.startswith(_HEADS)


def _some(names: list[str] | tuple[str, ...], between: str = ", ") -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return between.join(names[:4]) + more
