"""BERT from a folder on this machine: Hugging Face's or Google's names, and those of BLIP."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protogcn.models.text.bert import ADDED, Bert
from protogcn.models.text.clip_config import HUGGING_FACE, read_object
from protogcn.models.text.weights import HEAD_WIDTH, check_fit, read_clip
from protogcn.models.text.wordpiece import VOCABULARY

_WORDS, _PLACES = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_INNER = "encoder.layer.0.intermediate.dense.weight"
# What of a configuration makes another network, and the values under which it does not.
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert", "blip_text_model"),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute", None),
}


def is_bert(folder: Path) -> bool:
    """Whether a folder says that it holds a BERT: by its vocabulary, or else by its configuration."""
    if (folder / VOCABULARY).is_file():
        return True
    path = folder / HUGGING_FACE
    return path.is_file() and read_object(path).get("model_type") == "bert"


def load_bert(folder: Path, num_tokens: int) -> Bert:
    """Build a BERT with the weights in a folder; sizes are told from the weights, heads from ``config.json``.

    Known are the names of Hugging Face (``BertModel`` and the networks around it, old names of the norms too) and of
    BLIP. What stands on top of the encoder is left aside, and so is a cross-attention to images. The first sentence
    type is added to the positions. The two tokens that BLIP adds get fresh vectors where the weights do not have them.

    Args:
        folder: with ``model.safetensors``, ``pytorch_model.bin`` or the like.
        num_tokens: of its vocabulary.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: no BERT, one of another kind, or a file that would run code when loaded.
    """
    file, found = read_clip(folder)
    state = _own_names(file, found)
    heads, norm_eps = _settings(folder / HUGGING_FACE, state[_WORDS].shape[1])
    if len(state[_WORDS]) not in (num_tokens, num_tokens + ADDED):
        raise ValueError(
            f"{file} has vectors of {len(state[_WORDS])} tokens, and {folder / VOCABULARY} names {num_tokens}: they do "
            "not belong together"
        )
    layers = {int(number[1]) for name in state if (number := re.match(r"encoder\.layer\.(\d{1,4})\.", name))}
    inner = state.get(_INNER)
    if not layers or inner is None or inner.ndim != 2:
        raise ValueError(f"{file} has no matrix {_INNER}, so it holds no whole BERT")
    with torch.device("meta"):
        tower = Bert(
            num_tokens + ADDED, state[_WORDS].shape[1], len(layers), heads, len(inner), len(state[_PLACES]),
            norm_eps=norm_eps,
        )  # fmt: skip
    lacking = num_tokens + ADDED - len(state[_WORDS])
    added = nn.init.normal_(torch.empty(lacking, tower.width), std=0.02)
    state[_WORDS] = torch.cat([state[_WORDS], added.to(state[_WORDS].dtype)])
    expected = {name: value.shape for name, value in tower.state_dict().items()}
    check_fit(f"the weights in {file} are not those of a whole BERT", expected, state)
    tower.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return tower.eval()


def _own_names(file: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = next((name.removesuffix(_WORDS) for name in found if name.endswith(_WORDS)), None)
    if prefix is None:
        raise ValueError(f"{file} holds no BERT: no {_WORDS} is in it; it starts with {', '.join(list(found)[:3])}")
    state: dict[str, Tensor] = {}
    for name, value in found.items():
        own = name.removeprefix(prefix) if name.startswith(prefix) else ""
        if own.startswith(("embeddings.", "encoder.")) and ".crossattention." not in own:
            own = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", own)
            state[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", own)] = value
    state.pop("embeddings.position_ids", None)
    for name in (_WORDS, _PLACES):
        if name not in state or state[name].ndim != 2 or not state[name].is_floating_point():
            raise ValueError(f"{file} has no matrix {name} of numbers, so it holds no whole BERT")
    types = state.pop(_TYPES, None)
    if types is not None:
        if types.ndim != 2 or not len(types) or types.shape[1] != state[_PLACES].shape[1]:
            raise ValueError(f"{file}: {_TYPES} has shape {tuple(types.shape)}, which does not go with its positions")
        state[_PLACES] = state[_PLACES] + types[0]
    return state


def _settings(path: Path, width: int) -> tuple[int, float]:
    content = read_object(path) if path.is_file() else {}
    for key, allowed in _FIXED.items():
        if key in content and content[key] not in allowed:
            raise ValueError(f"{path}: {key} is {content[key]!r:.80}, so this is another network than BERT")
    heads, eps = content.get("num_attention_heads", max(width // HEAD_WIDTH, 1)), content.get("layer_norm_eps", 1e-12)
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or width % heads:
        raise ValueError(f"{path}: num_attention_heads is {heads!r:.80}, which does not divide the width of {width}")
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise ValueError(f"{path}: layer_norm_eps is {eps!r:.80}; it must be a small number like 1e-12")
    return heads, float(eps)
