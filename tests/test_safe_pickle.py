import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn import safe_pickle

ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "float16 in Fortran order": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "text": np.array(["A001", "é"]),
    "bytes": np.array([b"a", b"bb"]),
    "complex": np.array([1j]),
    "empty": np.zeros((0, 25, 3)),
    "zero-dimensional": np.array(3),
}
SCALARS = [np.float32(3.5), np.int64(4), np.bool_(True), np.str_("é"), np.dtype("f4"), np.dtype(">f8")]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_load_as_the_standard_loader_does(name, protocol):
    raw = pickle.dumps({"a": ARRAYS[name], "again": [ARRAYS[name]]}, protocol)
    ours, theirs = safe_pickle.load(raw)["a"], pickle.loads(raw)["a"]
    assert (
        type(ours) is np.ndarray and ours.dtype == theirs.dtype and ours.flags.f_contiguous == theirs.flags.f_contiguous
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_and_scalars(protocol):
    data = [
        *SCALARS,
        {"split": {"xsub": ["a", "b"]}, 3: (1, (2.5, None)), ("a", 1): True},
        OrderedDict(b=1, a=2),
        {1, 2},
        frozenset({"a"}),
        set(),
        b"",
        b"\x00\xff",
        10**30,
        "naïve",
    ]
    loaded = safe_pickle.load(pickle.dumps(data, protocol))
    assert loaded == data and [type(x) for x in loaded] == [type(x) for x in data]


def test_shared_and_cyclic_objects_keep_their_identity():
    array = np.arange(3)
    loop: list = [array, array]
    loop.append(loop)
    loaded = safe_pickle.load(pickle.dumps(loop))
    assert loaded[0] is loaded[1] and loaded[2] is loaded


def test_python2_numpy1_file():
    raw = (
        b"\x80\x02}q\x00U\x08test_000q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + np.array([1.5, -2], "<f4").tobytes() + b"tbs."
    )
    loaded = safe_pickle.load(raw)
    np.testing.assert_array_equal(loaded["test_000"], np.array([1.5, -2], np.float32))


def test_file_on_disk(tmp_path):
    path = tmp_path / "scores.pkl"
    path.write_bytes(pickle.dumps([np.ones(4)] * 3))
    assert len(safe_pickle.load(path)) == 3 and len(safe_pickle.load(str(path))) == 3
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        safe_pickle.load(path)
    with pytest.raises(FileNotFoundError):
        safe_pickle.load(tmp_path / "missing.pkl")


class Call:
    """Pickles as a call of any function, which is how an attack looks."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.call


def named_call(module, name, argument=b"N", protocol=0):
    if protocol == 4:
        text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
        return b"\x80\x04" + text + b"\x93" + argument + b"\x85R."
    return f"c{module}\n{name}\n".encode() + argument + b"\x85R."


@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("builtins", "bytearray"),
        ("__builtin__", "eval"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("copyreg", "_reconstructor"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "matrix"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.core.multiarray", "fromfile"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "defaultdict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("protogcn.safe_pickle", "load"),
        ("", ""),
    ],
)
def test_every_other_name_is_refused_and_named(module, name, protocol):
    with pytest.raises(ValueError, match="refused") as caught:
        safe_pickle.load(named_call(module, name, protocol=protocol))
    assert f"asks for {module}.{name}" in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_of_a_refused_file_has_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    hostile = [np.arange(3), Call(os.system, f"touch {marker}"), Call(eval, f"open({str(marker)!r}, 'w')")]
    with pytest.raises(safe_pickle.UnsafePickleError):
        safe_pickle.load(pickle.dumps(hostile, protocol))
    assert not marker.exists()


RECONSTRUCT = np.zeros(1).__reduce__()[0]
SCALAR = np.float64(1).__reduce__()[0]
F8 = np.dtype("f8").__reduce__()[2]


@pytest.mark.parametrize(
    "hostile",
    {
        "objects": np.array([{}, None], dtype=object),
        "records": np.zeros(2, dtype=[("a", "O")]),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "bytes read as pointers": Call(SCALAR, np.dtype("O"), b"A" * 8),
        "flags that claim references": Call(np.dtype, "f8", False, True, state=(*F8[:-1], 63)),
        "item size that lies": Call(np.dtype, "U4", False, True, state=(3, "<", None, None, None, 4096, 4, 8)),
        "array larger than its bytes": Call(
            RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (10**12,), np.dtype("f8"), False, b"1234")
        ),
        "negative shape": Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (-1, -1), np.dtype("i1"), False, b"1")),
        "many empty strings": Call(
            RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (10**12,), Call(np.dtype, "U0"), False, b"")
        ),
        "state of a list in an array": Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=[1, 2]),
        "attributes on a container": Call(OrderedDict, state={"items": 1}),
        "list as a dict": Call(OrderedDict, [([], 1)]),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_forged_numpy_content_is_refused(hostile, protocol):
    with pytest.raises(safe_pickle.UnsafePickleError):
        safe_pickle.load(pickle.dumps(hostile[1], protocol))


def test_huge_allocation_of_reconstruct_is_never_made():
    assert safe_pickle.load(pickle.dumps(Call(RECONSTRUCT, np.ndarray, (10**15,), b"d"))).size == 0
    with pytest.raises(ValueError, match="not a complete pickle"):
        safe_pickle.load(pickle.dumps(Call(np.ndarray, (10**15,))))


@pytest.mark.parametrize(
    "instruction",
    [
        b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
        b"\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x8d" + struct.pack("<Q", 2**40) + b"x.",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    ],
    ids=["bytes", "bytearray", "text", "integer"],
)
def test_forged_lengths_are_clipped_to_the_file(instruction, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x05" + instruction)
    with pytest.raises(ValueError, match="not a complete pickle"):
        safe_pickle.load(path)


def test_a_forged_frame_length_costs_nothing():
    assert safe_pickle.load(b"\x80\x05\x95" + struct.pack("<Q", 2**62) + b"N.") is None


@pytest.mark.parametrize("use", [b"Ns.", b"Nu.", b"d."], ids=["setitem", "setitems", "dict"])
def test_a_key_nested_deeper_than_the_stack_is_refused(use):
    deep = b"N" + b"\x85" * 1_000_000
    start = {b"Ns.": b"}", b"Nu.": b"}(", b"d.": b"("}[use]
    with pytest.raises(ValueError, match="flat"):
        safe_pickle.load(b"\x80\x04" + start + deep + (b"N" if use == b"d." else b"") + use)


@pytest.mark.parametrize("instruction", [b"\x90", b"\x91"], ids=["additems", "frozenset"])
def test_a_member_nested_deeper_than_the_stack_is_refused(instruction):
    start = b"\x8f(" if instruction == b"\x90" else b"("
    with pytest.raises(ValueError, match="flat"):
        safe_pickle.load(b"\x80\x04" + start + b"N" + b"\x85" * 1_000_000 + instruction + b".")


def test_deep_lists_load_without_recursion():
    depth = 100_000
    loaded = safe_pickle.load(b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b".")
    assert isinstance(loaded[0][0][0], list)


@pytest.mark.parametrize(
    "raw", [b"\x80\x04\x82\x01.", b"Pid\n.", b"N\x51."], ids=["extension", "persistent", "persistent 2"]
)
def test_references_outside_the_file_are_refused(raw):
    with pytest.raises(safe_pickle.UnsafePickleError):
        safe_pickle.load(raw)


WHOLE = pickle.dumps({"a": [np.arange(5.0), np.float32(1)], "b": ("x", {1, 2}), "c": OrderedDict(d=b"\xff")}, 4)


@given(st.integers(0, len(WHOLE) - 1))
def test_truncated_files_say_so(size):
    with pytest.raises(ValueError, match=r"not a complete pickle|refused"):
        safe_pickle.load(WHOLE[:size])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_files_give_data_or_a_value_error(edits):
    raw = bytearray(WHOLE)
    for position, byte in edits:
        raw[position] = byte
    try:
        safe_pickle.load(bytes(raw))
    except ValueError as error:
        assert str(error).startswith("The pickle")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_survives(data, protocol):
    assert safe_pickle.load(pickle.dumps(data, protocol)) == data
