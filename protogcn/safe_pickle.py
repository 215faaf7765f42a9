"""Read pickles of other projects without running what they contain.

A pickle is a program: the standard loader calls whatever function the file names. Annotation and score files
need containers, text, numbers and numpy arrays only, so this loader knows these by heart and refuses every other
name. The reconstruction functions of numpy are replaced as well, because a forged dtype or array state makes numpy
follow wild pointers.
"""

import io
import mmap
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["UnsafePickleError", "load"]

_PLAIN_TYPE = re.compile(r"[biufcSU]\d{1,9}")
_KEY_TYPES = (str, bytes, int, float, type(None), np.generic)
_MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    AssertionError,
    RecursionError,
    struct.error,
)


class UnsafePickleError(ValueError):
    """The pickle asks for something that plain data does not need."""


def load(source: str | Path | bytes) -> Any:
    """Load a pickle (protocols 0 to 5, of Python 2 or 3, numpy 1 or 2) that holds plain data.

    Admitted are dict, OrderedDict, list, tuple, set, frozenset, str, bytes, int, float, bool, None, and numpy arrays,
    scalars and dtypes of numbers or text. Byte strings of Python 2 come back as text decoded as Latin-1.

    Args:
        source: path of the file, or its bytes.

    Raises:
        UnsafePickleError: (a ValueError) the file asks for anything else; nothing of it was run.
        ValueError: the file is empty, truncated or not a pickle.
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return _load(io.BytesIO(source), "The pickle")
    path = Path(source)
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty; expected a pickle.")
        # A map clips every read to the size of the file: a forged length cannot ask for terabytes.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _load(mapped, str(path))


def _load(file: BinaryIO | mmap.mmap, name: str) -> Any:
    try:
        return _DataUnpickler(file, encoding="latin1").load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{name} was refused: {error}. Only dict, list, tuple, set, str, bytes, numbers, None and numpy arrays of "
            "numbers or text are read from pickles, because anything else could run code. If you trust its author, "
            "have the content saved as .npy, .npz or .json instead."
        ) from None
    except _MALFORMED as error:
        raise ValueError(
            f"{name} is not a complete pickle ({error}); it may be truncated or of another format."
        ) from error


def _check_key(key: Any) -> None:
    """Refuse keys that are not flat: hashing a tuple nested a million deep overflows the stack of the interpreter."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _KEY_TYPES) for part in parts):
        raise UnsafePickleError("a key or set member is neither text, a number nor a flat tuple of these")


def _checked_set(kind: Callable[[Iterable], Any]) -> Callable[..., Any]:
    def build(items: Iterable = ()) -> Any:
        items = list(items)
        for item in items:
            _check_key(item)
        return kind(items)

    return build


def _ordered_dict(items: Iterable = ()) -> OrderedDict:
    pairs = [tuple(pair) for pair in items]
    for key, _ in pairs:
        _check_key(key)
    return OrderedDict(pairs)


def _bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """Protocols 0 to 2 of Python 3 write bytes as Latin-1 text to be encoded."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError("it builds bytes in a way no pickle of bytes does")
    return text.encode("latin1")


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype:
    if isinstance(code, np.dtype):
        return code
    if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
        named = f"type {code[:20]!r}" if isinstance(code, str) else "an unknown type"
        raise UnsafePickleError(f"it holds a numpy array of {named}, which is neither numbers nor text")
    return np.dtype(code, copy=True)


def _set_dtype_state(dtype: np.dtype, state: Any) -> None:
    """Apply the byte order of `state`, and admit no state but the one numpy itself writes for this type."""
    if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|"):
        raise UnsafePickleError("it holds a forged numpy type")
    genuine: Any = (dtype if state[1] == "|" else dtype.newbyteorder(state[1])).__reduce__()
    if state != genuine[2]:
        raise UnsafePickleError("it holds a forged numpy type")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """Array of its own memory from the bytes of a pickle, refused unless type, shape and size agree."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(dtype, np.dtype) or not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
        raise UnsafePickleError("it holds a numpy array that is not made of plain bytes")
    if any(not isinstance(size, int) or size < 0 for size in shape):
        raise UnsafePickleError("it holds a numpy array of impossible shape")
    if prod(shape) * dtype.itemsize != len(raw) or (shape and not dtype.itemsize):
        raise UnsafePickleError(f"it holds a numpy array whose {len(raw)} bytes do not fill its shape")
    if not raw:
        return np.zeros(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Empty array that the next instruction of the pickle fills; the arguments only ever say the same thing."""
    return np.empty(0, np.int8)


def _set_array_state(array: np.ndarray, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) not in (4, 5) or array.size or not array.flags.owndata:
        raise UnsafePickleError("it changes a numpy array after it was made")
    shape, dtype, fortran, raw = state[-4:]
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    checked = _array(raw, dtype, shape, "C")
    set_state: Any = array.__setstate__
    set_state((1, shape, checked.dtype, bool(fortran), bytes(raw)))


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    return _array(raw, dtype, (), "C")[()]


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _array(raw, dtype, shape, order)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _bytes,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): "numpy.ndarray",
    **{(module, "bytes"): _bytes for module in ("builtins", "__builtin__")},
    **{(module, "set"): _checked_set(set) for module in ("builtins", "__builtin__")},
    **{(module, "frozenset"): _checked_set(frozenset) for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


# The unpickler written in Python is the one whose single instructions can be replaced.
_PythonUnpickler: Any = pickle._Unpickler


class _DataUnpickler(_PythonUnpickler):
    dispatch = _PythonUnpickler.dispatch.copy()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise UnsafePickleError(f"it asks for {module[:80]}.{name[:80]}") from None

    def get_extension(self, code: int) -> None:
        raise UnsafePickleError(f"it asks for the registered extension {code}")

    def persistent_load(self, pid: Any) -> None:
        raise UnsafePickleError("it refers to objects outside the file")

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is np.ndarray:
            _set_array_state(target, state)
        elif isinstance(target, np.dtype):
            _set_dtype_state(target, state)
        else:
            raise UnsafePickleError(f"it sets the inner state of a {type(target).__name__}")

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def load_setitem(self) -> None:
        _check_key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        super().load_setitems()

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        super().load_dict()

    def load_additems(self) -> None:
        for item in self.stack:
            _check_key(item)
        super().load_additems()

    def load_frozenset(self) -> None:
        for item in self.stack:
            _check_key(item)
        super().load_frozenset()

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
