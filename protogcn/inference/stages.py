"""How an optimised network runs: over the persons that are there, over volumes, or as a whole."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from protogcn.models.base import SkeletonClassifier
from protogcn.models.infogcn import InfoGCN
from protogcn.models.persons import PersonClassifier
from protogcn.models.volume import VolumeClassifier

# Heads that need no more of a person than the mean over frames and joints.
_MEAN_HEADS = (SkeletonClassifier.forward_head, InfoGCN.forward_head)


class Stage(nn.Module):
    """A network and the way in which it runs.

    Args:
        model: the network, which the stage owns from then on.
        dtype: precision of its body; what comes before and after stays in float32 where this is a reduced one.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.run: Callable[[Tensor], Tensor] = self.body

    def body(self, x: Tensor) -> Tensor:
        """The costly part of the network, which is what may be compiled."""
        raise TypeError(f"{type(self).__name__} must define body")

    def compile_body(self) -> None:
        """Compile :meth:`body`, for any number of rows."""
        compiled = torch.compile(self.body, options={})

        def run(x: Tensor) -> Tensor:
            rows = len(x)
            # A single row would be compiled for itself.
            x = torch.cat([x, x]) if rows == 1 else x
            torch._dynamo.maybe_mark_dynamic(x, 0)
            out: Tensor = compiled(x)
            return out[:rows]

        self.run = run

    def features(self, inputs: Tensor) -> Tensor:
        """What the head of the network takes."""
        raise TypeError(f"{type(self).__name__} must define features")

    def forward(self, inputs: Tensor, pre_logits: bool = False) -> Tensor:
        out: Tensor = self.model.forward_head(self.features(inputs), pre_logits=pre_logits)
        return out


class Persons(Stage):
    """A network over persons, run for those that are there.

    A person of zeros only is absent. What the network makes of it depends on its slot and on the number of frames
    alone, so it is computed once for each of these and kept.

    Args:
        model: the network.
        dtype: of its blocks.
        absent_persons: whether absent persons are left out.
    """

    def __init__(self, model: PersonClassifier, dtype: torch.dtype, absent_persons: bool) -> None:
        super().__init__(model, dtype)
        self.model.get_submodule("blocks").to(dtype)
        self.absent_persons = absent_persons
        self.pools = type(model).forward_head in _MEAN_HEADS
        self._absent: dict[tuple[Any, ...], Tensor] = {}

    @staticmethod
    def fits(model: nn.Module) -> bool:
        """Whether a network runs as :class:`PersonClassifier` says."""
        kind: Any = type(model)
        return (
            isinstance(model, PersonClassifier)
            and kind.forward is SkeletonClassifier.forward
            and kind.forward_features is PersonClassifier.forward_features
            and "blocks" in dict(model.named_children())
        )

    def body(self, x: Tensor) -> Tensor:
        features: Tensor = self.model.forward_persons(x)
        return features.mean((2, 3), keepdim=True, dtype=_wide(features.dtype)) if self.pools else features

    def features(self, inputs: Tensor) -> Tensor:
        persons: Tensor = self.model.enter(inputs)
        # Not len, which would tie an exported copy to one number of samples.
        samples = inputs.shape[0]
        slots = persons.shape[0] // samples
        if not self.absent_persons:
            return self._run(persons).unflatten(0, (samples, slots))
        present = inputs.flatten(2).any(2)
        if slots > present.shape[1]:
            present = torch.cat([present, present.new_zeros(samples, slots - present.shape[1])], 1)
        places = present.flatten().nonzero().squeeze(1)
        if len(places) == len(persons):
            return self._run(persons).unflatten(0, (samples, slots))
        out = self._constants(inputs, persons.dtype).repeat(samples, 1, 1, 1)
        if len(places):
            layout = torch.channels_last if persons.stride(1) == 1 else torch.contiguous_format
            found = self._run(persons.index_select(0, places).contiguous(memory_format=layout))
            out = out.to(found.dtype).index_copy_(0, places, found)
        return out.unflatten(0, (samples, slots))

    def _run(self, persons: Tensor) -> Tensor:
        persons = persons.to(self.dtype) if self.dtype in _REDUCED else persons
        if persons.device.type != "cpu" or torch.compiler.is_compiling():
            return self.run(persons)
        # Persons do not see each other. Few of them stay in the caches, and large tensors cost the kernel fresh pages.
        count, _, frames, joints = persons.shape
        portions = min(count, -(-count * frames * joints * persons.element_size() // _MOST_BYTES))
        if portions < 2:
            return self.run(persons)
        return torch.cat([self.run(part) for part in persons.tensor_split(portions)])

    def _constants(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """What absent persons give, slot by slot."""
        device = inputs.device
        reduced = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        key = (*inputs.shape[1:3], dtype, device, reduced)
        if key not in self._absent:
            persons = self.model.enter(torch.zeros_like(inputs[:1]))
            if (persons == persons[:1]).all():
                self._absent[key] = self._run(persons[:1]).expand(len(persons), -1, -1, -1)
            else:
                self._absent[key] = self._run(persons)
        return self._absent[key]


class Volumes(Stage):
    """A backbone over heat maps and a head."""

    def __init__(self, model: VolumeClassifier, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self.backbone = model.get_submodule("backbone")
        self.backbone.to(dtype)

    @staticmethod
    def fits(model: nn.Module) -> bool:
        """Whether a network is one of this library over volumes."""
        kind: Any = type(model)
        return (
            isinstance(model, VolumeClassifier)
            and kind.forward is SkeletonClassifier.forward
            and kind.forward_features is VolumeClassifier.forward_features
        )

    def body(self, x: Tensor) -> Tensor:
        features: Tensor = self.backbone(x)
        return features

    def features(self, inputs: Tensor) -> Tensor:
        self.model.check_input(inputs)
        # The convolutions are faster with channels last, and keep to the layout of their input.
        x = inputs.to(self.dtype) if self.dtype in _REDUCED else inputs
        out = self.run(x.contiguous(memory_format=torch.channels_last_3d))
        return out.to(_wide(out.dtype)) if self.dtype in _REDUCED else out


class Whole(Stage):
    """A network of another kind, run as it is."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(model.to(dtype), dtype)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out

    def forward(self, inputs: Tensor, pre_logits: bool = False) -> Tensor:
        x = inputs.to(self.dtype)
        if not pre_logits:
            out = self.run(x)
        else:
            out = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return out.to(_wide(out.dtype)) if self.dtype in _REDUCED else out


_REDUCED = (torch.bfloat16, torch.float16)
# Of one channel of the persons that are computed at once on a CPU: 8 persons of 100 frames of 25 joints in float32.
_MOST_BYTES = 80_000


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
