"""The training criteria against slow loops, numeric gradients and two processes."""

import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, multiprocessing
from torch.nn import functional

from protogcn.models.losses import ClassContrastiveCriterion, CrossEntropy

FEATURES, CLASSES = 6, 4


def batch(samples: int, seed: int = 0, features: int = FEATURES, classes: int = CLASSES) -> tuple[Tensor, ...]:
    """Logits, embedding, class memory and target, float64."""
    rng = np.random.default_rng(seed)
    logits, embedding = rng.normal(size=(samples, classes)), rng.normal(size=(samples, features))
    memory, target = rng.normal(size=(features, classes)), rng.integers(0, classes, samples)
    return tuple(torch.from_numpy(array) for array in (logits, embedding, memory, target))


def aux(embedding: Tensor, memory: Tensor) -> dict[str, Tensor]:
    return {"embedding": embedding, "class_memory": memory}


def slow_contrastive(
    logits: Tensor, embedding: Tensor, memory: Tensor, target: Tensor, temperature: float, momentum: float
) -> tuple[float, np.ndarray]:
    """The loss and the new class memory, one number at a time."""
    memory = memory.numpy().copy()
    for label in range(memory.shape[1]):
        members = [
            sample
            for sample in range(len(target))
            if target[sample] == label and max(range(len(logits[sample])), key=lambda c: logits[sample][c]) == label
        ]
        for feature in range(memory.shape[0]) if members else ():
            mean = sum(float(embedding[sample, feature]) for sample in members) / len(members)
            memory[feature, label] = momentum * memory[feature, label] + (1 - momentum) * mean
    total = 0.0
    for vector, label in zip(embedding.numpy(), target.tolist(), strict=True):
        similarities = []
        for prototype in memory.T:
            lengths = math.sqrt(sum(vector**2)) * math.sqrt(sum(prototype**2))
            similarities.append(sum(vector * prototype) / lengths / temperature)
        total -= similarities[label] - math.log(sum(math.exp(each) for each in similarities))
    return total / len(target), memory


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.05, 2),
    momentum=st.floats(0, 1),
    weight=st.floats(0, 1),
)
def test_contrastive_loss_is_that_of_slow_loops(
    samples: int, seed: int, temperature: float, momentum: float, weight: float
) -> None:
    logits, embedding, memory, target = batch(samples, seed)
    expected, updated = slow_contrastive(logits, embedding, memory, target, temperature, momentum)
    criterion = ClassContrastiveCriterion(weight, temperature, momentum)
    terms = criterion(logits, aux(embedding, memory), target)
    cross_entropy = functional.cross_entropy(logits, target).item()
    assert terms["contrastive"].item() == pytest.approx(expected, rel=1e-9)
    assert terms["cross_entropy"].item() == pytest.approx(cross_entropy, rel=1e-12)
    assert terms["loss"].item() == pytest.approx(cross_entropy + weight * expected, rel=1e-9)
    np.testing.assert_allclose(memory.numpy(), updated, rtol=1e-9, atol=1e-11)


def test_only_correctly_classified_samples_move_the_memory_of_their_class() -> None:
    _, embedding, memory, _ = batch(4)
    target = torch.tensor([0, 0, 1, 2])
    predicted = torch.tensor([0, 0, 3, 2])
    before = memory.clone()
    ClassContrastiveCriterion()(functional.one_hot(predicted, CLASSES).double(), aux(embedding, memory), target)
    torch.testing.assert_close(memory[:, 0], 0.9 * before[:, 0] + 0.1 * embedding[:2].mean(0), rtol=1e-9, atol=0)
    torch.testing.assert_close(memory[:, 2], 0.9 * before[:, 2] + 0.1 * embedding[3], rtol=1e-9, atol=0)
    # Class 1 had a sample that was taken for class 3, which had none.
    assert torch.equal(memory[:, [1, 3]], before[:, [1, 3]])


@pytest.mark.parametrize(("momentum", "moves"), [(1.0, False), (0.0, True)])
def test_momentum_keeps_or_forgets(momentum: float, moves: bool) -> None:
    _, embedding, memory, target = batch(CLASSES)
    target = torch.arange(CLASSES)
    before = memory.clone()
    criterion = ClassContrastiveCriterion(momentum=momentum)
    criterion(functional.one_hot(target).double(), aux(embedding, memory), target)
    torch.testing.assert_close(memory, embedding.T if moves else before)


@pytest.mark.parametrize("right", [True, False])
def test_gradient_flows_through_the_embedding_and_its_fresh_part_of_the_memory(right: bool) -> None:
    _, embedding, memory, target = batch(5)
    logits = functional.one_hot(target if right else (target + 1) % CLASSES, CLASSES).double()
    criterion = ClassContrastiveCriterion(contrastive_weight=1.0)

    def loss(embedding: Tensor) -> Tensor:
        return criterion(logits, aux(embedding, memory.clone()), target)["loss"]

    embedding.requires_grad_()
    assert torch.autograd.gradcheck(loss, embedding)
    (whole,) = torch.autograd.grad(loss(embedding), embedding)
    updated = memory.clone()
    criterion(logits, aux(embedding.detach(), updated), target)
    (direct,) = torch.autograd.grad(criterion.eval()(logits, aux(embedding, updated), target)["loss"], embedding)
    assert torch.allclose(whole, direct) is not right


def test_logits_learn_from_the_cross_entropy_alone() -> None:
    logits, embedding, memory, target = batch(5)
    logits.requires_grad_()
    criterion = ClassContrastiveCriterion(contrastive_weight=3.0)
    (whole,) = torch.autograd.grad(criterion(logits, aux(embedding, memory), target)["loss"], logits)
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, target), logits)
    torch.testing.assert_close(whole, expected)


def test_a_step_does_not_reach_back_into_the_step_before() -> None:
    logits, embedding, memory, target = batch(5)
    embedding.requires_grad_()
    criterion = ClassContrastiveCriterion()
    for _ in range(3):
        criterion(logits, aux(embedding, memory), target)["loss"].backward()
        assert not memory.requires_grad
        assert memory.grad_fn is None


def test_evaluation_reads_the_memory_and_leaves_it_alone() -> None:
    logits, embedding, memory, target = batch(6)
    before = memory.clone()
    terms = ClassContrastiveCriterion().eval()(logits, aux(embedding, memory), target)
    assert torch.equal(memory, before)
    expected, _ = slow_contrastive(logits, embedding, memory, target, temperature=0.125, momentum=1.0)
    assert terms["contrastive"].item() == pytest.approx(expected, rel=1e-9)


def test_label_smoothing_spreads_the_target_of_the_cross_entropy_alone() -> None:
    logits, embedding, memory, target = batch(6)
    plain = ClassContrastiveCriterion()(logits, aux(embedding, memory.clone()), target)
    smooth = ClassContrastiveCriterion(label_smoothing=0.2)(logits, aux(embedding, memory.clone()), target)
    assert torch.equal(plain["contrastive"], smooth["contrastive"])
    spread = 0.8 * functional.one_hot(target, CLASSES) + 0.2 / CLASSES
    expected = -(spread * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smooth["cross_entropy"], expected)
    torch.testing.assert_close(CrossEntropy(label_smoothing=0.2)(logits, {}, target)["loss"], expected)


def test_vectors_of_length_zero_give_finite_numbers() -> None:
    logits, embedding, memory, target = batch(4)
    embedding.zero_().requires_grad_()
    terms = ClassContrastiveCriterion()(logits, aux(embedding, memory.zero_()), target)
    assert terms["loss"].isfinite()


def test_reduced_precision_reaches_neither_the_similarities_nor_the_memory() -> None:
    logits, embedding, memory, target = batch(6)
    single = [each.float() for each in (logits, embedding, memory)]
    plain = ClassContrastiveCriterion()(single[0], aux(single[1], single[2].clone()), target)
    with torch.autocast("cpu", torch.bfloat16):
        memory = single[2].clone()
        terms = ClassContrastiveCriterion()(single[0], aux(single[1], memory), target)
    assert memory.dtype == torch.float32
    torch.testing.assert_close(terms["contrastive"], plain["contrastive"])


def distributed_step(rank: int, folder: str) -> None:
    """One half of a batch in one of two processes, written where the test looks."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    group = weakref.ref(torch.distributed.group.WORLD)
    torch.save(projected_step(slice(4 * rank, 4 * rank + 4)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
    assert group() is None, "something holds the process group, whose threads then meet the end of the interpreter"


def projected_step(rows: slice) -> dict[str, Tensor]:
    """The class memory and the gradient of a projection after a step on some rows of a batch of 8."""
    logits, inputs, memory, target = batch(8, seed=1)
    projection = torch.eye(FEATURES, dtype=torch.float64).requires_grad_()
    logits = logits + 2 * functional.one_hot(target, CLASSES)
    terms = ClassContrastiveCriterion()(logits[rows], aux(inputs[rows] @ projection, memory), target[rows])
    terms["loss"].backward()
    assert projection.grad is not None
    return {"memory": memory, "gradient": projection.grad}


def test_two_processes_share_one_memory_and_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes: list[Any] = [
        context.Process(target=distributed_step, args=(rank, str(tmp_path)), daemon=True) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    whole = projected_step(slice(None))
    for part in parts:
        torch.testing.assert_close(part["memory"], whole["memory"])
    # Data parallelism averages the gradients of its processes.
    torch.testing.assert_close((parts[0]["gradient"] + parts[1]["gradient"]) / 2, whole["gradient"])
