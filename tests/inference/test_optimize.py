"""Optimised networks equal the ones that they were made from."""

from typing import Any

import pytest
import torch
from models.small_models import random_batch, small_model
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from protogcn.inference import optimize
from protogcn.models import SkeletonClassifier, list_models

EXACT = {"rtol": 0, "atol": 1e-11}
every_model = pytest.mark.parametrize("name", list_models())


def trained(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> SkeletonClassifier:
    """A small network as training leaves it: nothing in its norms is as in a fresh one, and no gate is closed."""
    model = small_model(name, **changes)
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, _NormBase | nn.LayerNorm):
            # Weights of both signs: what is pooled must not be scaled by them beforehand.
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.weight.data *= torch.where(torch.rand(module.weight.shape, generator=generator) < 0.3, -1.0, 1.0)
            module.bias.data.normal_(0, 0.5, generator=generator)
        if isinstance(module, _NormBase):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    for key, parameter in model.named_parameters():
        if key.endswith(("alpha", "beta", "coefficients")):
            parameter.data.normal_(0, 0.5, generator=generator)
    return model.to(dtype).eval()


def crowd(model: SkeletonClassifier, persons: int, frames: int = 9) -> Tensor:
    """Clips in which both, one or the other, or none of the persons are absent."""
    clips = random_batch(model, 5, persons=persons, frames=frames, dtype=torch.float64)
    if clips.shape[1] == persons == 2:
        clips[1, 1], clips[2, 0], clips[3] = 0, 0, 0
    return clips


def assert_near(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, **EXACT)


@every_model
@pytest.mark.parametrize(("persons", "frames"), [(2, 9), (1, 5), (2, 1)])
def test_logits_are_those_of_the_original(name: str, persons: int, frames: int) -> None:
    model = trained(name, num_persons=2)
    fast = optimize(model)
    clips = crowd(model, persons, frames)
    kept = clips.clone()
    expected = model(clips)
    # The second call finds what absent persons give.
    for _ in range(2):
        assert_near(fast(clips), expected)
    for clip, logits in zip(clips, expected, strict=True):
        assert_near(fast(clip[None]), logits[None])
    assert torch.equal(clips, kept)
    assert fast.report.units
    assert fast.report.deviation < 1e-12
    assert not fast.report.notes
