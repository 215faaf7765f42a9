"""ProtoGCN against the reference numbers: outputs, loss terms, gradients, one optimiser step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gcn_goldens import Golden, assert_matches
from torch import nn

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official

CASES = {"protogcn__ntu25_60c_T64_M2": "ntu25", "protogcn__coconew20_99c_T48_M2": "coco20"}


@pytest.fixture(scope="module", params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(Path(__file__).parent.parent / "goldens" / "gcn" / f"{request.param}.json")


def build(golden: Golden) -> nn.Module:
    options = golden.case["hyperparameters"]
    skeleton = "ntu25" if options["joints"] == 25 else "coco20"
    model = create_model(
        "protogcn", skeleton=skeleton, num_classes=options["num_classes"], num_prototypes=options["num_prototypes"]
    ).double()
    load_official(model, golden.state_dict())
    model.class_memory.memory.copy_(golden.class_memory(tuple(model.class_memory.memory.shape)))
    model.reconstruction.dropout.p = 0.0
    return model


def test_outputs(golden: Golden) -> None:
    model, expected = build(golden).eval(), golden.case["outputs"]
    clips = golden.clips()
    with torch.no_grad():
        features = model.forward_features(clips)
        logits, aux = model.forward_train(clips)
        assert_matches(features, expected["features"])
        assert_matches(model.forward_head(features, pre_logits=True), expected["pooled_feature"])
        assert_matches(model(clips), expected["logits"])
        assert_matches(logits, expected["logits"])
        assert_matches(aux["reconstructed_graph"], expected["reconstructed_graph"])


def test_stages(golden: Golden) -> None:
    model, expected = build(golden).eval(), golden.case["outputs"]
    with torch.no_grad():
        x = model.input_norm(golden.clips())
        compared = 0
        for index, block in enumerate(model.blocks):
            mixed, topology = block.graph.forward_with_topology(x)
            stages = {"gcn": mixed, "tcn": block.temporal(mixed)}
            for part, value in stages.items():
                name = f"stage:backbone.gcn.{index}.{part}"
                if name in expected:
                    assert_matches(value, expected[name])
                    compared += 1
            assert_matches(topology, expected[f"stage:backbone.gcn.{index}/topology"])
            x = block(x)
            assert_matches(x, expected[f"stage:backbone.gcn.{index}"])
    assert compared >= 4


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, mode: str) -> None:
    expected: dict[str, Any] = golden.case["training"][mode]
    model = build(golden).train()
    official = golden.state_dict()
    if mode == "bn_frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
    options = golden.case["hyperparameters"]
    criterion = create_criterion("protogcn", contrastive_weight=options["contrastive_weight"]).double()
    target = torch.tensor(golden.case["training"]["labels"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        logits, aux = model.forward_train(golden.clips())
        return criterion(logits, aux, target), logits

    terms, logits = step()
    names = {"cross_entropy": "cross_entropy", "class_specific_contrastive": "contrastive", "total": "loss"}
    for reference, own in names.items():
        np.testing.assert_allclose(terms[own].item(), expected["loss_terms"][reference], rtol=1e-9, err_msg=own)
    assert_matches(logits, expected["logits"])
    assert_matches(model.class_memory.memory, expected["extra"]["class_memory_after_update"])
    terms["loss"].backward()

    total = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
    np.testing.assert_allclose(total.item(), expected["gradient_l2_norm_over_all_parameters"], rtol=1e-8)
    parameters = dict(model.named_parameters())
    compared = 0
    for own, names_ in model.official_entries().items():
        if own not in parameters:
            continue
        pieces = parameters[own].grad.split([official[name].shape[0] for name in names_])
        for name, piece in zip(names_, pieces, strict=True):
            if name in expected["gradients"]:
                reference = expected["gradients"][name]
                np.testing.assert_allclose(piece.norm().item(), reference["l2_norm"], rtol=1e-8, err_msg=name)
                np.testing.assert_allclose(
                    piece.flatten()[:4].numpy(), reference["first4"], rtol=2e-7, atol=1e-8 * reference["l2_norm"]
                )
                compared += 1
    assert compared == len(expected["gradients"])

    for name, reference in expected.get("running_statistics_after_one_forward", {}).items():
        own, position, names_ = next(
            (own, names_.index(name), names_) for own, names_ in model.official_entries().items() if name in names_
        )
        piece = model.state_dict()[own].split([official[each].shape[0] for each in names_])[position]
        assert_matches(piece, reference)

    if "after_one_sgd_step" in expected:
        optimizer.step()
        terms, logits = step()
        after = expected["after_one_sgd_step"]
        for reference, own in names.items():
            np.testing.assert_allclose(terms[own].item(), after["loss_terms"][reference], rtol=1e-8, err_msg=own)
        assert_matches(logits, after["logits"], relative=1e-8)


def test_inference_leaves_out_the_reconstruction(golden: Golden) -> None:
    model = build(golden).eval()
    called = []
    model.reconstruction.register_forward_hook(lambda *_: called.append(True))
    with torch.no_grad():
        model(golden.clips()[:1])
        assert not called
        model.forward_train(golden.clips()[:1])
    assert called


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("cls_head.fc_cls.bias"), "missing: cls_head.fc_cls.bias"),
        (lambda state: state.update(stranger=torch.zeros(1)), "not known to this model: stranger"),
        (lambda state: state.update({"backbone.post.bias": torch.zeros(3)}), "backbone.post.bias has shape"),
    ],
)
def test_official_weights_are_checked_strictly(golden: Golden, change: Any, message: str) -> None:
    model = build(golden)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {key: value + 1 for key, value in golden.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        load_official(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
