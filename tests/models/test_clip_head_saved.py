"""Saved networks with a head of class names: other names later, and files that say what is not so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from small_models import random_batch
from text_heads import NAMES, small, tiny_encoder
from torch import nn

from protogcn.models import ModelDescription, load_model, save_model, text_bank
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_facts import TextFacts


@pytest.fixture
def no_text_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which opening any text encoder fails the test."""

    def refuse(spec: Any) -> TextEncoder:
        raise AssertionError(f"opened {spec}")

    monkeypatch.setattr(text_bank, "create_text_encoder", refuse)
    yield


@pytest.mark.usefixtures("no_text_weights")
@pytest.mark.parametrize("train_text", [False, True])
def test_a_saved_model_needs_its_text_weights_only_for_other_names(train_text: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = small(train_text=train_text, text_encoder=tiny_encoder("/weights/ViT-B-16.pt")).eval()
    batch = random_batch(model, 2)
    expected = model(batch)
    loaded = load_model(save_model(model, path))
    assert torch.equal(loaded(batch), expected)
    with pytest.raises(ValueError, match=r"hold it: set_classes\(\[...\], text_encoder='/weights/ViT-B-16.pt'"):
        loaded.set_classes(["jump", "run"])
    loaded.set_classes(["jump", "run", "throw"], tiny_encoder())
    model.set_classes(["jump", "run", "throw"])
    assert loaded.num_classes == 3
    torch.testing.assert_close(loaded(batch), model(batch))
    again = load_model(save_model(loaded, path))
    assert torch.equal(again(batch), loaded(batch))
    assert again.description is not None
    assert again.description.class_names == ("jump", "run", "throw")


def test_another_encoder_is_not_mistaken_for_that_of_the_training(tmp_path: Path) -> None:
    loaded = load_model(save_model(small(), tmp_path / "model.safetensors"))
    other = tiny_encoder("other")
    nn.init.normal_(other.tower.get_parameter("text_projection"))
    with pytest.raises(ValueError, match="'other' reads 'drink water' otherwise than 'tiny'"):
        loaded.set_classes(["jump"], other)
    with pytest.raises(ValueError, match="'tiny' reads 'drink water' otherwise"):
        loaded.set_classes(["jump"], tiny_encoder(dim=9))


def test_names_can_be_changed_on_a_network_that_keeps_something_of_each_class(tmp_path: Path) -> None:
    for name in ("protogcn", "infogcn"):
        model = small(name)
        model.set_classes(["jump", "run"])
        loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
        assert loaded(random_batch(loaded, 1)).shape == (1, 2)


def rewrite(path: Path, change: dict[str, Any]) -> None:
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["protogcn"])
    header["description"]["options"] |= change
    save_file(load_file(path), path, {"protogcn": json.dumps(header)})


@pytest.mark.usefixtures("no_text_weights")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text_encoder": "/etc/passwd"},
            "must be a mapping of name, dim, length, tower, got '/etc/passwd'",
        ),
        ({"text_encoder": None}, "text_encoder must be a mapping"),
        ({"text_encoder": {"name": "x", "dim": 0, "length": 0, "tower": {}}}, "dim of the text encoder must be"),
        (
            {"text_encoder": {"name": "x", "dim": 9, "length": 0, "tower": {}}},
            "weights are not those of the network",
        ),
        ({"text_encoder": {"name": "x", "dim": 10**5, "length": 0, "tower": {}}}, "not those|far larger"),
        ({"train_text": True}, "does not describe the text tower of 'tiny'"),
        ({"class_names": NAMES[:3]}, "5 classes and 3 class_names"),
        ({"head": "linear"}, "class_names is an option of head='clip'"),
        ({"head": "clop"}, "unknown head 'clop'"),
    ],
)
def test_a_hostile_description_opens_nothing(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save_model(small(), tmp_path / "model.safetensors")
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        load_model(path)


@pytest.mark.usefixtures("no_text_weights")
def test_a_hostile_tower_is_not_built(tmp_path: Path) -> None:
    path = save_model(small(train_text=True), tmp_path / "model.safetensors")
    assert isinstance(load_model(path).description, ModelDescription)
    facts = TextFacts("tiny", 8, 7, {"vocab_size": 10**7, "width": 512}).as_dict()
    for tower, message in (
        (facts["tower"], "far larger than its weights"),
        ({"vocab_sise": 3}, "unknown option of the text tower 'vocab_sise'; did you mean 'vocab_size'"),
        ({"width": "64"}, "width must be an integer, got '64'"),
    ):
        rewrite(path, {"text_encoder": {**facts, "tower": tower}})
        with pytest.raises(ValueError, match=message):
            load_model(path)
