"""SkeletonCLIP++ against the reference numbers of both variants: embeddings, alignments, losses, test scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import random_batch, small_model
from torch import Tensor, nn
from torch.nn import functional
from vision_goldens import VisionGolden

from protogcn.models import create_criterion, create_model, load_model, save_model
from protogcn.models.checkpoints import load_official
from protogcn.models.frame_text_head import align_to_classes, align_to_own
from protogcn.models.skeletonclip_pp import SkeletonCLIPPlus
from protogcn.models.text.encoders import TextEncoder


class Given(nn.Module):
    """Hidden states of the classes that are known already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = nn.Parameter(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.hidden[tokens[:, 0]]


def build(golden: VisionGolden, train_text: bool = False) -> SkeletonCLIPPlus:
    sizes = golden.hyperparameters
    hidden = golden.inputs()[1]

    def rows(texts: Sequence[str]) -> Tensor:
        return torch.tensor([[int(text.split()[1])] for text in texts])

    model = create_model(
        "skeletonclip_pp",
        num_classes=len(hidden),
        class_names=[f"action {index}" for index in range(len(hidden))],
        text_encoder=TextEncoder("given", Given(hidden.float()), hidden.shape[1], rows),
        train_text=train_text,
        variant=sizes["kind"],
        video_width=sizes["out"] or 1,
        embed_dim=sizes["embed_dim"],
        base_channels=sizes["resnet"]["base_channels"],
        stage_blocks=sizes["resnet"]["stage_blocks"],
    ).double()
    assert isinstance(model, SkeletonCLIPPlus)
    load_official(model, golden.state())
    # The losses and scores of the reference are those of this temperature, not of the prescribed one.
    nn.init.constant_(model.classifier.temperature, sizes["temp_used"])
    return model.eval()


@pytest.fixture(scope="module", params=["raw", "pacl"])
def golden(request: pytest.FixtureRequest) -> VisionGolden:
    return VisionGolden.load(f"skeletonclip_pp__{request.param}_small")


@pytest.mark.filterwarnings("ignore")
def test_reference_numbers(golden: VisionGolden) -> None:
    model, kind = build(golden), golden.hyperparameters["kind"]
    head, labels = model.classifier, torch.tensor(golden.hyperparameters["labels"])
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.case["n_params"]
    volumes, hidden = golden.inputs()
    with torch.no_grad():
        frames = model.forward_head(model.forward_features(volumes), pre_logits=True)
        embedded, texts = head.embed(frames), head.text(hidden)
        logits, aux = model.forward_train(volumes)
        found = {
            "text_embed_classes": texts,
            "cos_classes": logits,
            "test_scores": model(volumes).softmax(1),
            "loss": create_criterion("skeletonclip_pp")(logits, aux, labels)["loss"],
        }
        if kind == "raw":
            found["video_embeds"] = head.widen(frames)
            found["video_feat"] = functional.normalize(aux["embedding_for"](aux["text_of"](labels)), dim=1)
        else:
            found |= {
                "video_embeds": frames,
                "aligned": align_to_classes(embedded, texts),
                "aligned_variant_val": align_to_classes(embedded, texts, normalise=True),
                "aligned_variant_train": align_to_own(embedded, texts[labels], normalise=True),
                "aligned_variant_train_mod": align_to_own(embedded, texts[labels]),
            }
    assert set(found) == set(golden.outputs)
    for name, tensor in found.items():
        golden.assert_matches(name, tensor)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("train_text", [False, True])
@pytest.mark.parametrize("variant", ["raw", "pacl", "pacl_batch"])
def test_every_variant_learns_and_is_saved(variant: str, train_text: bool, tmp_path: Path) -> None:
    model = small_model("skeletonclip_pp", variant=variant, train_text=train_text)
    logits, aux = model.forward_train(random_batch(model, 4))
    terms = create_criterion("skeletonclip_pp")(logits, aux, torch.tensor([0, 1, 1, 3]))
    terms["loss"].backward()
    assert [part for part, each in model.named_parameters() if each.grad is None] == []
    assert ("clip_to_text" in terms) == (variant != "pacl")
    batch = random_batch(model.eval(), 2)
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert torch.equal(loaded(batch), model(batch))
    assert model(batch).abs().max() <= 1


def test_the_temperature_is_kept_in_its_bounds() -> None:
    model = small_model("skeletonclip_pp")
    for value, expected in ((3.0, 0.5), (-1.0, 0.001)):
        nn.init.constant_(model.classifier.temperature, value)
        model.classifier.before_step()
        assert model.classifier.temperature.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "itn"}, "variant must be 'raw' or 'itm' or 'pacl' or 'pacl_batch', got 'itn'"),
        ({"temperature": 0.7}, r"temperature must lie in \[0.001, 0.5\]"),
        ({"normalise_frames": True}, "leave it out for raw"),
        ({"variant": "itm"}, "leave out train_text=False"),
        ({"variant": "itm", "train_text": True}, "encoder 'random:width=32,layers=1,heads=2' is none: give a folder"),
        ({"embed_dim": 0}, "embed_dim must be a positive integer"),
        ({"class_names": []}, "needs class_names"),
        ({"text_encoder": None}, "needs a text encoder"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_model("skeletonclip_pp", **options)
