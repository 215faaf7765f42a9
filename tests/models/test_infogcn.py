"""InfoGCN against the reference numbers: outputs, loss terms, gradients, one optimiser step."""

import zlib

import numpy as np
import pytest
import torch
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


def test_inference(golden: Golden, built: InfoGCN) -> None:
    expected = golden.case["outputs"]
    with torch.no_grad():
        logits, aux = built.forward_train(golden.clips())
        assert_matches(logits, expected["logits"])
        assert_matches(built(golden.clips()), expected["logits"])
    assert_matches(aux["latent"], expected["z"])
    assert_matches(aux["latent_mean"], expected["z_mu"])
    assert_matches(aux["latent_spread"], expected["z_logvar"])


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
