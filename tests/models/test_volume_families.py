"""Official checkpoints of PoseC3D tell which network they are of; their backbones go under other classifiers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vision_goldens import VisionGolden

from protogcn.cli import main
from protogcn.models import create_model, load_model
from protogcn.models.checkpoints import load_official
from protogcn.models.families import build_official, detect

# What is told from the weights, beside the options that no weights tell.
TOLD: dict[str, dict[str, Any]] = {
    "posec3d_slowonly__ntu60_joint_k17_c60_T16_24": {"stage_blocks": [4, 6, 3], "inflate": [0, 1, 1]},
    "posec3d_slowonly__hmdb51_joint_k17_c51_T8_28_blocks346": {"stage_blocks": [3, 4, 6], "base_channels": 32},
    "posec3d_c3d_light__ntu60_joint_k17_c60_T12_24": {"base_channels": 32, "num_stages": 3},
    "posec3d_x3d_shallow__ntu60_joint_k17_c60_T12_32": {"stage_blocks": [2, 5, 3], "gamma_b": 2.25, "se_ratio": None},
}


@pytest.mark.parametrize("case", TOLD)
@pytest.mark.parametrize("wrapped", [False, True])
def test_official_checkpoints_are_told_apart(case: str, wrapped: bool) -> None:
    golden = VisionGolden.load(case)
    state: Any = golden.state()
    if wrapped:
        means = {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
        state = {"meta": {"epoch": 24}, "state_dict": {**means, **state}}
    built, found = build_official(state)
    assert (found.model, found.in_channels) == (golden.case["system"], 17)
    assert found.num_classes == golden.hyperparameters["head"]["num_classes"]
    assert found.layouts == ("coco17",)
    assert found.num_joints is None and found.num_persons is None
    assert found.options.items() >= TOLD[case].items()
    assert found.describe().startswith(f"{found.model}: {found.num_classes} classes, 17 heat maps; base_channels ")
    assert found.notes
    with torch.no_grad():
        golden.assert_matches("logits", built.double()(golden.input()))


SMALL: dict[str, Any] = {"base_channels": 8, "stage_blocks": (1, 2, 1)}
# Network -> options of another size than published, and what the weights do not tell of them.
VARIED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("posec3d_slowonly", {**SMALL, "inflate": (1, (0, 1), 0)}, {}),
    ("posec3d_slowonly", {**SMALL, "num_stages": 2, "stem_kernel": (3, 5, 5)}, {"temporal_strides": (1, 1)}),
    (
        "posec3d_slowonly",
        {"base_channels": 4, "stage_blocks": (1, 1, 1, 2), "inflate": (0, 0, 1, 1)},
        {"spatial_strides": (1, 2, 2, 2), "temporal_strides": (1, 1, 1, 1)},
    ),
    ("posec3d_c3d_light", {"base_channels": 4, "num_stages": 4}, {"temporal_downsample": True}),
    ("posec3d_x3d_shallow", {**SMALL, "gamma_b": 1.7}, {}),
    ("posec3d_x3d_shallow", {**SMALL, "num_stages": 2, "se_ratio": 1 / 16}, {"use_swish": True}),
    ("posec3d_x3d_shallow", {**SMALL, "base_channels": 16, "se_ratio": 0.6}, {"use_swish": False}),
    ("posec3d_x3d_shallow", {**SMALL, "gamma_w": 2.0, "gamma_d": 2.2}, {"spatial_strides": (1, 2, 2)}),
]


@pytest.mark.parametrize(("name", "told", "untold"), VARIED)
def test_other_sizes_come_back_the_same(name: str, told: dict[str, Any], untold: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, in_channels=34, **told, **untold).eval()
    state = {names[0]: model.state_dict()[key] for key, names in model.official_entries().items()}
    built, found = build_official(state, **untold)
    assert (found.model, found.num_classes, found.in_channels) == (name, 5, 34)
    assert found.layouts == ("coco17",)
    volumes = torch.rand(1, 34, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(built(volumes), model(volumes))


def test_the_layout_of_other_maps_is_asked_for() -> None:
    def state(maps: int) -> dict[str, Tensor]:
        model = create_model("posec3d_slowonly", num_classes=3, in_channels=maps, **SMALL)
        return {names[0]: model.state_dict()[key] for key, names in model.official_entries().items()}

    assert build_official(state(25), skeleton="ntu25")[0].skeleton.name == "ntu25"
    with pytest.raises(
        ValueError, match=r"the 25 heat maps of this posec3d_slowonly can be those of .*ntu25.*say which"
    ):
        build_official(state(25))
    with pytest.raises(ValueError, match="the 999 heat maps of this posec3d_slowonly are of no layout that is known"):
        build_official(state(999))
    with pytest.raises(
        ValueError, match="coco17 gives 17 maps of joints, 17 of limbs, or 34 of both; these weights are for"
    ):
        build_official(state(25), skeleton="coco17")


def test_weights_that_are_none_of_heat_maps(c3d: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="no published network that is known here"):
        detect({"backbone.conv1.conv.weight": torch.ones(64, 3, 5, 7, 7)})
    with pytest.raises(ValueError, match=r"this looks like posec3d_slowonly, but has no backbone.layer1.0.conv1.conv"):
        detect({"backbone.conv1.conv.weight": torch.ones(64, 17, 1, 7, 7)})
    with pytest.raises(ValueError, match="unknown family of official checkpoints 'posec3d_slow'"):
        detect(c3d, "posec3d_slow")
    with pytest.raises(ValueError, match=r"nothing was loaded.*\n  missing: backbone.conv4b.bn.weight"):
        build_official({name: value for name, value in c3d.items() if name != "backbone.conv4b.bn.weight"})
    with pytest.raises(ValueError, match=r"no cls_head.fc_cls.weight"):
        build_official({name: value for name, value in c3d.items() if not name.startswith("cls_head")})
    with pytest.raises(ValueError, match=r"not known to this model: backbone.conv6a.weight"):
        build_official({**c3d, "backbone.conv6a.weight": torch.ones(1)})


@pytest.fixture
def c3d() -> dict[str, Tensor]:
    return VisionGolden.load("posec3d_c3d_light__ntu60_joint_k17_c60_T12_24").state()


def test_the_backbone_alone_goes_into_a_network_of_other_classes(c3d: dict[str, Tensor]) -> None:
    model = create_model("posec3d_c3d_light", num_classes=7)
    before = model.get_parameter("classifier.weight").clone()
    with pytest.raises(ValueError, match=r"cls_head.fc_cls.weight has shape \(60, 256\), the model needs \(7, 256\)"):
        load_official(model, c3d)
    load_official(model, c3d, classifier=False)
    assert torch.equal(model.get_parameter("classifier.weight"), before)
    for name, value in c3d.items():
        if name.startswith("backbone."):
            assert torch.equal(model.state_dict()[name].double(), value)
    load_official(model, {name: value for name, value in c3d.items() if "cls_head" not in name}, classifier=False)
    del c3d["backbone.conv1a.conv.weight"]
    with pytest.raises(ValueError, match=r"missing: backbone.conv1a.conv.weight"):
        load_official(model, c3d, classifier=False)


def test_convert_on_the_command_line(
    c3d: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "official.pth", tmp_path / "model.safetensors"
    torch.save({"meta": {"epoch": 24}, "state_dict": c3d}, source)
    assert main(["checkpoint", "convert", str(source), str(target)]) == 0
    out = capsys.readouterr().out
    assert "found posec3d_c3d_light: 60 classes, 17 heat maps; base_channels 32, num_stages 3" in out
    assert "layout coco17" in out
    loaded = load_model(target).double()
    golden = VisionGolden.load("posec3d_c3d_light__ntu60_joint_k17_c60_T12_24")
    golden.assert_matches("logits", loaded(golden.input()))
    assert main(["checkpoint", "show", str(target)]) == 0
    assert "posec3d_c3d_light" in capsys.readouterr().out


ALTERED: list[tuple[str, str, tuple[int, ...], str]] = [
    (
        "slowonly",
        "conv1.conv.weight",
        (10**6, 17, 1, 1, 1),
        "layer1.0.conv2.conv.weight is of 8 to 8 channels where the",
    ),
    ("slowonly", "layer4.0.conv1.conv.weight", (1, 1, 1, 1, 1), r"has no backbone\.layer4\.0\.conv2"),
    ("slowonly", "layer2.0.conv1.conv.weight", (16, 32, 3), r"layer2.0.conv1.conv.weight has shape \(16, 32, 3\)"),
    ("slowonly", "layer2.1.conv1.conv.weight", (16, 32, 3, 1, 1), "the model needs"),
    ("c3d_light", "conv1a.conv.weight", (10**6, 17, 1, 1, 1), "conv4b.conv.weight is of 64 to 64 channels where the"),
    ("x3d_shallow", "conv1_s.conv.weight", (10**6, 17, 1, 1, 1), "layer1.0.conv3.conv.weight is of 18 to 8 channels"),
    ("x3d_shallow", "layer2.0.conv1.conv.weight", (99, 8, 1, 1, 1), "where the others make it 99 to 16"),
    (
        "x3d_shallow",
        "layer1.0.se_module.fc1.weight",
        (5, 18, 1, 1, 1),
        r"channel gates are \[5\] wide for \[18\] channels",
    ),
]


@pytest.mark.parametrize(("name", "entry", "shape", "message"), ALTERED)
def test_shapes_that_contradict_each_other(name: str, entry: str, shape: tuple[int, ...], message: str) -> None:
    sizes = {"base_channels": 8} if name == "c3d_light" else SMALL
    model = create_model(f"posec3d_{name}", num_classes=3, **sizes)
    state = {names[0]: model.state_dict()[key] for key, names in model.official_entries().items()}
    state[f"backbone.{entry}"] = torch.zeros(1).expand(shape)
    with pytest.raises(ValueError, match=message):
        build_official(state)
