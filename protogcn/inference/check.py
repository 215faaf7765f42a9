"""How far an optimised network is from the one that it was made from."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protogcn.models.base import SkeletonClassifier
from protogcn.models.persons import PersonClassifier
from protogcn.models.volume import VolumeClassifier

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}
_PROBE_SIDE = 16


@dataclass(frozen=True)
class Report:
    """What was done to a network, and how far its logits are from those of the original.

    Attributes:
        network: class of the original.
        dtype: precision of the body of the network.
        units: units that were rewritten, by kind.
        absent_persons: whether persons of zeros are left out.
        compiled: whether the body was compiled.
        deviation: the largest difference between logits on the probe, relative to the largest logit.
        tolerance: what it was held against.
        notes: what was left undone, and why.
    """

    network: str
    dtype: torch.dtype
    units: dict[str, int]
    absent_persons: bool
    compiled: bool
    deviation: float
    tolerance: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        units = ", ".join(f"{count} {kind}" for kind, count in self.units.items()) or "none"
        lines = [
            f"{self.network} for inference in {str(self.dtype).removeprefix('torch.')}",
            f"  rewritten units: {units}",
            f"  absent persons:  {'left out' if self.absent_persons else 'computed'}",
            f"  compiled:        {'yes' if self.compiled else 'no'}",
            f"  deviation:       {self.deviation:.1e} of the largest logit (at most {self.tolerance:.0e})",
        ]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def make_probe(model: nn.Module, frames: int) -> Tensor:
    """Clips of noise with two, one and no persons in them, or volumes of noise, as a network takes them.

    Raises:
        ValueError: it is no network of this library, so what it takes is not known.
    """
    if not isinstance(model, SkeletonClassifier):
        raise ValueError(
            f"what {type(model).__name__} takes is not known: give probe=<a batch of its input> to optimize()"
        )
    generator = torch.Generator().manual_seed(0)
    if isinstance(model, VolumeClassifier):
        shape = (2, model.in_channels, frames, _PROBE_SIDE, _PROBE_SIDE)
        return torch.rand(shape, generator=generator)
    probe = torch.randn(3, 2, frames, model.skeleton.num_joints, model.in_channels, generator=generator)
    probe[1, 1], probe[2] = 0, 0
    if isinstance(model, PersonClassifier):
        try:
            model.enter(probe.to(next(model.parameters())))
        except ValueError:
            # It was built for one person.
            return probe[:, :1]
    return probe


@torch.no_grad()
def deviation(expected: Tensor, found: Tensor) -> float:
    """The largest difference relative to the largest expected value; infinite where one of them is no number.

    Two networks that give the same infinities and the same that are no numbers agree there.
    """
    expected, found = expected.double(), found.double()
    if expected.shape != found.shape:
        return float("inf")
    same = (expected == found) | (expected.isnan() & found.isnan())
    difference = (expected - found).abs().masked_fill(same, 0)
    scale = expected.masked_fill(~expected.isfinite(), 0).abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    largest = float(difference.max() / scale)
    return largest if largest == largest else float("inf")


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Products in full precision on every device, whatever is set."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def run(network: Callable[[Tensor], Tensor], probe: Tensor) -> Tensor:
    """What a network gives, in full precision and without gradients."""
    with torch.no_grad(), full_precision(), torch.autocast(probe.device.type, enabled=False):
        return network(probe)
