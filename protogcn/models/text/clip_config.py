"""What the configuration beside CLIP weights says that the weights do not: heads, activation, norm."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from protogcn.models.text.transformer import Activation

OPEN_CLIP, HUGGING_FACE = "open_clip_config.json", "config.json"
LARGEST = 1 << 20
Half = Literal["text", "image"]
# The words of both forms of configuration for a half, and what each library takes where nothing is said.
OPEN_CLIP_PART: dict[Half, str] = {"text": "text_cfg", "image": "vision_cfg"}
OPEN_CLIP_WIDTH, OPEN_CLIP_HEAD_WIDTH = 768, 64
HUGGING_FACE_PART: dict[Half, str] = {"text": "text_config", "image": "vision_config"}
DEFAULT_HEADS: dict[Half, int] = {"text": 8, "image": 12}
ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu": "gelu"}
# Options of open_clip's towers that make another network, and the values under which they do not.
_BOTH_FIXED: dict[str, tuple[Any, ...]] = {
    "final_ln_after_pool": (False,),
    "ls_init_value": (None,),
    "mlp_ratio": (4, None),
    "norm_kwargs": (None, {}),
    "act_kwargs": (None, {}),
}
OPEN_CLIP_FIXED: dict[Half, dict[str, tuple[Any, ...]]] = {
    "text": {
        "hf_model_name": (None,),
        "embed_cls": (False,),
        "no_causal_mask": (False,),
        "pool_type": ("argmax",),
        "proj_type": ("linear",),
        "proj_bias": (False,),
        "tokenizer_kwargs": (None, {}),
        **_BOTH_FIXED,
    },
    "image": {
        "timm_model_name": (None,),
        "attentional_pool": (False,),
        "no_ln_pre": (False,),
        "pool_type": ("tok",),
        "qk_norm": (False,),
        "scaled_cosine_attn": (False,),
        **_BOTH_FIXED,
    },
}


@dataclass(frozen=True)
class TowerSettings:
    """None where there is no configuration that says it."""

    activation: Activation | None = None
    heads: int | None = None
    norm_eps: float = 1e-5


def read_settings(folder: Path, half: Half = "text") -> TowerSettings:
    """What ``open_clip_config.json``, else ``config.json`` in a folder says of its text or image tower.

    Raises:
        ValueError: a damaged file, or a tower of another kind than CLIP's.
    """
    for name in (OPEN_CLIP, HUGGING_FACE):
        if (path := folder / name).is_file():
            content = read_object(path)
            # Folders of Hugging Face are named config.json too where open_clip's own configuration was copied.
            own = any(key in content for key in ("model_cfg", *OPEN_CLIP_PART.values()))
            return _open_clip(path, content, half) if own else _hugging_face(path, content, half)
    return TowerSettings()


def read_object(path: Path) -> dict[str, Any]:
    """The object in a small JSON file.

    Raises:
        ValueError: it is damaged, far too large, or holds no object.
    """
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


def _open_clip(path: Path, content: dict[str, Any], half: Half) -> TowerSettings:
    model = _part(path, content, "model_cfg") or content
    tower = _part(path, model, OPEN_CLIP_PART[half])
    for key, allowed in OPEN_CLIP_FIXED[half].items():
        if key in tower and tower[key] not in allowed:
            raise ValueError(
                f"{path}: {key} is {tower[key]!r}, so its {half} tower is another network than CLIP's, which is not "
                "supported. Use weights of ViT-B-32, ViT-B-16 or ViT-L-14."
            )
    activation: Activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
    heads = _count(path, tower.get("heads", DEFAULT_HEADS[half]))
    if half == "image":
        width = _count(path, tower.get("width", OPEN_CLIP_WIDTH)) or OPEN_CLIP_WIDTH
        heads = max(1, width // (_count(path, tower.get("head_width")) or OPEN_CLIP_HEAD_WIDTH))
    return TowerSettings(activation, heads)


def _hugging_face(path: Path, content: dict[str, Any], half: Half) -> TowerSettings:
    tower = _part(path, content, HUGGING_FACE_PART[half]) or content
    if not str(content.get("model_type", "clip")).startswith("clip"):
        # It belongs to something else in the folder; the weights themselves say whether they are CLIP's.
        return TowerSettings()
    word = tower.get("hidden_act", "quick_gelu")
    if not isinstance(word, str) or word not in ACTIVATIONS:
        raise ValueError(f"{path}: hidden_act is {word!r}; the towers of CLIP have {' or '.join(ACTIVATIONS)}")
    eps = tower.get("layer_norm_eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise ValueError(f"{path}: layer_norm_eps is {eps!r}; it must be a small number like 1e-05")
    heads = _count(path, tower.get("num_attention_heads", DEFAULT_HEADS[half]))
    return TowerSettings(ACTIVATIONS[word], heads, float(eps))


def _count(path: Path, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{path}: the heads and widths of a tower must be positive integers, got {value!r}")
    return value
