"""What a head of class names refuses, and how it says so."""

from typing import Any

import pytest
import torch
from text_heads import NAMES, PROMPTS, small

from protogcn.models import create_model, save_model
from protogcn.models.checkpoints import load_official


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "clips"}, "unknown head 'clips'; did you mean 'clip'"),
        ({"head": "linear"}, "class_names is an option of head='clip', which stgcnpp was not given: add head='clip'"),
        ({"class_names": []}, r"needs class_names=\[...\]"),
        ({"class_names": NAMES[:4]}, "5 classes and 4 class_names"),
        ({"class_names": [*NAMES[:4], " "]}, "class 4 has the name ' '"),
        ({"class_names": [*NAMES[:4], "Throw"]}, "classes 1 and 4 have the same name"),
        ({"class_names": "drink"}, "class_names must be a list"),
        ({"text_encoder": None}, "needs a text encoder: give text_encoder="),
        ({"text_encoder": "minilmm"}, "unknown text encoder 'minilmm'; did you mean 'minilm'"),
        ({"text_encoder": 7}, "text_encoder must be"),
        ({"prompts": []}, "no prompts"),
        ({"prompts": ["a clip"]}, "must hold {} exactly once"),
        ({"train_text": "yes"}, "train_text must be true or false, got 'yes'"),
        ({"promts": PROMPTS}, "unknown option of stgcnpp with head clip 'promts'; did you mean 'prompts'"),
        ({"logit_scale": float("nan")}, "logit_scale must be"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_what_needs_a_text_head_says_so() -> None:
    linear = create_model("stgcnpp", num_classes=5, base_channels=16, num_blocks=2, widen_at=[], downsample_at=[])
    with pytest.raises(ValueError, match="linear classifier, which knows nothing of names: build it by"):
        linear.set_classes(["a", "b"])
    named = small()
    with pytest.raises(ValueError, match=r"give it other names by model.set_classes"):
        named.reset_classifier(3)
    with pytest.raises(ValueError, match="compares clips with class names by itself: leave out head='clip'"):
        create_model("skeletonclip", num_classes=5, head="clip")
    with pytest.raises(ValueError, match="which it was built without: build it with head='linear'"):
        load_official(named, {"x": torch.zeros(1)})
    named.classifier.set_classes(["jump", "run"])
    with pytest.raises(ValueError, match=r"use model.set_classes"):
        save_model(named, "model.safetensors")
