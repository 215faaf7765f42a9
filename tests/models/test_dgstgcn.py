"""DG-STGCN against the reference numbers."""

import pytest
from block_goldens import build, check_cross_entropy_training, check_inference
from gcn_goldens import Golden

from protogcn.models.layers.blocks import BlockNetwork


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
