"""``.npy`` and ``.npz`` files from outside: plain numbers and text only, sizes checked before memory is taken."""

import zipfile
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_MAX_BYTES = 64 << 30


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        ValueError: truncated, of Python objects, or no ``.npy`` file.
    """
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size, str(path))


def read_npz(path: Path, keys: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an ``.npz`` file by name.

    Args:
        path: the file.
        keys: read these only, where present; default all.

    Raises:
        ValueError: truncated, of Python objects, or no ``.npz`` file.
    """
    wanted = None if keys is None else set(keys)
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if info.filename.endswith(".npy") and (wanted is None or key in wanted):
                    with archive.open(info) as file:
                        arrays[key] = _read_array(file, info.file_size, f"{key!r} in {path}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{path} is not a complete .npz file ({error}); it may be truncated: copy it again."
        ) from error
    return arrays


def _read_array(file: IO[bytes], size: int, where: str) -> npt.NDArray[Any]:
    """Read one array, after comparing the size its header announces with the bytes that are there."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"unknown format version {version}")
        start = file.tell()
    except (ValueError, EOFError) as error:
        raise ValueError(f"{where} is not a complete .npy array ({error}).") from error
    if dtype.hasobject or dtype.kind not in "biufU":
        raise ValueError(
            f"{where} holds {dtype} values; only numbers and text are read. Save it as plain numbers, for example "
            "np.save(path, np.asarray(keypoints, dtype=np.float32))."
        )
    expected = start + dtype.itemsize * prod(shape)
    if size < expected or expected > _MAX_BYTES:
        raise ValueError(f"{where} has {size:,} bytes where its header announces {expected:,}; it is truncated.")
    file.seek(0)
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{where} is not a complete .npy array ({error}).") from error
