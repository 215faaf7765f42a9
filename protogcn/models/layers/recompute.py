"""Training that keeps only what is dear to compute: activations that are cheap are computed again for the gradient.

A batch norm or a ReLU takes a fraction of the time of the convolution behind it, but what it gives takes as much memory
as what the convolution gives. Within :func:`recomputed_activations` units note how such a tensor
came to be, and where the gradient would keep the tensor it keeps the note. The convolutions run once, as ever.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

_local = threading.local()


@contextmanager
def recomputed_activations(enabled: bool = True) -> Iterator[None]:
    """Forward passes of training within keep less for their gradients; the gradients are the same.

    ``with recomputed_activations(): logits, aux = model.forward_train(clips)``; the backward pass comes later, outside.
    Trainings by a recipe do so on CPUs. Under ``torch.compile``, which decides this itself, nothing changes.

    Args:
        enabled: False changes nothing.
    """
    if not enabled or torch.compiler.is_compiling():
        yield
        return
    before, notes = _notes(), _Notes()
    _local.notes = notes
    try:
        with saved_tensors_hooks(notes.pack, _unpack):
            yield
    finally:
        _local.notes = before
        # What was saved keeps the hooks, and they the notes, until its gradient was computed.
        notes.clear()


def note(tensor: Tensor, function: Callable[..., Tensor], *inputs: "Tensor | Recipe", writes: int = 0) -> Tensor:
    """Give ``tensor`` back, noting that ``function(*inputs)`` computes it again, if activations are recomputed here.

    The note holds as long as nothing else is written over the tensor, and as long as the tensor is held by somebody.

    Args:
        tensor: contiguous in one of torch's memory formats, as ``function`` will give it.
        function: must not draw random numbers, nor write over an input that is a tensor.
        inputs: tensors, which are not kept themselves if they have a note, or what :func:`noted` gave.
        writes: how often the tensor is still to be written over before it is what the function gives.
    """
    notes = _notes()
    if notes is not None and torch.is_grad_enabled():
        sources = [each if isinstance(each, Recipe) else notes.source(each) for each in inputs]
        notes.add(tensor, Recipe(function, sources, tensor.device.type), writes)
    return tensor


def noted(tensor: Tensor) -> "Recipe | None":
    """How this tensor, or the one that it is a view of, came to be, where that is noted."""
    notes = _notes()
    return None if notes is None else notes.find(tensor)


def recomputing() -> bool:
    """Whether notes are taken here."""
    return _notes() is not None and torch.is_grad_enabled()


class Recipe:
    """A function and its inputs; keeps the result from the first to the last time that the gradient asks for it."""

    def __init__(self, function: Callable[..., Tensor], inputs: "list[Recipe | Tensor]", device: str) -> None:
        self._function = function
        self._inputs = inputs
        self._device = device
        self._reduced = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        self._value: Tensor | None = None
        self.wanted = 0

    def __call__(self) -> Tensor:
        if self._value is not None:
            return self._value
        inputs = [each.fresh() if isinstance(each, Recipe) else each for each in self._inputs]
        cast: Any = nullcontext()
        if self._reduced is not None:
            cast = torch.autocast(self._device, self._reduced)
        with torch.no_grad(), cast:
            value = self._function(*inputs)
        self._value = value if self.wanted > 0 else None
        return value

    def fresh(self) -> Tensor:
        """The result, to be written over."""
        value = self()
        return value if self._value is None else value.clone()

    def take(self) -> Tensor:
        """The result for one of those who wanted it."""
        value = self()
        self.wanted -= 1
        if self.wanted <= 0:
            self._value = None
        return value


class _Packed(NamedTuple):
    """What the gradient keeps in the place of a tensor that has a note, or of a view of it."""

    recipe: Recipe
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class _Notes:
    """The notes of one forward pass, by the memory of their tensors, as views and detached copies share it."""

    def __init__(self) -> None:
        self._by_memory: dict[int, tuple[weakref.ref[Tensor], int, Recipe]] = {}

    def add(self, tensor: Tensor, recipe: Recipe, writes: int) -> None:
        memory = tensor.untyped_storage()._cdata
        self._by_memory[memory] = (weakref.ref(tensor), tensor._version + writes, recipe)

    def find(self, tensor: Tensor) -> Recipe | None:
        memory = tensor.untyped_storage()._cdata
        if memory not in self._by_memory:
            return None
        reference, version, recipe = self._by_memory[memory]
        owner = reference()
        # Something else may have come to lie there, or may have been written there.
        if owner is None or owner._version != version or owner.untyped_storage()._cdata != memory:
            return None
        return recipe

    def clear(self) -> None:
        self._by_memory.clear()

    def source(self, tensor: Tensor) -> "Recipe | Tensor":
        return self.find(tensor) or tensor.detach()

    def pack(self, tensor: Tensor) -> "_Packed | Tensor":
        recipe = self.find(tensor)
        if recipe is None:
            return tensor
        recipe.wanted += 1
        return _Packed(recipe, tensor.size(), tensor.stride(), int(tensor.storage_offset()))


def _unpack(kept: "_Packed | Tensor") -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    return kept.recipe.take().as_strided(kept.size, kept.stride, kept.offset)


def _notes() -> _Notes | None:
    # A compiler, which decides by itself what is computed again, could not follow.
    return None if torch.compiler.is_compiling() else getattr(_local, "notes", None)
