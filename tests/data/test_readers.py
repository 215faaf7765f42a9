"""Readers of foreign formats: the same clips out by every route, and one clear sentence for everything malformed."""

import csv
import io
import json
import pickle
import string
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphs.skeleton import Skeleton
from protogcn.data.readers.folder import read_folder
from protogcn.data.readers.nw_ucla import read_nw_ucla
from protogcn.data.readers.packed import read_packed
from protogcn.data.readers.packed_rules import PackedRules
from protogcn.data.readers.pyskl import read_pyskl
from protogcn.data.readers.table import read_table
from protogcn.data.store import write_store

HAND = Skeleton.from_edges(
    "tripod", ["wrist", "left_tip", "right_tip"], [("wrist", "left_tip"), ("wrist", "right_tip")]
)


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def refuses(read, message):
    with pytest.raises(ValueError, match=message) as caught:
        list(read().clips)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- PYSKL pickles
def annotation(name, label=0, frames=4, persons=1, joints=5, size=3, **more):
    return {
        "frame_dir": name,
        "label": label,
        "total_frames": frames,
        "keypoint": normal(persons, frames, joints, size, dtype=np.float16, seed=len(name)),
        **more,
    }


def pyskl_file(tmp_path, annotations, split=None, protocol=4):
    path = tmp_path / "annotations.pkl"
    path.write_bytes(pickle.dumps({"split": split or {}, "annotations": annotations}, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pyskl_3d(tmp_path, protocol):
    annotations = [annotation("b", 1, persons=2), annotation("aa", np.int64(4), frames=1)]
    source = read_pyskl(
        pyskl_file(tmp_path, annotations, {"xsub_train": ["aa", "b", "lost"], "xsub_val": []}, protocol)
    )
    clips = list(source.clips)
    assert [c.id for c in clips] == ["b", "aa"] and [c.label for c in clips] == [1, 4]
    assert source.splits == {"xsub_train": ["b", "aa"], "xsub_val": []}, "splits follow the order of the annotations"
    assert source.notes == {"split_ids_without_annotation": {"xsub_train": 1}}
    assert (source.channels, source.num_joints, source.num_classes, source.dtype) == ("xyz", 5, 5, "float16")
    for clip, record in zip(clips, annotations, strict=True):
        assert clip.keypoints.dtype == np.float16
        np.testing.assert_array_equal(clip.keypoints, record["keypoint"])


def test_pyskl_2d_has_scores_and_image_shape(tmp_path):
    scores = np.abs(normal(2, 4, 17, dtype=np.float16))
    record = annotation("v", joints=17, size=2, persons=2, keypoint_score=scores, img_shape=(240, 320))
    source = read_pyskl(pyskl_file(tmp_path, [record]))
    (clip,) = source.clips
    assert source.channels == "xys" and clip.image_shape == (240, 320) and clip.keypoints.dtype == np.float16
    np.testing.assert_array_equal(clip.keypoints[..., :2], record["keypoint"])
    np.testing.assert_array_equal(clip.keypoints[..., 2], scores)


def test_pyskl_3d_scores_are_left_out(tmp_path):
    source = read_pyskl(pyskl_file(tmp_path, [annotation("v", keypoint_score=np.ones((1, 4, 5)))]))
    assert source.channels == "xyz" and next(iter(source.clips)).keypoints.shape == (1, 4, 5, 3)
    assert source.notes == {"left_out": "the score of each joint"}


def test_pyskl_filename_is_the_id_when_the_first_annotation_has_it(tmp_path):
    records = [annotation("x", filename="one.mp4"), annotation("y", filename="two.mp4")]
    assert [c.id for c in read_pyskl(pyskl_file(tmp_path, records)).clips] == ["one.mp4", "two.mp4"]


def test_pyskl_frames_beyond_total_frames_and_absent_people(tmp_path):
    longer, nobody = annotation("long"), annotation("nobody", persons=0)
    longer["total_frames"] = 3
    source = read_pyskl(pyskl_file(tmp_path, [longer, nobody], {"train": ["long", "nobody"]}))
    (clip,) = source.clips
    assert clip.keypoints.shape == (1, 3, 5, 3)
    assert source.notes == {"without_person": ["nobody"]} and source.splits == {"train": ["long"]}


def test_pyskl_mixed_precision_needs_float32(tmp_path):
    single = annotation("single")
    single["keypoint"] = single["keypoint"].astype(np.float32)
    assert read_pyskl(pyskl_file(tmp_path, [annotation("half"), single])).dtype == "float32"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [1, 2]}, "'v' has several labels"),
        ({"label": "wave"}, "'v': 'label' must be a whole number"),
        ({"label": None}, "'v': 'label'"),
        ({"keypoint": [[1, 2]]}, "'v': 'keypoint' must be an array"),
        ({"keypoint": np.zeros((4, 5, 3))}, "'v': 'keypoint'.*float64 of shape"),
        (
            {"keypoint": np.zeros((1, 4, 5, 2), np.float16), "keypoint_score": np.zeros((1, 4, 9))},
            r"'v': 'keypoint_score' must be an array of shape \(1, 4, 5\)",
        ),
        ({"total_frames": 5}, "'v': 'total_frames' is 5 but"),
        ({"frame_dir": 7}, "'frame_dir'"),
        ({"img_shape": "large"}, "'v': 'img_shape'"),
        ({"img_shape": (1.5, 2)}, "'v': 'img_shape'"),
    ],
)
def test_pyskl_malformed_annotation(tmp_path, change, message):
    refuses(lambda: read_pyskl(pyskl_file(tmp_path, [{**annotation("v"), **change}])), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([annotation("a")], "expected a dict with 'split'.*got a list"),
        ({"annotations": [annotation("a")]}, "expected a dict with 'split'"),
        ({"split": {}, "annotations": []}, "not a PYSKL"),
        ({"split": {}, "annotations": ["a"]}, "annotation 0 is a str"),
        ({"split": {"train": 3}, "annotations": [annotation("a")]}, "'split' must map"),
        ({"split": {}, "annotations": [annotation("a", persons=0)]}, "none of its 1 annotations"),
        ({"split": {}, "annotations": [annotation("a", size=7)]}, "2 or 3 numbers per joint; got 7"),
        ({"split": {}, "annotations": [{"frame_dir": "a", "raw_file": "k.pkl"}]}, "compressed Kinetics"),
    ],
)
def test_pyskl_other_content(tmp_path, content, message):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    refuses(lambda: read_pyskl(path), message)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


def test_pyskl_malicious_pickle_is_not_run(tmp_path):
    refuses(lambda: read_pyskl(pyskl_file(tmp_path, [annotation("v", extra=Evil())])), "exec")


def test_pyskl_truncated_pickle(tmp_path):
    path = pyskl_file(tmp_path, [annotation("v")])
    path.write_bytes(path.read_bytes()[:-50])
    refuses(lambda: read_pyskl(path), "truncated")


# ---------------------------------------------------------------------------------------------- NW-UCLA
NAMES = {"a01_s01_e00_v01": 0, "a07_x": None, "a12_s03_e02_v03": 9, "a08_s02_e01_v02": 6}
CLIPS = {name: np.round(normal(3, 20, 3, seed=i), 4) for i, (name, c) in enumerate(NAMES.items()) if c is not None}


def ucla_json(name, frames, **changes):
    skeletons = [[[float(f"{v:.6g}") for v in joint] for joint in frame] for frame in frames.tolist()]
    return json.dumps({"file_name": name, "skeletons": skeletons, "label": NAMES.get(name, 0) + 1, **changes})


def ucla_folder(tmp_path):
    folder = tmp_path / "NW-UCLA" / "all_sqe"
    folder.mkdir(parents=True)
    for name, frames in CLIPS.items():
        (folder / f"{name}.json").write_text(ucla_json(name, frames))
    (folder / "notes.json").write_text("{}")
    return tmp_path / "NW-UCLA"


def ucla_zip(tmp_path):
    path = tmp_path / "ucla.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, frames in CLIPS.items():
            archive.writestr(f"../../all_sqe/{name}.json", ucla_json(name, frames))
            archive.writestr(f"__MACOSX/all_sqe/._{name}.json", "shadow")
            archive.writestr(f"__MACOSX/all_sqe/{name}.json", "shadow")
    return path


def ucla_npz(tmp_path, **changes):
    names = list(CLIPS)
    arrays = {
        "frames": np.concatenate(list(CLIPS.values())),
        "offsets": np.arange(len(names) + 1) * 3,
        "labels": np.array([NAMES[name] for name in names]),
        "names": np.array(names),
    }
    np.savez(tmp_path / "ucla.npz", **{**arrays, **changes})
    return tmp_path / "ucla.npz"


@pytest.mark.parametrize("make", [ucla_folder, ucla_zip, ucla_npz])
def test_nw_ucla_routes(tmp_path, make):
    source = read_nw_ucla(make(tmp_path))
    clips = list(source.clips)
    assert [c.id for c in clips] == sorted(CLIPS)
    assert [c.label for c in clips] == [NAMES[c.id] for c in clips]
    assert source.splits == {"train": ["a01_s01_e00_v01", "a08_s02_e01_v02"], "test": ["a12_s03_e02_v03"]}
    for clip in clips:
        np.testing.assert_array_equal(clip.keypoints.astype(np.float32), CLIPS[clip.id][None])
    assert not (tmp_path.parent / "all_sqe").exists(), "nothing is unpacked"


def test_nw_ucla_json_and_npz_give_identical_stores(tmp_path, shared_data):
    packed = shared_data / "nw_ucla.npz"
    source = read_nw_ucla(packed)
    with np.load(packed) as arrays:
        names, train, test = arrays["names"], arrays["train"], arrays["test"]
    whole = write_store(tmp_path / "a", source.clips, skeleton="ucla20", class_names=10, splits=source.splits)
    assert whole.ids == tuple(names.tolist()) and len(whole) == 1484
    np.testing.assert_array_equal(whole.split("train"), train)
    np.testing.assert_array_equal(whole.split("test"), test)
    folder = tmp_path / "all_sqe"
    folder.mkdir()
    chosen = [whole[i] for i in range(0, 1484, 40)]
    for clip in chosen:
        skeletons = [[[float(f"{v:.6g}") for v in joint] for joint in frame] for frame in clip.keypoints[0].tolist()]
        record = {"file_name": clip.id, "skeletons": skeletons, "label": clip.label + 1}
        (folder / f"{clip.id}.json").write_text(json.dumps(record))
    stores = [
        write_store(tmp_path / name, clips, skeleton="ucla20", class_names=10)
        for name, clips in (("b", chosen), ("c", read_nw_ucla(folder).clips))
    ]
    assert stores[0].meta["checksums"] == stores[1].meta["checksums"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, "a01_s01_e00_v01.*says label 1, the file says 3"),
        ({"file_name": "a01_s01_e00_v02"}, "says it is the clip 'a01_s01_e00_v02'"),
        ({"skeletons": [[[1, 2, 3]] * 19]}, r"'a01_s01_e00_v01'.*20 joints.*\(1, 19, 3\)"),
        ({"skeletons": [[1, 2], [3]]}, "regular array"),
        ({"skeletons": "none"}, "regular array"),
        ({"skeletons": [[[10**400] * 3] * 20]}, "regular array"),
    ],
)
def test_nw_ucla_malformed_json(tmp_path, changes, message):
    name = "a01_s01_e00_v01"
    (tmp_path / f"{name}.json").write_text(ucla_json(name, CLIPS[name], **changes))
    refuses(lambda: read_nw_ucla(tmp_path), message)


@pytest.mark.parametrize("text", ['{"skeletons": [[', "[" * 100_000, "[]", "\x00"])
def test_nw_ucla_broken_json(tmp_path, text):
    (tmp_path / "a01_s01_e00_v01.json").write_text(text)
    refuses(lambda: read_nw_ucla(tmp_path), "a01_s01_e00_v01.json")


def test_nw_ucla_refuses_what_it_is_not(tmp_path):
    refuses(lambda: read_nw_ucla(tmp_path), "no file named like")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 broken off")
    refuses(lambda: read_nw_ucla(tmp_path / "x.zip"), "not NW-UCLA data")
    (tmp_path / "a07_s01_e00_v01.json").write_text("{}")
    refuses(lambda: read_nw_ucla(tmp_path), "'a07_s01_e00_v01' is not a clip name")


def test_nw_ucla_same_clip_twice(tmp_path):
    folder = ucla_folder(tmp_path)
    (folder / "a01_s01_e00_v01.json").write_text("{}")
    refuses(lambda: read_nw_ucla(folder), "a01_s01_e00_v01 twice")


def test_nw_ucla_zip_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a01_s01_e00_v01.json", b" " * (65 << 20))
    refuses(lambda: read_nw_ucla(tmp_path / "b.zip"), "unpacks to")


def test_nw_ucla_damaged_zip(tmp_path):
    path = ucla_zip(tmp_path)
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    refuses(lambda: read_nw_ucla(path), r"v\d\d\.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": np.array([0, 3, 6])}, "do not fit together"),
        ({"offsets": np.array([0, 6, 3, 9])}, "do not fit together"),
        ({"labels": np.array([0, 1, 6])}, "the label of 'a12"),
        ({"names": np.array(["a", "b", "c"])}, "not a clip name"),
        ({"frames": np.zeros((9, 19, 3))}, "20 joints"),
        ({"frames": np.array([{}] * 9)}, "other things than numbers and text"),
    ],
)
def test_nw_ucla_malformed_npz(tmp_path, changes, message):
    path = ucla_npz(tmp_path, **changes)
    refuses(lambda: read_nw_ucla(path), message)


# ---------------------------------------------------------------------------------------------- packed .npz
@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    persons=st.integers(1, 3),
    channels=st.integers(2, 4),
    data=st.data(),
)
def test_packed_round_trip(tmp_path_factory, lengths, persons, channels, data):
    total, n = sum(lengths), len(lengths)
    rows = data.draw(hnp.arrays(np.float32, (total, persons, 3, channels), elements=st.floats(1, 9, width=32)))
    labels = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    path = tmp_path_factory.mktemp("packed") / "clips.npz"
    np.savez(path, keypoints=rows, offsets=offsets, labels=labels)
    source = read_packed(path)
    kept = min(channels, 3)
    assert source.channels == "xyz"[:kept] and source.num_classes == max(labels) + 1
    for i, clip in enumerate(source.clips):
        want = rows[offsets[i] : offsets[i + 1], ..., :kept].transpose(1, 0, 2, 3)
        np.testing.assert_array_equal(clip.keypoints, want if want.any() else want[:1])
        assert clip.label == labels[i]


def packed(tmp_path, **arrays):
    np.savez(tmp_path / "clips.npz", **arrays)
    return tmp_path / "clips.npz"


def test_packed_single_entries_with_lengths(tmp_path):
    clips = normal(3, 2, 6, 4, 3)
    clips[1, 1] = 0
    source = read_packed(
        packed(tmp_path, keypoints=clips, labels=["b", "a", "b"], lengths=[6, 2, 5], ids=["p", "q", "r"])
    )
    got = list(source.clips)
    assert [c.keypoints.shape for c in got] == [(2, 6, 4, 3), (1, 2, 4, 3), (2, 5, 4, 3)], "padding is left out"
    np.testing.assert_array_equal(got[2].keypoints, clips[2, :, :5])
    assert source.class_names == ("a", "b") and [c.label for c in got] == [1, 0, 1] and got[0].id == "p"


def test_packed_one_person_entries_and_names(tmp_path):
    path = packed(tmp_path, keypoints=normal(2, 6, 4, 2), labels=[1, 0], class_names=["walk", "run"])
    source = read_packed(path)
    assert [c.keypoints.shape for c in source.clips] == [(1, 6, 4, 2)] * 2
    assert source.class_names == ("walk", "run") and source.channels == "xy"
    assert read_packed(path, class_names=["A", "B"]).class_names == ("A", "B")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"train": [True, False, True]}, {"train": [0, 2], "test": [1]}),
        ({"train": [2, 0], "test": [1]}, {"train": [2, 0], "test": [1]}),
        ({"split": ["train", "", "val"]}, {"train": [0], "val": [2]}),
        (
            {"fold": [0, 1, 1]},
            {"fold0_train": [1, 2], "fold0_test": [0], "fold1_train": [0], "fold1_test": [1, 2]},
        ),
        ({"subject": [3, 5, 3]}, {"train": [0, 2], "test": [1]}),
        ({}, {}),
    ],
)
def test_packed_splits(tmp_path, arrays, expected):
    path = packed(tmp_path, keypoints=normal(3, 2, 4, 3), labels=[0, 0, 0], **arrays)
    assert read_packed(path, rules=PackedRules(train_subjects=(3,))).splits == expected


def test_packed_channels_follow_the_hint_and_pixels_their_image(tmp_path):
    path = packed(tmp_path, keypoints=normal(1, 2, 4, 3), labels=[0], width_height=[[640, 480]])
    source = read_packed(path, channels="xys")
    assert source.channels == "xys" and next(iter(source.clips)).image_shape == (480, 640)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"keypoints": None}, "no array 'keypoints'"),
        ({"labels": None}, "no array 'labels'"),
        ({"labels": [0.5, 1.0]}, "labels must be"),
        ({"labels": [0, -1]}, "start at 0"),
        ({"labels": [0, 1, 2]}, "one entry for each label"),
        ({"keypoints": normal(2, 4, 3)}, "without offsets"),
        ({"keypoints": np.array([{}, {}])}, "other things than numbers and text"),
        ({"keypoints": normal(2, 3, 4, 5)}, "numbers per joint; got 5"),
        ({"offsets": [0, 1]}, "offsets must be 3 whole numbers"),
        ({"offsets": [0, 2, 1]}, "offsets must be"),
        ({"offsets": [0.0, 1.0, 2.0]}, "offsets must be"),
        ({"lengths": [1, 99]}, "lengths must be"),
        ({"ids": ["a"]}, "ids must be 2"),
        ({"train": [0.5, 0.5]}, "train must be a mask"),
        ({"split": ["train"]}, "split must have one entry"),
        ({"class_names": ["only"]}, "unknown class"),
        ({"image_shapes": [1, 2]}, "image_shapes must be"),
    ],
)
def test_packed_malformed(tmp_path, arrays, message):
    good = {"keypoints": normal(2, 3, 4, 3), "labels": [0, 1]}
    path = packed(tmp_path, **{key: value for key, value in {**good, **arrays}.items() if value is not None})
    refuses(lambda: read_packed(path), message)


@settings(max_examples=60, deadline=None)
@given(cut=st.just(0) | st.integers(0, 700), flip=st.integers(0, 900), value=st.integers(0, 255))
def test_packed_never_fails_otherwise_than_with_a_message(tmp_path_factory, cut, flip, value):
    buffer = io.BytesIO()
    np.savez(buffer, keypoints=normal(2, 3, 4, 3), labels=[0, 1])
    content = bytearray(buffer.getvalue())
    content[flip % len(content)] = value
    path = tmp_path_factory.mktemp("fuzz") / "clips.npz"
    path.write_bytes(content[: len(content) - cut])
    try:
        list(read_packed(path).clips)
    except ValueError as error:
        assert str(error)


def test_npy_that_announces_more_than_it_holds(tmp_path):
    (tmp_path / "wave").mkdir()
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 25, 3)})
    (tmp_path / "wave" / "big.npy").write_bytes(buffer.getvalue())
    refuses(lambda: read_folder(tmp_path), "truncated")


# ---------------------------------------------------------------------------------------------- folders of clips
def save(path, array, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, keypoints=array, **more)


def test_folder_of_classes(tmp_path):
    save(tmp_path / "wave" / "two.npz", normal(2, 5, 3, 3), image_shape=[480, 640])
    save(tmp_path / "clap" / "one.npy", normal(4, 3, 3, seed=1))
    source = read_folder(tmp_path)
    one, two = source.clips
    assert (one.id, one.label, one.keypoints.shape) == ("clap/one", 0, (1, 4, 3, 3))
    assert (two.id, two.label, two.image_shape) == ("wave/two", 1, (480, 640))
    assert source.class_names == ("clap", "wave") and source.splits == {}
    assert read_folder(tmp_path, class_names=["wave", "clap"]).class_names == ("wave", "clap")


def test_folder_of_splits(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        save(tmp_path / split / "wave" / f"{name}.npy", normal(4, 3, 2))
    source = read_folder(tmp_path)
    assert source.splits == {"test": ["test/wave/c"], "train": ["train/wave/a", "train/wave/b"]}
    assert source.channels == "xy"


def test_folder_with_table_of_labels(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.npy", normal(4, 3, 4))
    (tmp_path / "labels.csv").write_text("clip,label,split\na.npy,3,train\nb,1,\n")
    source = read_folder(tmp_path)
    clips = list(source.clips)
    assert [c.label for c in clips] == [3, 1] and clips[0].keypoints.shape == (1, 4, 3, 3)
    assert source.num_classes == 4 and source.class_names is None and source.splits == {"train": ["a"]}
    assert source.notes == {"left_out": "the score of each joint"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,label\n", "first line must name the columns"),
        ("clip,label\na,wave\nzzz,wave\n", "line 3: there is no clip file 'zzz'"),
        ("clip,label\na,wave\na,wave\n", "line 3: clip 'a': it is listed twice"),
        ("clip,label\na,\n", "line 2: clip 'a': its label is empty"),
        ("clip,label\na,wave\n", "no label for 1 clips, the first of them 'b'"),
        ('clip,label\na,"wave\n', "not a readable csv"),
        ("clip,label\nä,ö\n".encode("latin1"), "not a readable csv"),
    ],
)
def test_folder_malformed_table(tmp_path, table, message):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.npy", normal(4, 3, 3))
    (tmp_path / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    refuses(lambda: read_folder(tmp_path), message)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("lonely.npy", normal(4, 3, 3), "has no class"),
        ("w/x.npy", normal(4, 3), r"\(T, V, C\)"),
        ("w/x.npy", np.array(["a"] * 3), r"\(T, V, C\)"),
        ("w/x.npy", np.array([{}]), "other things than numbers and text"),
        ("w/x.npy", normal(4, 3, 9), "got 9 numbers per joint"),
        ("w/x.npz", np.array([{}]), "other things than numbers and text"),
    ],
)
def test_folder_malformed_clip(tmp_path, name, array, message):
    save(tmp_path / name, array)
    refuses(lambda: read_folder(tmp_path), message)


def test_folder_refusals(tmp_path):
    refuses(lambda: read_folder(tmp_path), r"no \.npy or \.npz")
    save(tmp_path / "w" / "x.npy", normal(4, 3, 3))
    save(tmp_path / "w" / "y.npy", normal(4, 3, 2))
    refuses(lambda: read_folder(tmp_path), "2 numbers per joint, but 3 in the first")
    save(tmp_path / "w" / "x.npz", normal(4, 3, 3))
    refuses(lambda: read_folder(tmp_path), "the same clip")


# ---------------------------------------------------------------------------------------------- tables
@st.composite
def table_clips(draw):
    """Clips (M, T, 3, C) in which some joints are missing (NaN), but no frame or person altogether."""
    channels = draw(st.integers(2, 3))
    word = st.text(string.ascii_letters + string.digits + ' ",;é', min_size=1, max_size=6).map(str.strip).filter(bool)
    names = draw(st.lists(word, min_size=1, max_size=3, unique=True))
    clips = []
    for name in names:
        shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), 3, channels)
        array = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e6, 1e6)))
        array[:, :, 1][draw(hnp.arrays(bool, shape[:2]))] = np.nan
        clips.append((name, draw(st.sampled_from(["wave", "clap"])), array))
    return clips


def write_table(path, clips, wide, delimiter):
    axes = "xyz"[: clips[0][2].shape[-1]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        head = ["clip", "label", "person", "frame"]
        writer.writerow(head + ([f"{j}_{a}" for j in HAND.joints for a in axes] if wide else ["joint", *axes]))
        for name, label, array in clips:
            for m, t in np.ndindex(array.shape[:2]):
                start = [name, label, f"p{m}", 10 * t]
                cells = [["" if np.isnan(v) else repr(float(v)) for v in joint] for joint in array[m, t]]
                if wide:
                    writer.writerow([*start, *(cell for joint in cells for cell in joint)])
                else:
                    for v in (2, 0, 1):
                        if cells[v][0]:
                            writer.writerow([*start, HAND.joints[v] if t else v, *cells[v]])


@settings(max_examples=60, deadline=None)
@given(clips=table_clips(), wide=st.booleans(), delimiter=st.sampled_from(",;\t"))
def test_table_round_trip(tmp_path_factory, clips, wide, delimiter):
    path = tmp_path_factory.mktemp("table") / "clips.csv"
    write_table(path, clips, wide, delimiter)
    source = read_table(path, HAND)
    assert source.class_names == tuple(sorted({label for _, label, _ in clips}))
    for clip, (name, label, array) in zip(source.clips, clips, strict=True):
        np.testing.assert_array_equal(clip.keypoints, array)
        assert clip.id == name and source.class_names[clip.label] == label


def test_table_with_scores_splits_and_images(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(
        "\ufeffClip, Label, Frame, Joint, X, Y, Score, split, height, width\n"
        "a,1,5,Wrist,1,2,0.5,train,480,640\na,1,5,right tip,3,4,,train,480,640\n\nb,0,1,0,1,1,1,,480,640\n",
        encoding="utf-8",
    )
    source = read_table(path, HAND)
    a, b = source.clips
    assert source.channels == "xys" and a.image_shape == (480, 640) and source.splits == {"train": ["a"]}
    np.testing.assert_array_equal(a.keypoints[0, 0, 0], [1, 2, 0.5])
    assert np.isnan(a.keypoints[0, 0, 2, 2]) and np.isnan(a.keypoints[0, 0, 1]).all()
    assert (a.label, b.label, source.num_classes, source.class_names) == (1, 0, 2, None)


LONG = "clip,label,frame,joint,x,y\n"
WIDE = "clip,label,frame,wrist_x,wrist_y,left_tip_x,left_tip_y,right_tip_x,right_tip_y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'clip'"),
        ("id,label,frame,joint,x,y\n", "no column 'clip'; it has id, label"),
        ("clip,label,frame,x,y,x\n", "names a column twice"),
        ("clip,label,frame,joint,x\n", "every joint needs x, y"),
        (LONG, "no row below"),
        (LONG + "a,0,1,wrist,1\n", "line 2: 5 cells where 6"),
        (LONG + "a,0,1,wrist,1,one\n", "line 2: 'one' is not a number"),
        (LONG.replace(",", ";") + "a;0;1;wrist;1;0,5\n", "point as decimal mark"),
        (LONG + "a,0,1.5,wrist,1,2\n", "line 2: frame must be a whole number"),
        (LONG + "a,0,1,wirst,1,2\n", "line 2: tripod has 3 joints.*did you mean 'wrist'"),
        (LONG + "a,0,1,3,1,2\n", "line 2: tripod has 3 joints"),
        (LONG + "a,0,1,wrist,1,2\na,0,1,0,1,2\n", "line 3: wrist of this person in frame 1 a second time"),
        (LONG + "a,0,1,wrist,1,2\na,1,1,0,1,2\n", "label changes from '0' to '1' at line 3"),
        (LONG + "a,0,1,0,1,2\nb,0,1,0,1,2\na,0,2,0,1,2\n", "stand apart.*line 4"),
        (LONG + "a,,1,0,1,2\n", "line 2: the clip or its label is empty"),
        (LONG + 'a,"0,1,0,1,2\n', "not a readable csv"),
        (WIDE.replace("left_tip", "tip"), "column 'tip_x'.*unknown joint"),
        (WIDE.replace(",left_tip_x,left_tip_y", ""), "no columns for 1 joints.*left_tip"),
        (WIDE.replace("left_tip_y", "left_tip_z"), "every joint needs x, y"),
        (WIDE + "a,0,1,1,2,3,4,5,6\na,0,1,1,2,3,4,5,6\n", "line 3: wrist of this person"),
    ],
)
def test_table_malformed(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    refuses(lambda: read_table(tmp_path / "c.csv", HAND), message)


def test_table_with_too_many_persons(tmp_path):
    rows = "".join(f"a,0,{i},{i},0,1,2\n" for i in range(65))
    (tmp_path / "c.csv").write_text("clip,label,person,frame,joint,x,y\n" + rows)
    refuses(lambda: read_table(tmp_path / "c.csv", HAND), "65 persons")


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=200), place=st.integers(0, 150))
def test_table_never_fails_otherwise_than_with_a_message(tmp_path_factory, noise, place):
    path = tmp_path_factory.mktemp("fuzz") / "c.csv"
    good = (LONG + "a,0,1,wrist,1,2\na,0,1,left_tip,1,2\nb,1,1,wrist,1,2\n").encode()
    path.write_bytes(good[:place] + noise + good[place:])
    try:
        list(read_table(path, HAND).clips)
    except ValueError as error:
        assert str(error)
