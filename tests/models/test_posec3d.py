"""PoseC3D's three networks against the numbers of the official ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vision_goldens import VisionGolden

from protogcn.models import SkeletonClassifier, create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.layers.x3d import round_width

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


SMALL: dict[str, Any] = {"base_channels": 8, "stage_blocks": (1, 2, 1)}


def test_first_weights() -> None:
    torch.manual_seed(0)
    model = create_model("posec3d_slowonly", num_classes=60)
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv3d):
            fan = module.out_channels * module.weight[0, 0].numel()
            torch.testing.assert_close(module.weight.std().item(), (2 / fan) ** 0.5, rtol=0.1, atol=0)
        if isinstance(module, nn.BatchNorm3d):
            silent = name.endswith("conv3.bn")
            assert (module.weight == (0 if silent else 1)).all() and not module.bias.any()
    torch.testing.assert_close(model.get_parameter("classifier.weight").std().item(), 0.01, rtol=0.05, atol=0)
    assert not model.get_parameter("classifier.bias").any()
    loud = create_model("posec3d_slowonly", num_classes=60, zero_init_residual=False)
    assert loud.get_parameter("backbone.layer1.0.conv3.bn.weight").all()
    gated = create_model("posec3d_x3d_shallow", num_classes=60, se_ratio=1 / 16)
    assert not gated.get_parameter("backbone.layer1.0.conv3.bn.weight").any()
    assert not gated.get_parameter("backbone.layer1.0.se_module.fc1.bias").any()


@pytest.mark.parametrize(
    ("name", "stem"), [("slowonly", "conv1."), ("c3d_light", "conv1a."), ("x3d_shallow", "conv1_")]
)
@pytest.mark.parametrize("frozen", [-1, 0, 1, 2])
def test_frozen_stages(name: str, stem: str, frozen: int) -> None:
    model = create_model(f"posec3d_{name}", num_classes=3, frozen_stages=frozen).train()
    stages = ("layer", "conv") if name == "c3d_light" else ("layer", "layer")
    kept = [stem, *(f"{stages[1]}{number}" for number in range(1 + (name == "c3d_light"), 9))][: frozen + 1]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits, _ = model.forward_train(torch.rand(2, 17, 4, 32, 32))
    logits.sum().backward()
    for key, parameter in model.named_parameters():
        still = key.startswith(tuple(f"backbone.{each}" for each in kept))
        assert parameter.requires_grad is not still and (parameter.grad is None) is still
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            still = key.startswith(tuple(f"backbone.{each}" for each in kept))
            assert torch.equal(value, before[key]) is still, key
    with pytest.raises(ValueError, match=r"frozen_stages must be -1 \(none\), 0 \(the stem\) or up to 3"):
        create_model(f"posec3d_{name}", num_classes=3, frozen_stages=4)


def test_norms_keep_their_statistics_when_told() -> None:
    model = create_model("posec3d_slowonly", num_classes=3, norm_eval=True, **SMALL)
    assert not any(module.training for module in model.train().modules() if isinstance(module, nn.BatchNorm3d))
    assert model.training and model.get_submodule("backbone").training


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "slowonly",
        {"stage_blocks": (4, 6)},
        r"spatial_strides must have 2 entries \(one for each stage\), got \[2, 2, 2\]",
    ),
    ("slowonly", {"stage_blocks": ()}, "stage_blocks must have some entries"),
    ("slowonly", {"stage_blocks": (4, 0, 3)}, "each entry of stage_blocks must be a positive integer, got 0"),
    ("slowonly", {"num_stages": 4}, "num_stages is 4, but stage_blocks names 3 stages only"),
    ("slowonly", {"num_stages": 0}, "num_stages must be a positive integer, got 0"),
    ("slowonly", {"inflate": (0, 1)}, r"inflate must have 3 entries \(one for each stage\), got \[0, 1\]"),
    ("slowonly", {"inflate": (0, 1, 2)}, "inflate must say 0 or 1 for stage 3, or for each of its 3 blocks; got 2"),
    ("slowonly", {"inflate": ((0, 1), 1, 1)}, r"for stage 1, or for each of its 4 blocks; got \(0, 1\)"),
    ("slowonly", {"stem_kernel": (1, 6, 6)}, r"stem_kernel must be odd numbers, got \[1, 6, 6\]"),
    ("slowonly", {"stem_kernel": (7, 7)}, "stem_kernel must have 3 entries"),
    ("slowonly", {"pool_stride": (1, 1, 1)}, "pool_stride must have 2 entries"),
    ("slowonly", {"base_channels": 0}, "base_channels must be a positive integer, got 0"),
    ("slowonly", {"dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
    ("c3d_light", {"num_stages": 5}, "num_stages must be 3 or 4, got 5"),
    ("x3d_shallow", {"gamma_w": 0.0}, "gamma_w must be above 0, got 0.0"),
    ("x3d_shallow", {"se_ratio": -1.0}, "se_ratio must be above 0, got -1.0"),
    ("x3d_shallow", {"gamma_b": 0.01}, "gamma_b must leave a channel of the 24"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_options_are_refused_with_what_was_expected(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(f"posec3d_{name}", num_classes=3, **options)


def test_c3d_says_when_its_pools_leave_nothing() -> None:
    model = create_model("posec3d_c3d_light", num_classes=3, base_channels=4, temporal_downsample=True).eval()
    assert model.forward_features(torch.rand(1, 17, 13, 23, 31)).shape == (1, 32, 3, 2, 3)
    with pytest.raises(ValueError, match=r"at least 4 frames, 8 rows and 8 columns; got \(3, 24, 24\)"):
        model(torch.rand(1, 17, 3, 24, 24))


@pytest.mark.parametrize(
    ("width", "expected"), [(24, 24), (20, 24), (12, 16), (11, 16), (3, 8), (54 / 16, 8), (44, 48), (34, 32)]
)
def test_widths_are_multiples_of_eight(width: float, expected: int) -> None:
    assert round_width(width) == expected
