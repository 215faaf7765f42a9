"""PoseC3D's three networks against the numbers of the official ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vision_goldens import VisionGolden

from protogcn.models import SkeletonClassifier, create_criterion, create_model
from protogcn.models.checkpoints import load_official

# Names of the stages in the reference -> modules that give them.
STAGES = {"stem_conv": "conv1", "stem_pool": "maxpool"}
RENAMED = {"conv1_stride": "stem_stride", "pool1_stride": "pool_stride"}


def options_of(golden: VisionGolden) -> dict[str, Any]:
    given = golden.hyperparameters["backbone"]
    return {RENAMED.get(key, key): value for key, value in given.items() if key not in ("in_channels", "out_indices")}


def build(golden: VisionGolden, **changes: Any) -> SkeletonClassifier:
    """The network of a case in float64, with the prescribed weights."""
    given = golden.hyperparameters
    classes = given["head"]["num_classes"] if "head" in given else given["num_classes"]
    name = "posec3d_slowonly" if golden.case["system"] == "posec3d_train" else golden.case["system"]
    maps = given["backbone"]["in_channels"]
    model = create_model(name, num_classes=classes, in_channels=maps, **options_of(golden) | changes).double()
    load_official(model, golden.state())
    return model


@pytest.mark.parametrize(
    "case",
    [name for system in ("slowonly", "c3d_light", "x3d_shallow") for name in VisionGolden.names(f"posec3d_{system}")],
)
def test_every_stage_is_the_official_one(case: str) -> None:
    golden = VisionGolden.load(case)
    model = build(golden).eval()
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found.setdefault(name, output)

    for name in golden.outputs:
        if name not in ("logits", "prob"):
            model.get_submodule(f"backbone.{STAGES.get(name, name)}").register_forward_hook(keep(name))
    with torch.no_grad():
        found["logits"] = model(golden.input())
    found["prob"] = found["logits"].softmax(1)
    for name in golden.outputs:
        golden.assert_matches(name, found[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.case["n_params"]


def test_three_training_steps() -> None:
    golden = VisionGolden.load("posec3d_train__ntu60_3steps")
    given = golden.hyperparameters
    model = build(golden, dropout=0.0).train()
    criterion = create_criterion("posec3d_slowonly").double()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=given["lr"], momentum=given["momentum"], weight_decay=given["weight_decay"]
    )
    own = {name: key for key, (name,) in model.official_entries().items()}
    target = torch.tensor(given["labels"])
    for step in range(given["steps"]):
        optimizer.zero_grad()
        logits, aux = model.forward_train(golden.input())
        loss = criterion(logits, aux, target)["loss"]
        loss.backward()
        torch.testing.assert_close(loss.item(), golden.case["losses"][step], rtol=1e-9, atol=0)
        if step == 0:
            golden.assert_matches("logits_step0", logits)
            gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
            for name in (name for name in golden.outputs if name.startswith("grad.")):
                gradient = gradients[own[name.removeprefix("grad.")]]
                assert gradient is not None
                golden.assert_matches(name, gradient)
        norm = nn.utils.clip_grad_norm_(model.parameters(), given["grad_clip"])
        torch.testing.assert_close(norm.item(), golden.case["grad_norm_before_clip"][step], rtol=1e-9, atol=0)
        optimizer.step()
    for name in (name for name in golden.outputs if name.startswith("after3.")):
        golden.assert_matches(name, model.state_dict()[own[name.removeprefix("after3.")]])
