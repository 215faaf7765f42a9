"""Optimiser and learning-rate schedule of a recipe."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import nn

from protogcn.training.recipe import OptimizerConfig, ScheduleConfig


def make_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters, weight decay on every one as in the published recipes."""
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate_factor(config: ScheduleConfig, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Factor of the learning rate at each optimiser step, for ``LambdaLR``.

    Args:
        config: the schedule.
        steps: optimiser steps of the whole run.
        steps_per_epoch: optimiser steps of one epoch.
    """
    if config.interval == "epoch":
        by_epoch = replace(config, interval="iteration")
        factor_of = learning_rate_factor(by_epoch, steps // steps_per_epoch, 1)
        return lambda step: factor_of(step // steps_per_epoch)
    warmup = round(config.warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
        if config.name == "step":
            return config.gamma ** sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
        return 1.0

    return factor
