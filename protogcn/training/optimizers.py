"""Optimiser and learning-rate schedule of a recipe."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn

from graphs.messages import unknown
from protogcn.training.recipe import OptimizerConfig, ScheduleConfig


def make_optimizer(
    config: OptimizerConfig,
    parameters: Iterable[tuple[str, nn.Parameter]],
    depths: Mapping[str, int] | None = None,
    *,
    fused: bool = True,
) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters that train, weight decay on every one as in the published recipes.

    Parameters of one rate and one decay form a group. What is frozen is in none, and so has no state.

    Args:
        config: section ``optimizer`` of a recipe.
        parameters: full names and parameters, those that are frozen included.
        depths: full name -> depth, for ``layer_decay``; names that are missing lie in the head.
        fused: one kernel for all parameters; it unscales gradients itself, so that they cannot be clipped before.

    Raises:
        ValueError: nothing trains, or a multiplier matches no parameter; the message lists near names.
    """
    named = dict(parameters)
    rates = _factors("optimizer.multipliers", config.multipliers, named)
    decays = _factors("optimizer.decay_multipliers", config.decay_multipliers, named)
    if config.layer_decay < 1 and depths:
        head = max(depths.values())
        rates = {name: rate * config.layer_decay ** (head - depths.get(name, head)) for name, rate in rates.items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            groups.setdefault((rates[name], decays[name]), []).append(parameter)
    if not groups:
        raise ValueError("every parameter of the network is frozen: there is nothing to train")
    told = [
        {"params": members, "lr": config.lr * rate, "weight_decay": config.weight_decay * decay}
        for (rate, decay), members in groups.items()
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(told, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)
    return torch.optim.SGD(
        told,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        fused=fused,
    )


def _factors(key: str, multipliers: Mapping[str, float], named: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """The factor of each parameter: that of the longest word in its name, the first in the alphabet of equally long.

    Raises:
        ValueError: a word is in no name.
    """
    for word in multipliers:
        if not any(word in name for name in named):
            # Parts of names are more likely meant than whole ones: a module, or the last word of several parameters.
            parts = {part for name in named for part in name.split(".") if not part.isdecimal()}
            raise ValueError(f"{unknown(f'part of a parameter name in {key}', word, sorted(parts | set(named)))}")
    ordered = sorted(sorted(multipliers), key=len, reverse=True)
    return {name: next((multipliers[word] for word in ordered if word in name), 1.0) for name in named}


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
    over = config.warmup_start > 0

    def factor(step: int) -> float:
        if step < warmup and not over:
            return (step + 1) / warmup
        rise = 1.0
        if step < warmup:
            rise = config.warmup_start + (1 - config.warmup_start) * step / warmup
        begin = 0 if over else warmup
        if config.name == "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * (step - begin) / max(1, steps - begin)))
        if config.name == "step":
            return rise * config.gamma ** sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
        return rise

    return factor
