"""ActionCLIP with the weights of official checkpoints, or of CLIP alone to train from."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protogcn.models.actionclip import ActionCLIP
from protogcn.models.checkpoints import read_checkpoint, unwrap_state_dict
from protogcn.models.clip_image import blank_image_tower, image_state, load_clip_image
from protogcn.models.fusion_heads import HEAD_WIDTH
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.transformer import Activation
from protogcn.models.text.weights import BOOKKEEPING, check_fit, load_clip_text, read_clip

# Official files hold two state dicts under these keys.
CLIP_PART, FUSION_PART = "model_state_dict", "fusion_model_state_dict"
CLIP_PREFIX, FUSION_PREFIX = "model.", "fusion_model."
# Every official head but the mean has this table, and only the transformer uses it.
POSITIONS = f"{FUSION_PREFIX}frame_position_embeddings.weight"


def load_actionclip(path: str | Path, activation: Activation = "quick_gelu") -> ActionCLIP:
    """Build the network of an official checkpoint; its sizes and its fusion are told from the weights.

    Weights of CLIP alone, in OpenAI's names, give the mean over frames.

    Args:
        path: a PyTorch or safetensors file.
        activation: of both towers; OpenAI's weights have ``"quick_gelu"``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no such checkpoint, or holds objects that would run code when loaded.
    """
    content = read_checkpoint(path)
    try:
        return build_actionclip(content, activation)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def build_actionclip(content: Mapping[str, Any], activation: Activation = "quick_gelu") -> ActionCLIP:
    """:func:`load_actionclip` of what :func:`protogcn.models.checkpoints.read_checkpoint` gives.

    Raises:
        ValueError: an entry is missing, left over or of another shape.
    """
    state = official_state(content)
    clip = {name.removeprefix(CLIP_PREFIX): value for name, value in state.items() if name.startswith(CLIP_PREFIX)}
    head = {name.removeprefix(FUSION_PREFIX): value for name, value in state.items() if name.startswith(FUSION_PREFIX)}
    name, options = _told_fusion(head)
    # Nothing is allocated by what shapes promise; every entry is put in place below.
    with torch.device("meta"):
        image = blank_image_tower(image_state(clip), activation)
        model = ActionCLIP(image, _blank_text_tower(clip, activation), name, **options)
    # Copies, lest training should change what was handed in.
    fitting = {own: value.to(torch.float32, copy=True) for own, value in _fitting(model, state).items()}
    model.load_state_dict(fitting, assign=True)
    return model.eval()


def load_official_actionclip(model: ActionCLIP, content: Mapping[str, Any]) -> None:
    """Load official weights into a network that was built with their sizes, strictly.

    Raises:
        ValueError: an entry is missing, left over or of another shape; nothing was loaded then.
    """
    model.load_state_dict(_fitting(model, official_state(content)))


def start_from_clip(
    path: str | Path,
    fusion: str = "transformer",
    frames: int = 8,
    *,
    activation: Activation | None = None,
    **options: Any,
) -> ActionCLIP:
    """Build the network that published trainings start from: both towers of CLIP, and a fresh fusion.

    Args:
        path: weights of a whole CLIP with a vision transformer, as
            :func:`protogcn.models.text.weights.load_clip_text` takes them.
        fusion: see :func:`protogcn.models.fusion_heads.create_fusion`.
        frames: T of a video.
        activation: None: what the configuration beside the weights says, without one ``"quick_gelu"``.
        **options: of the fusion.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: they are not both towers of CLIP, or there is no such fusion or option of it.
    """
    file, state = read_clip(path)
    scale = state.get("logit_scale")
    if scale is None or scale.numel() != 1:
        raise ValueError(f"{file} holds no logit_scale, so it is not the whole of CLIP: both towers are needed")
    text = load_clip_text(path, activation=activation)
    image = load_clip_image(path, activation=text.activation)
    return ActionCLIP(image, text, fusion, frames, float(scale), **options)


def official_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of an official checkpoint by name: CLIP below ``model.``, the fusion below ``fusion_model.``.

    Raises:
        ValueError: there are none.
    """
    if isinstance(content, Mapping) and isinstance(content.get(FUSION_PART), Mapping):
        head = content[FUSION_PART]
        state = {CLIP_PREFIX + name: value for name, value in unwrap_state_dict(content.get(CLIP_PART)).items()}
        # The mean has no weights.
        state |= {FUSION_PREFIX + name: value for name, value in (unwrap_state_dict(head) if head else {}).items()}
    else:
        state = unwrap_state_dict(content)
    # Training on several devices leaves its mark at either level.
    state = {re.sub(r"(^|\.)module\.", r"\1", name): value for name, value in state.items()}
    named = {
        name if name.startswith((CLIP_PREFIX, FUSION_PREFIX)) else CLIP_PREFIX + name: value
        for name, value in state.items()
    }
    return {name: value for name, value in named.items() if name.removeprefix(CLIP_PREFIX) not in BOOKKEEPING}


def _told_fusion(head: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """The fusion that official weights belong to, and its options."""
    blocks = {int(found[1]) for name in head if (found := re.match(r".+\.(?:resblocks|layers)\.(\d{1,4})\.", name))}
    layers = {"layers": len(blocks)} if blocks else {}
    if "transformer.cls_token" in head:
        positions = head.get("transformer.pos_embed")
        hidden = head.get("transformer.transformer_enc.layers.0.linear1.weight")
        if positions is None or positions.ndim != 3 or positions.shape[1] < 2 or hidden is None or not hidden.ndim:
            raise ValueError("the fusion with a class token lacks its positions or its layers")
        return "transformer_class_token", {"frames": positions.shape[1] - 1, "hidden": len(hidden), **layers}
    if any(name.startswith("transformer.") for name in head):
        table = head.get("frame_position_embeddings.weight")
        if table is None or not table.ndim:
            raise ValueError("the transformer over time lacks frame_position_embeddings.weight")
        return "transformer", {"positions": len(table), **layers}
    if "shift.weight" in head:
        return "conv", {}
    if any(name.startswith("lstm_visual.") for name in head):
        return "lstm", {}
    return "mean", {}


def _blank_text_tower(clip: Mapping[str, Tensor], activation: Activation) -> ClipTextTransformer:
    matrices = [clip.get(name) for name in ("token_embedding.weight", "positional_embedding", "text_projection")]
    layers = len({name.split(".")[2] for name in clip if name.startswith("transformer.resblocks.")})
    if not layers or any(matrix is None or matrix.ndim != 2 for matrix in matrices):
        raise ValueError(
            "there is no whole text tower of CLIP in these weights: token_embedding.weight, positional_embedding, "
            "text_projection and transformer.resblocks are looked for"
        )
    tokens, positions, projection = (matrix.shape for matrix in matrices if matrix is not None)
    heads = max(1, tokens[1] // HEAD_WIDTH)
    return ClipTextTransformer(positions[0], tokens[0], tokens[1], heads, layers, projection[1], activation)


def _fitting(model: ActionCLIP, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Own names to the official weights of a network, after every entry was checked."""
    names, own = model.official_entries(), model.state_dict()
    expected = {name: own[key].shape for key, name in names.items()}
    used = {name: value for name, value in state.items() if name in expected or name != POSITIONS}
    check_fit("these weights are not those of an ActionCLIP of this fusion and these sizes", expected, used)
    return {key: used[name] for key, name in names.items()}
