"""SkeletonCLIP++ against the reference numbers of both variants: embeddings, alignments, losses, test scores."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from vision_goldens import VisionGolden

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.skeletonclip_pp import SkeletonCLIPPlus, align_to_classes, align_to_own
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
