"""Absent persons in training: one of each slot is computed, and everything is as if all had been."""

from typing import Any

import pytest
import torch
from small_models import small_model
from torch import Tensor, nn

from protogcn.models import create_criterion, list_models, model_info, persons, recomputed_activations
from protogcn.models.layers.norm import BatchNorm2d, counted_rows

NETWORKS = [name for name in list_models() if model_info(name).takes == "clips"]


def clips(dtype: torch.dtype = torch.float64, samples: int = 5) -> Tensor:
    """Clips of two persons, one person, one person in the second slot, and nobody."""
    found = torch.randn(samples, 2, 9, 25, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    found[1:3, 1] = 0
    found[3, 0] = 0
    found[4] = 0
    return found


def step(name: str, monkeypatch: pytest.MonkeyPatch, share: bool, recompute: bool = False, **options: Any) -> Any:
    """Loss, gradients, buffers after a training step, and the rows that the first block saw."""
    model = small_model(name, **options).double().train()
    rows: list[int] = []
    model.get_submodule("blocks.0").register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    criterion = create_criterion(name).double()
    torch.manual_seed(0)
    with monkeypatch.context() as patch, recomputed_activations(recompute):
        if not share:
            patch.setattr(persons, "_alike", lambda *_: None)
        logits, aux = model.forward_train(clips())
    loss = criterion(logits, aux, torch.tensor([1, 3, 0, 2, 1]))["loss"]
    loss.backward()
    gradients = {key: each.grad for key, each in model.named_parameters()}
    return loss.detach(), gradients, dict(model.named_buffers()), rows


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_same(name: str, recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, got = (step(name, monkeypatch, share, recompute) for share in (False, True))
    # Three absent persons in the second slot and two in the first, ten in all.
    assert (expected[3], got[3]) == ([10], [10 if name == "msg3d" else 7])
    torch.testing.assert_close(got[0], expected[0], rtol=1e-11, atol=0)
    largest = max(float(each.abs().max()) for each in expected[1].values() if each is not None)
    # Who stands still ties in a maximum over frames, where roundings decide.
    for key, gradient in expected[1].items():
        torch.testing.assert_close(got[1][key], gradient, rtol=1e-6, atol=1e-6 * largest, msg=key)
    for key, buffer in expected[2].items():
        torch.testing.assert_close(got[2][key], buffer, rtol=1e-10, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", ["protogcn", "ctrgcn", "infogcn", "stgcnpp"])
def test_reduced_precision_costs_no_more_than_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(share: bool, reduced: bool) -> Tensor:
        model = small_model(name).train()
        torch.manual_seed(0)
        with monkeypatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            if not share:
                patch.setattr(persons, "_alike", lambda *_: None)
            logits, aux = model.forward_train(clips(torch.float32, 16))
        labels = torch.arange(16) % 7
        create_criterion(name)(logits.float(), aux, labels)["loss"].backward()
        return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])

    exact, without, shared = gradients(False, False), gradients(False, True), gradients(True, True)
    assert (shared - exact).norm() <= 1.5 * (without - exact).norm()


def test_gradients_of_a_batch_norm_that_counts() -> None:
    """Against a batch in which every row is there as often as it counts."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 4, 2, 5, dtype=torch.float64, generator=generator).requires_grad_()
    counts = torch.tensor([1.0, 4.0, 2.0], dtype=torch.float64)
    places = torch.arange(3).repeat_interleave(counts.long())
    weights = torch.randn(7, 4, 2, 5, dtype=torch.float64, generator=generator)
    found = []
    for counted in (False, True):
        norm = BatchNorm2d(4).double()
        norm.weight.data, norm.bias.data = torch.tensor([1.0, -2.0, 0.0, 0.5]).double(), torch.ones(4).double()
        if counted:
            with counted_rows(counts):
                out = norm(rows)[places]
        else:
            out = norm(rows[places])
        found.append([out, *torch.autograd.grad((out * weights).sum(), [rows, *norm.parameters()]), *norm.buffers()])
    for got, expected in zip(*reversed(found), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_rows_that_are_not_counted_are_refused() -> None:
    with counted_rows(torch.ones(3)), pytest.raises(RuntimeError, match="got 6 rows where 3 are counted"):
        BatchNorm2d(4)(torch.randn(6, 4, 2, 2))


def test_counting_within_counting() -> None:
    norm = BatchNorm2d(4)
    with counted_rows(torch.ones(3)):
        with counted_rows(torch.ones(2)):
            norm(torch.randn(2, 4, 2, 2))
        norm(torch.randn(3, 4, 2, 2))


def test_an_error_within_ends_the_counting() -> None:
    with pytest.raises(KeyError), counted_rows(torch.ones(3)):
        raise KeyError
    assert BatchNorm2d(4)(torch.randn(6, 4, 2, 2)).shape == (6, 4, 2, 2)


class Doubled(nn.Module):
    """A unit of somebody else, who may look at the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Halved(nn.Module):
    """A unit of somebody else, who says that it does not."""

    sees_rows_alone = True

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def test_a_unit_of_somebody_else_may_take_part() -> None:
    model: Any = small_model("stgcnpp").train()
    block = model.blocks[1]
    block.temporal = nn.Sequential(Halved(), block.temporal)
    rows: list[int] = []
    block.graph.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    model(clips(torch.float32))
    assert rows == [7]


WHYS = ["own unit", "attention", "random slope", "dropout", "other norm", "no momentum", "evaluation", "no gradients"]


@pytest.mark.parametrize("why", WHYS)
def test_where_all_are_computed(why: str) -> None:
    options = {"temporal_dropout": 0.5} if why == "dropout" else {}
    model: Any = small_model("stgcnpp", **options).train()
    block = model.blocks[1]
    if why == "own unit":
        block.temporal = nn.Sequential(Doubled(), block.temporal)
    if why == "attention":
        # Whose rows may be those of one sequence.
        block.attention = nn.MultiheadAttention(4, 2)
    if why == "random slope":
        block.temporal = nn.Sequential(block.temporal, nn.RReLU())
    if why == "other norm":
        block.temporal.norm = nn.BatchNorm2d(block.temporal.norm.num_features)
    if why == "no momentum":
        block.temporal.norm.momentum = None
    model.train(why != "evaluation")
    rows: list[int] = []
    block.graph.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    with torch.set_grad_enabled(why != "no gradients"):
        model(clips(torch.float32))
    assert rows == [10]


def test_a_network_that_goes_over_persons_by_itself_sees_them_all() -> None:
    model: Any = small_model("stgcnpp").train()
    norm, rows = nn.BatchNorm2d(model.num_features), []

    class Own(type(model)):  # type: ignore[misc]
        def forward_persons(self, persons: Tensor) -> Tensor:
            rows.append(len(persons))
            return norm(super().forward_persons(persons))

    model.__class__ = Own
    model(clips(torch.float32))
    assert rows == [10]


def test_norms_that_are_frozen_count_nothing() -> None:
    model: Any = small_model("stgcnpp").train()
    rows: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    expected = model.eval()(clips(torch.float32))
    for module in model.modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True
    torch.testing.assert_close(model(clips(torch.float32)), expected)
    # Nobody else is in the way of a network whose persons are all there.
    model(torch.randn(2, 2, 9, 25, 3))
    assert rows == [10, 7, 4]


@pytest.mark.parametrize("samples", [1, 2])
def test_few_clips(samples: int) -> None:
    model = small_model("protogcn").train()
    found = clips(torch.float32)[1 : 1 + samples]
    logits, _ = model.forward_train(found)
    assert logits.shape[0] == samples and bool(logits.isfinite().all())
