"""MS-G3D against the reference numbers, and its window pathways against windows laid out as in the paper."""

import math
from typing import Any

import pytest
import torch
from gcn_goldens import Golden, assert_matches, check_training
from small_models import random_clips
from torch import Tensor, nn
from torch.nn import functional

from graphs.layouts import get_skeleton
from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.layers.multi_scale import MultiScaleConv
from protogcn.models.msg3d import MSG3D, WindowedConv


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.load("msg3d__ntu25_60c_T32_M2")


@pytest.fixture(scope="module")
def built(golden: Golden) -> MSG3D:
    """The network of the case with the prescribed weights; shared, so tests that change it copy it."""
    model = create_model("msg3d", skeleton="ntu25_pyskl", num_classes=60).double()
    assert isinstance(model, MSG3D)
    load_official(model, golden.state_dict())
    return model.eval()


def test_inference(golden: Golden, built: MSG3D) -> None:
    """Every stage that the reference lists, from the same input on."""
    clips, seen = golden.clips(), {}
    with torch.no_grad():
        x = built.input_norm(clips)
        seen["data_bn"] = x.unflatten(0, (2, 2)).permute(0, 1, 4, 2, 3).flatten(1, 3)
        for number, block in enumerate(built.typed_blocks(), start=1):
            frames = x.transpose(1, 2)
            parts = [block.spatial(frames).squeeze(3).transpose(1, 2).contiguous()]
            parts += [block.frames[0](parts[0])]
            parts += [block.frames[1](parts[1])]
            seen |= {f"sgcn{number}.{index}": part for index, part in enumerate(parts)} | {f"sgcn{number}": parts[2]}
            summed = torch.zeros(())
            for index, window in enumerate(block.windows):
                assert isinstance(window, WindowedConv)
                name = f"gcn3d{number}.gcn3d.{index}"
                seen[f"{name}.gcn3d.0"] = laid_out(x, window.mix.window, window.mix.stride)
                seen[f"{name}.gcn3d.1"] = window.mix(frames).transpose(1, 2).flatten(3)
                seen[name] = window(frames).transpose(1, 2)
                summed = summed + seen[name]
            seen[f"gcn3d{number}"] = summed
            seen[f"tcn{number}"] = x = block(x)
        seen = {f"stage:backbone.{name}": value for name, value in seen.items()}
        features = built.forward_features(clips)
        seen |= {"features": features, "logits": built(clips)}
        seen["pooled_feature"] = built.forward_head(features, pre_logits=True)
    for key, reference in golden.case["outputs"].items():
        assert_matches(seen[key], reference)


@pytest.mark.parametrize("mode", ["bn_batch", "bn_frozen"])
def test_training(golden: Golden, built: MSG3D, mode: str) -> None:
    criterion = create_criterion("msg3d")
    target = torch.tensor(golden.case["training"]["labels"])

    def step(model: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        assert isinstance(model, MSG3D)
        logits, aux = model.forward_train(golden.clips())
        return criterion(logits, aux, target), logits

    check_training(golden, built, mode, step, {"cross_entropy": "cross_entropy", "total": "loss"})


def test_size_and_fixed_graphs(golden: Golden, built: MSG3D) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["parameter_count"]
    graph = torch.rand(13, 25, 25)
    fixed = {"backbone.A": torch.zeros(25, 25), "backbone.sgcn2.0.A": graph}
    model = create_model("msg3d", skeleton="ntu25_pyskl", num_classes=60)
    load_official(model, golden.state_dict() | fixed)
    assert torch.equal(model.get_buffer("blocks.1.spatial.topology"), graph)


def laid_out(x: Tensor, window: int, stride: int) -> Tensor:
    """Windows of features: (N, C, T, V) -> (N, C, T', w * V)."""
    padded = functional.pad(x, (0, 0, window // 2, window // 2))
    return padded.unfold(2, window, stride).transpose(3, 4).flatten(3)


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("channels", [(3, 8), (8, 8), (8, 4)])
def test_equals_windows_laid_out(channels: tuple[int, int], window: int, stride: int, frames: int) -> None:
    torch.manual_seed(0)
    unit = MultiScaleConv(*channels, torch.randn(4, window * 5, window * 5), window, stride).double()
    nn.init.normal_(unit.offset)
    clips = random_clips(2, channels[0], frames, 5, dtype=torch.float64)
    support = torch.einsum("kvu,nctv->nkctu", unit.topology + unit.offset, laid_out(clips, window, stride))
    expected = functional.relu(unit.norm(unit.conv(support.flatten(1, 2))))
    out = unit(clips.transpose(1, 2))
    assert out.shape == (2, math.ceil(frames / stride), channels[1], window, 5)
    torch.testing.assert_close(out.transpose(1, 2).flatten(3), expected, rtol=1e-10, atol=1e-10)


def test_starting_values() -> None:
    torch.manual_seed(0)
    model = create_model("msg3d", skeleton="ntu25_pyskl", num_classes=9)
    skeleton = get_skeleton("ntu25_pyskl")
    for name, scales, window in (("spatial", 13, 1), ("windows.0.mix", 6, 3), ("windows.1.mix", 6, 5)):
        unit = model.get_submodule(f"blocks.1.{name}")
        assert isinstance(unit, MultiScaleConv)
        graph = torch.from_numpy(skeleton.adjacency("multi_scale", num_scales=scales, window=window))
        torch.testing.assert_close(unit.topology, graph.float(), rtol=0, atol=1e-7)
        assert unit.offset.abs().max() <= 1e-6
        assert unit.offset.std().item() == pytest.approx(1e-6 / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": ()}, r"windows names .* got \[\]"),
        ({"windows": (3, 4)}, r"odd numbers of frames.* got \[3, 4\]"),
        ({"windows": (3, 3)}, r"different odd numbers.* got \[3, 3\]"),
        ({"windows": (-1,)}, r"got \[-1\]"),
        ({"num_scales": 0}, "num_scales must be a positive integer, got 0"),
        ({"num_window_scales": -1}, "num_window_scales must be a positive integer, got -1"),
        ({"temporal_dropout": 1.0}, r"temporal_dropout must lie in \[0, 1\), got 1.0"),
        ({"base_channels": 5}, "base_channels must be at least 6, got 5"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("msg3d", num_classes=2, **options)


def test_options_change_the_network() -> None:
    options: dict[str, Any] = {"base_channels": 8, "num_blocks": 2, "widen_at": [2], "downsample_at": [2]}
    model = create_model("msg3d", num_classes=2, windows=[7], num_scales=2, num_window_scales=3, **options)
    assert model.get_buffer("blocks.0.spatial.topology").shape == (2, 25, 25)
    assert model.get_buffer("blocks.1.windows.0.mix.topology").shape == (3, 175, 175)
    assert model.forward_features(random_clips(2, 2, 5, 25, 3)).shape == (2, 2, 16, 3, 25)
    clips = random_clips(2, 2, 8, 25, 3)
    dropping = create_model("msg3d", num_classes=2, temporal_dropout=0.5, **options)
    assert not torch.equal(dropping(clips), dropping(clips))
