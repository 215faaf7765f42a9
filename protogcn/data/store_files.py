"""The three files of a clip store: reading them with every size checked, and replacing a folder in one step."""

import csv
import hashlib
import io
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data.npy_files import read_header, read_npz

FORMAT = "protogcn-store"
VERSION = 1
KEYPOINTS, INDEX, META = "keypoints.npy", "index.npz", "store.json"
DROPPED = "dropped.csv"
INDEX_ARRAYS = ("offsets", "persons", "lengths", "labels", "ids", "image_shapes")
_META_TYPES: dict[str, type | tuple[type, ...]] = {
    "clips": int,
    "rows": int,
    "dtype": str,
    "channels": str,
    "skeleton": (str, dict),
    "class_names": list,
    "checksums": dict,
}


def damaged(path: Path, why: str, meta: dict[str, Any] | None = None) -> ValueError:
    """The error of a store that cannot be used, with the command that makes it again."""
    meta = meta or {}
    what, source = meta.get("benchmark") or "<benchmark>", meta.get("source") or "<source>"
    skeleton = meta.get("skeleton", "<skeleton>")
    layout = f" --skeleton {skeleton}" if what == "own" and isinstance(skeleton, str) else ""
    notes = meta.get("notes")
    options = f" {notes['options']}" if isinstance(notes, dict) and notes.get("options") else ""
    return ValueError(
        f"The store {path} is damaged: {why}. Copy it again, or convert it again: "
        f"protogcn data prepare {what} {_quoted(source)} {_quoted(path)}{layout}{options} --overwrite"
    )


def _quoted(path: object) -> str:
    """As it must be typed in a shell; a placeholder stays readable."""
    text = str(path)
    return text if text.startswith("<") else shlex.quote(text)


def read_meta(path: Path) -> dict[str, Any]:
    """The content of ``store.json``, its fields present and of the right type."""
    if not (path / META).is_file():
        what = "is a folder without store.json" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"No clip store at {path}: it {what}. Convert your data first: "
            f"protogcn data prepare <benchmark> <source> {_quoted(path)}"
        )
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"{META} is not readable as JSON ({error})") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise damaged(path, f"{META} does not describe a clip store")
    if meta.get("version") != VERSION:
        raise ValueError(
            f"The store {path} has format version {meta.get('version')!r}; this version of protogcn reads {VERSION}. "
            f"Convert it again: protogcn data prepare <benchmark> <source> {path} --overwrite"
        )
    for key, kind in _META_TYPES.items():
        if not isinstance(meta.get(key), kind):
            raise damaged(path, f"{META} has no usable field {key!r}")
    return meta


def map_rows(path: Path, meta: dict[str, Any]) -> npt.NDArray[Any]:
    """Map ``keypoints.npy`` (rows, V, C) read-only, after comparing header and file size with what was written."""
    file_path = path / KEYPOINTS
    if not file_path.is_file():
        raise damaged(path, f"{KEYPOINTS} is missing", meta)
    with file_path.open("rb") as file:
        try:
            shape, fortran, dtype = read_header(file)
        except ValueError as error:
            raise damaged(path, f"the header of {KEYPOINTS} is not readable", meta) from error
        start = file.tell()
    if (
        fortran
        or dtype.str not in ("<f4", "<f2")
        or dtype.name != meta["dtype"]
        or len(shape) != 3
        or shape[0] != meta["rows"]
    ):
        raise damaged(path, f"{KEYPOINTS} holds {dtype} {shape}, not the {meta['rows']} rows that were written", meta)
    expected, got = start + dtype.itemsize * int(np.prod(shape)), file_path.stat().st_size
    if got != expected:
        raise damaged(path, f"{KEYPOINTS} has {got:,} bytes where {expected:,} belong", meta)
    # A plain array over the map: slicing the memmap subclass itself is several times slower.
    return np.asarray(np.memmap(file_path, dtype=dtype, mode="r", offset=start, shape=shape))


def read_index(path: Path, meta: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``index.npz``, read-only, after comparing the file with its checksum."""
    if not (path / INDEX).is_file():
        raise damaged(path, f"{INDEX} is missing", meta)
    content = (path / INDEX).read_bytes()
    if hashlib.sha256(content).hexdigest() != meta["checksums"].get("index"):
        raise damaged(path, f"the checksum of {INDEX} is not the one noted when it was written", meta)
    try:
        index = read_npz(io.BytesIO(content), INDEX)
    except ValueError as error:
        raise damaged(path, f"{INDEX} is not readable", meta) from error
    for key, array in index.items():
        kind = "U" if key == "ids" else "i"
        if array.dtype.kind != kind or array.ndim != (2 if key == "image_shapes" else 1):
            raise damaged(path, f"the array {key!r} of {INDEX} is not as it was written", meta)
        array.flags.writeable = False
    if missing := [key for key in INDEX_ARRAYS if key not in index]:
        raise damaged(path, f"{INDEX} lacks {', '.join(missing)}", meta)
    return index


def header_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The ``.npy`` header; numpy leaves room in it, so the length does not depend on the number of rows."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def write_dropped(path: Path, reasons: Mapping[str, str]) -> None:
    """List in a finished store what was left out of it and why, if anything was; nothing depends on that file."""
    if reasons:
        with (path / DROPPED).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("clip", "reason"), *sorted(reasons.items())])


@contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """A fresh folder beside ``path`` that takes its place when the block ends well and vanishes when it does not.

    Raises:
        FileExistsError: ``path`` is taken, and either ``overwrite`` is off or it holds something other than a store.
    """
    check_replaceable(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    partial, old = path.with_name(f"{path.name}.partial-{token}"), path.with_name(f"{path.name}.old-{token}")
    partial.mkdir()
    try:
        yield partial
        for file in partial.iterdir():
            _sync(file)
        _sync(partial)
        check_replaceable(path, overwrite)
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        _sync(path.parent)
    finally:
        # Also on Ctrl-C: a conversion either ends in a whole store or leaves the disk as it was.
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Raise FileExistsError unless a store may be written to ``path``."""
    if not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    if not (path / META).is_file():
        raise FileExistsError(f"{path} exists and is not a clip store; it is left alone. Choose another path.")
    if not overwrite:
        raise FileExistsError(
            f"{path} already holds a clip store. Choose another path, or replace it: overwrite=True (--overwrite)"
        )


def _sync(path: Path) -> None:
    """Force a file or a folder entry to the disk, where the system can."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
