"""Learning rates as numbers, and what the optimisers are told."""

import itertools
import math

import pytest
import torch
from torch import nn

from protogcn.training.optimizers import learning_rate_factor, make_optimizer
from protogcn.training.recipe import OptimizerConfig, ScheduleConfig


def factors(steps, per_epoch, **config):
    factor = learning_rate_factor(ScheduleConfig(**config), steps, per_epoch)
    return [factor(step) for step in range(steps + 1)]


def test_cosine_falls_from_one_to_zero():
    values = factors(100, 10, name="cosine")
    assert values[0] == 1 and values[50] == pytest.approx(0.5) and values[100] == pytest.approx(0, abs=1e-15)
    assert values[25] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def test_cosine_agrees_with_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for value in factors(40, 8, name="cosine")[:40]:
        assert value == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_warm_up_rises_linearly_then_the_schedule_begins():
    values = factors(100, 10, name="cosine", warmup_epochs=2)
    assert values[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert values[20] == 1 and values[60] == pytest.approx(0.5) and values[100] == pytest.approx(0, abs=1e-15)
    assert factors(10, 10, name="constant", warmup_epochs=0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1] * 7)


def test_steps_fall_at_the_milestones():
    values = factors(60, 10, name="step", milestones=[2, 4], gamma=0.1)
    assert values[:20] == [1] * 20
    assert values[20:40] == pytest.approx([0.1] * 20) and values[40:] == pytest.approx([0.01] * 21)
    warm = factors(60, 10, name="step", milestones=[2], gamma=0.5, warmup_epochs=1)
    assert warm[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert warm[10:20] == [1] * 10 and warm[20:] == [0.5] * 41


def test_rates_that_move_from_epoch_to_epoch_only():
    """CTR-GCN: rate * (epoch + 1) / 5 for five epochs, then a tenth at each milestone."""
    values = factors(80, 4, name="step", milestones=[10, 15], warmup_epochs=5, interval="epoch")
    expected = [(epoch + 1) / 5 if epoch < 5 else 0.1 ** ((epoch >= 10) + (epoch >= 15)) for epoch in range(20)]
    assert values[:80] == pytest.approx([rate for rate in expected for _ in range(4)])
    cosine = factors(40, 4, name="cosine", interval="epoch")
    assert cosine[:40] == pytest.approx([(1 + math.cos(math.pi * (step // 4) / 10)) / 2 for step in range(40)])


def test_constant_stays():
    assert factors(7, 3, name="constant") == [1] * 8


def test_a_warm_up_longer_than_the_run_stays_finite():
    values = factors(5, 5, name="cosine", warmup_epochs=3)
    assert all(0 < value <= 1 for value in values)


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_sgd_is_told_everything_and_gets_every_parameter():
    model = network()
    optimizer = make_optimizer(OptimizerConfig("sgd", 0.3, 0.01, 0.8, True), model.named_parameters())
    assert isinstance(optimizer, torch.optim.SGD) and len(optimizer.param_groups) == 1
    group = optimizer.param_groups[0]
    told = (group["lr"], group["weight_decay"], group["momentum"], group["nesterov"])
    assert told == (0.3, 0.01, 0.8, True)
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}


def test_sgd_without_momentum_is_plain():
    group = make_optimizer(OptimizerConfig(momentum=0.0), network().named_parameters()).param_groups[0]
    assert group["momentum"] == 0 and not group["nesterov"]


def test_adamw_decays_apart_from_the_gradient():
    model = network()
    optimizer = make_optimizer(OptimizerConfig("adamw", 0.1, 0.5), model.named_parameters())
    assert isinstance(optimizer, torch.optim.AdamW)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for was, now in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), was * (1 - 0.1 * 0.5))
