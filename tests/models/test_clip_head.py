"""The head that compares clips with class names: what it computes and learns, and on which networks."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from small_models import random_batch
from text_heads import NAMES, PROMPTS, small, step, tiny_encoder
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models import load_model, save_model
from protogcn.models.clip_head import FRESH_SCALE, LEARNED_SCALE, TextHead

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
        model.classifier.before_step()
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
