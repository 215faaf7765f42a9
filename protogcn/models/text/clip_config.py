"""What the configuration beside CLIP weights says that the weights do not: heads, activation, norm."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protogcn.models.text.transformer import Activation

OPEN_CLIP, HUGGING_FACE = "open_clip_config.json", "config.json"
LARGEST = 1 << 20
# What the library of Hugging Face takes where its configuration says nothing.
DEFAULT_HEADS = 8
ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu": "gelu"}
# Options of open_clip's text towers that make another network, and the values under which they do not.
OPEN_CLIP_FIXED: dict[str, tuple[Any, ...]] = {
    "hf_model_name": (None,),
    "embed_cls": (False,),
    "no_causal_mask": (False,),
    "final_ln_after_pool": (False,),
    "pool_type": ("argmax",),
    "proj_type": ("linear",),
    "proj_bias": (False,),
    "ls_init_value": (None,),
    "mlp_ratio": (4, None),
    "norm_kwargs": (None, {}),
    "act_kwargs": (None, {}),
}


@dataclass(frozen=True)
class TextSettings:
    """None where there is no configuration that says it."""

    activation: Activation | None = None
    heads: int | None = None
    norm_eps: float = 1e-5


def read_settings(folder: Path) -> TextSettings:
    """What ``open_clip_config.json``, else ``config.json`` in a folder says of its text tower.

    Raises:
        ValueError: a damaged file, or a text tower of another kind than CLIP's.
    """
    for name in (OPEN_CLIP, HUGGING_FACE):
        if (path := folder / name).is_file():
            content = _read(path)
            # Folders of Hugging Face are named config.json too where open_clip's own configuration was copied.
            own = "text_cfg" in content or "model_cfg" in content
            return _open_clip(path, content) if own else _hugging_face(path, content)
    return TextSettings()


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has more than {LARGEST >> 20} MB, which no configuration has: copy it again")
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file, or a damaged one ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: copy it again")
    return content


def _part(path: Path, content: dict[str, Any], key: str) -> dict[str, Any]:
    part = content.get(key)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise ValueError(f"{path}: {key} must be an object, got {part!r}")
    return part


def _open_clip(path: Path, content: dict[str, Any]) -> TextSettings:
    model = _part(path, content, "model_cfg") or content
    text = _part(path, model, "text_cfg")
    for key, allowed in OPEN_CLIP_FIXED.items():
        if key in text and text[key] not in allowed:
            raise ValueError(
                f"{path}: {key} is {text[key]!r}, so its text tower is another network than CLIP's, which is not "
                "supported. Use weights of ViT-B-32, ViT-B-16 or ViT-L-14."
            )
    activation: Activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
    return TextSettings(activation, _count(path, text.get("heads")))


def _hugging_face(path: Path, content: dict[str, Any]) -> TextSettings:
    text = _part(path, content, "text_config") or content
    if not str(content.get("model_type", "clip")).startswith("clip"):
        # It belongs to something else in the folder; the weights themselves say whether they are a text tower's.
        return TextSettings()
    word = text.get("hidden_act", "quick_gelu")
    if word not in ACTIVATIONS:
        raise ValueError(f"{path}: hidden_act is {word!r}; text towers of CLIP have {' or '.join(ACTIVATIONS)}")
    eps = text.get("layer_norm_eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise ValueError(f"{path}: layer_norm_eps is {eps!r}; it must be a small number like 1e-05")
    return TextSettings(ACTIVATIONS[word], _count(path, text.get("num_attention_heads", DEFAULT_HEADS)), float(eps))


def _count(path: Path, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{path}: the heads of the text tower must be a positive integer, got {value!r}")
    return value
