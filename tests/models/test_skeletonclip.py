"""SkeletonCLIP against the reference numbers: outputs, loss, test scores, official names."""

from collections.abc import Sequence

import pytest
import torch
from small_models import small_model
from torch import Tensor
from vision_goldens import VisionGolden

from protogcn.evaluation.metrics import average_clips
from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.families import build_official, detect
from protogcn.models.skeletonclip import SkeletonCLIP
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.encoders import TextEncoder


@pytest.fixture(scope="module")
def golden() -> VisionGolden:
    return VisionGolden.load("skeletonclip__small_b4")


@pytest.fixture(scope="module")
def built(golden: VisionGolden) -> SkeletonCLIP:
    """The network of the case with the prescribed weights and tokens; shared, so tests that change it copy it."""
    sizes = golden.hyperparameters["text"]
    tower = ClipTextTransformer(
        sizes["context_length"],
        sizes["vocab_size"],
        sizes["transformer_width"],
        sizes["transformer_heads"],
        sizes["transformer_layers"],
        sizes["embed_dim"],
    )
    tokens = torch.tensor(golden.case["class_tokens"])

    def rows(texts: Sequence[str]) -> Tensor:
        assert len(texts) == len(tokens)
        return tokens

    video = golden.hyperparameters["video"]
    model = create_model(
        "skeletonclip",
        num_classes=golden.hyperparameters["num_classes"],
        class_names=[f"action {index}" for index in range(golden.hyperparameters["num_classes"])],
        text_encoder=TextEncoder("tiny", tower, tower.embed_dim, rows),
        prompts=["{}", "a {}", "the {}"],
        base_channels=video["base_channels"],
        stage_blocks=video["stage_blocks"],
        inflate=video["inflate"],
        spatial_strides=video["spatial_strides"],
        temporal_strides=video["temporal_strides"],
    ).double()
    assert isinstance(model, SkeletonCLIP)
    load_official(model, golden.state())
    return model.eval()


def test_size(golden: VisionGolden, built: SkeletonCLIP) -> None:
    assert sum(parameter.numel() for parameter in built.parameters()) == golden.case["n_params"]
    official = [name for names in built.official_entries().values() for name in names]
    assert sorted(official) == sorted(golden.state())


def test_outputs(golden: VisionGolden, built: SkeletonCLIP) -> None:
    head = built.classifier
    texts = head.tower(torch.tensor(golden.case["batch_tokens"]))
    features = built.forward_features(golden.input())
    golden.assert_matches("video_map", features)
    golden.assert_matches("text_features", texts)
    logits, aux = built.forward_train(golden.input())
    cosines = torch.nn.functional.normalize(aux["embedding"], dim=1) @ torch.nn.functional.normalize(texts, dim=1).T
    golden.assert_matches("logits_per_image", aux["logit_scale"].exp() * cosines)
    golden.assert_matches("logits_per_text", aux["logit_scale"].exp() * cosines.T)
    aux["text_of"] = lambda target: texts
    terms = create_criterion("skeletonclip")(logits, aux, torch.tensor(golden.hyperparameters["labels"]))
    golden.assert_matches("loss_cls", terms["loss"])
    assert len(golden.outputs) == 6


def test_scores(golden: VisionGolden, built: SkeletonCLIP) -> None:
    with torch.no_grad():
        logits = built(golden.input())
    views = golden.hyperparameters["num_segs_for_test"]
    scores = average_clips(logits.view(-1, views, logits.shape[1]).numpy(), "probabilities")
    golden.assert_matches("test_scores", torch.from_numpy(scores))


def test_a_checkpoint_alone_does_not_name_its_classes(golden: VisionGolden) -> None:
    state, names = golden.state(), [f"action {index}" for index in range(6)]
    found = detect(state)
    assert (found.model, found.num_classes, found.in_channels) == ("skeletonclip", 0, 17)
    assert "skeletonclip: classes by their names, 17 heat maps; base_channels" in found.describe()
    with pytest.raises(ValueError, match=r"weights of skeletonclip, which do not know.*--classes-file"):
        build_official(state, skeleton="coco17")
    with pytest.raises(ValueError, match="its weights are those of the checkpoint: --option text_encoder=random"):
        build_official(state, skeleton="coco17", class_names=names)


def test_a_tuned_text_tower_does_not_load_into_a_network_without_one(golden: VisionGolden) -> None:
    with pytest.raises(ValueError, match=r"not known to this model: backbone.text_encoder"):
        load_official(small_model("skeletonclip"), golden.state())
