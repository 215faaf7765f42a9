"""The branched temporal unit against its branches built one by one."""

import math
from typing import Any

import pytest
import torch
from small_models import random_clips
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.layers.branches import BranchedTemporal
from protogcn.models.layers.pooling import max_pool_frames

UNITS: dict[str, dict[str, Any]] = {
    "ctrgcn": {"in_channels": 16, "out_channels": 16},
    "remainder": {"in_channels": 7, "out_channels": 15, "activation": True},
    "msg3d": {"in_channels": 8, "out_channels": 20, "kernel": 3, "dilations": (1, 2, 3, 4)},
}


class Branch(nn.Module):
    """One branch with the parts and names of the released code."""

    def __init__(self, in_channels: int, width: int, kind: int | str, kernel: int, stride: int) -> None:
        super().__init__()
        self.kind, self.stride = kind, stride
        self.add_module("0", nn.Conv2d(in_channels, width, 1, stride=(stride if kind == "pointwise" else 1, 1)))
        self.add_module("1", nn.BatchNorm2d(width))
        if isinstance(kind, int):
            padding = (kernel + (kernel - 1) * (kind - 1) - 1) // 2
            conv = nn.Conv2d(width, width, (kernel, 1), (stride, 1), (padding, 0), (kind, 1))
            self.add_module("3", nn.ModuleDict({"conv": conv, "bn": nn.BatchNorm2d(width)}))
        elif kind == "pool":
            self.add_module("4", nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        parts = dict(self.named_modules())
        out: Tensor = parts["1"](parts["0"](x))
        if isinstance(self.kind, int):
            out = parts["3.bn"](parts["3.conv"](out.relu()))
        elif self.kind == "pool":
            out = parts["4"](functional.max_pool2d(out.relu(), (3, 1), (self.stride, 1), (1, 0)))
        return out


def reference(unit: BranchedTemporal, in_channels: int, kernel: int, dilations: tuple[int, ...]) -> nn.ModuleDict:
    """The branches of a unit, with its weights."""
    kinds: list[int | str] = [*dilations, "pool", "pointwise"]
    branches = nn.ModuleList(
        Branch(in_channels, unit.last_width if kind == "pointwise" else unit.width, kind, kernel, unit.stride)
        for kind in kinds
    )
    holder = nn.ModuleDict({"unit": nn.ModuleDict({"branches": branches})}).double()
    state, own = holder.state_dict(), unit.state_dict()
    for name, names in unit.official_entries("own", "unit").items():
        value = own[name.removeprefix("own.")]
        parts = value.split([len(state[each]) for each in names]) if value.ndim else [value] * len(names)
        for each, part in zip(names, parts, strict=True):
            state[each].copy_(part)
    return holder


@pytest.fixture(params=UNITS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return UNITS[request.param]


def make(options: dict[str, Any], stride: int) -> BranchedTemporal:
    torch.manual_seed(stride)
    unit = BranchedTemporal(stride=stride, **options).double()
    for module in unit.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.0, 1.0)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return unit


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_equals_its_branches_one_by_one(options: dict[str, Any], stride: int, frames: int) -> None:
    unit = make(options, stride)
    kernel, dilations = options.get("kernel", 5), options.get("dilations", (1, 2))
    parts = reference(unit, options["in_channels"], kernel, dilations)
    clips = random_clips(3, options["in_channels"], frames, 4, dtype=torch.float64)
    for mode in (False, True):
        branches = parts.train(mode).get_submodule("unit.branches")
        assert isinstance(branches, nn.ModuleList)
        expected = torch.cat([branch(clips) for branch in branches], 1)
        expected = expected.relu() if unit.activation else expected
        assert expected.shape == (3, options["out_channels"], math.ceil(frames / stride), 4)
        torch.testing.assert_close(unit.train(mode)(clips), expected, rtol=1e-10, atol=1e-10)
    state, own = parts.state_dict(), unit.state_dict()
    entries = unit.official_entries("own", "unit")
    assert sorted(name for names in entries.values() for name in names) == sorted(state)
    for name, names in entries.items():
        value = own[name.removeprefix("own.")]
        expected = torch.cat([state[each] for each in names]) if value.ndim else state[names[0]]
        torch.testing.assert_close(value, expected, msg=name)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_whatever_the_order_in_memory(layout: torch.memory_format, channels: int) -> None:
    clips = random_clips(2, channels, 7, 4).contiguous(memory_format=layout)
    for stride in (1, 2):
        for part in (clips, clips[:, -1:], clips[:, :, 1:]):
            expected = functional.max_pool2d(part.contiguous(), (3, 1), (stride, 1), (1, 0))
            torch.testing.assert_close(max_pool_frames(part, stride), expected, rtol=0, atol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_initialisation_for_the_outputs_of_each_branch(stride: int) -> None:
    torch.manual_seed(0)
    unit = BranchedTemporal(96, 130, stride)
    unit.initialise_fan_out()
    last = unit.entry.weight[-34:] if unit.pointwise is None else unit.pointwise.weight
    for weight, fan in ((unit.entry.weight[:96], 32), (last, 34), *((conv.weight, 160) for conv in unit.dilated)):
        assert isinstance(weight, Tensor)
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.05)
    assert not any(parameter.any() for name, parameter in unit.named_parameters() if name.endswith("bias"))


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="base_channels must be at least 4, got 3"):
        BranchedTemporal(8, 3)
