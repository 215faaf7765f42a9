"""Training criteria: ``criterion(logits, aux, target) -> {"loss": ..., and its terms}``."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-12


class CrossEntropy(nn.Module):
    """Cross entropy, optionally with label smoothing.

    Args:
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, aux: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        loss = functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        return {"loss": loss, "cross_entropy": loss.detach()}


class ClassContrastiveCriterion(CrossEntropy):
    """Cross entropy plus ProtoGCN's class-specific contrastive loss (section 3.4 of the paper).

    The embedding of each rebuilt topology is pulled to the remembered mean of its class and pushed from the others:
    cross entropy over cosine similarities to the class memory, divided by a temperature. The memory of a class moves
    towards the mean of the batch's correctly classified samples of that class before it is read, and the gradient
    flows through that fresh part. With several processes the means are taken over all of them. In evaluation mode the
    memory is read as it stands and left alone, so that a validation loss learns nothing from its labels.

    Args:
        contrastive_weight: published 0.2 for j and jm, 0.3 for b and bm, 0.1 for k and km.
        temperature: of the similarities.
        momentum: what a class memory keeps of itself in an update.
        label_smoothing: of the cross entropy on the logits.
    """

    def __init__(
        self,
        contrastive_weight: float = 0.2,
        temperature: float = 0.125,
        momentum: float = 0.9,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing)
        for word, value, good, expected in (
            ("contrastive_weight", contrastive_weight, contrastive_weight >= 0, "be at least 0"),
            ("temperature", temperature, temperature > 0, "be above 0"),
            ("momentum", momentum, 0 <= momentum <= 1, "lie in [0, 1]"),
        ):
            if not good:
                raise ValueError(f"{word} must {expected}, got {value}")
        self.contrastive_weight = contrastive_weight
        self.temperature = temperature
        self.momentum = momentum

    def forward(self, logits: Tensor, aux: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        """Loss terms; in training mode updates ``aux["class_memory"]`` in place.

        Args:
            logits: (N, num_classes).
            aux: ``embedding`` (N, F) and ``class_memory`` (F, num_classes), from ``ProtoGCN.forward_train``.
            target: (N,) class indices.
        """
        terms = super().forward(logits, aux, target)
        # The similarities are divided by a small temperature: reduced precision would show.
        with torch.autocast(logits.device.type, enabled=False):
            embedding = aux["embedding"].to(aux["class_memory"].dtype)
            memory = aux["class_memory"].detach()
            if self.training:
                memory = self._updated(memory, embedding, logits, target)
                aux["class_memory"].copy_(memory.detach())
            similarity = _unit(embedding, 1) @ _unit(memory, 0) / self.temperature
            contrastive = functional.cross_entropy(similarity, target)
        loss = terms["loss"] + self.contrastive_weight * contrastive
        return {**terms, "loss": loss, "contrastive": contrastive.detach()}

    def _updated(self, memory: Tensor, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        classes = memory.shape[1]
        correct = functional.one_hot(target, classes) * (logits.detach().argmax(1) == target).unsqueeze(1)
        correct = correct.to(embedding.dtype)
        total, count = embedding.T @ correct, correct.sum(0)
        total, count = summed_over_processes(total), summed_over_processes(count)
        fresh = self.momentum * memory + (1 - self.momentum) * total / (count + EPSILON)
        return torch.where(count > 0, fresh, memory)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    return vectors / (torch.linalg.vector_norm(vectors, dim=dim, keepdim=True) + EPSILON)


class InformationBottleneckCriterion(CrossEntropy):
    """Cross entropy plus InfoGCN's bounds on the latent code (sections 3.1 and 3.2 of the paper).

    The mean code of each class of the batch is pulled to the prior of that class, and the mean code of the batch to
    zero. In training mode both means are taken over all processes, so that their number does not change the loss.

    Args:
        class_mean_weight: of the mean squared distance between class means and their priors (lambda 2).
        mean_norm_weight: of the norm of the mean code (lambda 1).
        label_smoothing: of the cross entropy on the logits.
    """

    def __init__(
        self, class_mean_weight: float = 0.1, mean_norm_weight: float = 1e-4, label_smoothing: float = 0.1
    ) -> None:
        super().__init__(label_smoothing)
        for word, value in (("class_mean_weight", class_mean_weight), ("mean_norm_weight", mean_norm_weight)):
            if value < 0:
                raise ValueError(f"{word} must be at least 0, got {value}")
        self.class_mean_weight = class_mean_weight
        self.mean_norm_weight = mean_norm_weight

    def forward(self, logits: Tensor, aux: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        """Loss terms.

        Args:
            logits: (N, num_classes).
            aux: ``latent`` (N, F) and ``prior`` (num_classes, F), from ``InfoGCN.forward_train``.
            target: (N,) class indices.
        """
        terms = super().forward(logits, aux, target)
        prior = aux["prior"]
        latent = aux["latent"].to(prior.dtype)
        total = torch.zeros_like(prior).index_add(0, target, latent)
        count = prior.new_zeros(len(prior)).index_add(0, target, prior.new_ones(len(target)))
        if self.training:
            total, count = summed_over_processes(total), summed_over_processes(count)
        means = total / count.clamp(min=1).unsqueeze(1)
        present = (count > 0).to(prior.dtype)
        distance = ((means - prior).square().mean(1) * present).sum() / present.sum()
        norm = torch.linalg.vector_norm(total.sum(0) / count.sum())
        loss = terms["loss"] + self.class_mean_weight * distance + self.mean_norm_weight * norm
        return {
            **terms,
            "loss": loss,
            "class_mean_distance": distance.detach(),
            "latent_mean_norm": norm.detach(),
        }


class _Summed(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum over processes of the gradients.

    torch.distributed.nn holds on to the first process group it meets, whose threads then outlive the training and may
    abort the process at its end.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _Summed.apply(gradients[0])
        return total


def summed_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, which gradients flow through; the tensor itself where there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        total: Tensor = _Summed.apply(values)
        return total
    return values
