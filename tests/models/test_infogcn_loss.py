"""The information bottleneck of InfoGCN against slow loops, numeric gradients and two processes."""

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

from protogcn.models import create_criterion
from protogcn.models.losses import InformationBottleneckCriterion

FEATURES, CLASSES = 6, 4


def batch(samples: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Logits, latent codes, class priors and target, float64."""
    rng = np.random.default_rng(seed)
    logits, latent = rng.normal(size=(samples, CLASSES)), rng.normal(size=(samples, FEATURES))
    prior, target = 3 * rng.normal(size=(CLASSES, FEATURES)), rng.integers(0, CLASSES, samples)
    return tuple(torch.from_numpy(array) for array in (logits, latent, prior, target))


def slow_terms(logits: Tensor, latent: Tensor, prior: Tensor, target: Tensor, smoothing: float) -> dict[str, float]:
    """The terms, one number at a time."""
    samples = len(target)
    entropy = 0.0
    for scores, label in zip(logits.tolist(), target.tolist(), strict=True):
        total = math.log(sum(math.exp(score) for score in scores))
        surprise = [total - score for score in scores]
        entropy += (1 - smoothing) * surprise[label] + smoothing * sum(surprise) / len(surprise)
    squares = []
    for label in sorted(set(target.tolist())):
        members = [sample for sample in range(samples) if target[sample] == label]
        for feature in range(FEATURES):
            mean = sum(latent[sample, feature].item() for sample in members) / len(members)
            squares.append((mean - prior[label, feature].item()) ** 2)
    means = [sum(latent[:, feature].tolist()) / samples for feature in range(FEATURES)]
    return {
        "cross_entropy": entropy / samples,
        "class_mean_distance": sum(squares) / len(squares),
        "latent_mean_norm": math.sqrt(sum(mean**2 for mean in means)),
    }


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    weights=st.tuples(st.floats(0, 2), st.floats(0, 2)),
    smoothing=st.floats(0, 0.9),
    training=st.booleans(),
)
def test_terms(samples: int, seed: int, weights: tuple[float, float], smoothing: float, training: bool) -> None:
    logits, latent, prior, target = batch(samples, seed)
    criterion = InformationBottleneckCriterion(*weights, label_smoothing=smoothing).train(training)
    terms = criterion(logits, {"latent": latent, "prior": prior}, target)
    expected = slow_terms(logits, latent, prior, target, smoothing)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-9), name
    total = expected["cross_entropy"] + weights[0] * expected["class_mean_distance"]
    assert terms["loss"].item() == pytest.approx(total + weights[1] * expected["latent_mean_norm"], rel=1e-9)


def test_published_weights_are_the_defaults() -> None:
    logits, latent, prior, target = batch(8)
    terms = create_criterion("infogcn")(logits, {"latent": latent, "prior": prior}, target)
    expected = slow_terms(logits, latent, prior, target, 0.1)
    total = expected["cross_entropy"] + 0.1 * expected["class_mean_distance"] + 1e-4 * expected["latent_mean_norm"]
    assert terms["loss"].item() == pytest.approx(total, rel=1e-9)


def test_gradients() -> None:
    logits, latent, prior, target = batch(5)
    criterion = InformationBottleneckCriterion(0.7, 0.3)
    assert torch.autograd.gradcheck(
        lambda *inputs: criterion(inputs[0], {"latent": inputs[1], "prior": prior}, target)["loss"],
        (logits.requires_grad_(), latent.requires_grad_()),
    )


def test_a_code_without_mean_has_a_gradient() -> None:
    logits, latent, prior, target = batch(4)
    latent = torch.zeros_like(latent).requires_grad_()
    InformationBottleneckCriterion()(logits, {"latent": latent, "prior": prior}, target)["loss"].backward()
    assert latent.grad is not None
    assert latent.grad.isfinite().all()


def test_reduced_precision_of_the_code_reaches_no_mean() -> None:
    logits, latent, prior, target = (each.float() if each.is_floating_point() else each for each in batch(8))
    rough = latent.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms = InformationBottleneckCriterion()(logits, {"latent": rough, "prior": prior}, target)
    exact = InformationBottleneckCriterion()(logits, {"latent": rough.float(), "prior": prior}, target)
    assert terms["class_mean_distance"].dtype == torch.float32
    torch.testing.assert_close(terms["class_mean_distance"], exact["class_mean_distance"])
    torch.testing.assert_close(terms["latent_mean_norm"], exact["latent_mean_norm"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_mean_weight": -0.1}, "class_mean_weight must be at least 0, got -0.1"),
        ({"mean_norm_weight": -1.0}, "mean_norm_weight must be at least 0, got -1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
        ({"lambda_2": 0.1}, "lambda_2"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_criterion("infogcn", **options)


def projected_step(rows: slice) -> dict[str, Tensor]:
    """Terms, and the gradient of a projection of the codes, of a step on some rows of a batch of 8."""
    logits, inputs, prior, target = batch(8, seed=1)
    projection = torch.eye(FEATURES, dtype=torch.float64).requires_grad_()
    aux = {"latent": inputs[rows] @ projection, "prior": prior}
    terms = InformationBottleneckCriterion(0.7, 0.3)(logits[rows], aux, target[rows])
    terms["loss"].backward()
    assert projection.grad is not None
    return {**{name: value.detach() for name, value in terms.items()}, "gradient": projection.grad}


def distributed_step(rank: int, folder: str) -> None:
    """One part of the batch, smaller than the other, in one of two processes, written where the test looks."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    group = weakref.ref(torch.distributed.group.WORLD)
    torch.save(projected_step(slice(3) if rank == 0 else slice(3, None)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
    assert group() is None, "something holds the process group, whose threads then meet the end of the interpreter"


def test_two_processes_have_the_means_and_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
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
        torch.testing.assert_close(part["class_mean_distance"], whole["class_mean_distance"])
        torch.testing.assert_close(part["latent_mean_norm"], whole["latent_mean_norm"])
    # Data parallelism averages the gradients of its processes; the cross entropy does not depend on the projection.
    torch.testing.assert_close((parts[0]["gradient"] + parts[1]["gradient"]) / 2, whole["gradient"])
