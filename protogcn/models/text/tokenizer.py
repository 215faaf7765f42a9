"""The tokeniser of CLIP: lower-cased byte pairs (Sennrich et al., ACL 2016) over a vocabulary found on this machine."""

import functools
import html
import importlib.util
import itertools
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from protogcn.models.text.clip_text import CONTEXT_LENGTH
from protogcn.models.text.vocabulary import END_OF_WORD, byte_symbols, find_vocabulary, read_merges

__all__ = ["ClipTokenizer", "find_vocabulary"]

START, END = "<|startoftext|>", "<|endoftext|>"
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# Enough for every word of a large list of classes; a stream of other texts must not fill the memory.
CACHED_WORDS = 1 << 16


class ClipTokenizer:
    """Texts to rows of token numbers: start mark, byte pairs, end mark, zeros.

    Args:
        vocabulary: what :func:`find_vocabulary` gives.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it does not hold the merges of CLIP's vocabulary.
    """

    def __init__(self, vocabulary: str | Path) -> None:
        merges = read_merges(Path(vocabulary))
        self._bytes = byte_symbols()
        symbols = [*self._bytes.values(), *(symbol + END_OF_WORD for symbol in self._bytes.values())]
        symbols += ["".join(pair) for pair in merges]
        symbols += [START, END]
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}
        self._symbols = symbols
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._words: dict[str, list[int]] = {START: [self._ids[START]], END: [self._ids[END]]}

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self._symbols)

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text, without the marks at its start and end.

        As in the original, the marks themselves are recognised where a text spells them out.
        """
        return [token for word in _split(clean(text)) for token in self._encode_word(word)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers, cleaned as it was encoded, a space after every word; the marks are left out.

        Raises:
            ValueError: a number that is no token.
        """
        marks = {self._ids[START], self._ids[END]}
        if wrong := [token for token in tokens if not 0 <= token < self.vocab_size]:
            raise ValueError(f"{wrong[0]} is no token; they are numbered 0 to {self.vocab_size - 1}")
        joined = "".join(self._symbols[token] for token in tokens if token not in marks)
        values = {symbol: value for value, symbol in self._bytes.items()}
        words = (bytes(values[symbol] for symbol in word) for word in joined.split(END_OF_WORD))
        return b" ".join(words).decode(errors="replace").strip()

    def __call__(self, texts: Sequence[str], context_length: int = CONTEXT_LENGTH) -> Tensor:
        """Rows (N, context_length), int64: start mark, tokens, end mark, zeros.

        Raises:
            ValueError: a text is too long for its row, or spells out a mark; one string in place of a list.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts are one string, {texts!r}; pass a list, [{texts!r}]")
        rows = torch.zeros(len(texts), context_length, dtype=torch.int64)
        start, end = self._ids[START], self._ids[END]
        for row, text in zip(rows, texts, strict=True):
            tokens = [start, *self.encode(text), end]
            shown = text if len(text) <= 120 else f"{text[:117]}..."
            if len(tokens) > context_length:
                raise ValueError(
                    f"the prompt {shown!r} has {len(tokens)} tokens with its start and end marks, the text tower takes "
                    f"{context_length}: shorten the class name or the template around it"
                )
            if start in tokens[1:] or end in tokens[:-1]:
                raise ValueError(
                    f"the prompt {shown!r} spells out {START} or {END}, which mark where a text starts and ends, "
                    "so what follows would be ignored: take it out"
                )
            row[: len(tokens)] = torch.tensor(tokens)
        return rows

    def _encode_word(self, word: str) -> list[int]:
        known = self._words.get(word)
        if known is None:
            known = [self._ids[symbol] for symbol in self._merge(word)]
            if len(self._words) < CACHED_WORDS:
                self._words[word] = known
        return known

    def _merge(self, word: str) -> list[str]:
        """Byte symbols of a word, the earliest merges of the vocabulary applied until none is left."""
        symbols = [self._bytes[value] for value in word.encode("utf-8", errors="replace")]
        symbols[-1] += END_OF_WORD
        last = len(self._ranks)
        while len(symbols) > 1:
            best = min(itertools.pairwise(symbols), key=lambda pair: self._ranks.get(pair, last))
            if best not in self._ranks:
                break
            merged: list[str] = []
            index = 0
            while index < len(symbols):
                joins = (*symbols[index : index + 2],) == best
                merged.append("".join(best) if joins else symbols[index])
                index += 2 if joins else 1
            symbols = merged
        return symbols


def clean(text: str) -> str:
    """Repair wrongly decoded text (where ftfy is installed), take out HTML escapes, extra spaces and capitals."""
    repair = _repair()
    if repair is not None:
        text = repair(text)
    elif not text.isascii():
        warnings.warn(
            f"{text!r} is not plain ASCII, and CLIP's tokeniser straightens quotes and repairs such text with ftfy, "
            "which is not installed, so its tokens may differ: pip install ftfy",
            UserWarning,
            stacklevel=2,
        )
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


@functools.cache
def _repair() -> Callable[[str], str] | None:
    if importlib.util.find_spec("ftfy") is None:
        return None
    import ftfy

    return ftfy.fix_text


def _split(text: str) -> Iterator[str]:
    """Words: contractions, runs of letters, single digits, runs of anything else but spaces; and the marks."""
    start = 0
    while start < len(text):
        end = start + 1
        kind = _kind(text[start])
        if special := next((word for word in (START, END, *CONTRACTIONS) if text.startswith(word, start)), None):
            end = start + len(special)
        elif kind != "N":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            yield text[start:end]
        start = end


def _kind(character: str) -> str:
    """L for letters, N for numbers, a space, or O for others; in the general categories of Unicode."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "O"
