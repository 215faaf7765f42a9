"""Weights of a network over images start one over volumes: a still video gives what its image gave."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protogcn.models import create_model
from protogcn.models.inflation import inflate
from protogcn.models.layers.resnet3d import ResNet3d

BLOCKS = (2, 1)


def flat(**changes: Any) -> ResNet3d:
    """A network over single frames: what a ResNet over images computes."""
    options: dict[str, Any] = {
        "base_channels": 4,
        "stage_blocks": BLOCKS,
        "inflate": (0, 0),
        "spatial_strides": (1, 2),
        "temporal_strides": (1, 1),
        "zero_init_residual": False,
    }
    torch.manual_seed(0)
    return ResNet3d(3, **options | changes).double()


def image_state(names: str) -> dict[str, Tensor]:
    """Weights of that network as the file of one over images has them."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, value in flat().state_dict().items():
        if value.ndim:
            value = torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.1
        else:
            value = torch.tensor(7)
        state[rename(name) if names == "torchvision" else names + name] = value.squeeze(2) if value.ndim == 5 else value
    head = "fc.weight" if names == "torchvision" else f"{names}fc.weight"
    return state | {head: torch.ones(5, 32)}


def rename(name: str) -> str:
    """``layer1.0.conv2.bn.bias`` as torchvision calls it: ``layer1.0.bn2.bias``."""
    *path, unit, kind, part = name.split(".")
    if unit == "downsample":
        return ".".join([*path, unit, "0" if kind == "conv" else "1", part])
    return ".".join([*path, unit if kind == "conv" else f"bn{unit[-1]}", part])


@pytest.mark.parametrize("names", ["torchvision", "", "backbone."])
def test_a_still_video_gives_what_its_image_gave(names: str) -> None:
    state = image_state(names)
    image = torch.rand(2, 3, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    single = flat().eval()
    assert set(inflate(state, single).loaded) == set(single.state_dict())
    expected = single(image)
    # Kernels along time, their padding out of the way by taking the middle of a long clip.
    video = flat(stem_kernel=(5, 7, 7), inflate=((1, 0), 1)).eval()
    report = inflate({f"module.{name}": value for name, value in state.items()}, video)
    assert (set(report.loaded), dict(report.skipped), report.absent) == (set(video.state_dict()), {}, ())
    assert report.unused == (next(name for name in state if "fc" in name),)
    torch.testing.assert_close(video(image.expand(-1, -1, 15, -1, -1))[:, :, 7:8], expected)


def test_kernels_are_divided_and_norms_copied() -> None:
    state, video = image_state("torchvision"), flat(inflate=(1, 0), stem_kernel=(3, 7, 7))
    inflate(state, video)
    own = video.state_dict()
    for frame in range(3):
        torch.testing.assert_close(own["conv1.conv.weight"][:, :, frame], state["conv1.weight"] / 3)
        torch.testing.assert_close(own["layer1.1.conv1.conv.weight"][:, :, frame], state["layer1.1.conv1.weight"] / 3)
    assert torch.equal(own["layer2.0.conv1.conv.weight"][:, :, 0], state["layer2.0.conv1.weight"])
    assert torch.equal(own["layer1.0.downsample.conv.weight"][:, :, 0], state["layer1.0.downsample.0.weight"])
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(own[f"layer1.0.downsample.bn.{part}"], state[f"layer1.0.downsample.1.{part}"])
        assert torch.equal(own[f"layer2.0.conv3.bn.{part}"], state[f"layer2.0.bn3.{part}"])
        assert torch.equal(own[f"conv1.bn.{part}"], state[f"bn1.{part}"])


def test_a_stem_over_heat_maps_is_skipped_with_a_warning() -> None:
    model = create_model(
        "posec3d_slowonly",
        num_classes=3,
        base_channels=4,
        stage_blocks=BLOCKS,
        inflate=(0, 1),
        spatial_strides=(2, 2),
        temporal_strides=(1, 1),
    )
    before = model.get_parameter("backbone.conv1.conv.weight").clone()
    with pytest.warns(
        UserWarning, match=r"conv1.conv.weight: shape \(4, 3, 7, 7\) does not go into \(4, 17, 1, 7, 7\)"
    ):
        report = inflate(image_state("torchvision"), model)
    assert list(report.skipped) == ["conv1.conv.weight"]
    assert len(report.loaded) == len(flat().state_dict()) - 1
    assert "1 of another shape" in report.describe()
    assert torch.equal(model.get_parameter("backbone.conv1.conv.weight"), before)
    kernel = image_state("torchvision")["layer2.0.conv1.weight"] / 3
    torch.testing.assert_close(model.state_dict()["backbone.layer2.0.conv1.conv.weight"][:, :, 1], kernel.float())


def test_the_channels_of_another_pathway_start_at_zero() -> None:
    state = image_state("")
    with pytest.warns(UserWarning, match="2 of another shape"):
        assert len(inflate(state, flat(extra_channels=(0, 5))).skipped) == 2
    video = flat(extra_channels=(0, 5), inflate=(0, 1))
    assert not inflate(state, video, pad_channels=True).skipped
    kernel = video.state_dict()["layer2.0.conv1.conv.weight"]
    assert kernel.shape == (8, 21, 3, 1, 1)
    torch.testing.assert_close(kernel[:, :16, 2], state["layer2.0.conv1.conv.weight"] / 3)
    assert not kernel[:, 16:].any()
    narrow = {**state, "conv1.conv.weight": torch.ones(4, 9, 7, 7)}
    with pytest.warns(UserWarning, match=r"conv1.conv.weight: shape \(4, 9, 7, 7\)"):
        assert list(inflate(narrow, video, pad_channels=True).skipped) == ["conv1.conv.weight"]


def test_what_the_images_do_not_have_keeps_its_first_weights() -> None:
    state = {name: value for name, value in image_state("torchvision").items() if not name.startswith("layer2")}
    state["bn1.weight"] = torch.ones(9)
    video = flat()
    before = {name: value.clone() for name, value in video.state_dict().items()}
    with pytest.warns(UserWarning, match=r"conv1.bn.weight: shape \(9,\) does not go into \(4,\)"):
        report = inflate(state, video)
    assert all(name.startswith("layer2.") for name in report.absent) and report.absent
    for name in (*report.absent, *report.skipped):
        assert torch.equal(video.state_dict()[name], before[name])


def test_what_cannot_be_started_is_refused() -> None:
    state = image_state("torchvision")
    with pytest.raises(ValueError, match="PoseC3D has no bottleneck ResNet over volumes"):
        inflate(state, create_model("posec3d_c3d_light", num_classes=3, base_channels=2))
    with pytest.raises(ValueError, match="ModuleDict has several networks to start: give one of rgb, pose"):
        inflate(state, nn.ModuleDict({"rgb": flat(), "pose": flat()}))
    with pytest.raises(ValueError, match=r"no ResNet over images .* called encoder\.weight, \.\.\."):
        inflate({"encoder.weight": torch.ones(2, 2)}, flat())
    with pytest.raises(ValueError, match="there is no state dict"):
        inflate({}, flat())
