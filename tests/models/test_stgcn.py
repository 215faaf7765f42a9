"""ST-GCN and ST-GCN++ against the reference numbers, and what their options do."""

import pytest
from block_goldens import build, check_cross_entropy_training, check_inference
from gcn_goldens import Golden

from protogcn.models.layers.blocks import BlockNetwork

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
