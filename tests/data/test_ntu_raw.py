"""Raw NTU RGB+D: any recording written is read back, damage is named, and folders become stores by both routes."""

import csv
import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton_text import frames_of, posture, skeleton_text

from protogcn.cli import main
from protogcn.data.alignment import align_persons
from protogcn.data.denoise import denoise_ctrgcn, denoise_pyskl, translate_ctrgcn
from protogcn.data.prepare import prepare
from protogcn.data.readers.ntu_raw import read_ntu_raw
from protogcn.data.readers.ntu_skeleton import LARGEST_FILE, parse_name, parse_skeleton
from protogcn.data.readers.options import ReadOptions
from protogcn.data.store import ClipStore


# ------------------------------------------------------------------------------------------------- one file
@st.composite
def recorded(draw):
    """Frames as they are written, with bodies that come and go; joints drawn by a generator of numpy."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = draw(st.lists(st.integers(0, 2**57), min_size=1, max_size=4, unique=True))
    frames = draw(st.lists(st.lists(st.sampled_from(ids), unique=True, max_size=4), min_size=1, max_size=12))
    scale = draw(st.sampled_from((1e-6, 1.0, 1e4)))
    return [[(body, rng.normal(0, scale, (25, 3)).astype(np.float32)) for body in bodies] for bodies in frames]


@given(recorded(), st.sampled_from(("\n", "\r\n")))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(frames, end):
    seen = parse_skeleton(skeleton_text(frames, end), "a.skeleton")
    full = [bodies for bodies in frames if bodies]
    assert seen.num_frames == len(full)
    order = list(dict.fromkeys(body for bodies in full for body, _ in bodies))
    assert len(seen.bodies) == len(order)
    for body, name in zip(seen.bodies, order, strict=True):
        joints = [joints for bodies in full for other, joints in bodies if other == name]
        np.testing.assert_array_equal(body.joints, joints)
        assert body.joints.dtype == np.float32
        assert body.start == next(i for i, bodies in enumerate(full) if name in dict(bodies))
        assert body.stop == body.start + len(joints), "a body that comes back is glued together"


def test_reference_file(goldens):
    seen = parse_skeleton((goldens / "data" / "tiny.skeleton").read_bytes(), "tiny")
    expected = np.load(goldens / "data" / "denoise.npz")["S001C001P001R001A001/in/body0"]
    assert seen.num_frames == 3 and len(seen.bodies) == 1
    np.testing.assert_array_equal(seen.bodies[0].joints, expected)


def test_ids_that_differ_beyond_double_precision_stay_apart():
    rng = np.random.default_rng(0)
    bodies = [(72057594037931101, 0, posture(rng, 2)), (72057594037931102, 0, posture(rng, 2))]
    assert len(parse_skeleton(skeleton_text(frames_of(bodies)), "x").bodies) == 2


ONE = skeleton_text(frames_of([(1, 0, posture(np.random.default_rng(9), 3))]))
TEXT = skeleton_text(
    frames_of([(7, 0, posture(np.random.default_rng(1), 2)), (8, 1, posture(np.random.default_rng(2), 1))])
)


@given(st.integers(0, len(TEXT) - 4))
@settings(max_examples=150, deadline=None)
def test_a_file_that_breaks_off_is_refused(length):
    with pytest.raises(ValueError, match=r"^x(, line \d+: | breaks off in line \d+; copy)") as caught:
        parse_skeleton(TEXT[:length], "x")
    assert "\n" not in str(caught.value)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_harmless(data):
    """Bytes changed anywhere give a sentence, or a recording of finite numbers and possible frames."""
    text = bytearray(TEXT)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=6) | st.sampled_from([b"\n", b" "]))
    try:
        seen = parse_skeleton(bytes(text), "x")
    except ValueError as error:
        assert "\n" not in str(error) and str(error).startswith("x")
        return
    assert all(body.joints.shape[1:] == (25, 3) and not np.isinf(body.joints).any() for body in seen.bodies)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused(content):
    if re.fullmatch(rb"\s*0*\s*", content):
        return
    with pytest.raises(ValueError, match=r"^x") as caught:
        parse_skeleton(content, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"2\r\n", b"999999999\r\n", "breaks off in line 84"),
        (b"2\r\n", b"1e3\r\n", "line 1: expected the number of frames; got '1e3'"),
        (b"2\r\n", b"99999999999999999999\r\n", "line 1: expected the number of frames"),
        (b"2\r\n1\r\n", b"2\r\n888888888\r\n", "line 31: expected the number of joints"),
        (b"2\r\n1\r\n", b"2\r\n-1\r\n", "line 2: expected the number of bodies; got '-1'"),
        (b"\r\n25\r\n", b"\r\n24\r\n", "line 4: expected 25 joints; got 24"),
        (b"\r\n25\r\n", b"\r\n26\r\n", "line 4: expected 25 joints; got 26"),
        (b"2\r\n1\r\n", b"1\r\n1\r\n", "goes on after its last frame, in line 30"),
        (b" 3.", b" inf ", "a coordinate is infinite"),
        (b" 3.", b" 1e300 ", "a coordinate is infinite"),
        (b" 3.", b" x", "a coordinate is not a number"),
        (b" 2\r\n25", b" 2\r\n\xff\xfe", "expected the number of joints"),
    ],
)
def test_what_is_wrong_is_named(old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse_skeleton(TEXT.replace(old, new, 1), "S001.skeleton")
    assert str(caught.value).startswith("S001.skeleton") and "\n" not in str(caught.value)


def test_parts_of_a_name():
    assert parse_name("S001C002P003R002A013") == (1, 2, 3, 2, 13)
    assert parse_name("S001C002P003R002A013.skeleton") is None and parse_name("s001c002p003r002a013") is None


# ---------------------------------------------------------------------------------------------- a data set
def two_bodies(seed):
    rng = np.random.default_rng(seed)
    return [(11, 0, posture(rng, 15, amount=0.3)), (12, 0, posture(rng, 15, amount=0.2))]


def write_set(folder):
    """Clips that are kept, and one for each reason to leave one out; returns the recordings of the former."""
    rng = np.random.default_rng(3)
    kept = {
        "S001C001P001R001A001": [(1, 2, posture(rng, 6))],
        "S001C002P003R001A050": two_bodies(4),
        "S002C003P002R002A060": [(1, 0, posture(rng, 13, wide=4)), (2, 0, posture(rng, 12, wide=12))],
        "S017C001P038R001A007": [(5, 0, posture(rng, 8))],
    }
    (folder / "deeper").mkdir(parents=True)
    for i, (name, bodies) in enumerate(kept.items()):
        place = folder / "deeper" if i % 2 else folder
        (place / f"{name}.skeleton").write_bytes(skeleton_text(frames_of(bodies)))
    others = {
        "S001C001P001R001A002": skeleton_text([[], []]),
        "S001C001P001R001A003": skeleton_text(frames_of([(1, 0, posture(rng, 5)), (2, 0, posture(rng, 11))])),
        "S001C001P001R001A004": TEXT[:500],
        "S001C001P001R001A005": skeleton_text(frames_of(two_bodies(5))),
        "S001C001P001R001A006": skeleton_text(
            frames_of([(1, 0, posture(rng, 12, wide=12)), (2, 0, posture(rng, 12, wide=12))])
        ),
        "S018C001P050R001A061": skeleton_text(frames_of(two_bodies(6))),
        "notes": b"not a clip",
    }
    for name, content in others.items():
        (folder / f"{name}.skeleton").write_bytes(content)
    (folder / "._S001C001P001R001A001.skeleton").write_bytes(b"shadow")
    return kept


@pytest.fixture
def raw(tmp_path):
    kept = write_set(tmp_path / "raw")
    missing = tmp_path / "missing.txt"
    missing.write_text("The following samples have missing skeletons:\n\nS001C001P001R001A005\nS009C001P001R001A005\n")
    return tmp_path / "raw", missing, kept


def dropped(store):
    with (store.path / "dropped.csv").open(newline="") as file:
        return dict(list(csv.reader(file))[1:])


def recording_of(bodies):
    return parse_skeleton(skeleton_text(frames_of(bodies)), "x")


def test_route_of_pyskl_by_command_line(raw, tmp_path, capsys):
    folder, missing, kept = raw
    assert main(["data", "prepare", "ntu60_xsub", str(folder), str(tmp_path / "s"), "--missing", str(missing)]) == 0
    out = capsys.readouterr().out
    store = ClipStore.open(tmp_path / "s")
    assert store.dtype == np.float16 and store.ids == tuple(sorted(kept))
    for clip in store:
        np.testing.assert_array_equal(clip.keypoints, denoise_pyskl(recording_of(kept[clip.id])))
        assert clip.label == int(clip.id[-3:]) - 1
    assert {name: [store.ids[i] for i in rows] for name, rows in store.splits.items()} == {
        "xsub_train": ["S001C001P001R001A001", "S002C003P002R002A060", "S017C001P038R001A007"],
        "xsub_val": ["S001C002P003R001A050"],
        "xview_train": ["S001C002P003R001A050", "S002C003P002R002A060"],
        "xview_val": ["S001C001P001R001A001", "S017C001P038R001A007"],
    }
    reasons = dropped(store)
    assert reasons == {
        "S001C001P001R001A002": "no body in any frame",
        "S001C001P001R001A003": "every body was seen in 11 frames or fewer",
        "S001C001P001R001A004": reasons["S001C001P001R001A004"],
        "S001C001P001R001A005": "on the list of missing skeletons",
        "S001C001P001R001A006": "every body is noise, wider than tall",
        "S018C001P050R001A061": "not an action of the 60 classes",
        "notes": "its name is not that of a clip, such as S001C002P003R002A013",
    }
    assert reasons["S001C001P001R001A004"].startswith("damaged: the file breaks off in line")
    assert "1 no body in any frame" in out and "1 damaged" in out and "dropped.csv" in out


def test_store_is_that_of_the_annotation_file(raw, tmp_path):
    """The same clips by way of a PYSKL pickle give the same store."""
    folder, _, kept = raw
    annotations = [
        {"frame_dir": name, "label": int(name[-3:]) - 1, "total_frames": clip.shape[1], "keypoint": clip}
        for name in sorted(kept)
        for clip in [denoise_pyskl(recording_of(kept[name]))]
    ]
    split = {"xsub_train": [a["frame_dir"] for a in annotations if a["frame_dir"][8:12] != "P003"]}
    split["xsub_val"] = [a["frame_dir"] for a in annotations if a["frame_dir"][8:12] == "P003"]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    by_pickle = prepare("ntu60_xsub", tmp_path / "a.pkl", tmp_path / "one")
    (folder / "S001C001P001R001A005.skeleton").unlink()
    by_text = prepare("ntu60_xsub", folder, tmp_path / "two")
    assert (by_text.path / "keypoints.npy").read_bytes() == (by_pickle.path / "keypoints.npy").read_bytes()
    assert by_text.ids == by_pickle.ids and by_text.dtype == by_pickle.dtype
    for field in ("labels", "persons", "lengths"):
        np.testing.assert_array_equal(getattr(by_text, field), getattr(by_pickle, field))
    for name in split:
        np.testing.assert_array_equal(by_text.split(name), by_pickle.split(name))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("benchmark", "splits"), [("ntu60_xview", "xview"), ("ntu120_xset", "xset")])
def test_route_of_ctrgcn(raw, tmp_path, benchmark, splits, align):
    folder, _, kept = raw
    options = ReadOptions(denoise="ctrgcn", align=align, workers=1)
    store = prepare(benchmark, folder, tmp_path / "s", options=options)
    assert store.dtype == np.float32 and set(store.splits) == {
        f"{kind}_{part}" for kind in ("xsub", splits) for part in ("train", "val")
    }
    for clip in store:
        if clip.id not in kept:
            continue
        expected = translate_ctrgcn(denoise_ctrgcn(recording_of(kept[clip.id])))
        if len(expected) == 1 and benchmark.startswith("ntu120"):
            expected = np.repeat(expected, 2, axis=0)
        np.testing.assert_array_equal(clip.keypoints, align_persons(expected) if align else expected)
    assert "S001C001P001R001A006" in store.ids, "this route keeps the last body"
    assert ("S018C001P050R001A061" in store.ids) == (benchmark == "ntu120_xset")
    if benchmark == "ntu120_xset":
        assert "S018C001P050R001A061" in [store.ids[i] for i in store.split("xset_train")]
        assert "S018C001P050R001A061" in [store.ids[i] for i in store.split("xsub_train")]
    assert "--denoise ctrgcn" in store.meta["notes"]["options"]


def test_person_who_is_absent_at_first_is_lost_by_alignment(tmp_path):
    rng = np.random.default_rng(0)
    late = [(1, 0, posture(rng, 20, amount=0.3)), (2, 4, posture(rng, 16, amount=0.1))]
    (tmp_path / "S001C001P001R001A050.skeleton").write_bytes(skeleton_text(frames_of(late)))
    persons = [
        next(iter(read_ntu_raw(tmp_path, num_classes=60, denoise="ctrgcn", align=align).clips)).keypoints
        for align in (False, True)
    ]
    assert len(persons[0]) == 2 and len(persons[1]) == 1


def test_zip_files_and_processes_give_the_same_store(raw, tmp_path):
    folder, missing, _ = raw
    for i in range(40):
        (folder / f"S003C001P001R001A{i + 1:03}.skeleton").write_bytes(ONE)
    files = sorted(file for file in folder.rglob("*.skeleton"))
    packs = tmp_path / "packs"
    packs.mkdir()
    for part in (0, 1):
        with zipfile.ZipFile(packs / f"part{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files[part::2]:
                archive.write(file, f"nturgb+d_skeletons/{file.name}")
    options = ReadOptions(missing=missing, workers=1)
    one = prepare("ntu60_xsub", folder, tmp_path / "one", options=options)
    two = prepare("ntu60_xsub", packs, tmp_path / "two", options=ReadOptions(missing=missing, workers=2))
    assert len(one) == 44 and one.ids == two.ids
    assert (one.path / "keypoints.npy").read_bytes() == (two.path / "keypoints.npy").read_bytes()
    assert dropped(one) == dropped(two)
    alone = read_ntu_raw(packs / "part0.zip", num_classes=60)
    assert [clip.id for clip in alone.clips] == [i for i in one.ids if f"{i}.skeleton" in {f.name for f in files[::2]}]


def test_damaged_member_of_a_zip_is_one_clip_less(raw, tmp_path):
    folder, _, kept = raw
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in kept:
            (file,) = folder.rglob(f"{name}.skeleton")
            archive.write(file, file.name)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    store = prepare("ntu60_xsub", path, tmp_path / "s")
    assert len(store) == 3 and "CRC" in dropped(store)["S001C001P001R001A001"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--denoise", "pysk"], "did you mean 'pyskl'"),
        (["--align"], "--denoise ctrgcn --align"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--missing", "raw/notes.skeleton"], "lists no clip"),
        (["--missing", "nowhere.txt"], "nowhere.txt"),
        (["--kpfiles", "raw"], "--kpfiles means nothing for"),
    ],
)
def test_mistakes_are_answered(raw, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "ntu60_xsub", "raw", "store", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_folders_that_give_no_clip(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "S001C001P001R001A001.skeleton").write_bytes(b"0\n")
    for source, message in (
        (tmp_path / "a", "none of its 1 files gives a clip; the first, S001C001P001R001A001: no body in any frame"),
        (tmp_path / "b.zip", "not a complete zip file"),
    ):
        if source.suffix:
            source.write_bytes(b"PK\3\4 nothing")
        assert main(["data", "prepare", "ntu60_xsub", str(source), str(tmp_path / "s")]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "a" / "b" / "S001C001P001R001A001.skeleton").write_bytes(TEXT)
    with pytest.raises(ValueError, match="holds the clip S001C001P001R001A001 twice"):
        read_ntu_raw(tmp_path / "a", num_classes=60)


def test_a_file_too_large_for_a_recording_is_not_read(tmp_path):
    with (tmp_path / "S001C001P001R001A001.skeleton").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    (tmp_path / "S001C001P001R001A002.skeleton").write_bytes(ONE)
    store = prepare("ntu60_xsub", tmp_path, tmp_path / "s")
    assert len(store) == 1 and "more than any recording" in dropped(store)["S001C001P001R001A001"]


def test_joints_beyond_half_precision_are_damage(tmp_path):
    body = posture(np.random.default_rng(0), 3)
    body[1, 2, 0] = 1e5
    (tmp_path / "S001C001P001R001A001.skeleton").write_bytes(skeleton_text(frames_of([(1, 0, body)])))
    (tmp_path / "S001C001P001R001A002.skeleton").write_bytes(ONE)
    store = prepare("ntu60_xsub", tmp_path, tmp_path / "s")
    assert "beyond float16" in dropped(store)["S001C001P001R001A001"]
    assert len(prepare("ntu60_xsub", tmp_path, tmp_path / "t", options=ReadOptions(denoise="ctrgcn"))) == 2
