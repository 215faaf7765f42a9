"""CTR-GCN, the authors' and PYSKL's, against the reference numbers; starting values; what sets the two apart."""

import math

import pytest
import torch
from gcn_goldens import Golden, assert_matches, check_training
from small_models import random_clips, small_model
from torch import Tensor, nn

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.ctrgcn import CTRGCN, OFFICIAL, PYSKL, CTRGCNBlock, RefinedTopologyConv

NAMES = {"ctrgcn": "ctrgcn_official__ntu25_60c_T64_M2", "ctrgcn_pyskl": "ctrgcn_pyskl__ntu25_60c_T64_M2"}
SKELETONS = {"ctrgcn": "ntu25", "ctrgcn_pyskl": "ntu25_pyskl"}

anyone = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def golden(name: str) -> Golden:
    return Golden.load(NAMES[name])


@pytest.fixture(scope="module")
def built(name: str, golden: Golden) -> CTRGCN:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    model = create_model(name, skeleton=SKELETONS[name], num_classes=60).double()
    assert isinstance(model, CTRGCN)
    load_official(model, golden.state_dict())
    return model.eval()


def blocks(model: CTRGCN) -> list[CTRGCNBlock]:
    return [block for block in model.blocks if isinstance(block, CTRGCNBlock)]


def test_inference(name: str, golden: Golden, built: CTRGCN) -> None:
    """Every stage that the reference lists, from the same input on."""
    expected = golden.case["outputs"]
    prefix, first = ("l", 1) if name == "ctrgcn" else ("backbone.net.", 0)
    clips = golden.clips()
    with torch.no_grad():
        x = built.input_norm(clips)
        normed = x.unflatten(0, (2, 2)).permute(0, 1, 4, 2, 3).flatten(1, 3)
        seen = {"stage:data_bn" if name == "ctrgcn" else "stage:backbone.data_bn": normed}
        for index, block in enumerate(blocks(built), start=first):
            stage = f"stage:{prefix}{index}"
            seen[f"{stage}.gcn1"] = mixed = block.graph(x)
            seen[f"{stage}.tcn1"] = block.temporal(mixed)
            if block.residual is not None:
                seen[f"{stage}.residual"] = block.residual(x)
            seen[stage] = x = block(x)
        features = built.forward_features(clips)
        seen |= {"features": features, "logits": built(clips)}
        seen["pooled_feature"] = built.forward_head(features, pre_logits=True)
    for key, reference in expected.items():
        assert_matches(seen[key], reference)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(name: str, golden: Golden, built: CTRGCN, mode: str) -> None:
    criterion = create_criterion(name)
    target = torch.tensor(golden.case["training"]["labels"])

    def step(model: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        assert isinstance(model, CTRGCN)
        logits, aux = model.forward_train(golden.clips())
        return criterion(logits, aux, target), logits

    check_training(golden, built, mode, step, {"cross_entropy": "cross_entropy", "total": "loss"})


def test_size_and_fixed_skeleton(name: str, golden: Golden, built: CTRGCN) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]
    state = golden.state_dict()
    # A checkpoint also holds the skeleton, which PYSKL keeps in a buffer that nothing reads.
    if name == "ctrgcn_pyskl":
        load_official(built, state | {"backbone.A": torch.zeros(3, 25, 25)})
    else:
        with pytest.raises(ValueError, match="not known to this model: backbone.A"):
            load_official(built, state | {"backbone.A": torch.zeros(3, 25, 25)})
