"""The byte pairs of CLIP's tokeniser: where they lie on this machine, and reading them. They do not come along."""

import gzip
import importlib.util
import io
import json
import zlib
from pathlib import Path
from typing import Any

from protogcn.models.text.clip_text import VOCAB_SIZE

END_OF_WORD = "</w>"
# Two symbols per byte (inside and at the end of a word), and two marks, are no merges.
NUM_MERGES = VOCAB_SIZE - 2 * 256 - 2
ORIGINAL = "bpe_simple_vocab_16e6.txt"
NAMES = (f"{ORIGINAL}.gz", ORIGINAL, "merges.txt", "tokenizer.json")
# Distributions that carry the file among their code.
PACKAGES = ("open_clip", "clip")
# The original has 3 MB; a small archive may claim any size.
LARGEST = 16 << 20


def find_vocabulary(folder: str | Path | None = None) -> Path:
    """The file with CLIP's byte pairs: in the folder of the weights, or in an installed package that carries it.

    Looked for in this order: ``bpe_simple_vocab_16e6.txt.gz``, the same without ``.gz``, ``merges.txt`` and
    ``tokenizer.json`` in ``folder``; the first of these in the packages open_clip and clip, which are not imported.

    Raises:
        FileNotFoundError: nowhere; the message says what to install.
    """
    if folder is not None:
        for name in NAMES:
            if (path := Path(folder) / name).is_file():
                return path
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            if (path := Path(place) / NAMES[0]).is_file():
                return path
    beside = f"beside the weights in {folder} or " if folder is not None else ""
    raise FileNotFoundError(
        f"the vocabulary of CLIP's tokeniser is not {beside}in an installed package. It comes with open_clip, "
        "which needs none of its dependencies for that: pip install --no-deps open_clip_torch; or copy one of "
        f"{', '.join(NAMES)} into the folder of the weights."
    )


def byte_symbols() -> dict[int, str]:
    """A visible character for each byte, in the order of the vocabulary: those that are visible by themselves first."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in visible]
    return {value: chr(value) for value in visible} | {value: chr(256 + i) for i, value in enumerate(others)}


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Pairs of symbols in the order in which they merge.

    Args:
        path: OpenAI's text file, plain or packed; Hugging Face's ``merges.txt`` (a ``vocab.json`` beside it must agree)
            or ``tokenizer.json``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, far too large, or another vocabulary than CLIP's.
    """
    text = _read(path)
    if path.suffix == ".json":
        content = _json(path, text)
        model = content.get("model")
        model = model if isinstance(model, dict) else {}
        lines = model.get("merges")
        if not isinstance(lines, list):
            raise ValueError(f"{path} is no tokeniser of byte pairs: it has no model.merges")
        pairs = [tuple(line) if isinstance(line, list) else tuple(str(line).split(" ")) for line in lines]
        ids = model.get("vocab")
    else:
        # The first line names the version; OpenAI's file goes on after the merges that CLIP uses.
        pairs = [tuple(line.split(" ")) for line in text.split("\n")[1 : NUM_MERGES + 1]]
        beside = path.with_name("vocab.json")
        ids = _json(beside, _read(beside)) if path.name == "merges.txt" and beside.is_file() else None
    merges = _checked(path, pairs)
    if ids is not None:
        _check_ids(path, merges, ids)
    return merges


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"there is no vocabulary {path}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            assert isinstance(file, io.BufferedIOBase)
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"{path} holds more than {LARGEST >> 20} MB, which no vocabulary of CLIP does")
        return content.decode().replace("\r\n", "\n")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file, or a damaged one ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: copy it again")
    return content


def _checked(path: Path, pairs: list[Any]) -> list[tuple[str, str]]:
    if len(pairs) != NUM_MERGES:
        raise ValueError(
            f"{path} has {len(pairs)} merges, CLIP's vocabulary has {NUM_MERGES}: it is cut off or another one's"
        )
    symbols = byte_symbols().values()
    known = {*symbols, *(symbol + END_OF_WORD for symbol in symbols)}
    for rank, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(symbol, str) and symbol in known for symbol in pair):
            raise ValueError(
                f"{path}: merge {rank} is {' '.join(map(str, pair))[:80]!r}, which is no pair of bytes or earlier "
                "merges, so this is not CLIP's vocabulary"
            )
        known.add("".join(pair))
    return pairs


def _check_ids(path: Path, merges: list[tuple[str, str]], ids: Any) -> None:
    symbols = list(byte_symbols().values())
    expected = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *("".join(pair) for pair in merges)]
    for index, symbol in enumerate(expected):
        found = ids.get(symbol) if isinstance(ids, dict) else None
        if found != index:
            raise ValueError(
                f"{path} numbers the token {symbol!r} {found}, CLIP's vocabulary {index}: it is another one's"
            )
