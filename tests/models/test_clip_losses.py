"""Contrastive criteria: reference numbers, hand-made cases, and what they refuse."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from protogcn.models import create_criterion
from protogcn.models.clip_losses import (
    ClipContrastive,
    draw_hard_negatives,
    kl_contrastive,
    matching_loss,
    soft_contrastive,
)

CASES = json.loads((Path(__file__).parent.parent / "goldens" / "vision" / "clip_kl_loss__cases.json").read_text())


@pytest.mark.parametrize("case", CASES["outputs"], ids=lambda case: f"seed {case['seed']}")
def test_reference_numbers(case: dict[str, Any]) -> None:
    size = case["B"]
    logits = torch.from_numpy(np.random.default_rng(case["seed"]).standard_normal((size, size)) * case["scale"])
    labels = torch.tensor(case["labels"])
    logits.requires_grad_()
    loss = kl_contrastive(logits, labels)
    assert loss.item() == pytest.approx(case["loss"], rel=1e-12)
    # The gradient of the divergence is the difference of the distributions: that is how the target shows.
    (gradient,) = torch.autograd.grad(loss, logits)
    target = logits.detach().softmax(1) - size * gradient
    np.testing.assert_allclose(target[0].numpy(), case["target_row0"], rtol=1e-9)


labels_of_a_batch = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(labels_of_a_batch, st.integers(0, 99))
def test_the_loss_is_a_divergence(labels: list[int], seed: int) -> None:
    target = torch.tensor(labels)
    logits = torch.randn(len(labels), len(labels), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert kl_contrastive(logits, target) >= 0
    best = 10 * (target[:, None] == target).double()
    assert kl_contrastive(best, target).item() == pytest.approx(0, abs=1e-12)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    for loss in (kl_contrastive, soft_contrastive):
        shuffled = loss(logits[order][:, order], target[order])
        assert shuffled.item() == pytest.approx(loss(logits, target).item(), rel=1e-9, abs=1e-12)


def test_the_soft_target_is_shared_evenly() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
    logs = logits[0].log_softmax(0)
    expected = -(2 * (logs[0] + logs[2]) / 2 + logs[1]) / 3
    assert soft_contrastive(logits, torch.tensor([4, 2, 4])).item() == pytest.approx(expected.item(), rel=1e-12)


def aux_of(embedding: Tensor, texts: Tensor, scale: float) -> dict[str, Any]:
    return {"embedding": embedding, "text_of": lambda target: texts[target], "logit_scale": torch.tensor(scale)}


def test_the_criterion_is_the_mean_of_both_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    embedding, texts = (torch.randn(n, 6, dtype=torch.float64, generator=generator) for n in (4, 3))
    target = torch.tensor([0, 2, 1, 2])
    logits = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    terms = ClipContrastive()(logits, aux_of(embedding, texts, 1.5), target)
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    named = texts / texts.norm(dim=1, keepdim=True)
    similarity = math.exp(1.5) * unit @ named[target].T
    expected = (kl_contrastive(similarity, target) + kl_contrastive(similarity.T, target)) / 2
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert terms["cross_entropy"].item() == pytest.approx(torch.nn.functional.cross_entropy(logits, target).item())
    hits = [int(target[row.argmax()] == label) for row, label in zip(similarity, target, strict=True)]
    assert terms["retrieval"].item() == pytest.approx(sum(hits) / 4)


def test_sharper_targets_cost_a_wrong_answer_more() -> None:
    texts, target = torch.eye(3), torch.tensor([0, 1, 2])
    aux = aux_of(texts.roll(1, 0), texts, 3.0)
    soft, sharp = (ClipContrastive(sharpness)(torch.zeros(3, 3), aux, target)["loss"] for sharpness in (1.0, 10.0))
    assert sharp > soft + 1


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="sharpness must be above 0, got 0"):
        ClipContrastive(0)
    with pytest.raises(ValueError, match=r"needs embedding, text_of, logit_scale.*head='clip'"):
        ClipContrastive()(torch.zeros(2, 3), {}, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="unknown option of the loss of stgcnpp 'sharpnes'; did you mean 'sharpness'"):
        create_criterion("stgcnpp", head="clip", sharpnes=3.0)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(0, 99), st.sampled_from([1.0, 1e3, 1e6]))
def test_hard_negatives_are_of_another_label(labels: list[int], seed: int, sharpness: float) -> None:
    target = torch.tensor(labels)
    assume(len(set(labels)) > 1)
    torch.manual_seed(seed)
    columns = draw_hard_negatives(sharpness * torch.randn(len(labels), len(labels)), target)
    assert not (target[columns] == target).any()


def test_hard_negatives_follow_the_similarities() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[9.0, 0.0, 1.0, 2.0]]).repeat(4, 1).double()
    target = torch.tensor([0, 1, 2, 3])
    drawn = torch.stack([draw_hard_negatives(logits, target) for _ in range(4000)])
    shares = torch.bincount(drawn[:, 0], minlength=4) / 4000
    expected = torch.tensor([0.0, *torch.tensor([0.0, 1.0, 2.0]).softmax(0)])
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)


def test_matching_by_hand() -> None:
    # Two classes in a batch of three: what is drawn is certain but for the negatives of the clip of class 7.
    target = torch.tensor([4, 7, 4])
    asked: list[tuple[list[int], list[int]]] = []

    def match(clips: Tensor, labels: Tensor) -> Tensor:
        asked.append((clips.tolist(), labels.tolist()))
        return torch.stack([clips.double(), labels.double()], 1)

    similar = torch.tensor([[0.0, 0, 0], [0, 0, 200], [0, 0, 0]], dtype=torch.float64)
    found = matching_loss(match, similar + similar.T, target)
    ((clips, labels),) = asked
    assert clips == [0, 1, 2, 0, 1, 2, 1, 2, 1]
    assert labels == [4, 7, 4, 7, 4, 7, 4, 7, 4]
    logs = [
        [first - math.log(math.exp(first) + math.exp(second)), second - math.log(math.exp(first) + math.exp(second))]
        for first, second in zip(clips, labels, strict=True)
    ]
    expected = -(sum(row[1] for row in logs[:3]) + sum(row[0] for row in logs[3:])) / 9
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_a_batch_of_one_class_matches_nothing() -> None:
    weight = torch.ones(2, requires_grad=True)
    loss = matching_loss(lambda clips, labels: weight[None], torch.zeros(3, 3), torch.tensor([2, 2, 2]))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad is not None and not weight.grad.any()
