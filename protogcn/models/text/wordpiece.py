"""BERT's word pieces: its vocabulary from a file on this machine, split by the tokenizers library."""

import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protogcn.models.text.bert import PADDING
from protogcn.models.text.clip_config import read_object
from protogcn.models.text.sentence import INSTALL, INSTALL_MINILM, packaged_folder

VOCABULARY = "vocab.txt"
# Class names are padded to this number of tokens in SkeletonCLIP++, marks at both ends included.
PUBLISHED_LENGTH = 10
LARGEST = 1 << 22
_MARKS = ("[UNK]", "[CLS]", "[SEP]")


def packaged_vocabulary() -> Path:
    """The folder with the vocabulary of uncased BERT that the sentence encoder's package carries.

    Raises:
        FileNotFoundError: it is not installed.
    """
    folder = packaged_folder()
    if folder is None or not (folder / VOCABULARY).is_file():
        raise FileNotFoundError(
            f"a BERT with fresh weights takes the vocabulary that the package of 'minilm' carries: {INSTALL_MINILM}"
        )
    return folder


def word_pieces(folder: Path, length: int = PUBLISHED_LENGTH) -> tuple[int, Callable[[Sequence[str]], Tensor]]:
    """How many tokens the vocabulary in a folder has, and what turns texts into them.

    Args:
        folder: with ``vocab.txt``, and ``tokenizer_config.json`` where capitals count.
        length: most tokens of a text, ``[CLS]`` and ``[SEP]`` included; longer ones are refused, not cut.

    Returns:
        The number, and texts -> (N, L) int64, L that of the longest text, shorter rows filled up with zeros.

    Raises:
        FileNotFoundError: there is no vocabulary.
        ValueError: it is damaged, ``length`` leaves no room for a word, or the tokenizers library is not installed.
    """
    if length < 3:
        raise ValueError(f"length={length} leaves no room for a word between the marks at both ends: give 3 or more")
    tokens = _read(folder / VOCABULARY)
    if importlib.util.find_spec("tokenizers") is None:
        raise ValueError(f"BERT's word pieces need the tokenizers library, which is not installed: {INSTALL}")
    from tokenizers import BertWordPieceTokenizer

    settings = folder / "tokenizer_config.json"
    lower = (read_object(settings) if settings.is_file() else {}).get("do_lower_case", True)
    if not isinstance(lower, bool):
        raise ValueError(f"{settings}: do_lower_case must be true or false, got {lower!r:.80}")
    splitter = BertWordPieceTokenizer({token: index for index, token in enumerate(tokens)}, lowercase=lower)
    return len(tokens), functools.partial(_rows, splitter, length)


def _read(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no vocabulary {path}; copy the {VOCABULARY} of the weights beside them")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} holds more than {LARGEST >> 20} MB, which no vocabulary of BERT does")
    try:
        tokens = path.read_bytes().decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error
    absent = [mark for mark in _MARKS if mark not in tokens]
    if absent or tokens[PADDING] != "[PAD]" or len(set(tokens)) != len(tokens):
        raise ValueError(
            f"{path} is no vocabulary of BERT, or a damaged one: it has one token on each line, none twice, [PAD] on "
            f"the first, and {', '.join(_MARKS)} among them"
        )
    return tokens


def _rows(splitter: Any, length: int, texts: Sequence[str]) -> Tensor:
    rows: list[list[int]] = []
    for text, found in zip(texts, splitter.encode_batch(list(texts)), strict=True):
        if len(found.ids) > length:
            raise ValueError(
                f"the text {text[:117]!r} has {len(found.ids)} tokens with the marks at both ends, this BERT takes "
                f"{length}: shorten the class name or the template around it, or let it take more by "
                f"'<text encoder>:length={len(found.ids)}'"
            )
        if "[UNK]" in found.tokens or len(found.ids) < 3:
            raise ValueError(f"the text {text[:117]!r} holds what the vocabulary of this BERT does not: reword it")
        rows.append(found.ids)
    longest = max(map(len, rows))
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows], dtype=torch.int64)
