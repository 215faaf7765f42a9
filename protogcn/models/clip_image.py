"""The image tower of CLIP: a vision transformer (Radford et al. 2021, section 2.4; Dosovitskiy et al. 2021)."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from protogcn.models.options import check_counts
from protogcn.models.text.clip_config import read_settings
from protogcn.models.text.transformer import Activation, Transformer
from protogcn.models.text.weights import BOOKKEEPING, check_fit, read_clip

# Tensors whose shapes tell the size of a tower.
_TELLING = ("conv1.weight", "positional_embedding", "proj")
# Width -> channels of a head, where it is not 64.
_HEAD_WIDTHS = {1280: 80}
_HUGGING_FACE = (
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.", "conv1."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    # Spelt like this in the published files.
    ("pre_layrnorm.", "ln_pre."),
    ("post_layernorm.", "ln_post."),
    ("encoder.layers.", "transformer.resblocks."),
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)


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
        norm_eps: of the layer normalisations.

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
        norm_eps: float = 1e-5,
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
        self.ln_pre = nn.LayerNorm(width, norm_eps)
        self.transformer = Transformer(width, layers, heads, False, norm_eps, activation)
        self.ln_post = nn.LayerNorm(width, norm_eps)

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


def load_clip_image(
    path: str | Path, *, activation: Activation | None = None, heads: int | None = None
) -> ClipImageTransformer:
    """Build an image tower with the weights of a file or folder; sizes are told from the weights.

    Known are the state dicts of OpenAI, of open_clip and of Hugging Face (``CLIPModel`` and
    ``CLIPVisionModelWithProjection``), as safetensors or PyTorch files, in pieces with an index too. Half precision
    becomes single. A ``config.json`` or ``open_clip_config.json`` in the folder is heeded.

    Args:
        path: a file, or a folder with one.
        activation: None: what the configuration says; without one ``"quick_gelu"``, as OpenAI trained.
        heads: of the attention; None: what the configuration says, without one the published number, one per 64
            channels (80 in ViT-H).

    Raises:
        FileNotFoundError: no such file, or a folder without weights.
        ValueError: no vision transformer in it, or a file that would run code when loaded.
    """
    file, weights = read_clip(path)
    settings = read_settings(file.parent, "image")
    if activation is None and settings.activation is None and not set(BOOKKEEPING) <= set(weights):
        warnings.warn(
            f"{file} does not say its activation; OpenAI's quick_gelu is assumed. Weights that open_clip trained "
            "without '-quickgelu' in their name need activation='gelu'",
            UserWarning,
            stacklevel=2,
        )
    try:
        state = image_state(weights)
        # Nothing is allocated by what shapes promise, only what is in the weights is kept.
        with torch.device("meta"):
            tower = blank_image_tower(
                state,
                activation or settings.activation or "quick_gelu",
                settings.heads if heads is None else heads,
                settings.norm_eps,
            )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    expected = {name: value.shape for name, value in tower.state_dict().items()}
    check_fit(f"the image tower in {file} is not CLIP's, whole and in one of its published forms", expected, state)
    tower.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return tower.eval()


def blank_image_tower(
    state: Mapping[str, Tensor], activation: Activation, heads: int | None = None, norm_eps: float = 1e-5
) -> ClipImageTransformer:
    """A tower with fresh weights and the sizes of those of :func:`image_state`.

    Raises:
        ValueError: the sizes are not told, or are none of a vision transformer.
    """
    if missing := [name for name in _TELLING if name not in state]:
        raise ValueError(f"the weights of the image tower lack {', '.join(missing)}: take the whole file of CLIP")
    patches, positions, projection = (state[name] for name in _TELLING)
    grid = math.isqrt(max(len(positions) - 1, 0)) if positions.ndim else 0
    if patches.ndim != 4 or positions.ndim != 2 or projection.ndim != 2 or not grid or grid**2 + 1 != len(positions):
        shapes = ", ".join(f"{name} {tuple(state[name].shape)}" for name in _TELLING)
        raise ValueError(f"these are no weights of a vision transformer for square images: {shapes}")
    width, patch = len(patches), patches.shape[3]
    if heads is None:
        heads = max(1, width // _HEAD_WIDTHS.get(width, 64))
    layers = len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
    size, embed_dim = grid * patch, projection.shape[1]
    return ClipImageTransformer(size, patch, width, layers, heads, embed_dim, activation, norm_eps)


def image_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image half of CLIP weights under the state names of :class:`ClipImageTransformer`.

    Raises:
        ValueError: there is none, or it is no vision transformer.
    """
    if any(name.startswith("vision_model.") for name in weights):
        return _from_hugging_face(weights)
    state = {name.removeprefix("visual."): value for name, value in weights.items() if name.startswith("visual.")}
    if any(name.startswith(("layer1.", "trunk.")) for name in state):
        raise ValueError(
            "the image tower of these weights is no vision transformer of CLIP's own form; take those of a ViT, for "
            "example ViT-B/32 or ViT-B/16"
        )
    if not state:
        raise ValueError(
            "there is no image tower in these weights: CLIP keeps it under visual., in Hugging Face's form under "
            "vision_model."
        )
    return state


def _from_hugging_face(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        if name == "visual_projection.weight":
            state["proj"] = value.T.contiguous() if value.ndim == 2 else value
        if not name.startswith("vision_model.") or name == "vision_model.embeddings.position_ids":
            continue
        own = name.removeprefix("vision_model.")
        for theirs, ours in _HUGGING_FACE:
            own = own.replace(theirs, ours)
        if match := re.fullmatch(r"(.+\.attn)\.([qkv])_proj\.(weight|bias)", own):
            parts.setdefault(f"{match[1]}.in_proj_{match[3]}", {})[match[2]] = value
        else:
            state[own] = value
    for own, three in parts.items():
        shapes = {value.shape for value in three.values()}
        if len(three) != 3 or len(shapes) != 1 or torch.Size() in shapes:
            raise ValueError(f"query, key and value of {own} are incomplete or differ in shape: the file is damaged")
        state[own] = torch.cat([three[letter] for letter in "qkv"])
    return state
