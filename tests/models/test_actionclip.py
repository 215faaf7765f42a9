"""ActionCLIP against the official numbers, its files, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from vision_goldens import VisionGolden

from protogcn.models.actionclip import ActionCLIP
from protogcn.models.actionclip_weights import (
    build_actionclip,
    load_actionclip,
    load_official_actionclip,
    official_state,
    start_from_clip,
)
from protogcn.models.clip_image import ClipImageTransformer
from protogcn.models.clip_losses import kl_contrastive
from protogcn.models.fusion_heads import FUSIONS, PUBLISHED
from protogcn.models.text.clip_text import ClipTextTransformer

CASES = VisionGolden.names("actionclip")
TABLE = "fusion_model.frame_position_embeddings.weight"


def small(fusion: str = "transformer", **options: Any) -> ActionCLIP:
    torch.manual_seed(0)
    image = ClipImageTransformer(image_size=8, patch=4, width=16, layers=1, heads=2, embed_dim=12)
    text = ClipTextTransformer(context_length=6, vocab_size=20, width=8, heads=2, layers=1, embed_dim=12)
    if fusion == "transformer_class_token":
        options = {"heads": 4, "hidden": 16} | options
    return ActionCLIP(image, text, fusion, frames=3, **options).eval()


def tokens(rows: int) -> Tensor:
    drawn = torch.randint(1, 19, (rows, 6), generator=torch.Generator().manual_seed(3))
    drawn[:, 4] = 19
    return drawn


def videos(count: int, frames: int = 3) -> Tensor:
    return torch.randn(count, frames, 3, 8, 8, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def transformer_state() -> dict[str, Tensor]:
    return {name: value.float() for name, value in VisionGolden.load("actionclip__tiny_Transf_T4").state().items()}


def same_weights(one: ActionCLIP, other: ActionCLIP) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_official_numbers(case: str) -> None:
    golden = VisionGolden.load(case)
    state = golden.state()
    model = build_actionclip(state).double()
    size = sum(parameter.numel() for parameter in model.parameters())
    unused = 0 if TABLE in model.official_entries().values() or TABLE not in state else state[TABLE].numel()
    assert size + unused == golden.case["n_params"]
    frames, labels = golden.input(), torch.tensor(golden.hyperparameters["labels"])
    batch, prompts = (torch.tensor(golden.case[word]) for word in ("batch_tokens", "class_tokens"))
    per_video, per_text = model(frames, batch)
    losses = kl_contrastive(per_video, labels), kl_contrastive(per_text, labels)
    classes = model.embed_classes(prompts, golden.hyperparameters["num_classes"])
    outputs = {
        "frame_features": model.forward_frames(frames),
        "video_features": model.forward_video(frames),
        "text_features": model.text(batch),
        "logits_per_image": per_video,
        "logits_per_text": per_text,
        "loss_image": losses[0],
        "loss_text": losses[1],
        "loss": sum(losses) / 2,
        "test_scores": model.class_scores(frames, classes),
    }
    assert outputs.keys() == golden.outputs.keys()
    for name, tensor in outputs.items():
        golden.assert_matches(name, torch.as_tensor(tensor))


def test_all_five_fusions_have_official_numbers() -> None:
    assert {VisionGolden.load(case).hyperparameters["sim_header"] for case in CASES} == set(PUBLISHED)


def test_published_sizes() -> None:
    with torch.device("meta"):
        models = [
            ActionCLIP(ClipImageTransformer(patch=patch), ClipTextTransformer(), fusion)
            for patch, fusion in ((32, "meanP"), (32, "Transf"), (16, "meanP"), (16, "Transf_cls"))
        ]
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    b32, b16, block = 151_277_313, 149_620_737, 3_152_384
    assert sizes == [b32, b32 + 6 * block + 77 * 512, b16, b16 + 6 * block + 512 + 9 * 512 + 2 * 512]
    blocks = models[1].fusion.get_submodule("transformer.resblocks").children()
    assert [block.get_submodule("attn").heads for block in blocks] == [8] * 6


def as_released(state: dict[str, Tensor]) -> dict[str, Any]:
    clip = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    head = {f"module.{name.removeprefix('fusion_model.')}": value for name, value in state.items() if "fusion" in name}
    return {
        "epoch": 3,
        "model_state_dict": clip,
        "fusion_model_state_dict": head,
        "optimizer_state_dict": {"state": {}},
    }


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "flat": lambda state: state,
    "module outside": lambda state: {f"module.{name}": value for name, value in state.items()},
    "module inside": lambda state: {name.replace("model.", "model.module.", 1): value for name, value in state.items()},
    "wrapped": lambda state: {"state_dict": state},
    "without model.": lambda state: {name.removeprefix("model."): value for name, value in state.items()},
    "released": as_released,
    "both parts on several devices": lambda state: (
        as_released(state)
        | {"model_state_dict": {f"module.{n}": v for n, v in as_released(state)["model_state_dict"].items()}}
    ),
    "with the numbers of OpenAI": lambda state: state | {"model.input_resolution": torch.tensor(32)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_official_files(layout: str, transformer_state: dict[str, Tensor], tmp_path: Path) -> None:
    expected = build_actionclip(transformer_state)
    torch.save(LAYOUTS[layout](transformer_state), tmp_path / "k400.pt")
    loaded = load_actionclip(tmp_path / "k400.pt")
    assert same_weights(loaded, expected)
    assert not loaded.training


def test_half_precision_and_safetensors(transformer_state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in transformer_state.items()}, tmp_path / "k400.safetensors")
    loaded = load_actionclip(tmp_path / "k400.safetensors")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(loaded.image.conv1.weight, transformer_state["model.visual.conv1.weight"].half().float())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_official_names_and_back(fusion: str) -> None:
    model = small(fusion)
    own = model.state_dict()
    official = {name: own[key] for key, name in model.official_entries().items()}
    assert len(official) == len(own)
    again = small(fusion)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1)
    load_official_actionclip(again, official)
    assert same_weights(model, again)
    # The released heads hold a table of positions, used or not.
    if fusion != "transformer":
        load_official_actionclip(again, official | {TABLE: torch.zeros(77, 12)})


def test_weights_of_clip_alone_give_the_mean_over_frames(transformer_state: dict[str, Tensor]) -> None:
    clip = {name.removeprefix("model."): value for name, value in transformer_state.items() if "fusion" not in name}
    model = build_actionclip({"model_state_dict": clip, "fusion_model_state_dict": {}})
    frames = torch.randn(2, 3, 3, 32, 32)
    torch.testing.assert_close(model.forward_video(frames), model.forward_frames(frames).mean(1))
    assert same_weights(model, build_actionclip(clip))


def test_loaded_weights_are_copies(transformer_state: dict[str, Tensor]) -> None:
    before = transformer_state["model.visual.proj"].clone()
    model = build_actionclip(transformer_state)
    with torch.no_grad():
        model.image.proj.add_(1)
    assert torch.equal(transformer_state["model.visual.proj"], before)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model.ln_final.bias", None, "missing: model.ln_final.bias"),
        ("fusion_model.transformer.resblocks.1.ln_2.bias", None, "missing: fusion_model.transformer.resblocks.1.ln_2"),
        ("model.logit_scale", None, "missing: model.logit_scale"),
        ("fusion_model.extra", torch.zeros(1), "not known: fusion_model.extra"),
        ("model.visual.extra", torch.zeros(1), "not known: model.visual.extra"),
        ("model.visual.ln_pre.bias", torch.zeros(3), r"ln_pre.bias has shape \(3,\), expected \(128,\)"),
        ("model.ln_final.bias", torch.full((128,), torch.nan), "ln_final.bias holds values that are no finite numbers"),
        ("model.ln_final.bias", torch.zeros(128, dtype=torch.int64), "no finite numbers"),
        ("model.visual.proj", None, "lack proj"),
        ("model.token_embedding.weight", None, "no whole text tower"),
        (TABLE, None, "lacks frame_position_embeddings.weight"),
        ("model.visual.positional_embedding", torch.zeros(16, 128), "square images"),
        ("model.visual.layer1.0.conv1.weight", torch.zeros(1), "take those of a ViT"),
    ],
)
def test_unfit_weights(name: str, value: Tensor | None, words: str, transformer_state: dict[str, Tensor]) -> None:
    changed = {key: weight for key, weight in transformer_state.items() if key != name}
    if value is not None:
        changed[name] = value
    with pytest.raises(ValueError, match=words):
        build_actionclip(changed)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tensor_of_any_shape_is_loaded_or_refused(data: st.DataObject) -> None:
    model = small(data.draw(st.sampled_from(FUSIONS)))
    own = model.state_dict()
    state = {name: own[key] for key, name in model.official_entries().items()}
    name = data.draw(st.sampled_from(sorted(state)))
    state[name] = torch.zeros(data.draw(st.lists(st.integers(0, 9), max_size=4)))
    try:
        build_actionclip(state)
    except ValueError as error:
        assert "\n" in str(error) or len(str(error)) < 500


def test_unfit_weights_leave_a_network_as_it_was() -> None:
    model, before = small("lstm"), small("lstm")
    own = small("conv").state_dict()
    official = {name: own[key] + 1 for key, name in small("conv").official_entries().items()}
    with pytest.raises(ValueError, match=r"nothing was loaded(.|\n)*missing: fusion_model.lstm_visual"):
        load_official_actionclip(model, official)
    assert same_weights(model, before)


def test_unfit_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_actionclip(tmp_path / "none.pt")
    torch.save({"epoch": 3, "fusion_model_state_dict": {"a": torch.zeros(1)}}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match=r"half.pt: there is no state dict"):
        load_actionclip(tmp_path / "half.pt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt: there is no image tower"):
        load_actionclip(tmp_path / "other.pt")


def test_start_from_clip(transformer_state: dict[str, Tensor], tmp_path: Path) -> None:
    clip = {name.removeprefix("model."): value for name, value in transformer_state.items() if "fusion" not in name}
    clip["logit_scale"] = torch.tensor(4.6052)
    bookkeeping = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save(clip | bookkeeping, tmp_path / "ViT-tiny.pt")
    model = start_from_clip(tmp_path / "ViT-tiny.pt", "Transf_cls", frames=5, layers=1)
    assert model.logit_scale.item() == pytest.approx(4.6052)
    assert torch.equal(model.image.proj, clip["visual.proj"])
    assert torch.equal(model.text.text_projection, clip["text_projection"])
    assert model.forward_video(torch.randn(2, 5, 3, 32, 32)).shape == (2, 128)
    del clip["logit_scale"]
    torch.save(clip | bookkeeping, tmp_path / "ViT-tiny.pt")
    with pytest.raises(ValueError, match="no logit_scale"):
        start_from_clip(tmp_path / "ViT-tiny.pt")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_weight_learns(fusion: str) -> None:
    model = small(fusion).train()
    per_video, per_text = model(videos(4), tokens(4))
    assert per_video.shape == per_text.shape == (4, 4)
    labels = torch.tensor([0, 1, 0, 2])
    (kl_contrastive(per_video, labels) + kl_contrastive(per_text, labels)).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not still


def test_fresh_temperature() -> None:
    assert small().logit_scale.exp().item() == pytest.approx(1 / 0.07)


@torch.no_grad()
def test_class_scores() -> None:
    model = small()
    classes = model.embed_classes(tokens(6), 3)
    assert classes.shape == (2, 3, 12)
    torch.testing.assert_close(classes.norm(dim=-1), torch.ones(2, 3))
    scores = model.class_scores(videos(4), classes)
    torch.testing.assert_close(scores.sum(1), torch.ones(4))
    # The order of templates does not matter, that of classes is kept, and neither does the learned temperature matter.
    torch.testing.assert_close(model.class_scores(videos(4), classes.flip(0)), scores)
    torch.testing.assert_close(model.class_scores(videos(4), classes.flip(1)), scores.flip(1))
    model.logit_scale.zero_()
    torch.testing.assert_close(model.class_scores(videos(4), classes), scores)
    # Softmax in every template first: the mean of one template after the other.
    each = torch.stack([model.class_scores(videos(4), template[None]) for template in classes])
    torch.testing.assert_close(each.mean(0), scores)


@torch.no_grad()
def test_scores_in_reduced_precision() -> None:
    model, classes = small(), small().embed_classes(tokens(6), 3, batch_size=4)
    torch.testing.assert_close(classes, model.embed_classes(tokens(6), 3))
    with torch.autocast("cpu", torch.bfloat16):
        scores, (logits, _) = model.class_scores(videos(4), classes), model(videos(4), tokens(4))
    assert scores.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(scores.sum(1), torch.ones(4))
    torch.testing.assert_close(logits, model(videos(4), tokens(4))[0], atol=0.3, rtol=0)


@torch.no_grad()
def test_rows_of_tokens_are_template_by_template() -> None:
    model = small()
    rows = tokens(6)
    torch.testing.assert_close(model.embed_classes(rows, 3)[1], model.embed_classes(rows[3:], 3)[0])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 3, 3, 8, 9), r"T frames, 3, 8, 8\); got \(2, 3, 3, 8, 9\)"),
        ((3, 3, 8, 8), "got"),
        ((2, 3, 5, 8, 8), r"frames.transpose\(1, 2\)"),
        ((2, 0, 3, 8, 8), "got"),
    ],
)
def test_refused_frames(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small().forward_video(torch.zeros(shape))


def test_refused_parts() -> None:
    model = small()
    with pytest.raises(ValueError, match="6 rows of tokens are not a number of templates times 4 classes"):
        model.embed_classes(tokens(6), 4)
    text = ClipTextTransformer(context_length=6, vocab_size=20, width=8, heads=2, layers=1, embed_dim=10)
    with pytest.raises(ValueError, match="gives 12 numbers and the text tower 10"):
        ActionCLIP(model.image, text)
    with pytest.raises(ValueError, match="did you mean 'transformer'"):
        ActionCLIP(model.image, model.text, "transforme")
    with pytest.raises(ValueError, match="built for 3 frames and got 2"):
        small("Transf_cls", heads=4).forward_video(videos(1, frames=2))


def test_official_state_names_both_parts(transformer_state: dict[str, Tensor]) -> None:
    assert official_state(as_released(transformer_state)).keys() == transformer_state.keys()
