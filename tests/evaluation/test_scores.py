import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn.evaluation.scores import ScoreFile, load_scores, save_scores

META = {"benchmark": "nw_ucla", "split": "test", "stream": "jm", "model": "protogcn", "seed": 1, "version": "0.1.0"}


def make(**changes) -> ScoreFile:
    values = {
        "ids": np.array(["a01", "a02", "é"]),
        "scores": np.arange(12, dtype=np.float32).reshape(3, 4),
        "kind": "logits",
        "labels": np.array([0, 3, 1]),
        "class_names": ("sit", "stand", "throw", "carry"),
        "meta": META,
    }
    return ScoreFile(**(values | changes))


def raw(**changes) -> dict:
    scores = make()
    return {
        "ids": scores.ids,
        "scores": scores.scores,
        "kind": np.array("logits"),
        "labels": scores.labels,
        "class_names": np.array(scores.class_names),
        "meta": np.array(json.dumps(META)),
    } | changes


def test_round_trip(tmp_path):
    path = save_scores(tmp_path / "runs" / "jm" / "scores_test.npz", make())
    loaded = load_scores(path)
    for name in ("ids", "scores", "labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(make(), name))
        assert getattr(loaded, name).dtype == getattr(make(), name).dtype
    assert loaded.class_names == make().class_names and loaded.kind == "logits"
    assert loaded.meta == META | {"source": str(path)} and loaded.name == "jm-s1" and loaded.num_classes == 4
    with np.load(path, allow_pickle=False) as plain:
        assert sorted(plain) == ["class_names", "ids", "kind", "labels", "meta", "scores"]


@settings(max_examples=25)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True
    ),
    st.integers(2, 6),
    st.integers(0, 99),
)
def test_any_content_survives(tmp_path_factory, ids, classes, seed):
    rng = np.random.default_rng(seed)
    scores = make(
        ids=np.array(ids),
        scores=rng.standard_normal((len(ids), classes)),
        labels=rng.integers(0, classes, len(ids)),
        class_names=(),
    )
    loaded = load_scores(save_scores(tmp_path_factory.mktemp("any") / "a.npz", scores))
    assert loaded.ids.tolist() == ids and loaded.class_names == ()
    np.testing.assert_array_equal(loaded.scores, scores.scores)


def test_types_are_brought_to_those_of_the_format():
    scores = make(scores=np.ones((3, 4), np.float64) / 4, labels=np.array([0, 1, 2], np.int16), kind="probabilities")
    assert scores.scores.dtype == np.float32 and scores.labels.dtype == np.int64


@pytest.mark.parametrize(
    "meta, name", [({"stream": "j", "seed": 0}, "j"), ({"stream": "k", "seed": 2}, "k-s2"), ({}, "scores")]
)
def test_name(meta, name):
    assert make(meta=meta).name == name


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "logit"}, "did you mean 'logits'"),
        ({"ids": np.array(["a", "b"])}, "expected 3 ids"),
        ({"ids": np.array([1, 2, 3])}, "expected 3 ids"),
        ({"ids": np.array(["a", "b", "a"])}, "1 ids occur more than once: a"),
        ({"scores": np.zeros((3, 4, 1))}, "shape"),
        ({"scores": np.zeros((3, 1))}, "shape"),
        ({"scores": np.zeros((0, 4))}, "shape"),
        ({"scores": np.array([["a"] * 4] * 3)}, "numbers"),
        ({"scores": np.full((3, 4), np.nan)}, "3 clips have scores that are NaN or infinite, the first is a01"),
        ({"scores": np.array([[0, 0, 0, 0], [0, np.inf, 0, 0], [0, 0, 0, 0]])}, "1 clips .* a02"),
        ({"scores": np.array([[0, 0, 0, 0], [0, np.inf, -np.inf, 0], [0, 0, 0, 0]])}, "1 clips .* a02"),
        ({"labels": np.array([0, 1])}, "expected 3 whole-number labels"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "whole-number labels"),
        ({"labels": np.array([1, 2, 4])}, r"labels must lie in 0..3 for 4 classes; got 1..4"),
        ({"labels": np.array([-1, 2, 3])}, r"got -1..3"),
        ({"class_names": ("a", "b")}, "2 class names for 4 classes"),
        ({"kind": "probabilities"}, "3 rows are negative or do not sum to 1 .* are they logits"),
        ({"kind": "probabilities", "scores": np.array([[2.0, -1, 0, 0]] * 3)}, "are they logits"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize("name", ["ids", "scores", "kind", "labels", "class_names", "meta"])
def test_missing_array_is_named(tmp_path, name):
    arrays = raw()
    del arrays[name]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=f"has no {name} "):
        load_scores(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ids": np.array(["a", {}, None], dtype=object)}, "pickled objects"),
        ({"meta": np.array("{not json")}, "Expecting property name"),
        ({"meta": np.array("[1]")}, "JSON object"),
        ({"meta": np.array(1)}, "single texts"),
        ({"kind": np.array(["logits", "logits"])}, "single texts"),
        ({"class_names": np.arange(4)}, "class_names must be text"),
        ({"labels": np.array([0, 9, 1])}, "labels must lie in"),
    ],
)
def test_hostile_arrays_are_refused_with_the_path(tmp_path, changes, message):
    np.savez(tmp_path / "bad.npz", **raw(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        load_scores(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_damaged_files(tmp_path):
    path = save_scores(tmp_path / "a.npz", make())
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.npz"):
            load_scores(path)
    path.write_bytes(pickle.dumps({"ids": []}))
    with pytest.raises(ValueError, match="not an intact"):
        load_scores(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_scores(tmp_path / "missing.npz")


@settings(max_examples=150)
@given(st.data())
def test_flipped_bytes_give_scores_or_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "a.npz"
    whole = bytearray(save_scores(path, make()).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(whole))
    try:
        load_scores(path)
    except ValueError as error:
        assert "a.npz" in str(error)


def test_an_archive_that_expands_without_end_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("scores.npy", "w", force_zip64=True) as member:
            for _ in range(8):
                member.write(bytes(1 << 20))
        archive.infolist()[0].file_size = 5 << 30
    with pytest.raises(ValueError, match="GiB"):
        load_scores(tmp_path / "bomb.npz")


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**7, 40)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("scores.npy", header.getvalue() + b"1234")
    with pytest.raises(ValueError, match=r"a\.npz"):
        load_scores(tmp_path / "a.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_scores(tmp_path / "a.npz", make())
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_scores(path, make())
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_other_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"end in \.npz"):
        save_scores(tmp_path / "scores.pkl", make())
