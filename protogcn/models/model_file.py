"""The file of a saved model: safetensors, whose header holds a description beside the weights."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from protogcn import __version__

MODEL_FILE = "model.safetensors"
FORMAT = 1
ENTRY = "protogcn"
_LONGEST_HEADER = 1 << 24


def write_model_file(
    path: Path, tensors: Mapping[str, Tensor], shared: Mapping[str, str], description: Mapping[str, Any]
) -> None:
    """Write weights and what is said of them; an older file is replaced in one step.

    Args:
        path: the file.
        tensors: weights by name, contiguous, on the CPU, none sharing memory with another.
        shared: further names of some of them.
        description: plain containers.
    """
    header = {"format": FORMAT, "sha256": checksum(tensors), "shared": dict(shared), "description": description}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # One entry alone: the order of several would change from one writing to the next.
        save_file(dict(tensors), temporary, {ENTRY: json.dumps(header, allow_nan=False)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def find_model_file(path: str | Path) -> Path:
    """The file itself, or the one of a run folder.

    Raises:
        FileNotFoundError: there is none; the message says what to type.
    """
    path = Path(path)
    if path.is_file():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if not path.is_dir():
        raise FileNotFoundError(f"there is no model {path}")
    if any(path.glob("checkpoints/*.ckpt")):
        raise FileNotFoundError(
            f"{path} has checkpoints of its training but no {MODEL_FILE}, which a run writes when it ends. Let it end "
            f"by the command that began it, or write the file from the last checkpoint: protogcn test {path}"
        )
    raise FileNotFoundError(f"the folder {path} holds no {MODEL_FILE}; name a run folder or a file *.safetensors")


@contextlib.contextmanager
def open_model_file(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The tensors and the header of a file; what is wrong with it is said of the path."""
    try:
        _check_length(path)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                yield file, _header((file.metadata() or {}).get(ENTRY))
        except safetensors.SafetensorError as error:
            raise ValueError(f"it is damaged ({error}); copy it again") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error


def read_tensors(file: Any, header: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights by name, also by those names under which they appear again.

    Raises:
        ValueError: they are not those that were written.
    """
    # Copies, since the file may be replaced while its memory map is in use.
    tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if checksum(tensors) != header["sha256"]:
        raise ValueError("its weights are not those that were written; copy the file again")
    for name, other in header["shared"].items():
        if name in tensors or other not in tensors:
            raise ValueError(f"the entry {name!r} is said to be {other!r} again, which does not fit")
    return tensors | {name: tensors[other] for name, other in header["shared"].items()}


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """What tells whether weights are those that were written."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_length(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    if start[:2] in (b"PK", b"\x80\x02"):
        raise ValueError(
            "it is a PyTorch checkpoint, which does not say what network it is of; weights of an official "
            f"implementation become a model by: protogcn checkpoint convert {path} {path.with_suffix('.safetensors')}"
        )
    length, rest = int.from_bytes(start[:8], "little"), path.stat().st_size - 8
    if len(start) < 9 or start[8:] != b"{" or length > max(rest, _LONGEST_HEADER):
        raise ValueError("it is no safetensors file, or only the beginning of one; copy it again")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is said to have {length:,} bytes; {_LONGEST_HEADER:,} are the most that is read")


def _header(text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError(
            "it holds weights but no description of their network; weights of an official implementation get one by: "
            "protogcn checkpoint convert <file> <new file>"
        )
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its description is not readable as JSON ({error})") from error
    kinds = {"format": int, "sha256": str, "shared": dict, "description": dict}
    version = header.get("format") if isinstance(header, dict) else None
    if type(version) is int and version > FORMAT:
        raise ValueError(
            f"it has format {version}, this protogcn {__version__} reads {FORMAT}: install the protogcn that wrote it"
        )
    whole = isinstance(header, dict) and all(isinstance(header.get(key), kind) for key, kind in kinds.items())
    if not whole or type(version) is not int or version != FORMAT:
        raise ValueError(f"its description must hold {', '.join(kinds)}, and does not")
    if not all(isinstance(name, str) for name in header["shared"].values()):
        raise ValueError("its description must name what shares its weights, and does not")
    return header


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
