"""InfoGCN against the reference numbers: outputs, loss terms, gradients, one optimiser step; starting values."""

import math
import zlib

import numpy as np
import pytest
import torch
from block_goldens import Watch
from gcn_goldens import Golden, assert_matches, check_training
from torch import Tensor, nn

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.infogcn import InfoGCN


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.load("infogcn__ntu25_60c_k1_T64_M2")


@pytest.fixture(scope="module")
def built(golden: Golden) -> InfoGCN:
    """The network of the case with the prescribed weights and prior; shared, so tests that change it copy it."""
    options = golden.case["hyperparameters"]
    model = create_model("infogcn", num_classes=options["num_classes"], k=options["k_bone_mode"]).double()
    assert isinstance(model, InfoGCN)
    load_official(model, golden.state_dict())
    shape = tuple(model.prior.shape)
    model.prior.copy_(options["prior_gain"] * standard_normal("z_prior", shape) / 16)
    return model.eval()


def standard_normal(name: str, shape: tuple[int, ...]) -> Tensor:
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32)).double()


@pytest.fixture
def prescribed_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", lambda mean: standard_normal("latent_noise", tuple(mean.shape)).to(mean))


def test_size(golden: Golden, built: InfoGCN) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]


def test_inference(golden: Golden, built: InfoGCN) -> None:
    expected = golden.case["outputs"]
    clips = golden.clips()
    samples, persons, frames = clips.shape[:3]
    parts: dict[str, nn.Module] = {
        "to_joint_embedding": built.input.embedding,
        "data_bn": built.input.norm,
        "fc": built.hidden,
    }
    for index, block in enumerate(built.typed_blocks(), 1):
        parts |= {f"l{index}": block, f"l{index}.agcn": block.graph, f"l{index}.tcn": block.temporal}
        parts[f"l{index}.residual"] = block.residual
    with torch.no_grad(), Watch(parts) as seen:
        logits, aux = built.forward_train(clips)
    stages = {name: seen[f"{name} out"] for name in parts}
    # Own order of samples, frames and persons, and own axes, to those of the reference.
    stages["to_joint_embedding"] = stages["to_joint_embedding"].transpose(1, 2).flatten(0, 2)
    stages["data_bn"] = stages["data_bn"].view(samples, frames, -1).transpose(1, 2)
    with torch.no_grad():
        for index, block in enumerate(built.typed_blocks(), 1):
            stages[f"l{index}.agcn.attn"] = block.graph.attention(seen[f"l{index} in"]).flatten(0, 1)
    compared = {name: values for name, values in expected.items() if name.startswith("stage:")}
    assert len(compared) == 21
    for name, values in compared.items():
        assert_matches(stages[name.removeprefix("stage:")], values)
    assert_matches(logits, expected["logits"])
    assert_matches(aux["latent"], expected["z"])
    assert_matches(aux["latent_mean"], expected["z_mu"])
    assert_matches(aux["latent_spread"], expected["z_logvar"])
    features = seen["l9 out"].unflatten(0, (samples, persons))
    assert_matches(built.forward_head(features), expected["logits"])
    assert_matches(built.forward_head(features, pre_logits=True), expected["z_mu"])


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
@pytest.mark.usefixtures("prescribed_noise")
def test_training(golden: Golden, built: InfoGCN, mode: str) -> None:
    criterion = create_criterion("infogcn").double()
    target = torch.tensor(golden.case["training"]["labels"])

    def step(model: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        assert isinstance(model, InfoGCN)
        logits, aux = model.forward_train(golden.clips())
        return criterion(logits, aux, target), logits

    names = {
        "label_smoothing_cross_entropy": "cross_entropy",
        "mmd_class_conditional": "class_mean_distance",
        "l2_norm_of_mean_latent": "latent_mean_norm",
        "total": "loss",
    }
    check_training(golden, built, mode, step, names)


def test_official_weights_leave_the_priors_alone(golden: Golden) -> None:
    model = create_model("infogcn", num_classes=60)
    assert isinstance(model, InfoGCN)
    before = model.prior.clone()
    load_official(model, golden.state_dict())
    assert torch.equal(model.prior, before)


def test_starting_values() -> None:
    torch.manual_seed(0)
    model = create_model("infogcn", num_classes=60)
    assert isinstance(model, InfoGCN)

    def spread(values: Tensor, expected: float) -> None:
        assert abs(values.mean()) < 6 * expected / math.sqrt(values.numel())
        assert values.std().item() == pytest.approx(expected, rel=6 / math.sqrt(2 * values.numel()))

    spread(model.input.position, 1)
    spread(model.classifier.weight, math.sqrt(2 / 60))
    for linear in (model.hidden, model.mean, model.spread):
        spread(linear.weight, math.sqrt(2) * math.sqrt(2 / 512))
    for block, (before, width) in zip(
        model.typed_blocks(),
        [(64, 64)] * 3 + [(64, 128)] + [(128, 128)] * 2 + [(128, 256)] + [(256, 256)] * 2,
        strict=True,
    ):
        graph = block.graph
        assert torch.equal(graph.topology, torch.eye(25).expand(3, 25, 25))
        spread(graph.query_key.weight, 1)
        spread(graph.heads.weight, math.sqrt(2 / (before * width * 3)))
        assert graph.heads.bias is not None
        assert not graph.heads.bias.any()
        assert torch.equal(graph.norm.weight, torch.full((width,), 1e-6))
        for path in (graph.down, block.residual):
            assert isinstance(path, nn.Identity if before == width else nn.Sequential)
            for conv in path.children():
                if isinstance(conv, nn.Conv2d):
                    spread(conv.weight, math.sqrt(2 / width))
                    assert conv.bias is not None
                    assert not conv.bias.any()
