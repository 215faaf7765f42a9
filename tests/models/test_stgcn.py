"""ST-GCN and ST-GCN++ against the reference numbers, and what their options do."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from block_goldens import build, check_cross_entropy_training, check_inference
from gcn_goldens import Golden
from small_models import random_clips, small_model
from torch import Tensor, nn

from graphs import get_skeleton
from graphs.adjacency import STRATEGIES
from protogcn.models import create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.layers.blocks import BlockNetwork
from protogcn.models.layers.static import Adaptive, StaticTopologyConv
from protogcn.models.layers.temporal import MultiBranchTemporal, PlainTemporal

NAMES = ("stgcn", "stgcnpp")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def golden(name: str) -> Golden:
    return Golden.load(f"{name}__ntu25_60c_T64_M2")


@pytest.fixture(scope="module")
def built(golden: Golden, name: str) -> BlockNetwork:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    return build(golden, name)


def test_inference(golden: Golden, built: BlockNetwork) -> None:
    check_inference(golden, built)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, built: BlockNetwork, name: str, mode: str) -> None:
    check_cross_entropy_training(golden, built, name, mode)


def test_size(golden: Golden, built: BlockNetwork) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]


def features(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def topology(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("adaptive", get_args(Adaptive))
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("channels", [(3, 5), (4, 4)])
def test_graph_convolution_is_the_sum_of_its_definition(
    adaptive: Adaptive, residual: bool, channels: tuple[int, int]
) -> None:
    fixed = topology(3, 6, 6)
    unit = StaticTopologyConv(*channels, fixed, adaptive, residual).double().eval()
    for parameter in unit.parameters():
        nn.init.normal_(parameter)
    assert (unit.down is None) != residual
    mask = torch.zeros_like(fixed) if unit.PA is None else unit.PA
    learned = {"fixed": fixed, "init": unit.A, "importance": fixed * mask, "offset": fixed + mask}[adaptive]
    x = features(2, channels[0], 4, 6)
    expected = torch.zeros(2, channels[1], 4, 6, dtype=torch.float64)
    for weight, bias, matrix in zip(
        unit.conv.weight.split(channels[1]), unit.conv.get_parameter("bias").split(channels[1]), learned, strict=True
    ):
        mapped = torch.einsum("oc,nctv->notv", weight[:, :, 0, 0], x) + bias[:, None, None]
        for start in range(6):
            for end in range(6):
                expected[..., end] += mapped[..., start] * matrix[start, end]
    torch.testing.assert_close(unit.aggregate(x), expected, rtol=1e-12, atol=1e-12)
    total = unit.norm(expected) + (0 if unit.down is None else unit.down(x))
    torch.testing.assert_close(unit(x), total.relu(), rtol=1e-12, atol=1e-12)


def test_ways_of_learning_a_topology_start_alike() -> None:
    fixed = topology(3, 6, 6)
    parameters = {}
    for adaptive in get_args(Adaptive):
        unit = StaticTopologyConv(3, 5, fixed, adaptive, False)
        names = {name for name, _ in unit.named_parameters() if name in ("A", "PA")}
        parameters[adaptive] = names
        torch.testing.assert_close(unit.topology(), fixed, rtol=0, atol=2e-6 if adaptive == "offset" else 0)
        assert adaptive != "offset" or 2e-7 < (unit.topology() - fixed).abs().mean() < 8e-7
        assert "A" in unit.state_dict()
    assert parameters == {"fixed": set(), "importance": {"PA"}, "offset": {"PA"}, "init": {"A"}}


def test_first_weights(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, skeleton="ntu25_pyskl", num_classes=60)
    assert isinstance(model, BlockNetwork)
    strategy = "stgcn_spatial" if name == "stgcn" else "spatial"
    expected = torch.from_numpy(get_skeleton("ntu25_pyskl").adjacency(strategy)).float()
    for block in model.typed_blocks():
        graph = block.graph
        assert isinstance(graph, StaticTopologyConv)
        assert torch.equal(graph.topology(), expected)
        assert isinstance(graph.A, nn.Parameter) == (name == "stgcnpp")
        assert (graph.down is None) == (name == "stgcn")
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not model.classifier.bias.any()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # What torch does by itself: uniform within one over the root of the fan-in.
            bound = (module.weight[0].numel()) ** -0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.25)


def test_the_fixed_topology_of_a_checkpoint_is_loaded_where_it_is_given() -> None:
    state = Golden.load("stgcn__ntu25_60c_T64_M2").state_dict()
    names = [f"backbone.gcn.{index}.gcn.A" for index in range(10)]
    assert not state.keys() & set(names)
    # The graph of this layout differs in the spine, which the checkpoint puts right.
    model = create_model("stgcn", skeleton="ntu25_infogcn", num_classes=60).double()
    assert model.official_optional() == set(names)
    load_official(model, state)
    official = torch.from_numpy(get_skeleton("ntu25_pyskl").adjacency("stgcn_spatial").astype(np.float32)).double()
    assert not torch.equal(model.state_dict()["blocks.3.graph.A"], official)
    load_official(model, state | dict.fromkeys(names, official))
    assert torch.equal(model.state_dict()["blocks.3.graph.A"], official)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_partition(name: str, strategy: str) -> None:
    model = small_model(name, spatial=strategy)
    logits = model(random_clips(2, 1, 4, 25, 3))
    assert logits.isfinite().all()
    first = model.get_submodule("blocks.0.graph")
    assert isinstance(first, StaticTopologyConv)
    assert first.A.shape == get_skeleton("ntu25").adjacency(strategy).shape
    logits.sum().backward()


def test_the_seed_of_the_network_decides_random_topologies() -> None:
    topologies = [small_model("stgcn", seed, spatial="random").state_dict()["blocks.0.graph.A"] for seed in (1, 1, 2)]
    assert torch.equal(topologies[0], topologies[1])
    assert not torch.equal(topologies[0], topologies[2])
    assert topologies[0].mean().item() == pytest.approx(0.04, abs=0.002)


@pytest.mark.parametrize("temporal", ["plain", "multi-branch"])
def test_temporal_dropout_spares_the_first_block(name: str, temporal: str) -> None:
    model = small_model(name, temporal=temporal, temporal_dropout=0.5)
    dropped = []
    for index, width in enumerate((16, 32, 32)):
        unit = model.get_submodule(f"blocks.{index}.temporal")
        assert isinstance(unit, PlainTemporal if temporal == "plain" else MultiBranchTemporal)
        dropped.append((unit(features(2, width, 8, 25).float()) == 0).float().mean().item())
        assert unit.eval()(features(2, width, 8, 25).float()).all()
    assert dropped == pytest.approx([0, 0.5, 0.5], abs=0.05)


@pytest.mark.parametrize(("frames", "stride"), [(1, 2), (4, 2), (5, 2), (5, 1)])
def test_plain_temporal_unit_convolves_nine_frames(frames: int, stride: int) -> None:
    unit = PlainTemporal(3, stride).double().eval()
    x = features(2, 3, frames, 4)
    padded = nn.functional.pad(x, (0, 0, 4, 4))
    kept = range(0, frames, stride)
    windows = torch.stack([padded[:, :, start : start + 9] for start in kept], 2)
    expected = (
        torch.einsum("nctkv,ock->notv", windows, unit.conv.weight[..., 0])
        + unit.conv.get_parameter("bias")[:, None, None]
    )
    torch.testing.assert_close(unit(x), unit.norm(expected), rtol=1e-12, atol=1e-12)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "partition": ({"spatial": "spacial"}, r"unknown spatial unit 'spacial'; did you mean 'spatial'.*pyg:<convolution"),
    "adaptive": ({"adaptive": "learned"}, "adaptive must be 'fixed' or 'importance' or 'offset' or 'init'"),
    "temporal": ({"temporal": "multi"}, "temporal must be 'plain' or 'multi-branch'"),
    "dropout": ({"temporal_dropout": 1.0}, r"temporal_dropout must lie in \[0, 1\), got 1.0"),
    "width": ({"temporal": "multi-branch", "base_channels": 4}, "at least 6 channels, got 4"),
    "places": ({"widen_at": [99]}, "widen_at names different blocks"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_are_refused_with_what_they_take(name: str, case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        create_model(name, num_classes=3, **options)
