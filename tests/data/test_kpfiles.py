"""Kinetics-400's list of clips with its kpfiles: the published arrangement, each file once, nothing trusted."""

import csv
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn import safe_pickle
from protogcn.cli import main
from protogcn.data.decompress import decompress_pose
from protogcn.data.prepare import prepare
from protogcn.data.readers.kpfiles import read_kpfiles
from protogcn.data.readers.options import ReadOptions
from protogcn.data.store import ClipStore


# ---------------------------------------------------------------------------------------------- arrangement
@pytest.mark.parametrize("case", ["squeeze", "nosqueeze", "max2"])
def test_reference_clips(goldens, case):
    arrays = np.load(goldens / "data" / "decompress.npz")
    facts = json.loads((goldens / "data" / "decompress.json").read_text())[case]
    clip = decompress_pose(
        arrays[f"{case}/input"],
        np.array(facts["frame_inds"]),
        keep=None if facts["anno_inds"] is None else np.array(facts["anno_inds"]),
        total_frames=facts["total_frames"],
        **facts["args"],
    )
    assert clip.dtype == np.float16
    np.testing.assert_array_equal(clip[..., :2], arrays[f"{case}/out"])
    np.testing.assert_array_equal(clip[..., 2], arrays[f"{case}/score_out"])


def slow(detections, frames, squeeze, total, most):
    if squeeze:
        number = {frame: i for i, frame in enumerate(sorted(set(frames)))}
        frames, total = [number[frame] for frame in frames], len(number)
    lists: list[list[np.ndarray]] = [[] for _ in range(total)]
    for frame, detection in zip(frames, detections.astype(np.float16), strict=True):
        lists[frame].append(detection)
    persons = max(map(len, lists))
    if persons > most:
        lists = [sorted(found, key=lambda joints: -joints[:, 2].copy().sum()) for found in lists]
    clip = np.zeros((persons, total, *detections.shape[1:]), np.float16)
    for frame, found in enumerate(lists):
        for slot, detection in enumerate(found):
            clip[slot, frame] = detection
    return clip[:most]


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40).map(sorted),
    st.booleans(),
    st.integers(1, 6),
    st.integers(0, 2),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_arrangement_equals_the_slow_one(frames, squeeze, most, digits, seed):
    """Scores of few digits make ties, which keep the order of detection."""
    detections = np.random.default_rng(seed).random((len(frames), 17, 3)).astype(np.float32)
    detections[..., 2] = detections[:, :1, 2].round(digits)
    clip = decompress_pose(detections, np.array(frames), squeeze=squeeze, total_frames=14, max_person=most)
    np.testing.assert_array_equal(clip, slow(detections, frames, squeeze, 14, most))


@pytest.mark.parametrize(
    ("shape", "frames", "more", "message"),
    [
        ((2, 17, 2), [0, 1], {}, r"\(N, V, 3\)"),
        ((2, 17, 3), [0, 1, 2], {}, "2 detections needs"),
        ((2, 17, 3), [0.0, 1.0], {}, "got float64"),
        ((2, 17, 3), [1, 0], {}, "never fall"),
        ((0, 17, 3), np.zeros(0, int), {}, "no detection"),
        ((2, 17, 3), [0, 1], {"keep": np.zeros(2, bool)}, "no detection"),
        ((2, 17, 3), [0, 9], {"squeeze": False, "total_frames": 9}, "do not fit a clip of 9 frames"),
        ((2, 17, 3), [-1, 0], {"squeeze": False, "total_frames": 9}, "do not fit"),
        ((2, 17, 3), [0, 1], {"squeeze": False, "total_frames": 10**12}, "do not fit"),
    ],
)
def test_detections_that_do_not_fit(shape, frames, more, message):
    with pytest.raises(ValueError, match=message):
        decompress_pose(np.zeros(shape, np.float32), np.array(frames), **more)


# ------------------------------------------------------------------------------------------------ a data set
def clip_of(name, frames, kpfile, label, seed):
    rng = np.random.default_rng(seed)
    detections = rng.random((len(frames), 17, 3)).astype(np.float16)
    boxes = rng.random(len(frames)).astype(np.float32)
    annotation = {
        "frame_dir": name,
        "label": label,
        "total_frames": 20,
        "img_shape": (240, 320),
        "raw_file": f"data/k400/kpfiles/{kpfile}",
        "frame_inds": np.array(frames, np.int16),
        "box_score": boxes,
        "valid": {t: len({f for f, box in zip(frames, boxes, strict=True) if box >= t}) for t in (0.5, 0.6)},
    }
    return annotation, detections


CLIPS = {
    "b": ([0, 0, 2, 5], "one.pkl", 3),
    "a": ([1, 2, 3], "two.pkl", 399),
    "d": ([4] * 12 + [5], "one.pkl", 0),
    "c": ([7], "two.pkl", 5),
}


def write_set(folder, *, drop=(), **changes):
    """A list of four clips in two kpfiles; ``changes`` replace entries of the annotation of clip ``a``."""
    made = {name: clip_of(name, *facts, seed=i) for i, (name, facts) in enumerate(CLIPS.items())}
    made["a"][0].update(changes)
    (folder / "kpfiles" / "deep").mkdir(parents=True)
    for kpfile, place in (("one.pkl", folder / "kpfiles"), ("two.pkl", folder / "kpfiles" / "deep")):
        inside = {n: {"keypoint": joints} for n, (a, joints) in made.items() if CLIPS[n][1] == kpfile and n not in drop}
        (place / kpfile).write_bytes(pickle.dumps(inside))
    split = {"train": ["a", "b", "nowhere"], "val": ["c", "d"]}
    content = {"split": split, "annotations": [annotation for annotation, _ in made.values()]}
    (folder / "k400_hrnet.pkl").write_bytes(pickle.dumps(content))
    return {name: joints for name, (_, joints) in made.items()}


def read(folder, **options):
    return read_kpfiles(folder / "k400_hrnet.pkl", folder / "kpfiles", **options)


def test_store_by_command_line(tmp_path, capsys, monkeypatch):
    joints = write_set(tmp_path)
    loaded = []
    load = safe_pickle.load

    def note(path):
        loaded.append(path.name)
        return load(path)

    monkeypatch.setattr(safe_pickle, "load", note)
    words = [str(tmp_path / "k400_hrnet.pkl"), str(tmp_path / "s"), "--kpfiles", str(tmp_path / "kpfiles")]
    assert main(["data", "prepare", "kinetics400", *words]) == 0
    assert loaded == ["k400_hrnet.pkl", "one.pkl", "two.pkl"], "each file is loaded once"
    assert "split ids without annotation" in capsys.readouterr().out
    store = ClipStore.open(tmp_path / "s")
    assert (store.dtype, store.channels, store.num_classes) == (np.float16, "xys", 400)
    assert {name: [store.ids[i] for i in rows] for name, rows in store.splits.items()} == {
        "train": ["b", "a"],
        "val": ["d", "c"],
    }, "splits keep the order of the list"
    for clip in store:
        frames, _, label = CLIPS[clip.id]
        assert clip.label == label and clip.image_shape == (240, 320)
        np.testing.assert_array_equal(clip.keypoints, slow(joints[clip.id], frames, True, 20, 10))
    assert store[store.ids.index("d")].keypoints.shape == (10, 2, 17, 3)


def test_boxes_count_only_with_a_share(tmp_path):
    write_set(tmp_path)
    everything = {clip.id: clip.keypoints for clip in read(tmp_path, box_threshold=0.6).clips}
    assert set(everything) == set(CLIPS)
    for share in (0.05, 0.1):
        source = read(tmp_path, valid_ratio=share, box_threshold=0.6)
        kept = {clip.id: clip.keypoints for clip in source.clips}
        annotations = safe_pickle.load(tmp_path / "k400_hrnet.pkl")["annotations"]
        expected = {a["frame_dir"]: a for a in annotations if a["valid"][0.6] / 20 >= share}
        assert set(kept) == set(expected) and set(source.dropped) == set(CLIPS) - set(expected)
        for name, clip in kept.items():
            shown = expected[name]["box_score"] >= 0.6
            assert clip.shape[1] == len(set(expected[name]["frame_inds"][shown].tolist()))


def test_clips_without_joints_are_left_out(tmp_path):
    write_set(tmp_path, drop=("c",), frame_inds=np.zeros(0, np.int16))
    store = prepare(
        "kinetics400", tmp_path / "k400_hrnet.pkl", tmp_path / "s", options=ReadOptions(kpfiles=tmp_path / "kpfiles")
    )
    assert set(store.ids) == {"b", "d"} and store.splits["train"].tolist() == [0]
    with (store.path / "dropped.csv").open(newline="") as file:
        reasons = dict(csv.reader(file))
    assert reasons["c"] == "not in its kpfile" and reasons["a"].startswith("damaged: expected detections (0, 17, 3)")
    assert "left_out" in store.meta["notes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raw_file": 3}, "'raw_file' must name"),
        ({"frame_inds": "012"}, "'frame_inds' must be frame numbers"),
        ({"label": -1}, "labels start at 0"),
        ({"label": None}, "'label' must be a whole number"),
        ({"frame_dir": 5}, "has no 'frame_dir'"),
        ({"img_shape": 7}, "'img_shape' must be"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path, changes, message):
    write_set(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_score": None}, "'box_score' must be 3 numbers"),
        ({"valid": {0.7: 3}}, "'valid' must count frames for box_threshold 0.5; it has 0.7"),
        ({"total_frames": 0}, "'total_frames' is 0"),
    ],
)
def test_boxes_that_do_not_fit(tmp_path, changes, message):
    write_set(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, valid_ratio=0.1)


@pytest.mark.parametrize("raw", ["../../secret.pkl", "/etc/secret.pkl", "..\\..\\secret.pkl", "secret.pkl/..", ".."])
def test_names_in_the_list_lead_nowhere_else(tmp_path, raw):
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.pkl").write_bytes(pickle.dumps({"a": {"keypoint": np.ones((3, 17, 3), np.float16)}}))
    write_set(folder, raw_file=raw)
    with pytest.raises(FileNotFoundError, match="lacks 1 of the 3 kpfiles"):
        read(folder)


def test_kpfiles_of_one_name_are_told_by_their_folder(tmp_path):
    joints = write_set(tmp_path, raw_file="k400/deep/two.pkl")
    (tmp_path / "kpfiles" / "two.pkl").write_bytes(pickle.dumps({"c": {"keypoint": 2 * joints["c"]}}))
    clips = {clip.id: clip.keypoints for clip in read(tmp_path).clips}
    np.testing.assert_array_equal(clips["a"][:1, :, :, :2], joints["a"][None, :, :, :2])
    np.testing.assert_array_equal(clips["c"][0], 2 * joints["c"])


def test_kpfiles_of_one_name_are_not_guessed_at(tmp_path):
    write_set(tmp_path, raw_file="two.pkl")
    (tmp_path / "kpfiles" / "two.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"holds two\.pkl more than once"):
        read(tmp_path)


class Shout:
    def __reduce__(self):
        return print, ("the pickle was run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"b": Shout()}), "was refused"),
        (pickle.dumps([1]), "is not a kpfile"),
        (pickle.dumps({"b": 1})[:-3], "not a complete pickle"),
        (b"", "is empty"),
    ],
)
def test_kpfiles_are_not_trusted(tmp_path, capsys, content, message):
    write_set(tmp_path)
    (tmp_path / "kpfiles" / "one.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read(tmp_path).clips)
    assert "the pickle was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("joints", "why"),
    [
        (np.full((3, 17, 3), np.inf, np.float32), "infinite or beyond float16"),
        (np.full((3, 17, 3), 1e6), "infinite or beyond float16"),
        (np.zeros((3, 17, 2)), "expected detections"),
        ("joints", "expected detections"),
        (None, "expected detections"),
    ],
)
def test_damaged_joints_are_one_clip_less(tmp_path, joints, why):
    write_set(tmp_path)
    (tmp_path / "kpfiles" / "deep" / "two.pkl").write_bytes(pickle.dumps({"a": {"keypoint": joints}}))
    source = read(tmp_path)
    assert [clip.id for clip in source.clips] == ["b", "d"]
    assert why in source.dropped["a"] and source.dropped["c"] == "not in its kpfile"
    assert source.splits == {"train": ["b"], "val": ["d"]}


def test_what_is_missing_is_said(tmp_path, capsys):
    write_set(tmp_path)
    words = ["data", "prepare", "kinetics400", str(tmp_path / "k400_hrnet.pkl"), str(tmp_path / "s")]
    for more, message in (
        ([], "--kpfiles <folder>"),
        (["--kpfiles", str(tmp_path / "nowhere")], "There is no folder"),
        (["--kpfiles", str(tmp_path / "kpfiles"), "--valid-ratio", "2"], "valid_ratio must be a share"),
        (["--valid-ratio", "0.1"], "--valid-ratio means nothing"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    whole = {"split": {}, "annotations": [{"frame_dir": "a", "label": 0, "keypoint": np.ones((1, 2, 17, 3))}]}
    (tmp_path / "k400_hrnet.pkl").write_bytes(pickle.dumps(whole))
    with pytest.raises(ValueError, match="leave out the folder"):
        read(tmp_path)
