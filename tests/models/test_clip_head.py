"""The head that compares clips with class names: what it computes, keeps, saves, refuses, and on which networks."""

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from small_models import OPTIONS, random_batch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models import (
    ModelDescription,
    SkeletonClassifier,
    create_criterion,
    create_model,
    load_model,
    model_info,
    save_model,
    text_bank,
)
from protogcn.models.checkpoints import load_official
from protogcn.models.clip_head import FRESH_SCALE, LEARNED_SCALE, TextHead
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_facts import TextFacts

NAMES = ["drink water", "throw", "sit down", "put on a jacket", "kick the ball"]
PROMPTS = ("{}", "a video of {}", "a person who does {}")
WORDS = sorted({word for text in (*NAMES, *PROMPTS, "jump run") for word in text.split()})


def tiny_encoder(name: str = "tiny", dim: int = 8) -> TextEncoder:
    """A text tower over a vocabulary of words, the same in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tower = ClipTextTransformer(12, len(WORDS) + 2, 16, 2, 1, dim)
        nn.init.normal_(tower.token_embedding.weight)

    def rows(texts: Any) -> Tensor:
        known = [[1 + WORDS.index(word) for word in text.split()] + [len(WORDS) + 1] for text in texts]
        return torch.tensor([row + [0] * (max(map(len, known)) - len(row)) for row in known])

    return TextEncoder(name, tower, dim, rows).eval()


def small(name: str = "stgcnpp", seed: int = 0, **changes: Any) -> SkeletonClassifier:
    """A small network with a text head."""
    options = {key: value for key, value in OPTIONS.items() if key in model_info(name).options}
    head = {"head": "clip", "class_names": NAMES, "text_encoder": tiny_encoder(), "prompts": PROMPTS}
    torch.manual_seed(seed)
    return create_model(name, **{"num_classes": len(NAMES), **options, **head, **changes})


def step(name: str, model: SkeletonClassifier, **loss: Any) -> dict[str, Tensor]:
    logits, aux = model.forward_train(random_batch(model, 4, persons=2))
    terms = create_criterion(name, head="clip", **loss)(logits, aux, torch.tensor([0, 1, 3, 1]))
    terms["loss"].backward()
    return terms


BACKBONES = ["stgcnpp", "protogcn", "infogcn", "ctrgcn", "msg3d", "posec3d_slowonly"]


@pytest.mark.parametrize("train_text", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_any_network_takes_the_head(name: str, train_text: bool, tmp_path: Path) -> None:
    model = small(name, train_text=train_text)
    terms = step(name, model)
    assert set(terms) >= {"loss", "cross_entropy", "retrieval"}
    silent = [part for part, each in model.named_parameters() if each.requires_grad and each.grad is None]
    assert not silent
    assert any("tower" in part for part, _ in model.named_parameters()) == train_text
    batch = random_batch(model.eval(), 3, persons=2)
    logits = model(batch)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(3))
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert torch.equal(loaded(batch), logits)
    assert loaded.description is not None
    assert loaded.description.class_names == tuple(NAMES)


def test_only_the_criterion_parts_of_protogcn_are_frozen() -> None:
    model = small("protogcn")
    frozen = {part.split(".")[0] for part, each in model.named_parameters() if not each.requires_grad}
    assert frozen == {"reconstruction", "class_memory"}


def test_the_logits_are_mean_probabilities_over_the_templates() -> None:
    head = small().double().classifier
    features = torch.randn(4, 32, dtype=torch.float64)
    embedded = functional.normalize(head.projection(features), dim=1)
    texts = functional.normalize(head.embeddings, dim=2)
    expected = torch.stack([(head.logit_scale.exp() * embedded @ each.T).softmax(1) for each in texts]).mean(0)
    torch.testing.assert_close(head(features).exp(), expected, rtol=1e-10, atol=1e-14)
    nn.init.constant_(head.logit_scale, 12.0)
    assert head(features).isfinite().all()


def test_the_order_of_names_is_the_order_of_logits() -> None:
    first, second = small(), small(class_names=NAMES[::-1])
    batch = random_batch(first, 2)
    torch.testing.assert_close(second.eval()(batch).flip(1), first.eval()(batch))


@pytest.mark.parametrize(("name", "expected"), [("tiny", LEARNED_SCALE), ("random:width=16", FRESH_SCALE)])
def test_starting_temperature(name: str, expected: float) -> None:
    assert small(text_encoder=tiny_encoder(name)).classifier.logit_scale.item() == pytest.approx(expected)
    assert small(logit_scale=1.5).classifier.logit_scale.item() == 1.5


def test_the_temperature_is_cut_where_asked() -> None:
    free, cut = small(logit_scale=6.0), small(logit_scale=6.0, largest_logit_scale=4.0)
    for model, expected in ((free, 6.0), (cut, 4.0)):
        step("stgcnpp", model)
        assert model.classifier.logit_scale.item() == pytest.approx(expected)


def test_projection_is_there_where_lengths_differ() -> None:
    assert isinstance(small().classifier.projection, nn.Linear)
    assert isinstance(small(text_encoder=tiny_encoder(dim=32)).classifier.projection, nn.Identity)
    assert isinstance(small(text_encoder=tiny_encoder(dim=32), projection=True).classifier.projection, nn.Linear)
    with pytest.raises(ValueError, match="32 features and the texts vectors of 8: leave projection out"):
        small(projection=False)


def test_a_frozen_tower_is_no_part_of_the_model() -> None:
    encoder = tiny_encoder()
    model = small(text_encoder=encoder)
    head = model.classifier
    assert not any("tower" in key or "token" in key for key in model.state_dict())
    texts = [prompt.replace("{}", name) for prompt in PROMPTS for name in NAMES]
    torch.testing.assert_close(head.embeddings.flatten(0, 1), encoder.encode(texts))
    before = head.embeddings.clone()
    step("stgcnpp", model)
    model.eval()(random_batch(model, 2))
    assert torch.equal(head.embeddings, before)
    assert all(each.grad is None for each in encoder.parameters())
    assert len(pickle.dumps(head)) < 20_000


def test_a_training_step_draws_one_template_for_each_sample() -> None:
    head = small().classifier
    target = torch.tensor([1, 1, 1, 1, 4, 4, 0, 2] * 4)
    torch.manual_seed(3)
    first = head.text_of(target)
    torch.manual_seed(3)
    assert torch.equal(head.text_of(target), first)
    drawn = [
        (head.embeddings[:, label] == row).all(1).nonzero().item() for label, row in zip(target, first, strict=True)
    ]
    assert set(drawn) == {0, 1, 2}
    units = functional.normalize(head.embeddings, dim=2)
    torch.testing.assert_close(head.eval().text_of(target), units.mean(0)[target])


class Counted(nn.Module):
    """Counts the rows that a tower encodes."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.inner, self.rows = tower, 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.rows += len(tokens)
        return self.inner(tokens)


def test_a_trained_tower_encodes_only_what_is_needed() -> None:
    model = small(train_text=True)
    head = model.classifier
    counted = head.tower = Counted(head.tower)
    batch, all_rows = random_batch(model, 4), len(NAMES) * len(PROMPTS)
    step("stgcnpp", model)
    assert counted.rows == all_rows + 4
    step("stgcnpp", model)
    assert counted.rows == all_rows + 8
    model.eval()
    counted.rows = 0
    with torch.inference_mode():
        first = model(batch)
        assert torch.equal(model(batch), first)
    assert counted.rows == all_rows
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()
    assert not torch.equal(model(batch), first)
    assert counted.rows == 2 * all_rows
    # Weights that change behind the back of autograd, as those of a moving average do.
    for each in head.tower.parameters():
        each.data.mul_(1.5)
    model.train()
    step("stgcnpp", model)
    changed = model.eval()(batch)
    fresh = copy.deepcopy(model)
    assert torch.equal(fresh(batch), changed)
    fresh.classifier.tower.inner.text_projection.data.neg_()
    assert not torch.allclose(fresh.train().eval()(batch), changed)


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


def test_compile_and_export() -> None:
    # The head alone: that networks compile and export is tested for each of them.
    head = TextHead(8, NAMES, tiny_encoder(), PROMPTS).eval()
    features = torch.randn(2, 8)
    exported = torch.export.export(head, (features,), dynamic_shapes={"features": {0: torch.export.Dim.AUTO}})
    torch.testing.assert_close(exported.module()(torch.cat([features] * 3)), head(features).repeat(3, 1))
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(head), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(features), head(features))


def test_reduced_precision() -> None:
    model = small(train_text=True)
    with torch.autocast("cpu", torch.bfloat16):
        terms = step("stgcnpp", model)
        assert model.eval()(random_batch(model, 2)).dtype == torch.float32
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].isfinite()


def test_the_head_stands_alone() -> None:
    head = TextHead(8, NAMES, tiny_encoder(), PROMPTS)
    assert head(torch.randn(2, 8)).shape == (2, 5)
