"""Networks made fast for inference, with the same results and the proof of it."""

import copy
from collections import Counter

import torch
from torch import Tensor, nn

from protogcn.inference import graphs, inputs, temporal, volumes, windows
from protogcn.inference.check import TOLERANCES, Report, deviation, make_probe, run
from protogcn.inference.folding import fold
from protogcn.inference.stages import Persons, Stage, Volumes, Whole
from protogcn.models.base import SkeletonClassifier
from protogcn.models.persons import PersonClassifier
from protogcn.models.volume import VolumeClassifier

# Importing them enters what rewrites the units of the networks.
_UNITS = (graphs, inputs, temporal, volumes, windows)
# What a network of somebody's own may raise where it reaches into a unit that was rewritten.
_UNFIT = (AttributeError, TypeError, ValueError, RuntimeError, LookupError)
_PROBE_FRAMES, _COMPILED_FRAMES = 12, 64


class OptimizedModel(nn.Module):
    """A frozen network for inference: clips (N, M, T, V, C), or what else the original takes, to logits.

    It stays in evaluation mode, computes no gradients, and answers to nothing that happens to the original.

    Attributes:
        report: what was done, and how far the logits are from those of the original.
    """

    def __init__(self, stage: Stage, report: Report) -> None:
        super().__init__()
        self.stage = stage
        self.report = report
        super().train(False)

    def train(self, mode: bool = True) -> "OptimizedModel":
        """Does nothing: there is no training mode."""
        return self

    @torch.no_grad()
    def forward(self, inputs: Tensor, pre_logits: bool = False) -> Tensor:
        """Clips (N, M, T, V, C) to logits (N, num_classes), or to pooled features (N, num_features).

        Raises:
            ValueError: what the original refuses.
        """
        logits: Tensor = self.stage(inputs, pre_logits)
        return logits


def optimize(
    model: nn.Module,
    *,
    dtype: torch.dtype | None = None,
    compile: bool = False,
    absent_persons: bool = True,
    tolerance: float | None = None,
    probe: Tensor | None = None,
) -> OptimizedModel:
    """A copy of a network with the same results in less time; the network itself stays as it is.

    Batch norms become part of the convolutions beside them, constants are computed beforehand, what only training needs
    is dropped, and persons that are absent (all zero) are not computed. All of this is exact. Networks of this library
    are rewritten in all their parts, others in those parts that are units of this library.

    Args:
        model: any network; those of this library gain most.
        dtype: precision of the costly part: float32, float64 or bfloat16; None keeps that of the weights. Where it is
            bfloat16, clips and logits are float32.
        compile: whether ``torch.compile`` takes the costly part; the first call then takes a minute or so. Where there
            is no compiler the network runs without, and the report says so.
        absent_persons: whether persons of zeros are left out.
        tolerance: the largest deviation on the probe relative to the largest logit; None takes 1e-12 for float64, 1e-5
            for float32 and 3e-2 for bfloat16.
        probe: inputs on which the copy is compared with the original; None makes clips of noise with two, one and no
            persons. For ``compile`` give some of the frames that will follow.

    Raises:
        ValueError: the deviation is above the tolerance, or ``dtype`` is none of these.
    """
    weight = next(model.parameters(), torch.empty(0))
    dtype = dtype or weight.dtype
    if dtype not in TOLERANCES:
        names = ", ".join(str(each).removeprefix("torch.") for each in TOLERANCES)
        raise ValueError(f"dtype must be one of {names}, got {dtype}")
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    # Before and after its costly part a network keeps at least single precision.
    wide = torch.promote_types(dtype, torch.float32)
    reference = _frozen(model, torch.promote_types(weight.dtype, wide))
    if probe is None:
        probe = make_probe(reference, _COMPILED_FRAMES if compile else _PROBE_FRAMES)
    probe = probe.detach().to(weight.device, wide)
    expected = run(reference, probe.to(next(reference.parameters(), weight).dtype))

    notes: list[str] = []
    done: list[nn.Module] = []
    try:
        stage = _stage(fold(_without_training(_frozen(model, wide)), done), dtype, absent_persons)
        found = run(stage, probe)
    except _UNFIT as error:
        notes.append(f"its units are as they were, since it does not run with others ({_first_line(error)})")
        done, stage = [], Whole(_frozen(model, wide), dtype)
        found = run(stage, probe)
    if compile:
        found, compiled = _compile(stage, probe, found, notes)
    report = Report(
        network=type(model).__name__,
        dtype=dtype,
        units=dict(Counter(type(unit).__name__ for unit in done)),
        absent_persons=isinstance(stage, Persons) and stage.absent_persons,
        compiled=compile and compiled,
        deviation=deviation(expected, found),
        tolerance=tolerance,
        notes=tuple(notes),
    )
    if not report.deviation <= tolerance:
        raise ValueError(
            f"optimised, this {type(model).__name__} deviates by {report.deviation:.1e} of the largest logit, and at "
            f"most {tolerance:.1e} is allowed: use it as it is, or allow more by optimize(..., tolerance=...)"
        )
    return OptimizedModel(stage, report)


def _frozen(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(model).to(dtype).eval().requires_grad_(False)


def _without_training(model: nn.Module) -> nn.Module:
    if isinstance(model, SkeletonClassifier):
        for part in model.criterion_parts:
            delattr(model, part)
    return model


def _stage(model: nn.Module, dtype: torch.dtype, absent_persons: bool) -> Stage:
    if isinstance(model, PersonClassifier) and Persons.fits(model):
        return Persons(model, dtype, absent_persons)
    if isinstance(model, VolumeClassifier) and Volumes.fits(model):
        return Volumes(model, dtype)
    return Whole(model, dtype)


def _compile(stage: Stage, probe: Tensor, found: Tensor, notes: list[str]) -> tuple[Tensor, bool]:
    """What the compiled network gives; where there is none, the stage stays as it is, and a note says why."""
    stage.compile_body()
    try:
        return run(stage, probe), True
    except RuntimeError as error:
        notes.append(f"it runs without torch.compile, which does not work here ({_first_line(error)})")
        stage.run = stage.body
        return found, False


def _first_line(error: Exception) -> str:
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0][:200]}"
