"""Networks that see every person by itself and bring the persons of a clip together in their head."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from protogcn.models.base import SkeletonClassifier
from protogcn.models.layers.norm import counted_rows, counts_rows

_BY_ROWS = (
    "protogcn.models.",
    *(f"torch.nn.modules.{kind}" for kind in ("activation", "container", "conv", "linear", "normalization", "pooling")),
)
"""Where modules come from that look at one row at a time and draw nothing at random."""


class PersonClassifier(SkeletonClassifier):
    """A network whose backbone runs over persons, side by side in the batch, which do not see each other.

    Only batch statistics in training tie them together: in evaluation mode a row of :meth:`forward_persons` depends on
    the same row of its input alone. A subclass implements :meth:`enter` and :meth:`forward_persons`.

    In training on a CPU the backbone sees one absent person (all zeros) of each slot instead of all of them, who are
    alike in every layer; batch statistics count it as often as it is there. That is exact. It is left out where blocks
    draw random numbers, or hold modules of other packages, which might look at the whole batch: one that does not says
    so by a class attribute ``sees_rows_alone = True``. Batch norms must be our ``BatchNorm2d``.
    """

    def enter(self, clips: Tensor) -> Tensor:
        """Clips as the backbone gets them, checked and normalised: (N, M, T, V, C) -> (N * M', C', T, V).

        The persons of a sample lie side by side, M' of them: M, or as many as the network was built for.
        """
        raise TypeError(f"{type(self).__name__} must define enter")

    def forward_persons(self, persons: Tensor) -> Tensor:
        """Persons (P, C', T, V) to features (P, num_features, T', V)."""
        raise TypeError(f"{type(self).__name__} must define forward_persons")

    def forward_features(self, clips: Tensor) -> Tensor:
        (features,) = self.over_persons(clips, lambda persons: (self.forward_persons(persons),))
        return features.unflatten(0, (clips.shape[0], -1))

    def over_persons(self, clips: Tensor, function: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Results (N * M', ...) of a function of persons as :meth:`enter` gives them, each row of which is of a row."""
        persons = self.enter(clips)
        alike = _alike(clips, persons) if self.training and _may_count_rows(self, persons) else None
        if alike is None:
            return function(persons)
        with counted_rows(alike.counts):
            found = function(persons.index_select(0, alike.rows))
        return tuple(each.index_select(0, alike.places) for each in found)


class _Alike(NamedTuple):
    """Rows that stand for all: those that are kept, the place of each row among them, how many each one is."""

    rows: Tensor
    places: Tensor
    counts: Tensor


def _may_count_rows(network: PersonClassifier, persons: Tensor) -> bool:
    """Whether every module of the blocks treats equal rows alike, and batch norms can count them."""
    if persons.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    blocks = dict(network.named_children()).get("blocks")
    # One that goes over persons in a way of its own may use more than its blocks.
    if not type(network).forward_persons.__module__.startswith("protogcn.models."):
        return False
    return blocks is not None and all(_counts(module) for module in blocks.modules())


def _counts(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return counts_rows(module)
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return not module.training or module.p == 0
    known = type(module).__module__.startswith(_BY_ROWS) and not isinstance(module, nn.MultiheadAttention | nn.RReLU)
    return bool(getattr(module, "sees_rows_alone", known))


def _alike(clips: Tensor, persons: Tensor) -> _Alike | None:
    """Which rows are absent persons that came in alike; None where there are no two of them in a slot."""
    samples = len(clips)
    slots = len(persons) // samples
    absent = torch.ones(samples, slots, dtype=torch.bool)
    absent[:, : clips.shape[1]] = ~clips.flatten(2).any(2)
    stands = torch.arange(len(persons)).view(samples, slots)
    for slot in range(slots):
        rows = stands[absent[:, slot], slot]
        if len(rows) > 1 and bool((persons[rows] == persons[rows[:1]]).all()):
            stands[absent[:, slot], slot] = rows[0]
    rows, places, counts = stands.flatten().unique(return_inverse=True, return_counts=True)
    if len(rows) == len(persons):
        return None
    return _Alike(rows, places, counts.to(torch.promote_types(persons.dtype, torch.float32)))
