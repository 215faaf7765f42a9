"""The image tower of CLIP: a vision transformer (Radford et al. 2021, section 2.4; Dosovitskiy et al. 2021)."""

import torch
from torch import Tensor, nn

from protogcn.models.options import check_counts
from protogcn.models.text.transformer import Activation, Transformer


class ClipImageTransformer(nn.Module):
    """Images to embeddings, with the state names of the image half of OpenAI's files (below ``visual.``).

    Args:
        image_size: height and width of the images, a multiple of ``patch``.
        patch: height and width of a patch.
        width: channels of a token.
        layers: blocks.
        heads: of the attention.
        embed_dim: size of an embedding, shared with the text tower.
        activation: ``"quick_gelu"`` as OpenAI, or ``"gelu"``, as most weights of open_clip.

    Raises:
        ValueError: a size that is no positive integer, or that does not divide what it must divide.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        embed_dim: int = 512,
        activation: Activation = "quick_gelu",
    ) -> None:
        super().__init__()
        check_counts(image_size=image_size, patch=patch, width=width, layers=layers, heads=heads, embed_dim=embed_dim)
        if image_size % patch:
            raise ValueError(f"image_size must be a multiple of patch, got {image_size} and {patch}")
        self.image_size = image_size
        tokens = (image_size // patch) ** 2 + 1
        scale = width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(tokens, width))
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, causal=False, activation=activation)
        self.ln_post = nn.LayerNorm(width)

    @property
    def embed_dim(self) -> int:
        """Size of an embedding."""
        return self.proj.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, image_size, image_size), normalised by CLIP's mean and deviation, to (N, embed_dim).

        Raises:
            ValueError: images of another shape.
        """
        size = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(
                f"the image tower takes images of shape (N, 3, {size}, {size}), got {tuple(images.shape)}: "
                f"crop or resize them to {size} x {size} pixels, channels (red, green, blue) first"
            )
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], 1)
        tokens = self.transformer(self.ln_pre(tokens + self.positional_embedding))
        return self.ln_post(tokens[:, 0]) @ self.proj
