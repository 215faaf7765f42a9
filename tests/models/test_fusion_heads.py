"""Fusion over time: what each head computes, its first weights, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import random_batch, small_model, takes_maps
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.fusion_heads import (
    FUSIONS,
    PUBLISHED,
    ClassTokenFusion,
    ConvFusion,
    Fusion,
    LSTMFusion,
    TransformerFusion,
    create_fusion,
    skeleton_frames,
    volume_frames,
)

SMALL = {"transformer": {"layers": 2}, "transformer_class_token": {"layers": 2, "hidden": 32}}


def small_fusion(name: str, width: int = 16, frames: int = 6, **options: object) -> Fusion:
    torch.manual_seed(0)
    options = SMALL.get(name, {}) | options
    return create_fusion(name, width, 4, frames=frames, **options).double().eval()


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FUSIONS)
def test_one_vector_per_clip(name: str) -> None:
    fusion = small_fusion(name)
    clips = features(3, 6, 16).requires_grad_()
    fused = fusion(clips)
    assert fused.shape == (3, 16)
    torch.testing.assert_close(fused[1:2], fusion(clips[1:2]))
    fused.square().sum().backward()
    assert clips.grad is not None
    assert clips.grad.abs().sum((0, 2)).gt(0).all()
    assert all(parameter.grad is not None for parameter in fusion.parameters())


@pytest.mark.parametrize("name", ["mean", "conv", "lstm", "transformer"])
@given(frames=st.integers(1, 20))
@settings(max_examples=8, deadline=None)
def test_any_number_of_frames(name: str, frames: int) -> None:
    assert small_fusion(name)(features(2, frames, 16)).shape == (2, 16)


@pytest.mark.parametrize(("word", "name"), PUBLISHED.items())
def test_published_words_mean_the_same(word: str, name: str) -> None:
    ours, theirs = small_fusion(name), create_fusion(word, 16, 4, frames=6, **SMALL.get(name, {}))
    assert type(theirs) is type(ours)
    shapes = [{key: value.shape for key, value in fusion.state_dict().items()} for fusion in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_mean() -> None:
    clips = features(2, 5, 16)
    torch.testing.assert_close(small_fusion("mean")(clips), clips.mean(1))


def test_convolution_starts_as_a_shift_over_time() -> None:
    clips = features(2, 5, 16)
    fused = small_fusion("conv", reinterpret=False)(clips)
    padded = functional.pad(clips, (0, 0, 1, 1))
    before, after = padded[:, :-2], padded[:, 2:]
    shifted = torch.cat([before[..., :4], clips[..., 4:12], after[..., 12:]], -1)
    torch.testing.assert_close(fused, (shifted + clips).mean(1))


def test_released_convolution_reads_the_memory_of_time_by_channels_as_channels_by_time() -> None:
    clips = features(1, 2, 4)
    # As four channels of two frames.
    first, (c, d), (e, f), last = clips.view(4, 2).tolist()
    shifted = torch.tensor([[0, c, e, last[1]], [first[0], d, f, 0]], dtype=torch.float64)
    torch.testing.assert_close(small_fusion("conv", 4)(clips)[0], (shifted + clips[0]).mean(0))


@given(width=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_every_channel_of_the_first_convolution_reads_one_frame(width: int) -> None:
    weight = ConvFusion(width).shift.weight
    assert weight.shape == (width, 1, 3)
    assert weight.sum((1, 2)).tolist() == [1] * width
    assert weight.sort(descending=True).values[..., 1:].count_nonzero() == 0


def test_lstm_adds_its_input() -> None:
    fusion = small_fusion("lstm")
    assert isinstance(fusion, LSTMFusion)
    with torch.no_grad():
        for parameter in fusion.lstm.parameters():
            parameter.zero_()
    clips = features(2, 5, 16)
    # Closed gates on a zero state give zeros.
    torch.testing.assert_close(fusion(clips), clips.mean(1))


def test_transformer_adds_its_input_once_more_around_the_blocks() -> None:
    fusion = small_fusion("transformer")
    assert isinstance(fusion, TransformerFusion)
    for name, parameter in fusion.named_parameters():
        if "out_proj" in name or "c_proj" in name:
            nn.init.zeros_(parameter)
    clips = features(2, 5, 16)
    torch.testing.assert_close(fusion(clips), (2 * clips + fusion.positions[:5]).mean(1))


def test_transformer_normalises_with_the_published_epsilon() -> None:
    fusion = create_fusion("transformer", 128)
    norms = [module for module in fusion.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 12
    assert {norm.eps for norm in norms} == {1e-12}
    # One head per 64 channels where none are named.
    assert [module.heads for name, module in fusion.named_modules() if name.endswith("attn")] == [2] * 6


@pytest.mark.parametrize("name", ["transformer", "transformer_class_token"])
def test_order_matters_to_attention_with_positions(name: str) -> None:
    clips = features(2, 6, 16)
    fusion = small_fusion(name)
    assert not torch.allclose(fusion(clips), fusion(clips.flip(1)))
    with torch.no_grad():
        fusion.get_parameter("positions").zero_()
    torch.testing.assert_close(fusion(clips), fusion(clips.flip(1)))


def test_class_token_comes_out_normalised_and_drops_in_training_only() -> None:
    fusion = small_fusion("transformer_class_token")
    clips = features(2, 6, 16)
    fused = fusion(clips)
    torch.testing.assert_close(fused.mean(1), torch.zeros_like(fused[:, 0]), atol=1e-9, rtol=0)
    torch.testing.assert_close(fusion(clips), fused)
    fusion.train()
    assert not torch.allclose(fusion(clips), fusion(clips))
    calm = small_fusion("transformer_class_token", dropout=0.0).train()
    torch.testing.assert_close(calm(clips), fused)


def test_class_token_is_a_post_norm_encoder() -> None:
    fusion = small_fusion("transformer_class_token", layers=1)
    assert isinstance(fusion, ClassTokenFusion)
    layer = fusion.encoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    clips = features(2, 6, 16)
    x = torch.cat([fusion.token.expand(2, -1, -1), clips], 1) + fusion.positions
    x = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
    x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    torch.testing.assert_close(fusion(clips), fusion.encoder.get_submodule("norm")(x)[:, 0])


@pytest.mark.parametrize("name", ["transformer", "transformer_class_token"])
def test_first_weights_of_attention(name: str) -> None:
    torch.manual_seed(0)
    fusion = create_fusion(name, 64, 4, frames=8)
    linear = [module for module in fusion.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 18
    for layer in linear:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not layer.bias.any()
    assert fusion.get_parameter("positions").std().item() == pytest.approx(0.02, rel=0.15)
    packed = [value for key, value in fusion.named_parameters() if key.endswith("in_proj_weight")]
    assert len(packed) == 6
    for weight in packed:
        assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / (64 + 3 * 64)), rel=0.01)


@pytest.mark.parametrize("name", ["stgcn", "posec3d_c3d_light"])
def test_over_the_frames_of_skeleton_networks(name: str) -> None:
    model = small_model(name).eval()
    features = model.forward_features(random_batch(model, 2, frames=8))
    frames = volume_frames(features) if takes_maps(name) else skeleton_frames(features)
    pooled = create_fusion("mean", model.num_features)(frames)
    torch.testing.assert_close(pooled, model.forward_head(features, pre_logits=True))
    for fusion in FUSIONS:
        head = create_fusion(fusion, model.num_features, frames=frames.shape[1], **SMALL.get(fusion, {}))
        assert head(frames).shape == pooled.shape


@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm")
@pytest.mark.parametrize("name", FUSIONS)
def test_export(name: str) -> None:
    fusion = small_fusion(name)
    clips = features(2, 6, 16)
    torch.testing.assert_close(torch.export.export(fusion, (clips,)).module()(clips), fusion(clips))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "transfomer"}, "did you mean 'transformer'"),
        ({"name": "conv", "layers": 2}, "unknown option of the fusion 'conv' 'layers'; known: reinterpret"),
        ({"name": "lstm", "heads": 4, "hidden": 2}, "unknown option of the fusion 'lstm'"),
        ({"name": "transformer", "layers": 0}, "layers must be a positive integer"),
        ({"name": "transformer", "heads": 3}, "16 channels, 3 heads"),
        ({"name": "Transf_cls"}, "by frames="),
        ({"name": "transformer_class_token", "frames": 0}, "frames must be a positive integer"),
        ({"name": "transformer_class_token", "frames": 4, "heads": 5}, "16 channels, 5 heads"),
        ({"name": "transformer_class_token", "frames": 4, "dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
        ({"name": "mean", "width": 0}, "width must be a positive integer"),
        ({"name": "conv", "reinterpret": "yes"}, "reinterpret must be true or false"),
    ],
)
def test_refused_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_fusion(**({"width": 16} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("shape", [(6, 16), (2, 6, 15), (2, 0, 16), (2, 6, 4, 16)])
def test_refused_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes features of shape \(N clips, T frames, 16\)"):
        small_fusion(name)(features(*shape))


def test_refused_numbers_of_frames() -> None:
    with pytest.raises(ValueError, match=r"4 frames at most and got 5: build it with positions=5"):
        small_fusion("transformer", positions=4)(features(1, 5, 16))
    with pytest.raises(ValueError, match=r"built for 6 frames and got 5: build it with frames=5"):
        small_fusion("transformer_class_token")(features(1, 5, 16))
