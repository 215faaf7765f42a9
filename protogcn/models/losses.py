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
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            from torch.distributed.nn.functional import all_reduce

            total, count = all_reduce(total), all_reduce(count)
        fresh = self.momentum * memory + (1 - self.momentum) * total / (count + EPSILON)
        return torch.where(count > 0, fresh, memory)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    return vectors / (torch.linalg.vector_norm(vectors, dim=dim, keepdim=True) + EPSILON)
