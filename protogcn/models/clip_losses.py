"""Contrastive criteria between clips and texts (ActionCLIP, Wang et al., 2021; SkeletonCLIP; SkeletonCLIP++).

As published, a batch is what one process holds: texts and clips of other processes are no negatives, so that the loss
of several processes is the mean of their own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def kl_contrastive(logits: Tensor, labels: Tensor, sharpness: float = 10.0) -> Tensor:
    """Kullback-Leibler divergence of each row from a soft target that all columns of the row's label share.

    The target of row i is softmax_j(sharpness * [label_i = label_j]), the divergence is summed over columns and
    averaged over rows (ActionCLIP, section 3.1).

    Args:
        logits: (B, B) similarities of row i to column j, times the temperature.
        labels: (B,) class indices of rows and columns.
        sharpness: of the target; as published, a batch of 8 different labels leaves 0.03 % to the negatives.
    """
    target = functional.softmax(sharpness * _same(labels).to(logits.dtype), 1)
    return functional.kl_div(functional.log_softmax(logits, 1), target, reduction="batchmean")


def soft_contrastive(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each row to a target spread evenly over the columns of the row's label (SkeletonCLIP++).

    Args:
        logits: (B, B) similarities of row i to column j, divided by the temperature.
        labels: (B,) class indices of rows and columns.
    """
    same = _same(labels).to(logits.dtype)
    return functional.cross_entropy(logits, same / same.sum(1, keepdim=True))


def draw_hard_negatives(logits: Tensor, labels: Tensor) -> Tensor:
    """For each row a column of another label, the likelier the more similar it is (ITM of SkeletonCLIP++, as in BLIP).

    One is drawn from the softmax over the columns of other labels, by the global generator.

    Args:
        logits: (B, B) similarities of row i to column j, divided by the temperature.
        labels: (B,) class indices of rows and columns, of two classes at least.

    Returns:
        (B,) columns.
    """
    chances = logits.detach().masked_fill(_same(labels), -torch.inf).softmax(1)
    return torch.multinomial(chances, 1)[:, 0]


def matching_loss(match: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of telling pairs of a clip and a text that belong together from hard ones that do not.

    Of B clips there are 3 B pairs: each with its own text, with a hard text, and each text with a hard clip.

    Args:
        match: (P,) indices of clips and (P,) labels of texts to (P, 2) logits of not belonging and belonging together.
        logits: (B, B) similarities of clip i to text j, divided by the temperature.
        labels: (B,) class indices.

    Returns:
        The mean over the pairs; zero where all labels are the same, so that nothing does not belong together.
    """
    clips = torch.arange(len(labels), device=labels.device)
    if not (labels != labels[0]).any():
        # Processes that train together expect gradients of the same weights in every step.
        return 0 * match(clips[:1], labels[:1]).sum()
    texts, hard_clips = draw_hard_negatives(logits, labels), draw_hard_negatives(logits.T, labels)
    found = match(torch.cat([clips, clips, hard_clips]), labels[torch.cat([clips, texts, clips])])
    belongs = torch.cat([torch.ones_like(labels), torch.zeros_like(labels), torch.zeros_like(labels)])
    return functional.cross_entropy(found, belongs)


def _same(labels: Tensor) -> Tensor:
    return labels[:, None] == labels[None]


class ClipContrastive(nn.Module):
    """Symmetric contrastive loss between the clips of a batch and the texts of their labels.

    The mean of :func:`kl_contrastive` of clips to texts and of texts to clips, over cosine similarities times the
    temperature that the head learns. What the classes of the head get is told beside it: ``cross_entropy`` of its
    logits, and ``retrieval``, the share of clips whose nearest text of the batch is of their own label.

    Args:
        sharpness: of the targets.
    """

    def __init__(self, sharpness: float = 10.0) -> None:
        super().__init__()
        if sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, got {sharpness}")
        self.sharpness = sharpness

    def forward(self, logits: Tensor, aux: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        """Loss terms.

        Args:
            logits: (N, num_classes), which the loss does not depend on.
            aux: ``embedding`` (N, dim), ``text_of``, which gives (N, dim) texts of N labels, and ``logit_scale``, the
                logarithm of the temperature's inverse; from ``forward_train`` of a model with a text head.
            target: (N,) class indices.

        Raises:
            ValueError: the model has no text head.
        """
        require(aux, "embedding", "text_of", "logit_scale")
        texts = aux["text_of"](target)
        with torch.autocast(logits.device.type, enabled=False):
            similarity = _unit(aux["embedding"].to(texts.dtype)) @ _unit(texts).T
            per_clip = aux["logit_scale"].exp() * similarity
            clip_to_text = kl_contrastive(per_clip, target, self.sharpness)
            text_to_clip = kl_contrastive(per_clip.T, target, self.sharpness)
        loss = (clip_to_text + text_to_clip) / 2
        return {
            "loss": loss,
            "cross_entropy": functional.cross_entropy(logits, target).detach(),
            "clip_to_text": clip_to_text.detach(),
            "text_to_clip": text_to_clip.detach(),
            "retrieval": (target[per_clip.argmax(1)] == target).to(loss.dtype).mean(),
        }


class FrameTextCriterion(nn.Module):
    """The losses of SkeletonCLIP++, by what its variant gives.

    Where clips are compared with the texts of the batch, the mean of :func:`soft_contrastive` of clips to texts and of
    texts to clips; where every class weighs the frames, cross entropy over all classes. Both of cosines divided by the
    learned temperature. Where clips and texts are read together, :func:`matching_loss` is added.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, logits: Tensor, aux: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        """Loss terms.

        Args:
            logits: (N, num_classes) cosines.
            aux: ``temperature``, and for losses over the batch ``text_of``, labels to (N, dim) texts, and
                ``embedding_for``, these to (N, dim) clips, and perhaps ``match``, see :func:`matching_loss`; from
                ``forward_train`` of SkeletonCLIP++.
            target: (N,) class indices.

        Raises:
            ValueError: the model is not SkeletonCLIP++.
        """
        require(aux, "temperature")
        over_classes = functional.cross_entropy(logits / aux["temperature"], target)
        if "text_of" not in aux:
            return {"loss": over_classes, "cross_entropy": over_classes.detach()}
        texts = aux["text_of"](target)
        with torch.autocast(logits.device.type, enabled=False):
            per_clip = _unit(aux["embedding_for"](texts)) @ _unit(texts).T / aux["temperature"]
            clip_to_text, text_to_clip = soft_contrastive(per_clip, target), soft_contrastive(per_clip.T, target)
        terms = {
            "loss": (clip_to_text + text_to_clip) / 2,
            "cross_entropy": over_classes.detach(),
            "clip_to_text": clip_to_text.detach(),
            "text_to_clip": text_to_clip.detach(),
        }
        if "match" in aux:
            matching = matching_loss(aux["match"], per_clip, target)
            terms |= {"loss": terms["loss"] + matching, "matching": matching.detach()}
        return terms


def require(aux: dict[str, Any], *keys: str) -> None:
    """Refuse a training step of a model that lacks what a criterion needs.

    Raises:
        ValueError: naming what is missing.
    """
    if missing := [key for key in keys if key not in aux]:
        raise ValueError(
            f"this loss compares clips with texts and needs {', '.join(missing)} of forward_train, which only models "
            "with a text head give: build the model by create_model(..., head='clip', class_names=..., "
            "text_encoder=...); a network of your own that overrides forward_train returns what self.classify gives"
        )


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)
