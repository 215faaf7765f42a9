"""AAGCN against the reference numbers, its unit against its definition, and what its options do."""

from typing import Any

import pytest
import torch
from block_goldens import build, check_cross_entropy_training, check_inference
from gcn_goldens import Golden
from small_models import random_clips
from torch import Tensor, nn
from torch.nn import functional

from graphs import get_skeleton
from protogcn.models import create_model
from protogcn.models.aagcn import AdaptiveTopologyConv
from protogcn.models.checkpoints import load_official
from protogcn.models.layers.blocks import BlockNetwork
from protogcn.models.layers.temporal import PlainTemporal


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.load("aagcn__ntu25_60c_T64_M2")


@pytest.fixture(scope="module")
def built(golden: Golden) -> BlockNetwork:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    return build(golden, "aagcn")


def test_inference(golden: Golden, built: BlockNetwork) -> None:
    check_inference(golden, built)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, built: BlockNetwork, mode: str) -> None:
    check_cross_entropy_training(golden, built, "aagcn", mode)


def test_size(golden: Golden, built: BlockNetwork) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]


def by_definition(unit: AdaptiveTopologyConv, x: Tensor) -> Tensor:
    """The unit written out topology by topology and gate by gate."""
    samples, _, frames, joints = x.shape
    count, width = len(unit.A), unit.width
    total = torch.zeros(samples, unit.norm.num_features, frames, joints, dtype=x.dtype)
    relations = functional.conv2d(x, unit.relation.weight, unit.relation.bias).split(width, 1)
    mixes = zip(
        unit.mix.weight.split(total.shape[1]), unit.mix.get_parameter("bias").split(total.shape[1]), strict=True
    )
    for index, (weight, bias) in enumerate(mixes):
        first = relations[index].permute(0, 3, 1, 2).reshape(samples, joints, width * frames)
        second = relations[count + index].reshape(samples, width * frames, joints)
        graph = unit.A[index] + unit.alpha * torch.tanh(first @ second / (width * frames))
        total = total + functional.conv2d(torch.einsum("nctv,nvw->nctw", x, graph), weight, bias)
    assert unit.down is not None
    y = functional.relu(unit.norm(total) + unit.down(x))
    gates = unit.attention
    y = y * torch.sigmoid(gates.joints(y.mean(2))).unsqueeze(2) + y
    y = y * torch.sigmoid(gates.frames(y.mean(3))).unsqueeze(3) + y
    hidden = functional.relu(gates.squeeze(y.mean(3).mean(2)))
    return y * torch.sigmoid(gates.excite(hidden))[:, :, None, None] + y


@pytest.mark.parametrize("joints", [1, 2, 3, 6, 25])
@pytest.mark.parametrize("channels", [(3, 8), (8, 8)])
def test_unit_is_its_definition_for_odd_and_even_joints(joints: int, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    unit = AdaptiveTopologyConv(*channels, torch.rand(3, joints, joints)).double()
    for parameter in unit.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, channels[0], 5, joints, dtype=torch.float64)
    torch.testing.assert_close(unit(x), by_definition(unit, x), rtol=1e-11, atol=1e-11)


def test_first_weights() -> None:
    torch.manual_seed(0)
    model = create_model("aagcn", skeleton="ntu25_pyskl", num_classes=60)
    assert isinstance(model, BlockNetwork)
    skeleton = torch.from_numpy(get_skeleton("ntu25_pyskl").adjacency("spatial")).float()
    for block in model.typed_blocks():
        graph, temporal = block.graph, block.temporal
        assert isinstance(graph, AdaptiveTopologyConv)
        assert isinstance(temporal, PlainTemporal)
        assert torch.equal(graph.A, skeleton)
        assert not graph.alpha.any()
        assert torch.equal(graph.norm.weight, torch.full_like(graph.norm.weight, 1e-6))
        outputs, inputs = graph.norm.num_features, graph.mix.in_channels
        drawn: dict[nn.Module, float] = {
            graph.relation: 2 / (outputs // 4),
            graph.mix: 2 / (3 * outputs * inputs),
            temporal.conv: 2 / (9 * outputs),
            graph.attention.joints: 2 / (25 * (outputs + 1)),
            graph.attention.squeeze: 2 / outputs,
        }
        if isinstance(graph.down, nn.Sequential):
            drawn[graph.down[0]] = 2 / outputs
        for layer, variance in drawn.items():
            assert layer.get_parameter("weight").std().item() == pytest.approx(variance**0.5, rel=0.15)
            assert not layer.get_parameter("bias").any()
        for layer in (graph.attention.frames, graph.attention.excite):
            assert not layer.get_parameter("weight").any() and not layer.get_parameter("bias").any()
        if isinstance(block.residual, nn.Sequential):
            # The residual path of a block keeps what torch draws.
            assert block.residual[0].get_parameter("bias").any()


def test_the_unused_skeleton_of_released_weights_is_accepted(golden: Golden, built: BlockNetwork) -> None:
    model = create_model("aagcn", skeleton="ntu25_pyskl", num_classes=60).double()
    load_official(model, golden.state_dict() | {"backbone.A": torch.zeros(3, 25, 25)})
    assert torch.equal(model.state_dict()["blocks.0.graph.A"], built.state_dict()["blocks.0.graph.A"])


def test_a_person_slot_has_statistics_of_its_own() -> None:
    model = create_model("aagcn", num_classes=3, num_persons=1, num_blocks=1, widen_at=[], downsample_at=[])
    assert model.get_submodule("input_norm.norm").num_features == 75
    with pytest.raises(ValueError, match="num_persons=2"):
        model(random_clips(1, 2, 4, 25, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_channels": 3}, "base_channels must be at least 4, got 3"),
        ({"temporal_dropout": 1.5}, r"temporal_dropout must lie in \[0, 1\)"),
        ({"num_persons": 0}, "num_persons must be a positive integer"),
    ],
)
def test_options_are_refused_with_what_they_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("aagcn", num_classes=3, **options)
