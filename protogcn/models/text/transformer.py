"""The transformer of CLIP (Radford et al., ICML 2021), under its state names, for texts, images and frames in a row."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs.messages import unknown

Activation = Literal["quick_gelu", "gelu"]


def draw(weight: Tensor, std: float) -> None:
    """Fill a weight with normal numbers; one that only holds the place of weights to come stays as it is."""
    # Drawing such a one has no effect but to import torch's compiler, which takes seconds.
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, what OpenAI trained CLIP with in place of the Gaussian error linear unit."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence (N, L, width) to itself; queries, keys and values from one matrix."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width} evenly; choose a divisor of {width}")
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width); ``causal``: no position looks at later ones."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, -1))
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two layers with four times the width between them."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise ValueError(unknown("activation", activation, get_args(Activation), show_all=True))
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return self.c_proj(self.gelu(self.c_fc(x)))


class ResidualAttentionBlock(nn.Module):
    """Attention, then a perceptron; each normalised before and added to its input."""

    def __init__(
        self,
        width: int,
        heads: int,
        causal: bool = False,
        norm_eps: float = 1e-5,
        activation: Activation = "quick_gelu",
    ) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads, causal)
        self.ln_1 = nn.LayerNorm(width, norm_eps)
        self.mlp = Perceptron(width, activation)
        self.ln_2 = nn.LayerNorm(width, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of residual attention blocks.

    Args:
        width: channels of the sequence.
        layers: number of blocks.
        heads: attention heads; contiguous chunks of the channels.
        causal: positions see themselves and earlier ones only.
        norm_eps: of the layer normalisations; ActionCLIP's fusion has 1e-12.
        activation: ``"quick_gelu"`` as OpenAI, or ``"gelu"``, exact, as most weights of open_clip.

    Raises:
        ValueError: ``heads`` does not divide ``width``, or an unknown activation.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        causal: bool = False,
        norm_eps: float = 1e-5,
        activation: Activation = "quick_gelu",
    ) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(
            *(ResidualAttentionBlock(width, heads, causal, norm_eps, activation) for _ in range(layers))
        )
        deviation = 1 / math.sqrt(width)
        into_sum = deviation / math.sqrt(2 * max(layers, 1))
        for block in self.resblocks.children():
            assert isinstance(block, ResidualAttentionBlock)
            draw(block.attn.in_proj_weight, std=deviation)
            draw(block.attn.out_proj.weight, std=into_sum)
            draw(block.mlp.c_fc.weight, std=1 / math.sqrt(2 * width))
            draw(block.mlp.c_proj.weight, std=into_sum)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width)."""
        return self.resblocks(x)
