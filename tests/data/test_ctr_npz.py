"""CTR-GCN's and InfoGCN's npz: exactly the frames the feeders would see, read in blocks, and damage named."""

import csv
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton_text import frames_of, posture, skeleton_text

from protogcn.cli import main
from protogcn.data.alignment import align_persons
from protogcn.data.prepare import prepare
from protogcn.data.readers import ctr_npz
from protogcn.data.readers.ctr_npz import read_ctr_npz
from protogcn.data.readers.options import ReadOptions
from protogcn.data.store import ClipStore


def padded(clips, frames=20, copy=False):
    """(n, frames, 150) of clips (M, T, 25, 3)."""
    out = np.zeros((len(clips), frames, 2, 25, 3), np.float32)
    for row, clip in zip(out, clips, strict=True):
        row[: clip.shape[1], : len(clip)] = clip.transpose(1, 0, 2, 3)
        if copy and len(clip) == 1:
            row[:, 1] = row[:, 0]
    return out.reshape(len(clips), frames, 150)


def some_clips(seed=0, classes=60):
    rng = np.random.default_rng(seed)
    clips = [
        rng.standard_normal((m, t, 25, 3)).astype(np.float32) for m, t in ((1, 7), (2, 20), (2, 12), (1, 1), (2, 5))
    ]
    labels = np.eye(classes)[rng.integers(0, classes, len(clips))]
    return clips, labels


def write(path, *, compressed=False, **changes):
    clips, labels = some_clips()
    arrays = {
        "x_train": padded(clips[:3]),
        "y_train": labels[:3],
        "x_test": padded(clips[3:]),
        "y_test": labels[3:],
        **changes,
    }
    save = np.savez_compressed if compressed else np.savez
    save(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_store_by_command_line(tmp_path, capsys, compressed):
    path = write(tmp_path / "NTU60_CS.npz", compressed=compressed)
    assert main(["data", "prepare", "ntu60_xsub", str(path), str(tmp_path / "s")]) == 0
    assert "splits    xsub_train 3, xsub_val 2" in capsys.readouterr().out
    store = ClipStore.open(tmp_path / "s")
    clips, labels = some_clips()
    assert store.ids == ("train_0", "train_1", "train_2", "test_0", "test_1") and store.dtype == np.float32
    assert store.labels.tolist() == labels.argmax(axis=1).tolist()
    for clip, expected in zip(store, clips, strict=True):
        np.testing.assert_array_equal(clip.keypoints, expected)


def test_blocks_do_not_change_the_clips(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz")
    whole = [clip.keypoints for clip in read_ctr_npz(path).clips]
    monkeypatch.setattr(ctr_npz, "_BLOCK", 1)
    for clip, expected in zip(read_ctr_npz(path).clips, whole, strict=True):
        np.testing.assert_array_equal(clip.keypoints, expected)


@given(st.lists(st.sampled_from(["both", "first", "second", "nobody"]), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_the_feeder_reads_is_kept(tmp_path_factory, shown):
    """Frames of zeros at the end go, holes stay: padding the stored clip again gives the entry of the file."""
    rng = np.random.default_rng(len(shown))
    entry = np.zeros((1, 12, 2, 75), np.float32)
    for frame, who in enumerate(shown):
        for person in {"both": (0, 1), "first": (0,), "second": (1,), "nobody": ()}[who]:
            entry[0, frame, person] = rng.standard_normal(75)
    path = write(tmp_path_factory.mktemp("x") / "a.npz", x_train=entry.reshape(1, 12, 150), y_train=np.eye(60)[:1])
    clip = next(iter(read_ctr_npz(path).clips)).keypoints
    np.testing.assert_array_equal(padded([clip], 12), entry.reshape(1, 12, 150))
    if entry.any():
        last = max(i for i, who in enumerate(shown) if who != "nobody")
        second = any(who in ("both", "second") for who in shown)
        assert clip.shape == (1 + second, last + 1, 25, 3)


def test_empty_clips_are_listed(tmp_path):
    clips, _ = some_clips()
    frames = padded(clips[:3])
    frames[1] = 0
    frames[2, 3, 4] = np.nan
    store = prepare("ntu60_xview", write(tmp_path / "a.npz", x_train=frames), tmp_path / "s")
    assert store.ids == ("train_0", "test_0", "test_1")
    assert store.meta["dropped"] == ["train_1"]
    with (store.path / "dropped.csv").open(newline="") as file:
        assert dict(csv.reader(file)) == {
            "clip": "reason",
            "train_1": "every joint is zero",
            "train_2": "a coordinate is not a number",
        }
    assert len(store.split("xview_train")) == 1


def test_alignment_makes_the_file_of_infogcn(tmp_path):
    clips, _ = some_clips()
    clips[1][1, 0] = 0
    path = write(tmp_path / "a.npz", x_train=padded(clips[:3]))
    store = prepare("ntu60_xsub", path, tmp_path / "s", options=ReadOptions(align=True))
    for clip, plain in zip(store, clips, strict=True):
        expected = align_persons(plain)
        np.testing.assert_array_equal(clip.keypoints, expected if expected[1:].any() else expected[:1])
    assert store.persons.tolist() == [1, 1, 2, 1, 2], "who is absent in the first frame is lost"


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("benchmark", "copy"), [("ntu60_xsub", False), ("ntu120_xsub", True)])
def test_clips_are_those_of_the_raw_files(tmp_path, benchmark, copy, align):
    """The route of CTR-GCN over raw files gives the store of the file that CTR-GCN makes of them."""
    rng = np.random.default_rng(2)
    names = ("S001C001P001R001A001", "S001C001P003R001A050")
    bodies = ([(1, 0, posture(rng, 9))], [(1, 0, posture(rng, 14, amount=0.3)), (2, 1, posture(rng, 13))])
    (tmp_path / "raw").mkdir()
    for name, seen in zip(names, bodies, strict=True):
        (tmp_path / "raw" / f"{name}.skeleton").write_bytes(skeleton_text(frames_of(seen)))
    raw = prepare(benchmark, tmp_path / "raw", tmp_path / "one", options=ReadOptions(denoise="ctrgcn", align=align))
    plain = prepare(benchmark, tmp_path / "raw", tmp_path / "two", options=ReadOptions(denoise="ctrgcn"))
    clips = [clip.keypoints for clip in plain]
    labels = np.eye(int(benchmark[3:-5]))[[0, 49]]
    path = write(
        tmp_path / "a.npz",
        x_train=padded(clips[:1], copy=copy),
        x_test=padded(clips[1:], copy=copy),
        y_train=labels[:1],
        y_test=labels[1:],
    )
    packed = prepare(benchmark, path, tmp_path / "three", options=ReadOptions(align=align))
    assert (raw.path / "keypoints.npy").read_bytes() == (packed.path / "keypoints.npy").read_bytes()
    for name in ("xsub_train", "xsub_val"):
        np.testing.assert_array_equal(raw.split(name), packed.split(name))
    np.testing.assert_array_equal(raw.labels, packed.labels)


def test_own_clips_of_that_form(tmp_path):
    labels = some_clips(classes=4)[1]
    path = write(tmp_path / "a.npz", y_train=labels[:3], y_test=labels[3:])
    store = prepare("own", path, tmp_path / "s", skeleton="ntu25")
    assert store.num_classes == 4 and set(store.splits) == {"train", "test"} and len(store) == 5


# ------------------------------------------------------------------------------------------------ mistakes
def soft():
    labels = some_clips()[1][:3]
    labels[1] = 0.5
    return labels


def double():
    labels = some_clips()[1][:3]
    labels[2, :2] = 1
    return labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": soft()}, "row 1 of y_train is not one-hot"),
        ({"y_train": double()}, "row 2 of y_train is not one-hot"),
        ({"y_train": np.zeros((3, 60))}, "row 0 of y_train is not one-hot"),
        ({"y_train": np.arange(3)}, r"y_train must be one-hot, \(3 clips, classes\); got \(3,\)"),
        ({"y_test": some_clips()[1][:3]}, r"y_test must be one-hot, \(2 clips"),
        ({"y_test": np.eye(50)[:2]}, "labels of 50 and 60 classes; expected 60"),
        ({"x_test": None}, "has no array 'x_test'"),
        ({"x_test": np.zeros((2, 20, 75), np.float32)}, r"x_test must be \(clips, frames, 150 coordinates\)"),
        ({"x_test": np.zeros((2, 0, 150), np.float32)}, "x_test must be"),
        ({"x_test": np.asfortranarray(np.ones((2, 20, 150)))}, "float64 in Fortran order"),
        ({"x_test": np.full((2, 20, 150), "1")}, "must be numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    path = write(tmp_path / "a.npz", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        prepare("ntu60_xsub", path, tmp_path / "s")
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_file_of_another_benchmark(tmp_path, capsys):
    path = write(tmp_path / "a.npz")
    assert main(["data", "prepare", "ntu120_xsub", str(path), str(tmp_path / "s")]) == 2
    assert "labels of 60 classes; expected 120" in capsys.readouterr().err
    assert main(["data", "prepare", "ntu60_xsub", str(path), str(tmp_path / "s"), "--denoise", "ctrgcn"]) == 2
    assert "--denoise means nothing for" in capsys.readouterr().err


def test_infinite_joints_are_refused(tmp_path):
    clips, _ = some_clips()
    frames = padded(clips[:3]).astype(np.float64)
    frames[1, 2, 3] = 1e300
    with pytest.raises(ValueError, match=r"'train_1'.*infinite"):
        prepare("ntu60_xsub", write(tmp_path / "a.npz", x_train=frames), tmp_path / "s")


@pytest.mark.parametrize("compressed", [False, True])
@given(cut=st.floats(0, 1), flip=st.booleans())
@settings(max_examples=40, deadline=None)
def test_damaged_files_are_refused(tmp_path_factory, compressed, cut, flip):
    """Cut off anywhere, or one byte of the content changed: one sentence, never another clip."""
    path = write(tmp_path_factory.mktemp("x") / "a.npz", compressed=compressed)
    content = bytearray(path.read_bytes())
    at = int(cut * (len(content) - 1))
    if flip:
        content[at] ^= 0x41
    path.write_bytes(content if flip else content[:at])
    expected = some_clips()[0]
    try:
        found = [clip.keypoints for clip in read_ctr_npz(path).clips]
    except ValueError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    assert flip and len(found) == len(expected), "a changed byte outside of the data does no harm"
    for clip, plain in zip(found, expected, strict=True):
        np.testing.assert_array_equal(clip, plain)


def test_a_header_that_announces_more_than_there_is(tmp_path):
    path = write(tmp_path / "a.npz")
    forged = io.BytesIO()
    np.lib.format.write_array_header_1_0(forged, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 300, 150)})
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, forged.getvalue() if name == "x_train.npy" else content)
    with pytest.raises(ValueError, match="truncated"):
        read_ctr_npz(path)
