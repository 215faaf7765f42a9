"""The clip store: round trips, refusals, atomic writing, damage."""

import json
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.data.store import Clip, ClipStore, write_store

HAND = Skeleton.from_edges("tripod", ["a", "b", "c"], [("a", "b"), ("b", "c")])


def clip(name="x", label=0, shape=(1, 4, 3, 3), dtype=np.float32, seed=0, **more):
    values = np.random.default_rng(seed).standard_normal(shape)
    return Clip(values.astype(dtype), label, name, **more)


def write(path, clips, **options):
    return write_store(path, clips, **{"skeleton": HAND, "class_names": 3, **options})


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=6),
    dtype=st.sampled_from([np.float16, np.float32]),
    data=st.data(),
)
def test_round_trip(tmp_path_factory, sizes, dtype, data):
    width = 16 if dtype == np.float16 else 32
    numbers = st.floats(-100, 100, width=width)
    clips = []
    for i, (persons, frames) in enumerate(sizes):
        array = data.draw(hnp.arrays(dtype, (persons, frames, 3, 3), elements=numbers))
        array[0, 0, 0, 0] = 1
        shape = data.draw(st.none() | st.tuples(st.integers(1, 4000), st.integers(1, 4000)))
        clips.append(Clip(array, data.draw(st.integers(0, 2)), f"clip {i} é", shape))
    even = list(range(0, len(clips), 2))
    path = tmp_path_factory.mktemp("store") / "store"
    store = write(path, iter(clips), splits={"even": even, "all": [c.id for c in clips]})
    assert len(store) == len(clips) and store.dtype == dtype
    for got, want in zip(store, clips, strict=True):
        np.testing.assert_array_equal(got.keypoints, want.keypoints)
        assert (got.label, got.id, got.image_shape) == (want.label, want.id, want.image_shape)
    assert store.split("even").tolist() == even and store.split("all").tolist() == list(range(len(clips)))
    store.verify()


def test_clips_are_views_and_read_only(tmp_path):
    store = write(tmp_path / "s", [clip("a"), clip("b", seed=1)])
    first, again = store[0].keypoints, store[0].keypoints
    assert np.shares_memory(first, again) and not first.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    assert store[-1].id == "b"
    with pytest.raises(IndexError):
        store[2]


def test_access_is_fast(tmp_path):
    store = write(tmp_path / "s", [clip(f"c{i}", seed=i) for i in range(50)])
    order = np.random.default_rng(0).integers(0, 50, 20000).tolist()
    rates = []
    for _ in range(3):
        start = time.process_time()
        for i in order:
            store[i]
        rates.append(len(order) / (time.process_time() - start))
    assert max(rates) > 80_000


def test_pickling_maps_the_file_again(tmp_path):
    store = write(tmp_path / "s", [clip(shape=(1, 5000, 3, 3))])
    message = pickle.dumps(store)
    assert len(message) < 1000
    np.testing.assert_array_equal(pickle.loads(message)[0].keypoints, store[0].keypoints)


def test_splits_may_be_filled_while_clips_are_read(tmp_path):
    splits = {"train": []}

    def clips():
        for i in range(4):
            splits["train"].append(f"c{i}")
            yield clip(f"c{i}", seed=i)

    assert write(tmp_path / "s", clips(), splits=splits).split("train").tolist() == [0, 1, 2, 3]


def test_empty_clips_are_dropped_and_positions_follow(tmp_path):
    empty = Clip(np.zeros((1, 2, 3, 3)), 1, "empty")
    clips = [clip("a"), empty, clip("b", seed=1), clip("c", seed=2)]
    store = write(tmp_path / "s", clips, splits={"tail": [1, 3], "named": ["b", "empty"]})
    assert store.ids == ("a", "b", "c") and store.meta["dropped"] == ["empty"]
    assert store.split("tail").tolist() == [2] and store.split("named").tolist() == [1]


def test_one_frame_is_kept_and_nan_joints_become_missing(tmp_path):
    array = np.ones((2, 1, 3, 3), np.float16)
    array[1, 0, 2, 1] = np.nan
    store = write(tmp_path / "s", [Clip(array, 0, "short")])
    assert store[0].keypoints.shape == (2, 1, 3, 3)
    assert store[0].keypoints[1, 0, 2].tolist() == [0, 0, 0] and store[0].keypoints.sum() == 15
    assert store.meta["repaired"] == {"short": 1}
    assert np.isnan(array[1, 0, 2, 1]), "the clip of the caller is not touched"


def test_all_nan_clip_is_dropped(tmp_path):
    store = write(tmp_path / "s", [Clip(np.full((1, 2, 3, 3), np.nan), 0, "blind"), clip("seen")])
    assert store.ids == ("seen",) and store.meta["dropped"] == ["blind"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (clip("bad", label=3), "'bad'.*label 3 is out of range for 3 classes"),
        (clip("bad", label=-1), "'bad'.*label -1"),
        (clip("bad", label=1.5), "'bad'.*whole number"),
        (clip("bad", shape=(1, 4, 5, 3)), r"'bad'.*3 joints, 3 channels.*\(1, 4, 5, 3\)"),
        (clip("bad", shape=(1, 4, 3, 2)), "'bad'.*3 channels"),
        (clip("bad", shape=(4, 3, 3)), "'bad'.*persons, frames"),
        (clip("bad", shape=(0, 4, 3, 3)), "'bad'.*no person"),
        (clip("bad", shape=(1, 0, 3, 3)), "'bad'.*no frame"),
        (Clip(np.full((1, 2, 3, 3), "x"), 0, "bad"), "'bad'.*numbers"),
        (Clip(np.full((1, 2, 3, 3), None), 0, "bad"), "'bad'.*numbers"),
        (Clip([[[1, 2], [3]]], 0, "bad"), "'bad'.*regular array"),
        (Clip(np.full((1, 2, 3, 3), np.inf), 0, "bad"), "'bad'.*person 0, frame 0, joint 0 is infinite"),
        (Clip(np.full((1, 2, 3, 3), 1e300), 0, "bad"), "'bad'.*beyond float32"),
        (clip("good"), "'good' occurs twice"),
        (clip(""), "Clip number 1.*printable"),
        (clip("a\nb"), "Clip number 1.*printable"),
        (clip("bad", image_shape=(0, 5)), "'bad'.*image_shape"),
        (clip("bad", image_shape=7), "'bad'.*image_shape"),
    ],
)
def test_malformed_clip_is_named_and_nothing_is_left(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message) as caught:
        write(tmp_path / "s", [clip("good"), bad])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_float16_store_refuses_to_round_silently(tmp_path):
    half, single = clip("half", dtype=np.float16), clip("single", dtype=np.float32)
    with pytest.raises(ValueError, match=r"'single'.*dtype='float32'"):
        write(tmp_path / "s", [half, single])
    assert write(tmp_path / "s", [half, single], dtype="float32").dtype == np.float32
    assert write(tmp_path / "h", [half, single], dtype="float16").dtype == np.float16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": {"train": ["nobody"]}}, "'train' names the clip 'nobody'"),
        ({"splits": {"train": [1]}}, "'train' names the clip 1"),
        ({"splits": {"train": ["x", "x"]}}, "twice"),
        ({"class_names": ["a", "a", "b"]}, "more than once: a"),
        ({"class_names": []}, "class_names"),
        ({"class_names": "walk"}, "class_names"),
        ({"class_names": 10**9}, "number of classes"),
        ({"channels": "zyx"}, "channels must be"),
        ({"skeleton": "ntu52"}, "ntu25"),
        ({"dtype": "float64"}, "dtype must be"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "s", [clip()], **options)
    assert list(tmp_path.iterdir()) == []


def test_no_clip_at_all(tmp_path):
    with pytest.raises(ValueError, match="No clip to store: 0"):
        write(tmp_path / "s", [])


def test_interrupted_writing_keeps_the_old_store(tmp_path):
    write(tmp_path / "s", [clip("old")])

    def interrupted():
        yield clip("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "s", interrupted(), overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]
    assert ClipStore.open(tmp_path / "s").ids == ("old",)


def test_overwriting(tmp_path):
    write(tmp_path / "s", [clip("old")])
    with pytest.raises(FileExistsError, match="--overwrite"):
        write(tmp_path / "s", [clip("new")])
    assert write(tmp_path / "s", [clip("new")], overwrite=True).ids == ("new",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("ten years")
    with pytest.raises(FileExistsError, match="not a clip store"):
        write(tmp_path / "home", [clip()], overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "ten years"


def test_skeleton_is_kept_by_name_or_in_full(tmp_path):
    named = write(tmp_path / "n", [clip(shape=(1, 2, 25, 3))], skeleton="ntu25")
    assert named.meta["skeleton"] == "ntu25" and named.skeleton == get_skeleton("ntu25")
    own = write(tmp_path / "o", [clip()])
    assert isinstance(own.meta["skeleton"], dict) and ClipStore.open(tmp_path / "o").skeleton == HAND


def test_unknown_split_lists_those_there_are(tmp_path):
    store = write(tmp_path / "s", [clip()], splits={"train": [0]})
    with pytest.raises(ValueError, match=r"'trian'.*'train'"):
        store.split("trian")


def test_missing_store_says_what_to_type(tmp_path):
    with pytest.raises(FileNotFoundError, match="protogcn data prepare"):
        ClipStore.open(tmp_path / "nothing")


def truncate(file, keep):
    file.write_bytes(file.read_bytes()[:keep])


def edit_meta(path, **changes):
    meta = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({**meta, **changes}))


@pytest.mark.parametrize(
    "harm",
    [
        lambda s: truncate(s / "keypoints.npy", -1),
        lambda s: truncate(s / "keypoints.npy", 40),
        lambda s: truncate(s / "keypoints.npy", 0),
        lambda s: (s / "keypoints.npy").unlink(),
        lambda s: (s / "keypoints.npy").write_bytes((s / "keypoints.npy").read_bytes() + b"x"),
        lambda s: np.save(s / "keypoints.npy", np.zeros((4, 3, 3))),
        lambda s: np.save(s / "keypoints.npy", np.array([{}]), allow_pickle=True),
        lambda s: truncate(s / "index.npz", 100),
        lambda s: (s / "index.npz").unlink(),
        lambda s: truncate(s / "store.json", 20),
        lambda s: (s / "store.json").write_text("[]"),
        lambda s: edit_meta(s, class_names=["only one"]),
        lambda s: edit_meta(s, class_names=3),
        lambda s: edit_meta(s, channels="xy"),
        lambda s: edit_meta(s, clips=7),
        lambda s: edit_meta(s, skeleton="ntu25"),
        lambda s: edit_meta(s, skeleton={"name": "?"}),
        lambda s: edit_meta(s, version=99),
    ],
)
def test_damage_is_seen_when_opening(tmp_path, harm):
    write(tmp_path / "s", [clip("a"), clip("b", label=2, seed=1)], benchmark="nw_ucla", source="all_sqe")
    harm(tmp_path / "s")
    with pytest.raises(ValueError, match=r"protogcn data prepare .* --overwrite") as caught:
        ClipStore.open(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_verify_sees_a_single_flipped_bit(tmp_path):
    store = write(tmp_path / "s", [clip()], benchmark="nw_ucla", source="my clips/all_sqe")
    store.verify()
    content = bytearray((tmp_path / "s" / "keypoints.npy").read_bytes())
    content[-3] ^= 1
    (tmp_path / "s" / "keypoints.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"checksum.*protogcn data prepare nw_ucla 'my clips/all_sqe'"):
        ClipStore.open(tmp_path / "s").verify()
