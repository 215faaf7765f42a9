"""The text tower of CLIP (Radford et al., ICML 2021, section 2.4), under the state names of OpenAI's release."""

import math

import torch
from torch import Tensor, nn

from protogcn.models.text.transformer import Activation, Transformer, draw

CONTEXT_LENGTH = 77
VOCAB_SIZE = 49408


class ClipTextTransformer(nn.Module):
    """A causal transformer over tokens; the vector of a text is its output at the end mark, projected.

    Fresh weights follow the paper's initialisation; the defaults are the sizes of ViT-B/32 and ViT-B/16.

    Args:
        context_length: longest row of tokens.
        vocab_size: number of tokens; the end mark is the greatest.
        width: channels of the transformer.
        heads: attention heads.
        layers: blocks.
        embed_dim: length of the vectors that come out.
        activation: ``"quick_gelu"``, OpenAI's, or ``"gelu"``.
        norm_eps: of the layer normalisations.

    Raises:
        ValueError: ``heads`` does not divide ``width``, or an unknown activation.
    """

    def __init__(
        self,
        context_length: int = CONTEXT_LENGTH,
        vocab_size: int = VOCAB_SIZE,
        width: int = 512,
        heads: int = 8,
        layers: int = 12,
        embed_dim: int = 512,
        activation: Activation = "quick_gelu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.context_length, self.vocab_size = context_length, vocab_size
        self.width, self.embed_dim, self.activation = width, embed_dim, activation
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.transformer = Transformer(width, layers, heads, True, norm_eps, activation)
        self.token_embedding = nn.Embedding.from_pretrained(torch.empty(vocab_size, width), freeze=False)
        self.ln_final = nn.LayerNorm(width, norm_eps)
        draw(self.token_embedding.weight, std=0.02)
        draw(self.positional_embedding, std=0.01)
        draw(self.text_projection, std=1 / math.sqrt(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors of texts, not normalised.

        Args:
            tokens: (N, L) integers, L at most ``context_length``. Positions after the end mark change nothing, so rows
                may be cut there.

        Returns:
            (N, embed_dim)

        Raises:
            ValueError: rows of another number of axes, or longer than ``context_length``.
        """
        if tokens.ndim != 2 or tokens.shape[1] > self.context_length:
            raise ValueError(
                f"tokens have shape {tuple(tokens.shape)}; this text tower takes (N, at most {self.context_length})"
            )
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        at_end = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(dim=1)]
        return at_end @ self.text_projection
