"""CLIP text weights in every form they come in: equal towers from equal weights, or an error that says why not."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.weights import load_clip_text

State = dict[str, Tensor]
LAYERS = 2
TOKENS = torch.tensor([[48, 3, 20, 49, 0, 0], [48, 7, 49, 0, 0, 0]])
QUICK = {"text_config": {"num_attention_heads": 2, "hidden_act": "quick_gelu"}, "model_type": "clip"}

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say its activation")


def tower(**options: Any) -> ClipTextTransformer:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"context_length": 6, "vocab_size": 50, "width": 128, "heads": 2, "embed_dim": 24}
    made = ClipTextTransformer(**sizes, layers=LAYERS, **options).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return made


def openai(made: ClipTextTransformer) -> State:
    """A whole model: the text half among image weights and what else OpenAI's archives hold."""
    image = {"visual.proj": torch.randn(4, 4), "visual.transformer.resblocks.0.ln_1.weight": torch.ones(4)}
    numbers = {"input_resolution": 224, "context_length": 6, "vocab_size": 50}
    return {
        **made.state_dict(),
        **image,
        "logit_scale": torch.tensor(4.6),
        **{name: torch.tensor(value) for name, value in numbers.items()},
    }


def open_clip(made: ClipTextTransformer) -> State:
    return {name: value for name, value in openai(made).items() if value.is_floating_point()}


def custom_text(made: ClipTextTransformer) -> State:
    text = {f"text.{name}": value for name, value in made.state_dict().items()}
    mask = torch.full((6, 6), -torch.inf).triu(1)
    return {**text, "text.attn_mask": mask, "visual.trunk.weight": torch.ones(2), "logit_scale": torch.tensor(1.0)}


def hugging_face(made: ClipTextTransformer) -> State:
    """Names of the transformers library, written down here from its documentation of CLIP."""
    own = made.state_dict()
    state = {
        "text_model.embeddings.token_embedding.weight": own["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": own["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(6)[None],
        "text_projection.weight": own["text_projection"].T.contiguous(),
        "vision_model.pre_layrnorm.weight": torch.ones(3),
        "visual_projection.weight": torch.ones(2, 2),
        "logit_scale": torch.tensor(2.0),
    }
    for kind in ("weight", "bias"):
        state[f"text_model.final_layer_norm.{kind}"] = own[f"ln_final.{kind}"]
        for layer in range(LAYERS):
            theirs, ours = f"text_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
            for word, third in zip("qkv", own[f"{ours}.attn.in_proj_{kind}"].chunk(3), strict=True):
                state[f"{theirs}.self_attn.{word}_proj.{kind}"] = third.clone()
            for name, other in (
                ("self_attn.out_proj", "attn.out_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                state[f"{theirs}.{name}.{kind}"] = own[f"{ours}.{other}.{kind}"]
    return state


FORMS = [openai, open_clip, custom_text, hugging_face]


def assert_same(loaded: ClipTextTransformer, made: ClipTextTransformer) -> None:
    assert all(value.dtype == torch.float32 for value in loaded.state_dict().values())
    assert not loaded.training and all(parameter.requires_grad for parameter in loaded.parameters())
    torch.testing.assert_close(loaded(TOKENS), made(TOKENS))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_every_form_gives_the_same_tower(tmp_path: Path, form: Callable[..., State], ending: str) -> None:
    made = tower()
    path = tmp_path / f"weights.{ending}"
    state = form(made)
    if ending == "pt":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        save_file(state, path)
    assert_same(load_clip_text(path), made)
    assert_same(load_clip_text(tmp_path), made)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    made = tower()
    halved = {name: value.half() for name, value in made.state_dict().items()}
    torch.save(halved, tmp_path / "half.pt")
    made.load_state_dict(halved)
    assert_same(load_clip_text(tmp_path / "half.pt"), made)


def test_pieces_with_an_index_are_joined(tmp_path: Path) -> None:
    made = tower()
    state = hugging_face(made)
    places = {name: f"model-{index % 2 + 1}.safetensors" for index, name in enumerate(state)}
    for piece in set(places.values()):
        save_file({name: state[name] for name in state if places[name] == piece}, tmp_path / piece)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert_same(load_clip_text(tmp_path), made)
    outside = {name: "../elsewhere.safetensors" for name in places}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": outside}))
    with pytest.raises(ValueError, match="does not lie beside it"):
        load_clip_text(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[1]")
    with pytest.raises(ValueError, match="no index of weights"):
        load_clip_text(tmp_path)


@pytest.mark.parametrize(
    ("name", "config", "activation", "heads"),
    [
        ("config.json", QUICK, "quick_gelu", 2),
        ("config.json", {"text_config": {"num_attention_heads": 4, "hidden_act": "gelu"}}, "gelu", 4),
        ("config.json", {"model_type": "clip_text_model", "num_attention_heads": 4}, "quick_gelu", 4),
        ("config.json", {"model_type": "clip"}, "quick_gelu", 8),
        ("config.json", {"model_type": "bert", "hidden_act": "relu"}, "quick_gelu", 2),
        ("config.json", {"quick_gelu": True, "text_cfg": {"heads": 4}}, "quick_gelu", 4),
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"heads": 4}}}, "gelu", 4),
        ("open_clip_config.json", {"model_cfg": {"quick_gelu": True, "text_cfg": {}}}, "quick_gelu", 8),
    ],
)
def test_the_configuration_beside_the_weights_is_heeded(
    tmp_path: Path, name: str, config: Any, activation: Any, heads: int
) -> None:
    (tmp_path / name).write_text(json.dumps(config))
    torch.save(open_clip(tower()), tmp_path / "weights.pt")
    expected = tower(activation=activation)
    for block in expected.transformer.resblocks.children():
        block.attn.heads = heads  # type: ignore[union-attr]
    assert_same(load_clip_text(tmp_path), expected)
    other = load_clip_text(tmp_path, activation="gelu" if activation == "quick_gelu" else "quick_gelu", heads=1)
    assert not torch.allclose(other(TOKENS), expected(TOKENS))


def test_the_norm_of_the_configuration_is_heeded(tmp_path: Path) -> None:
    text = {"num_attention_heads": 2, "layer_norm_eps": 0.1}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text}))
    torch.save(hugging_face(tower()), tmp_path / "pytorch_model.bin")
    assert_same(load_clip_text(tmp_path), tower(norm_eps=0.1))


def test_weights_that_do_not_say_their_activation_warn(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.save(openai(tower()), tmp_path / "openai.pt")
    load_clip_text(tmp_path / "openai.pt")
    torch.save(open_clip(tower()), tmp_path / "unclear.pt")
    load_clip_text(tmp_path / "unclear.pt", activation="gelu")
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"unclear\.pt:activation=gelu"):
        load_clip_text(tmp_path / "unclear.pt")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("whole", [False, True])
def test_outputs_are_those_of_hugging_face(tmp_path: Path, activation: str, whole: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(2)
    sizes = dict(vocab_size=50, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)
    text = transformers.CLIPTextConfig(
        **sizes,
        max_position_embeddings=6,
        projection_dim=24,
        hidden_act=activation,
        bos_token_id=48,
        eos_token_id=49,
        pad_token_id=0,
    )
    if whole:
        vision = dict(sizes, image_size=8, patch_size=4)
        vision.pop("vocab_size")
        config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision, projection_dim=24)
        theirs = transformers.CLIPModel(config).eval()
    else:
        theirs = transformers.CLIPTextModelWithProjection(text).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    ours = load_clip_text(tmp_path)
    with torch.no_grad():
        if whole:
            hidden = theirs.text_model(input_ids=TOKENS).pooler_output
            expected = theirs.text_projection(hidden)
        else:
            expected = theirs(input_ids=TOKENS).text_embeds
        torch.testing.assert_close(ours(TOKENS), expected, rtol=1e-4, atol=1e-4)


def without(key: str) -> Callable[[State], State]:
    return lambda state: {name: value for name, value in state.items() if not re.search(key, name)}


def changed(key: str, value: Tensor) -> Callable[[State], State]:
    return lambda state: {**state, key: value}


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        (openai, without("token_emb"), "holds no text tower of CLIP"),
        (openai, without("positional"), "no matrix positional_embedding"),
        (openai, without("text_projection"), "no matrix text_projection"),
        (openai, without(r"^transformer"), "no transformer.resblocks"),
        (openai, without("in_proj_bias"), "missing: transformer.resblocks.0.attn.in_proj_bias"),
        (openai, without(r"^transformer.resblocks.0"), "missing: transformer.resblocks.0.ln_1.bias"),
        (openai, changed("transformer.resblocks.0.ls_1.gamma", torch.ones(3)), "not known: .*ls_1.gamma"),
        (openai, changed("ln_final.bias", torch.ones(3)), r"ln_final.bias has shape \(3,\), expected \(128,\)"),
        (openai, changed("ln_final.bias", torch.full((128,), torch.nan)), "ln_final.bias holds values that are no"),
        (openai, changed("ln_final.bias", torch.ones(128, dtype=torch.int64)), "no finite numbers"),
        (openai, changed("token_embedding.weight", torch.ones(50)), "no matrix token_embedding"),
        (custom_text, changed("text.cls_emb", torch.ones(3)), "not known: cls_emb"),
        (hugging_face, without("text_projection"), "save a CLIPModel or a CLIPTextModelWithProjection"),
        (hugging_face, without(r"1.self_attn.k_proj.bias"), "missing: transformer.resblocks.1.attn.in_proj_bias"),
        (hugging_face, changed("text_model.head.weight", torch.ones(3)), "not known: text_model.head.weight"),
    ],
)
def test_other_weights_are_refused(
    tmp_path: Path, form: Callable[..., State], change: Callable[[State], State], message: str
) -> None:
    torch.save(change(form(tower())), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=message):
        load_clip_text(tmp_path / "weights.pt")


def test_a_width_that_does_not_tell_the_heads_asks_for_them(tmp_path: Path) -> None:
    small = ClipTextTransformer(6, 50, width=96, heads=3, layers=1, embed_dim=8).eval()
    torch.save(small.state_dict(), tmp_path / "small.pt")
    with pytest.raises(ValueError, match=r"width of 96; CLIP has width / 64 heads.*small.pt:heads=4"):
        load_clip_text(tmp_path / "small.pt")
    for heads in (0, 7):
        with pytest.raises(ValueError, match=f"width of 96 for {heads} heads"):
            load_clip_text(tmp_path / "small.pt", heads=heads)
    assert_same(load_clip_text(tmp_path / "small.pt", heads=3), small)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_archives_that_are_programs_are_not_run(tmp_path: Path) -> None:
    archive = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), archive)
    with pytest.raises(ValueError, match=r"TorchScript archive.*torch\.jit\.load\('ViT-B-32\.pt'.*ViT-B-32_state\.pt"):
        load_clip_text(archive)


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_pickles_that_run_code_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hostile()}, "weights.pt")
    with pytest.raises(ValueError, match="was not loaded"):
        load_clip_text("weights.pt")
    assert not Path("ran").exists()


def test_folders_and_paths_that_hold_nothing_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no weights: none of open_clip_model"):
        load_clip_text(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_clip_text(tmp_path / "absent.pt")
    for name in ("a.pt", "b.pt"):
        torch.save(openai(tower()), tmp_path / name)
    with pytest.raises(ValueError, match=r"several weights; pass one of them: .*a\.pt, .*b\.pt"):
        load_clip_text(tmp_path)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"hf_model_name": "roberta-base"}}}, "hf_model_name is"),
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"no_causal_mask": True}}}, "no_causal_mask is True"),
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"pool_type": "last"}}}, "pool_type is 'last'"),
        ("open_clip_config.json", {"model_cfg": 3}, "model_cfg must be an object"),
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"heads": "8"}}}, "must be positive integers, got '8'"),
        ("config.json", {"text_config": {"hidden_act": "relu"}}, "hidden_act is 'relu'"),
        ("config.json", {"text_config": {"hidden_act": []}}, r"hidden_act is \[\]"),
        ("config.json", {"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
        ("config.json", [1], "no JSON object"),
    ],
)
def test_configurations_of_other_networks_are_refused(tmp_path: Path, name: str, config: Any, message: str) -> None:
    torch.save(open_clip(tower()), tmp_path / "weights.pt")
    (tmp_path / name).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_clip_text(tmp_path)


def test_damaged_configurations_are_refused(tmp_path: Path) -> None:
    torch.save(open_clip(tower()), tmp_path / "weights.pt")
    for content in (b"{", b"\xff", b"[" * 100_000, b" " * (2 << 20)):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match="copy it again"):
            load_clip_text(tmp_path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("archive") / "weights.pt"
    torch.save(openai(tower()), path)
    return path.read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_error_and_no_traceback(tmp_path: Path, archive: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(archive)))
    position = data.draw(st.integers(0, len(archive) - 1))
    damaged = bytearray(archive)
    damaged[position] ^= data.draw(st.integers(1, 255))
    (tmp_path / "weights.pt").write_bytes(bytes(damaged[:end]))
    try:
        assert isinstance(load_clip_text(tmp_path / "weights.pt"), ClipTextTransformer)
    except ValueError as error:
        assert "weights.pt" in str(error)


def test_an_archive_with_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"")
    with pytest.raises(ValueError, match=r"weights\.pt"):
        load_clip_text(path)
