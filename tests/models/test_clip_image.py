"""CLIP's image tower: every form of its files, against another implementation, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from protogcn.models.clip_image import ClipImageTransformer, blank_image_tower, load_clip_image


def small() -> ClipImageTransformer:
    torch.manual_seed(0)
    tower = ClipImageTransformer(image_size=12, patch=4, width=128, layers=2, heads=2, embed_dim=24)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return tower.eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def as_openai(tower: nn.Module) -> dict[str, Tensor]:
    return {f"visual.{name}": value for name, value in tower.state_dict().items()}


def as_hugging_face(tower: nn.Module) -> dict[str, Tensor]:
    """Written out from the published names, not by the tables of the library."""
    state = dict(tower.state_dict())
    named = {
        "visual_projection.weight": state.pop("proj").T.contiguous(),
        "vision_model.embeddings.class_embedding": state.pop("class_embedding"),
        "vision_model.embeddings.patch_embedding.weight": state.pop("conv1.weight"),
        "vision_model.embeddings.position_embedding.weight": state.pop("positional_embedding"),
        "vision_model.embeddings.position_ids": torch.arange(10)[None],
    }
    for kind in ("weight", "bias"):
        named[f"vision_model.pre_layrnorm.{kind}"] = state.pop(f"ln_pre.{kind}")
        named[f"vision_model.post_layernorm.{kind}"] = state.pop(f"ln_post.{kind}")
        for layer in range(2):
            own, theirs = f"transformer.resblocks.{layer}", f"vision_model.encoder.layers.{layer}"
            packed = state.pop(f"{own}.attn.in_proj_{kind}").chunk(3)
            for letter, third in zip("qkv", packed, strict=True):
                named[f"{theirs}.self_attn.{letter}_proj.{kind}"] = third.clone()
            named[f"{theirs}.self_attn.out_proj.{kind}"] = state.pop(f"{own}.attn.out_proj.{kind}")
            for index in (1, 2):
                named[f"{theirs}.layer_norm{index}.{kind}"] = state.pop(f"{own}.ln_{index}.{kind}")
            named[f"{theirs}.mlp.fc1.{kind}"] = state.pop(f"{own}.mlp.c_fc.{kind}")
            named[f"{theirs}.mlp.fc2.{kind}"] = state.pop(f"{own}.mlp.c_proj.{kind}")
    assert not state
    return named


FORMS = {"OpenAI": as_openai, "Hugging Face": as_hugging_face}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_forms_of_files(form: str, suffix: str, tmp_path: Path) -> None:
    tower, path = small(), tmp_path / f"clip{suffix}"
    # The text half of whole files does not disturb, nor do the entries beside them.
    state = FORMS[form](tower) | {"ln_final.bias": torch.zeros(8), "text_model.final_layer_norm.bias": torch.zeros(8)}
    if form == "OpenAI":
        del state["text_model.final_layer_norm.bias"]
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_clip_image(path, activation="quick_gelu")
    assert loaded.image_size == 12
    with torch.no_grad():
        assert torch.equal(loaded(images()), tower(images()))


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in as_openai(small()).items()}, tmp_path / "clip.safetensors")
    loaded = load_clip_image(tmp_path / "clip.safetensors", activation="quick_gelu")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("word", ["quick_gelu", "gelu"])
def test_same_as_the_tower_of_transformers(word: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra text")
    torch.manual_seed(0)
    configuration = transformers.CLIPVisionConfig(
        hidden_size=48, intermediate_size=192, projection_dim=20, num_hidden_layers=2, num_attention_heads=3,
        image_size=12, patch_size=4, hidden_act=word,
    )  # fmt: skip
    theirs = transformers.CLIPVisionModelWithProjection(configuration).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    theirs.save_pretrained(tmp_path)
    # Neither the activation nor three heads at a width of 48 are told by weights: the configuration says so.
    ours = load_clip_image(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(images()), theirs(images()).image_embeds, rtol=1e-4, atol=1e-5)


def test_configuration_of_open_clip(tmp_path: Path) -> None:
    tower = small()
    save_file(as_openai(tower), tmp_path / "open_clip_model.safetensors")
    configuration = {"model_cfg": {"quick_gelu": True, "vision_cfg": {"width": 128, "head_width": 32}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(configuration))
    loaded = load_clip_image(tmp_path)
    assert [block.get_submodule("attn").heads for block in loaded.transformer.resblocks.children()] == [4, 4]
    configuration["model_cfg"]["vision_cfg"] = {"pool_type": "avg"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(configuration))
    with pytest.raises(ValueError, match="pool_type is 'avg', so its image tower is another network"):
        load_clip_image(tmp_path)


def test_an_activation_that_nothing_says_is_told(tmp_path: Path) -> None:
    state = as_openai(small())
    torch.save(state, tmp_path / "clip.pt")
    with pytest.warns(UserWarning, match="activation='gelu'"):
        load_clip_image(tmp_path / "clip.pt")
    numbers = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save(state | numbers, tmp_path / "clip.pt")
    load_clip_image(tmp_path / "clip.pt")
    torch.save(state, tmp_path / "clip.pt")
    exact = load_clip_image(tmp_path / "clip.pt", activation="gelu")
    with torch.no_grad():
        assert not torch.allclose(exact(images()), small()(images()))


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (768, 12), (1024, 16), (1280, 16)])
def test_published_heads(width: int, heads: int) -> None:
    with torch.device("meta"):
        state = ClipImageTransformer(image_size=4, patch=4, width=width, layers=1, heads=1, embed_dim=4).state_dict()
        tower = blank_image_tower(state, "gelu")
    assert [block.get_submodule("attn").heads for block in tower.transformer.resblocks.children()] == [heads]


@torch.no_grad()
def test_patches_and_their_places() -> None:
    tower = small()
    # An image that changes in one patch, and one whose patches change places.
    one, other = images(1), images(1)
    other[..., :4, :4], other[..., 4:8, 4:8] = one[..., 4:8, 4:8], one[..., :4, :4]
    assert not torch.allclose(tower(one), tower(other))
    tower.positional_embedding[1:] = 0
    torch.testing.assert_close(tower(one), tower(other))


def test_export() -> None:
    tower = small()
    torch.testing.assert_close(torch.export.export(tower, (images(),)).module()(images()), tower(images()))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("visual.proj", None, "lack proj"),
        ("visual.ln_post.bias", None, "missing: ln_post.bias"),
        (
            "visual.transformer.resblocks.1.mlp.c_fc.weight",
            torch.zeros(200, 128),
            r"c_fc.weight has shape \(200, 128\)",
        ),
        ("visual.extra", torch.zeros(1), "not known: extra"),
        ("visual.ln_pre.bias", torch.full((128,), torch.inf), "ln_pre.bias holds values that are no finite numbers"),
        ("visual.conv1.weight", torch.zeros(128, 3, 0, 0), "must be a positive integer, got 0"),
        # Were it allocated, this would be more than any memory.
        ("visual.conv1.weight", torch.zeros(1_000_000, 3, 1, 1), r"expected \(1000000,\)"),
        ("visual.positional_embedding", torch.zeros(9, 128), "for square images"),
        ("visual.positional_embedding", torch.zeros(()), "for square images"),
        ("visual.layer1.0.conv1.weight", torch.zeros(1), "no vision transformer of CLIP's own form"),
        ("visual.trunk.norm.weight", torch.zeros(1), "no vision transformer of CLIP's own form"),
    ],
)
def test_unfit_weights(name: str, value: Tensor | None, words: str, tmp_path: Path) -> None:
    state = {key: weight for key, weight in as_openai(small()).items() if key != name}
    if value is not None:
        state[name] = value
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=rf"(?s)clip\.pt.*{words}"):
        load_clip_image(tmp_path / "clip.pt", activation="quick_gelu")


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tensor_of_any_shape_is_loaded_or_refused(form: str, data: st.DataObject, tmp_path: Path) -> None:
    state = FORMS[form](small())
    name = data.draw(st.sampled_from(sorted(state)))
    state[name] = torch.zeros(data.draw(st.lists(st.integers(0, 9), max_size=4)))
    torch.save(state, tmp_path / "clip.pt")
    try:
        load_clip_image(tmp_path / "clip.pt", activation="quick_gelu")
    except ValueError as error:
        assert "clip.pt" in str(error)


def test_no_image_tower(tmp_path: Path) -> None:
    torch.save({"token_embedding.weight": torch.zeros(4, 4)}, tmp_path / "text.pt")
    with pytest.raises(ValueError, match="there is no image tower"):
        load_clip_image(tmp_path / "text.pt", activation="gelu")
    broken = as_hugging_face(small())
    del broken["vision_model.encoder.layers.0.self_attn.k_proj.bias"]
    torch.save(broken, tmp_path / "hf.pt")
    with pytest.raises(ValueError, match=r"query, key and value of transformer.resblocks.0.attn.in_proj_bias"):
        load_clip_image(tmp_path / "hf.pt", activation="gelu")
    with pytest.raises(FileNotFoundError):
        load_clip_image(tmp_path / "none.pt")


@pytest.mark.parametrize("shape", [(2, 3, 12, 11), (3, 12, 12), (2, 1, 12, 12)])
def test_refused_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images of shape \(N, 3, 12, 12\)"):
        small()(torch.zeros(shape))


def test_refused_sizes() -> None:
    with pytest.raises(ValueError, match="image_size must be a multiple of patch, got 30 and 4"):
        ClipImageTransformer(image_size=30, patch=4)
    with pytest.raises(ValueError, match="layers must be a positive integer"):
        ClipImageTransformer(layers=0)
    with pytest.raises(ValueError, match="did you mean 'quick_gelu'"):
        ClipImageTransformer(image_size=4, patch=4, width=8, heads=2, activation="quickgelu")  # type: ignore[arg-type]
