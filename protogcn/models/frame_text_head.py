"""Frames against class names: the head of SkeletonCLIP++ in its variants.

The alignment follows Mukhoti et al., Open Vocabulary Semantic Segmentation with Patch Aligned Contrastive Learning,
CVPR 2023, with frames in the place of patches; the matching of pairs Li et al., BLIP, ICML 2022.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.text.bert import Bert
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text_bank import TextBank
from protogcn.models.text_facts import TextFacts

Variant = Literal["raw", "itm", "pacl", "pacl_batch"]
SHARPNESS = 10.0
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.001, 0.5


def align_to_classes(frames: Tensor, texts: Tensor, normalise: bool = False) -> Tensor:
    """Every clip as every class sees it: the sum of its frames, each weighted by sigmoid(10 cos(frame, class)).

    Args:
        frames: (N, T, D).
        texts: (C, D).
        normalise: whether frames of length one are summed.

    Returns:
        (N, C, D)
    """
    unit = functional.normalize(frames, dim=-1)
    weights = torch.sigmoid(SHARPNESS * unit @ functional.normalize(texts, dim=-1).mT)
    return weights.mT @ (unit if normalise else frames)


def align_to_own(frames: Tensor, texts: Tensor, normalise: bool = False) -> Tensor:
    """Every clip as its own text sees it: the mean of its frames, weighted by the softmax over them of the cosines.

    Args:
        frames: (N, T, D).
        texts: (N, D), one for each clip.
        normalise: whether frames of length one are averaged.

    Returns:
        (N, D)
    """
    unit = functional.normalize(frames, dim=-1)
    weights = (unit @ functional.normalize(texts, dim=-1).unsqueeze(2)).softmax(1)
    return (weights * (unit if normalise else frames)).sum(1)


class FrameTextHead(TextBank):
    """Frames (N, T, num_features) to cosines (N, classes) between clips and names; see :func:`skeletonclip_pp`.

    The logits are plain cosines, without the temperature, as the official network is tested.
    """

    def __init__(
        self,
        num_features: int,
        class_names: Sequence[str],
        text: TextEncoder | TextFacts,
        prompts: Sequence[str],
        train_text: bool,
        variant: Variant,
        normalise_frames: bool,
        video_width: int,
        embed_dim: int,
        temperature: float,
    ) -> None:
        if variant == "itm":
            text = _reader(text, train_text, video_width)
        super().__init__(class_names, text, prompts, train_text)
        if variant == "itm" and getattr(self.tower, "clip_width", None) != video_width:
            raise ValueError(f"the text tower of {text.name!r} does not read clips of video_width={video_width}")
        self.variant, self.normalise_frames = variant, normalise_frames
        if self.pooled:
            self.widen = nn.Linear(num_features, video_width)
            self.video = nn.Linear(video_width, embed_dim)
        else:
            self.bend = nn.Sequential(nn.Linear(num_features, embed_dim), nn.GELU(), nn.Linear(embed_dim, embed_dim))
            self.video = nn.Linear(num_features, embed_dim)
        self.text = nn.Linear(text.dim, embed_dim)
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))
        if variant == "itm":
            self.matching = nn.Linear(text.dim, 2)

    @property
    def pooled(self) -> bool:
        """Whether clips are compared as the mean over their frames."""
        return self.variant in ("raw", "itm")

    def before_step(self) -> None:
        """Bring the temperature back to its bounds; asked before every training step."""
        with torch.no_grad():
            self.temperature.clamp_(LEAST_TEMPERATURE, LARGEST_TEMPERATURE)

    def embed(self, frames: Tensor) -> Tensor:
        """Frames (N, T, num_features) in the space of the texts, (N, T, embed_dim)."""
        return self.video(self.widen(frames)) if self.pooled else self.bend(frames) + self.video(frames)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, T, num_features) to cosines (N, classes), averaged over the templates."""
        with torch.autocast(frames.device.type, enabled=False):
            return self._compare(self.embed(frames.to(self.temperature.dtype)), self.text(self.vectors()))

    def _compare(self, embedded: Tensor, texts: Tensor) -> Tensor:
        flat = functional.normalize(texts.flatten(0, 1), dim=-1)
        if self.pooled:
            cosines = functional.normalize(embedded.mean(1), dim=-1) @ flat.T
        else:
            aligned = align_to_classes(embedded, flat, self.normalise_frames)
            cosines = (functional.normalize(aligned, dim=-1) * flat).sum(-1)
        return cosines.unflatten(1, texts.shape[:2]).mean(1)

    def forward_train(self, frames: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Cosines (N, classes), and what :class:`protogcn.models.clip_losses.FrameTextCriterion` needs.

        Returns:
            The cosines and a dict of ``temperature``; but for variant ``pacl``, also of ``text_of``, which gives
            (N, embed_dim) texts of N labels, and ``embedding_for``, which gives (N, embed_dim) clips for N such texts;
            for variant ``itm`` in training, also of ``match``, which takes (P,) indices of clips and (P,) labels and
            gives (P, 2) logits of whether they do not or do belong together.
        """
        aux: dict[str, Any] = {"temperature": self.temperature}
        texts = None
        if self.training and self.variant == "pacl" and self.tower is not None:
            # This loss is over all classes, so that the tower learns from all of them in every step.
            texts = self.draw(torch.arange(len(self.class_names), device=frames.device))[None]
        with torch.autocast(frames.device.type, enabled=False):
            embedded = self.embed(frames.to(self.temperature.dtype))
            cosines = self._compare(embedded, self.text(self.vectors() if texts is None else texts))
        if self.variant == "pacl":
            return cosines, aux

        def embedding_for(texts: Tensor) -> Tensor:
            if self.pooled:
                return embedded.mean(1)
            return align_to_own(embedded, texts, self.normalise_frames)

        aux |= {"text_of": self.text_of, "embedding_for": embedding_for}
        if self.variant == "itm" and self.training:
            aux["match"] = lambda clips, labels: self.match(frames, clips, labels)
        return cosines, aux

    def match(self, frames: Tensor, clips: Tensor, labels: Tensor) -> Tensor:
        """Logits (P, 2) of whether clips do not, or do, show what a class name says, read by BERT word by word.

        Args:
            frames: (N, T, num_features).
            clips: (P,) which of them.
            labels: (P,) of the names, each in a template drawn for it.
        """
        assert isinstance(self.tower, Bert)
        widened = self.widen(frames.to(self.temperature.dtype))
        hidden = self.tower.read_with(self.draw_tokens(labels), widened[clips])
        with torch.autocast(hidden.device.type, enabled=False):
            return self.matching(hidden.to(self.temperature.dtype))

    def text_of(self, target: Tensor) -> Tensor:
        """Vectors (N, embed_dim) of the names of N labels, in training each in a template drawn for it."""
        hidden = self.draw(target) if self.training else self.vectors().mean(0)[target]
        with torch.autocast(hidden.device.type, enabled=False):
            return self.text(hidden)


def _reader(text: TextEncoder | TextFacts, train_text: bool, video_width: int) -> TextEncoder | TextFacts:
    """The text encoder with cross-attention to clips; the one that was given stays as it is.

    Raises:
        ValueError: it is no BERT, or not trained along.
    """
    if not train_text:
        raise ValueError("variant='itm' trains BERT to read clips and names together: leave out train_text=False")
    if isinstance(text, TextFacts):
        return text
    if not isinstance(text.tower, Bert):
        raise ValueError(
            f"variant='itm' reads clips and names together by BERT, and the text encoder {text.name!r} is none: give a "
            "folder with a BERT and its vocab.txt, or text_encoder='random-bert' for fresh weights"
        )
    text = copy.deepcopy(text)
    assert isinstance(text.tower, Bert)
    if text.tower.clip_width is None:
        text.tower.add_cross_attention(video_width)
    return text
