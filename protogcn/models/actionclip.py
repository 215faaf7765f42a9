"""ActionCLIP (Wang et al. 2021): videos and sentences in one space, CLIP's towers and a fusion over the frames.

It takes pictures, not skeletons, and is therefore built by its class rather than by name from the catalogue.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.clip_image import ClipImageTransformer
from protogcn.models.fusion_heads import HEAD_WIDTH, create_fusion, fusion_name
from protogcn.models.text.clip_text import ClipTextTransformer

# The released evaluation scales cosines by this number, whatever temperature was learned.
TEST_SCALE = 100.0
FRESH_LOGIT_SCALE = math.log(1 / 0.07)


class ActionCLIP(nn.Module):
    """Frames to a vector, sentences to a vector, and how alike they are.

    Args:
        image: CLIP's image tower.
        text: CLIP's text tower, of the same ``embed_dim``.
        fusion: what makes one vector out of those of the frames, a name of
            :func:`protogcn.models.fusion_heads.create_fusion`.
        frames: T of a video; ``transformer_class_token`` takes no other.
        logit_scale: logarithm of what multiplies the cosines in training; learned.
        **options: of the fusion, for example ``layers=6``.

    Raises:
        ValueError: towers of different ``embed_dim``, or a fusion or an option of it that does not exist.
    """

    def __init__(
        self,
        image: ClipImageTransformer,
        text: ClipTextTransformer,
        fusion: str = "transformer",
        frames: int = 8,
        logit_scale: float = FRESH_LOGIT_SCALE,
        **options: Any,
    ) -> None:
        super().__init__()
        if image.embed_dim != text.embed_dim:
            raise ValueError(
                f"both towers must give vectors of one length; the image tower gives {image.embed_dim} numbers and the "
                f"text tower {text.embed_dim}: take them from the same weights"
            )
        if fusion_name(fusion) == "transformer":
            # Released weights count the heads by the width of the text tower, not by that of the frames' vectors.
            options = {"heads": max(1, text.width // HEAD_WIDTH)} | options
        self.image = image
        self.text = text
        self.fusion = create_fusion(fusion, image.embed_dim, frames=frames, **options)
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))

    def forward_frames(self, frames: Tensor) -> Tensor:
        """Frames (N, T, 3, H, W), normalised as CLIP's, to one vector each (N, T, embed_dim).

        Raises:
            ValueError: frames of another shape.
        """
        size = self.image.image_size
        if frames.ndim != 5 or frames.shape[2:] != (3, size, size) or 0 in frames.shape:
            hint = ""
            if frames.ndim == 5 and frames.shape[1] == 3 and frames.shape[2] != 3:
                hint = " This looks like (N, C, T, H, W): turn it by frames.transpose(1, 2)."
            raise ValueError(
                f"the model takes frames of shape (N videos, T frames, 3, {size}, {size}); "
                f"got {tuple(frames.shape)}.{hint}"
            )
        return self.image(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def forward_video(self, frames: Tensor) -> Tensor:
        """Frames (N, T, 3, H, W) to vectors of videos (N, embed_dim), not normalised."""
        return self.fusion(self.forward_frames(frames))

    def forward(self, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How alike every video of a batch and every sentence are, for the contrastive loss.

        Args:
            frames: (N, T, 3, H, W).
            tokens: (L, context_length), one sentence per video in training.

        Returns:
            Cosines times ``exp(logit_scale)``: (N, L) and their transpose (L, N).
        """
        videos, sentences = self._unit(self.forward_video(frames)), self._unit(self.text(tokens))
        with torch.autocast(frames.device.type, enabled=False):
            logits = self.logit_scale.exp() * videos @ sentences.T
        return logits, logits.T

    def _unit(self, vectors: Tensor) -> Tensor:
        # Cosines are multiplied by up to a hundred, where reduced precision would show.
        return functional.normalize(vectors.to(self.logit_scale.dtype), dim=-1)

    def embed_classes(self, tokens: Tensor, num_classes: int, batch_size: int = 256) -> Tensor:
        """Unit vectors of all classes in all templates, computed once for many videos.

        Args:
            tokens: (templates * num_classes, context_length), row = template * num_classes + class, the order of
                :func:`protogcn.models.text.prompts.fill`.
            num_classes: how many classes.
            batch_size: rows that pass the text tower at once.

        Returns:
            (templates, num_classes, embed_dim)

        Raises:
            ValueError: the number of rows is no multiple of ``num_classes``.
        """
        if num_classes < 1 or not len(tokens) or len(tokens) % num_classes:
            raise ValueError(
                f"{len(tokens)} rows of tokens are not a number of templates times {num_classes} classes: fill every "
                "template with every class name"
            )
        vectors = torch.cat([self.text(rows) for rows in tokens.split(batch_size)])
        return self._unit(vectors).unflatten(0, (-1, num_classes))

    def class_scores(self, frames: Tensor, classes: Tensor) -> Tensor:
        """Probabilities of classes: softmax of the scaled cosines in every template, mean over templates.

        Args:
            frames: (N, T, 3, H, W).
            classes: (templates, num_classes, embed_dim) of unit length, from :meth:`embed_classes`.

        Returns:
            (N, num_classes), rows sum to 1.
        """
        videos = self._unit(self.forward_video(frames))
        with torch.autocast(frames.device.type, enabled=False):
            cosines = torch.einsum("nd,pkd->npk", videos, classes)
            return (TEST_SCALE * cosines).softmax(-1).mean(1)

    def official_entries(self) -> dict[str, str]:
        """Own state entry -> its name in the official implementation: CLIP below ``model.``, then ``fusion_model.``."""
        names = {}
        for own in self.state_dict():
            part, _, rest = own.partition(".")
            if part == "fusion":
                prefix = next(key for key in self.fusion.OFFICIAL if rest == key or rest.startswith(f"{key}."))
                names[own] = f"fusion_model.{self.fusion.OFFICIAL[prefix]}{rest.removeprefix(prefix)}"
            else:
                names[own] = "model." + {"image": f"visual.{rest}", "text": rest}.get(part, own)
        return names
