"""Vocabularies for the tests: CLIP's where it is installed, and one of the same size made up on the spot."""

import itertools
from pathlib import Path

import pytest

from protogcn.models.text.tokenizer import find_vocabulary
from protogcn.models.text.vocabulary import END_OF_WORD, NUM_MERGES, byte_symbols


def real_vocabulary() -> Path:
    """CLIP's own, or the test skips."""
    try:
        return find_vocabulary()
    except FileNotFoundError:
        pytest.skip("no vocabulary of CLIP is installed: pip install --no-deps open_clip_torch")


def made_up_merges() -> list[tuple[str, str]]:
    """As many merges as CLIP has: all pairs of letters, some triples, and pairs of bytes at the end of words."""
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    symbols = list(byte_symbols().values())
    pairs = list(itertools.product(letters, letters))
    merges = [*pairs, *((first + second, "e") for first, second in pairs)]
    merges += [(first + second, "s" + END_OF_WORD) for first, second in pairs if second != "s"]
    merges += itertools.product(symbols, (symbol + END_OF_WORD for symbol in symbols))
    return merges[:NUM_MERGES]


def write_text(path: Path, merges: list[tuple[str, str]]) -> Path:
    """The merges as Hugging Face's merges.txt."""
    path.write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n")
    return path
