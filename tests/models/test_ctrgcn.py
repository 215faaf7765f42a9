"""CTR-GCN, the authors' and PYSKL's, against the reference numbers; starting values; what sets the two apart."""

import math
import re

import pytest
import torch
from gcn_goldens import Golden, assert_matches, check_training
from small_models import random_clips, small_model
from torch import Tensor, nn
from torch.nn import functional

from graphs.layouts import get_skeleton
from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.ctrgcn import CTRGCN, OFFICIAL, PYSKL, RefinedTopologyConv, Release

NAMES = {"ctrgcn": "ctrgcn_official__ntu25_60c_T64_M2", "ctrgcn_pyskl": "ctrgcn_pyskl__ntu25_60c_T64_M2"}
SKELETONS = {"ctrgcn": "ntu25", "ctrgcn_pyskl": "ntu25_pyskl"}


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


def test_inference(name: str, golden: Golden, built: CTRGCN) -> None:
    """Every stage that the reference lists, from the same input on."""
    expected = golden.case["outputs"]
    prefix, first = ("l", 1) if name == "ctrgcn" else ("backbone.net.", 0)
    clips = golden.clips()
    with torch.no_grad():
        x = built.input_norm(clips)
        normed = x.unflatten(0, (2, 2)).permute(0, 1, 4, 2, 3).flatten(1, 3)
        seen = {"stage:data_bn" if name == "ctrgcn" else "stage:backbone.data_bn": normed}
        for index, block in enumerate(built.typed_blocks(), start=first):
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


def test_size_and_the_buffer_that_nothing_reads(name: str, golden: Golden, built: CTRGCN) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]
    state = golden.state_dict() | {"backbone.A": torch.zeros(3, 25, 25)}
    if name == "ctrgcn_pyskl":
        load_official(built, state)
    else:
        with pytest.raises(ValueError, match=re.escape("not known to this model: backbone.A")):
            load_official(built, state)


def reference_graph_unit(unit: RefinedTopologyConv, x: Tensor, official: bool) -> Tensor:
    """Section 3.2 topology by topology, channel by channel, frames averaged last."""
    kinds, total = unit.num_topologies, torch.zeros(())
    relations = unit.relation(x).mean(2).chunk(2 * kinds, 1)
    assert unit.refine.bias is not None
    for index, features in enumerate(unit.features(x).chunk(kinds, 1)):
        first, second = relations[index], relations[kinds + index]
        difference = torch.tanh(first[:, :, :, None] - second[:, :, None])
        weight, bias = (part.chunk(kinds)[index] for part in (unit.refine.weight, unit.refine.bias))
        mixing = unit.alpha * functional.conv2d(difference, weight, bias) + unit.topology[index]
        total = total + torch.einsum("ncuv,nctv->nctu" if official else "ncuv,nctu->nctv", mixing, features)
    return functional.relu(unit.norm(total) + unit.down(x))


@pytest.mark.parametrize("release", [OFFICIAL, PYSKL], ids=["official", "pyskl"])
@pytest.mark.parametrize(("channels", "widths"), [(3, (8, 8)), (9, (8, 8)), (16, (2, 8)), (17, (2, 2)), (48, (6, 6))])
def test_graph_unit_is_the_sum_of_its_topologies(release: Release, channels: int, widths: tuple[int, int]) -> None:
    torch.manual_seed(0)
    unit = RefinedTopologyConv(channels, 16, torch.randn(3, 5, 5), release).double()
    assert len(unit.relation.weight) == 2 * 3 * widths[release is PYSKL]
    for name, parameter in unit.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
            assert parameter.any(), name
    clips = random_clips(2, channels, 6, 5, dtype=torch.float64)
    expected = reference_graph_unit(unit, clips, official=release is OFFICIAL)
    torch.testing.assert_close(unit(clips), expected, rtol=1e-10, atol=1e-10)


# Spread of the convolutions of block 5 (64 to 128 channels), after He et al. for the outputs of one branch or topology.
CONVOLUTIONS = {
    "graph.relation": math.sqrt(2 / 8),
    "graph.features": math.sqrt(2 / 128),
    "graph.refine": math.sqrt(2 / 128),
    "graph.down.0": math.sqrt(2 / 128),
    "temporal.entry": math.sqrt(2 / 32),
    "temporal.dilated.0": math.sqrt(2 / (5 * 32)),
    "temporal.dilated.1": math.sqrt(2 / (5 * 32)),
    "temporal.pointwise": math.sqrt(2 / 32),
}


def test_starting_values(name: str) -> None:
    torch.manual_seed(0)
    official = name == "ctrgcn"
    model = create_model(name, skeleton=SKELETONS[name], num_classes=500)
    state = {key.removeprefix("blocks.4."): value for key, value in model.state_dict().items()}
    adjacency = torch.from_numpy(get_skeleton(SKELETONS[name]).adjacency("spatial")).float()
    assert torch.equal(state["graph.topology"], adjacency)
    assert not state["graph.alpha"].any()
    assert (state["graph.norm.weight"] == 1e-6).all()
    for conv, spread in CONVOLUTIONS.items():
        assert state[f"{conv}.weight"].std().item() == pytest.approx(spread, rel=0.1), conv
        assert not state[f"{conv}.bias"].any(), conv
    # Drawn as PyTorch does: uniform within 1 / sqrt(inputs).
    residual = math.sqrt(2 / 128) if official else 1 / math.sqrt(3 * 64)
    assert state["residual.0.weight"].std().item() == pytest.approx(residual, rel=0.1)
    assert bool(state["residual.0.bias"].any()) is not official
    for norm in ("temporal.norm", "temporal.entry_norm"):
        assert state[f"{norm}.weight"].std().item() == pytest.approx(0.02 if official else 0, rel=0.3), norm
        assert state[f"{norm}.weight"].mean().item() == pytest.approx(1, abs=0.01), norm
    for norm in ("graph.down.1", "residual.1"):
        assert (state[f"{norm}.weight"] == 1).all(), norm
    assert state["classifier.weight"].std().item() == pytest.approx(math.sqrt(2 / 500) if official else 0.01, rel=0.05)
    assert bool(state["classifier.bias"].any()) is official
    model.reset_classifier(50)
    assert model.classifier.weight.std().item() == pytest.approx(0.2 if official else 0.01, rel=0.05)


@pytest.mark.parametrize("channels", [0, 3])
def test_too_narrow_a_network_is_refused(name: str, channels: int) -> None:
    with pytest.raises(ValueError, match=f"base_channels must be .* got {channels}"):
        create_model(name, num_classes=2, base_channels=channels)


def test_more_persons_than_slots_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"num_persons=3, or keep the first ones by clips\[:, :2\]"):
        small_model(name)(random_clips(1, 3, 4, 25, 3))
    one, two = (random_clips(2, persons, 4, 25, 3) for persons in (1, 2))
    model = small_model(name).eval()
    two[:, 0], two[:, 1] = one[:, 0], 0
    torch.testing.assert_close(model(one), model(two))
