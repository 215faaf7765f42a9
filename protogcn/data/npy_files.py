"""``.npy`` and ``.npz`` files from outside: plain numbers and text only, sizes checked before memory is taken.

The headers are parsed here: numpy evaluates them as Python, and answers forged ones with a dozen kinds of exception.
"""

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

# Everything zipfile and its decompressors raise on damaged archives; OSError is a seek to where nothing is.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, OSError)

_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufU]\d{1,9})['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\dL,\s]*)\)""")
_LONGEST_HEADER = 1 << 16


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        ValueError: truncated, of Python objects, or no ``.npy`` file.
    """
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size, str(path))


def read_npz(file: IO[bytes], where: str, keys: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an ``.npz`` file by name.

    Args:
        file: the file, opened to read bytes.
        where: what messages call it.
        keys: read these only, where present; default all.

    Raises:
        ValueError: truncated, of Python objects, or no ``.npz`` file.
    """
    wanted = None if keys is None else set(keys)
    arrays = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if info.filename.endswith(".npy") and (wanted is None or key in wanted):
                    with archive.open(info) as member:
                        arrays[key] = _read_array(member, info.file_size, f"{key!r} in {where}")
    except ZIP_ERRORS as error:
        raise ValueError(
            f"{where} is not a complete .npz file ({error}); it may be truncated: copy it again."
        ) from error
    return arrays


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an ``.npy`` file, leaving it at the first byte of the data.

    Raises:
        ValueError: not an ``.npy`` file, or not one of plain numbers or text.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError("it does not begin like an .npy file")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    text = file.read(min(length, _LONGEST_HEADER)).decode("latin1")
    descr, order, shape = (pattern.search(text) for pattern in (_DESCR, _ORDER, _SHAPE))
    if len(text) != length or not order or not shape:
        raise ValueError("its header is broken")
    if not descr:
        raise ValueError(
            "it holds other things than numbers and text; save plain numbers, for example "
            "np.save(path, np.asarray(keypoints, dtype=np.float32))"
        )
    try:
        dtype = np.dtype(descr[1])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its header names the type {descr[1]!r}") from error
    return tuple(int(size) for size in re.findall(r"\d+", shape[1])), order[1] == "True", dtype


def _read_array(file: IO[bytes], size: int, where: str) -> npt.NDArray[Any]:
    """Read one array, after comparing the size its header announces with the bytes that are there."""
    try:
        shape, fortran, dtype = read_header(file)
    except ValueError as error:
        raise ValueError(f"{where} cannot be read as an array: {error}.") from error
    expected = dtype.itemsize * prod(shape)
    content = file.read(expected) if expected <= size else b""
    if len(content) != expected:
        raise ValueError(f"{where} is truncated: its header announces {expected:,} bytes of data, it has fewer.")
    if not expected:
        return np.zeros(shape, dtype)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
