"""BERT (Devlin et al., NAACL 2019) that can also read a text together with a clip, as BLIP does (Li et al., ICML 2022).

State names are those of BLIP's text encoder, which are those of BERT with ``crossattention`` beside ``attention``.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.models.options import check_counts
from protogcn.models.text.transformer import draw

PADDING = 0
# BERT's 30522, and the marks [DEC] and [ENC] that BLIP adds.
VOCAB_SIZE, ADDED = 30524, 2
_DEVIATION = 0.02


class Attention(nn.Module):
    """Multi-head attention of a sequence (N, L, width) to another one (N, S, context_width), or to itself."""

    def __init__(self, width: int, heads: int, dropout: float, context_width: int) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(N, L, width); ``mask`` (N, 1, 1, S) is true where the context counts."""
        query, key, value = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (self.query(x), self.key(context), self.value(context))
        )
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return mixed.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear map, added to what the sub-layer was given and normalised after that."""

    def __init__(self, inner_width: int, width: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner_width, width)
        self.LayerNorm = nn.LayerNorm(width, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + given)


class AttentionLayer(nn.Module):
    """Attention and its output."""

    def __init__(
        self, width: int, heads: int, dropout: float, norm_eps: float, context_width: int | None = None
    ) -> None:
        super().__init__()
        self.self = Attention(width, heads, dropout, context_width or width)
        self.output = Output(width, width, dropout, norm_eps)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.output(self.self(x, context, mask), x)


class Layer(nn.Module):
    """Attention to the text, perhaps to a clip, and a perceptron."""

    def __init__(self, width: int, heads: int, inner_width: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.attention = AttentionLayer(width, heads, dropout, norm_eps)
        self.crossattention: AttentionLayer | None = None
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner_width)})
        self.output = Output(inner_width, width, dropout, norm_eps)

    def forward(self, x: Tensor, mask: Tensor, frames: Tensor | None) -> Tensor:
        x = self.attention(x, x, mask)
        if frames is not None and self.crossattention is not None:
            x = self.crossattention(x, frames)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class Embeddings(nn.Module):
    """Words and their places."""

    def __init__(self, vocab_size: int, width: int, positions: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        # Not drawn by torch, which would be in vain.
        words, places = torch.empty(vocab_size, width), torch.empty(positions, width)
        self.word_embeddings = nn.Embedding.from_pretrained(words, freeze=False)
        self.position_embeddings = nn.Embedding.from_pretrained(places, freeze=False)
        self.LayerNorm = nn.LayerNorm(width, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        placed = self.word_embeddings(tokens) + self.position_embeddings.weight[: tokens.shape[1]]
        return self.dropout(self.LayerNorm(placed))


class Bert(nn.Module):
    """Tokens to the vector of their first mark, ``[CLS]``; with a clip, to one that says how both go together.

    Fresh weights are drawn as BERT's; the defaults are the sizes of BERT-base with BLIP's two more tokens. There are no
    embeddings of sentence types, which BLIP left out: a single sentence always has the first, so that those of BERT
    are part of its positions (see :func:`protogcn.models.text.bert_weights.load_bert`).

    Args:
        vocab_size: number of tokens; 0 is the padding, the last one ``[ENC]``.
        width: channels of the transformer.
        layers: their number.
        heads: of the attention.
        inner_width: of the perceptrons; four times the width where left out.
        positions: longest row of tokens.
        clip_width: channels of the clips that it can read a text with; none where it reads texts alone.
        dropout: in training, of attention and of what each sub-layer adds.
        norm_eps: of the layer normalisations.

    Raises:
        ValueError: a size is no positive integer, or ``heads`` and ``width`` or ``dropout`` make no sense.
    """

    def __init__(
        self,
        vocab_size: int = VOCAB_SIZE,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        inner_width: int | None = None,
        positions: int = 512,
        clip_width: int | None = None,
        dropout: float = 0.1,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        inner_width = 4 * width if inner_width is None else inner_width
        check_counts(
            vocab_size=vocab_size, width=width, layers=layers, heads=heads, inner_width=inner_width, positions=positions
        )
        if width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width} evenly; choose a divisor of {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.vocab_size, self.width, self.layers, self.heads = vocab_size, width, layers, heads
        self.inner_width, self.positions, self.dropout, self.norm_eps = inner_width, positions, dropout, norm_eps
        self.clip_width: int | None = None
        self.embeddings = Embeddings(vocab_size, width, positions, dropout, norm_eps)
        stack = (Layer(width, heads, inner_width, dropout, norm_eps) for _ in range(layers))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(stack)})
        self.apply(_draw)
        if clip_width is not None:
            self.add_cross_attention(clip_width)

    def sizes(self) -> dict[str, Any]:
        """The arguments that build one of the same sizes."""
        words = ("vocab_size", "width", "layers", "heads", "inner_width", "positions", "clip_width", "dropout")
        return {word: getattr(self, word) for word in (*words, "norm_eps")}

    def add_cross_attention(self, clip_width: int) -> None:
        """Let every layer attend to clips of ``clip_width`` channels too, by fresh weights on the device of the others.

        Raises:
            ValueError: it does already, or ``clip_width`` is no positive integer.
        """
        check_counts(clip_width=clip_width)
        if self.clip_width is not None:
            raise ValueError(f"this BERT reads clips of {self.clip_width} channels already")
        for layer in self._stack():
            added = AttentionLayer(self.width, self.heads, self.dropout, self.norm_eps, clip_width)
            layer.crossattention = added.apply(_draw).to(self.embeddings.word_embeddings.weight)
        self.clip_width = clip_width

    @staticmethod
    def cross_attention_names(layers: int) -> list[str]:
        """The state entries that cross-attention adds to a number of layers."""
        inner = ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        return [
            f"encoder.layer.{layer}.crossattention.{part}.{kind}"
            for layer in range(layers)
            for part in inner
            for kind in ("weight", "bias")
        ]

    def _stack(self) -> list[Layer]:
        return [layer for layer in self.encoder.modules() if isinstance(layer, Layer)]

    def hidden(self, tokens: Tensor, frames: Tensor | None = None) -> Tensor:
        """Hidden states of every token.

        Args:
            tokens: (N, L) integers, rows filled up with zeros.
            frames: (N, T, clip_width) to attend to in every layer, after the text; None reads the text alone.

        Returns:
            (N, L, width)

        Raises:
            ValueError: rows of another number of axes or too long, or frames where it reads texts alone.
        """
        if tokens.ndim != 2 or tokens.shape[1] > self.positions:
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}; this BERT takes (N, at most {self.positions})")
        if frames is not None and self.clip_width is None:
            raise ValueError("this BERT reads texts alone: give it cross-attention by add_cross_attention(channels)")
        mask = (tokens != PADDING)[:, None, None]
        x = self.embeddings(tokens)
        for layer in self._stack():
            x = layer(x, mask, frames)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L), rows filled up with zeros, to vectors (N, width)."""
        return self.hidden(tokens)[:, 0]

    def read_with(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """Vectors (N, width) of texts (N, L), each read together with a clip (N, T, clip_width).

        As in BLIP, the mark at the start tells so: ``[ENC]`` in the place of ``[CLS]``.
        """
        marked = torch.cat([torch.full_like(tokens[:, :1], self.vocab_size - 1), tokens[:, 1:]], 1)
        return self.hidden(marked, frames)[:, 0]


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        draw(module.weight, std=_DEVIATION)
    if isinstance(module, nn.Linear) and not module.bias.is_meta:
        nn.init.zeros_(module.bias)
