"""Classes as texts: a head that compares clips with the names of the classes, on any backbone.

After CLIP (Radford et al., ICML 2021), ActionCLIP (Wang et al., 2021) and SkeletonCLIP.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.messages import unknown
from protogcn.models.options import check_options
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text.prompts import PROMPTS
from protogcn.models.text_bank import TextBank, check_names, make_encoder
from protogcn.models.text_facts import TextFacts

# The logarithm of the temperature's inverse: what CLIP had learned, and what it started from.
LEARNED_SCALE, FRESH_SCALE = 4.6052, math.log(1 / 0.07)
HEAD_OPTIONS = (
    "class_names",
    "text_encoder",
    "prompts",
    "train_text",
    "projection",
    "logit_scale",
    "largest_logit_scale",
)


class TextHead(TextBank):
    """Features (N, num_features) to logits (N, classes), by the texts of the classes.

    The logit of a class is the logarithm of its probability: the softmax over the classes of cosine similarities times
    exp(logit_scale), averaged over the templates.

    Args:
        num_features: of the backbone.
        class_names: in the order of the labels.
        text: encoder of the names, or what a file says of it.
        prompts: templates with one ``{}`` each.
        train_text: whether the tower is trained.
        projection: whether features pass a linear map to the length of the text vectors; None where they differ.
        logit_scale: to start from; None takes 4.6052 for a pre-trained text tower, else ln(1 / 0.07).
        largest_logit_scale: what it is cut to before each training step; None lets it grow, as published for skeletons.

    Raises:
        ValueError: names or templates are empty, twice there or not to be told apart; features and texts differ in
            length and ``projection`` is False.
    """

    def __init__(
        self,
        num_features: int,
        class_names: Sequence[str],
        text: TextEncoder | TextFacts,
        prompts: Sequence[str] = PROMPTS,
        train_text: bool = False,
        projection: bool | None = None,
        logit_scale: float | None = None,
        largest_logit_scale: float | None = None,
    ) -> None:
        super().__init__(class_names, text, prompts, train_text)
        if projection is None:
            projection = num_features != text.dim
        if not projection and num_features != text.dim:
            raise ValueError(
                f"the network has {num_features} features and the texts vectors of {text.dim}: leave projection out, "
                "which puts a linear map between them"
            )
        self.projection = nn.Linear(num_features, text.dim) if projection else nn.Identity()
        if logit_scale is None:
            logit_scale = FRESH_SCALE if text.name.startswith("random") else LEARNED_SCALE
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))
        self.largest_logit_scale = largest_logit_scale

    def before_step(self) -> None:
        """Cut the temperature where it is bounded; asked before every training step."""
        if self.largest_logit_scale is not None:
            with torch.no_grad():
                self.logit_scale.clamp_(max=self.largest_logit_scale)

    def embed(self, features: Tensor) -> Tensor:
        """Features (..., num_features) in the space of the texts (..., dim), not normalised."""
        with torch.autocast(features.device.type, enabled=False):
            return self.projection(features.to(self.logit_scale.dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, num_features) to logits (N, classes), whose exponentials sum to one."""
        return self._classify(self.embed(features))

    def _classify(self, embedding: Tensor) -> Tensor:
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = functional.normalize(embedding, dim=-1) @ functional.normalize(self.vectors(), dim=-1).mT
            by_template = functional.log_softmax(self.logit_scale.exp() * cosines, -1)
            return by_template.logsumexp(0) - math.log(len(self.prompts))

    def forward_train(self, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits (N, classes), and what :class:`protogcn.models.clip_losses.ClipContrastive` needs.

        Returns:
            The logits and a dict of ``embedding`` (N, dim), ``text_of`` (see :meth:`text_of`) and ``logit_scale``.
        """
        embedding = self.embed(features)
        aux = {"embedding": embedding, "text_of": self.text_of, "logit_scale": self.logit_scale}
        return self._classify(embedding), aux

    def text_of(self, target: Tensor) -> Tensor:
        """Vectors (N, dim) of the names of N labels, not normalised.

        In training, each in a template of its own, drawn from the global generator, with gradients where the tower is
        trained; else the mean over the templates, each of length one.
        """
        if not self.training:
            return functional.normalize(self.vectors(), dim=-1).mean(0)[target]
        return self.draw(target)


def text_head(
    num_features: int,
    num_classes: int,
    *,
    class_names: Sequence[str] = (),
    text_encoder: str | Path | TextEncoder | TextFacts | None = None,
    prompts: Sequence[str] = PROMPTS,
    train_text: bool = False,
    projection: bool | None = None,
    logit_scale: float | None = None,
    largest_logit_scale: float | None = None,
) -> TextHead:
    """A :class:`TextHead`, whose arguments these are, for a number of classes.

    Raises:
        FileNotFoundError: no such text weights.
        ValueError: a name for each class is missing, or as :class:`TextHead`.
    """
    check_names(class_names, num_classes)
    text = text_encoder if isinstance(text_encoder, TextFacts) else make_encoder(text_encoder)
    return TextHead(num_features, class_names, text, prompts, train_text, projection, logit_scale, largest_logit_scale)


def check_head_options(name: str, options: dict[str, Any], others: Iterable[str]) -> None:
    """Refuse what is no option of ``head="clip"``.

    Raises:
        ValueError: naming it, and near matches among these options and the others that the model takes.
    """
    for key in options:
        if key not in HEAD_OPTIONS:
            raise ValueError(unknown(f"option of {name} with head clip", key, (*others, *HEAD_OPTIONS), show_all=True))
    check_options("the head clip", text_head, options)
