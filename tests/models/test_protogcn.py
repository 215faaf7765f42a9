"""ProtoGCN against the reference numbers: outputs, loss terms, gradients, one optimiser step."""

import pytest
import torch
from block_goldens import Watch
from gcn_goldens import Golden, assert_matches, check_training
from torch import Tensor, nn

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.protogcn import ProtoGCN

CASES = {"protogcn__ntu25_60c_T64_M2": "ntu25", "protogcn__coconew20_99c_T48_M2": "coco20"}


@pytest.fixture(scope="module", params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden.load(request.param)


@pytest.fixture(scope="module")
def built(golden: Golden) -> ProtoGCN:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    options = golden.case["hyperparameters"]
    model = create_model(
        "protogcn",
        skeleton="ntu25" if options["joints"] == 25 else "coco20",
        num_classes=options["num_classes"],
        num_prototypes=options["num_prototypes"],
    ).double()
    assert isinstance(model, ProtoGCN)
    load_official(model, golden.state_dict())
    model.class_memory.memory.copy_(golden.class_memory(tuple(model.class_memory.memory.shape)))
    model.reconstruction.dropout.p = 0.0
    return model.eval()


@pytest.fixture(scope="module")
def stages(golden: Golden, built: ProtoGCN) -> dict[str, Tensor]:
    """One pass of inference: what enters and leaves the parts of the network, and the logits."""
    parts: dict[str, nn.Module] = {"input": built.get_submodule("input_norm.norm")}
    parts["reconstruction"] = built.reconstruction
    for index, block in enumerate(built.typed_blocks()):
        parts |= {f"block {index}": block, f"temporal {index}": block.get_submodule("temporal")}
        if block.residual is not None:
            parts[f"residual {index}"] = block.residual
    with torch.no_grad(), Watch(parts) as seen:
        return {"logits": built(golden.clips()), **seen}


def test_inference(golden: Golden, built: ProtoGCN, stages: dict[str, Tensor]) -> None:
    expected = golden.case["outputs"]
    features = stages["block 9 out"].unflatten(0, golden.case["input_shape"][:2])
    assert_matches(features, expected["features"])
    assert_matches(built.forward_head(features, pre_logits=True), expected["pooled_feature"])
    assert_matches(stages["logits"], expected["logits"])
    assert_matches(stages["input out"], expected["stage:backbone.data_bn"])
    assert "reconstruction out" not in stages, "inference rebuilds the topology, which the logits do not need"


def test_reconstruction(golden: Golden, built: ProtoGCN) -> None:
    expected = golden.case["outputs"]
    parts = {"post": built.reconstruction.post, "norm": built.reconstruction.norm}
    with torch.no_grad(), Watch(parts) as seen:
        logits, aux = built.forward_train(golden.clips())
    assert_matches(logits, expected["logits"])
    assert_matches(aux["reconstructed_graph"], expected["reconstructed_graph"])
    assert_matches(seen["post out"], expected["stage:backbone.post"])
    assert_matches(seen["norm out"], expected["stage:backbone.bn"])
    # The reference rebuilds sample by sample, and its numbers are those of the last.
    assert_matches(seen["post in"][-1].flatten(1).T, expected["stage:backbone.prn"])


def test_stages(golden: Golden, built: ProtoGCN, stages: dict[str, Tensor]) -> None:
    expected = golden.case["outputs"]
    compared = 0
    for index, block in enumerate(built.typed_blocks()):
        own: dict[str, Tensor] = {
            "": stages[f"block {index} out"],
            ".gcn": stages[f"temporal {index} in"],
            ".tcn": stages[f"temporal {index} out"],
        }
        if block.residual is not None:
            own[".residual"] = stages[f"residual {index} out"]
        for part, value in own.items():
            if reference := expected.get(f"stage:backbone.gcn.{index}{part}"):
                assert_matches(value, reference)
                compared += 1
        with torch.no_grad():
            mixed, topology = block.graph.forward_with_topology(stages[f"block {index} in"])
        assert_matches(topology, expected[f"stage:backbone.gcn.{index}/topology"])
        torch.testing.assert_close(mixed, own[".gcn"], rtol=1e-12, atol=1e-13)
    assert compared == sum(name.startswith("stage:backbone.gcn.") and "/topology" not in name for name in expected)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, built: ProtoGCN, mode: str) -> None:
    weight = golden.case["hyperparameters"]["contrastive_weight"]
    criterion = create_criterion("protogcn", contrastive_weight=weight).double()
    target = torch.tensor(golden.case["training"]["labels"])
    memories = []

    def step(model: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        assert isinstance(model, ProtoGCN)
        logits, aux = model.forward_train(golden.clips())
        terms = criterion(logits, aux, target)
        memories.append(model.class_memory.memory.clone())
        return terms, logits

    names = {"cross_entropy": "cross_entropy", "class_specific_contrastive": "contrastive", "total": "loss"}
    check_training(golden, built, mode, step, names)
    assert_matches(memories[0], golden.case["training"][mode]["extra"]["class_memory_after_update"])
