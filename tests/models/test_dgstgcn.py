"""DG-STGCN against the reference numbers, and what its options do."""

from typing import Any

import pytest
import torch
from block_goldens import build, check_cross_entropy_training, check_inference
from gcn_goldens import Golden
from small_models import random_clips, small_model

from protogcn.models import create_model
from protogcn.models.layers.blocks import BlockNetwork
from protogcn.models.layers.graph import DynamicTopologyConv
from protogcn.models.layers.temporal import MultiBranchTemporal


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.load("dgstgcn__ntu25_60c_T64_M2")


@pytest.fixture(scope="module")
def built(golden: Golden) -> BlockNetwork:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    return build(golden, "dgstgcn")


def test_inference(golden: Golden, built: BlockNetwork) -> None:
    check_inference(golden, built)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, built: BlockNetwork, mode: str) -> None:
    check_cross_entropy_training(golden, built, "dgstgcn", mode)


def test_size(golden: Golden, built: BlockNetwork) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]


def test_first_weights() -> None:
    torch.manual_seed(0)
    model = create_model("dgstgcn", num_classes=60)
    assert isinstance(model, BlockNetwork)
    topologies = []
    for block in model.typed_blocks():
        graph, temporal = block.graph, block.temporal
        assert isinstance(graph, DynamicTopologyConv)
        assert isinstance(temporal, MultiBranchTemporal)
        assert graph.A.shape == (8, 25, 25)
        assert graph.A.mean().item() == pytest.approx(0.04, abs=0.002)
        assert graph.A.std().item() == pytest.approx(0.02, rel=0.05)
        assert temporal.coefficients.shape == (25,)
        assert not any(start.any() for start in (graph.alpha, graph.beta, temporal.coefficients))
        topologies.append(graph.A)
    assert not torch.equal(topologies[0], topologies[1])


def test_it_is_protogcn_without_prototypes(built: BlockNetwork) -> None:
    other = create_model("protogcn", num_classes=60, base_channels=64).double().eval()
    missing = other.load_state_dict(built.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert {name.split(".")[0] for name in missing.missing_keys} == {"reconstruction", "class_memory"}
    clips = random_clips(1, 2, 8, 25, 3, dtype=torch.float64)
    assert torch.equal(other(clips), built(clips))


def test_temporal_dropout_spares_the_first_block() -> None:
    model = small_model("dgstgcn", temporal_dropout=0.25)
    assert [model.get_submodule(f"blocks.{index}.temporal.dropout").p for index in range(3)] == [0, 0.25, 0.25]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_topologies": 7}, r"base_channels must be a multiple of num_topologies \(7\).*got 64"),
        ({"base_channels": 4, "num_topologies": 2}, "at least 6.*got 4"),
        ({"num_topologies": 0}, "num_topologies must be a positive integer"),
        ({"num_prototypes": 4}, "unknown option of dgstgcn 'num_prototypes'"),
        ({"temporal_dropout": -0.1}, r"temporal_dropout must lie in \[0, 1\)"),
    ],
)
def test_options_are_refused_with_what_they_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("dgstgcn", num_classes=3, **options)
