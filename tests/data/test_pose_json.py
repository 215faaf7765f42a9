"""Poses as OpenPose and Kinetics-Skeleton write them: what was written comes back, what is malformed is named."""

import numpy as np
import pytest
from pose_files import RUN, WALK, openpose, pixels, read, refuses, save

from graphs.layouts import get_skeleton
from protogcn.data.prepare import prepare

BODY_25_TO_18 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]


def test_openpose_18_by_class_folder(tmp_path):
    first, second = pixels(2, 4, 18), pixels(1, 3, 18, seed=1)
    openpose(tmp_path / WALK / "a", "a", first)
    openpose(tmp_path / RUN / "b", "b", second)
    clips, source = read(tmp_path, "openpose18")
    assert list(clips) == ["run/b", "walk/a"] and source.class_names == (RUN, WALK)
    assert (source.channels, source.num_joints, source.notes["format"]) == ("xys", 18, "OpenPose")
    np.testing.assert_array_equal(clips["walk/a"].keypoints, first)
    np.testing.assert_array_equal(clips["run/b"].keypoints, second)


def test_openpose_25_goes_into_18_and_says_what_is_left_out(tmp_path):
    clip = pixels(1, 2, 25)
    openpose(tmp_path / WALK, "v", clip)
    clips, source = read(tmp_path, "openpose18")
    np.testing.assert_array_equal(clips["walk/v"].keypoints, clip[:, :, BODY_25_TO_18])
    lost = source.notes["converted"].split(" of openpose25 left out")[0].split(", ")
    assert set(lost) == {"mid_hip"} | {f"{s}_{j}" for s in ("left", "right") for j in ("big_toe", "small_toe", "heel")}
    whole, source = read(tmp_path, "openpose25")
    np.testing.assert_array_equal(whole["walk/v"].keypoints, clip)
    assert "left out" not in source.notes.get("converted", "")
    refuses(tmp_path, "openpose25.*has no joints to make.*--skeleton openpose25", "ntu25")


def test_joints_that_were_not_found_stay_missing_in_another_layout(tmp_path):
    clip = pixels(1, 1, 25)
    clip[0, 0, [8, 9]] = 0
    openpose(tmp_path / WALK, "v", clip)
    clips, _ = read(tmp_path, "openpose20")
    found, joints = clips["walk/v"].keypoints[0, 0], get_skeleton("openpose20").joints
    missing = [joint for joint, point in zip(joints, found, strict=True) if not point.any()]
    assert missing == ["right_hip", "mid_hip", "mid_torso"], "no joint is made of one that is missing"


def test_openpose_places_of_videos(tmp_path):
    clip = pixels(1, 2, 18)
    for place, video in (("train/walk/a", "x"), ("train/run/b", "y"), ("test/walk/c", "z"), ("test/run/d", "u")):
        openpose(tmp_path / "one" / place, video, clip)
        openpose(tmp_path / "two" / place.rpartition("/")[0], video, clip)
    _, source = read(tmp_path / "one", "openpose18")
    assert source.splits == {"test": ["test/run/d", "test/walk/c"], "train": ["train/run/b", "train/walk/a"]}
    openpose(tmp_path / "two" / "test" / "run", "second", clip)
    _, source = read(tmp_path / "two", "openpose18")
    assert source.splits == {
        "test": ["test/run/second", "test/run/u", "test/walk/z"],
        "train": ["train/run/y", "train/walk/x"],
    }
    assert source.class_names == (RUN, WALK)


def test_labels_beside_the_clips(tmp_path):
    openpose(tmp_path / "a", "a", pixels(1, 2, 18))
    openpose(tmp_path / "deep" / "down", "b", pixels(1, 2, 18))
    save(tmp_path / "labels.csv", "clip,label,split,width,height\na,walk,train,640,480\ndown,run,test,,\n")
    clips, source = read(tmp_path, "openpose18")
    assert source.splits == {"train": ["a"], "test": ["deep/down"]} and source.class_names == (RUN, WALK)
    assert clips["a"].image_shape == (480, 640) and clips["deep/down"].image_shape is None
    assert "--image-size" in source.notes["converted"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("clip,label\na,walk\nnowhere,run\n", "labels.csv, line 3: there is no clip file 'nowhere'"),
        ("clip,label\na,walk\n", "no label for 1 clips"),
        ("clip,label\nb,walk\na,run\n", "line 2: 'b' may be 'x/b' or 'y/b'; write the path"),
        ("clip,label,width,height\na,walk,6.5,4\n", "line 2: height and width must be whole"),
    ],
)
def test_malformed_labels(tmp_path, table, message):
    openpose(tmp_path / "a", "a", pixels(1, 2, 18))
    openpose(tmp_path / "x" / "b", "b", pixels(1, 2, 18))
    if "line 2: 'b'" in message:
        openpose(tmp_path / "y" / "b", "b", pixels(1, 2, 18))
    save(tmp_path / "labels.csv", table)
    refuses(tmp_path, message)


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        ([0, 1, 3, 4], [0, 1, 3, 4]),
        ([7, 8, 9, 12], [0, 1, 2, 5]),
        ([0, 3, 6, 12], [0, 1, 2, 4]),
        ([5, 7], [0, 2]),
        ([9], [0]),
    ],
)
def test_missing_frames_are_empty_frames(tmp_path, numbers, places):
    clip = pixels(1, len(numbers), 18)
    openpose(tmp_path / WALK, "v", clip, numbers)
    found = read(tmp_path, "openpose18")[0]["walk/v"].keypoints
    expected = np.zeros((1, places[-1] + 1, 18, 3))
    expected[:, places] = clip
    np.testing.assert_array_equal(found, expected)


def test_frames_without_people_keep_their_place(tmp_path):
    clip = pixels(1, 5, 18)
    clip[:, [0, 2]] = 0
    openpose(tmp_path / "poses" / WALK, "v", clip)
    openpose(tmp_path / "poses" / RUN, "nobody", clip * 0)
    store = prepare("own", tmp_path / "poses", tmp_path / "store", skeleton="openpose18")
    assert store.meta["dropped"] == ["run/nobody"]
    np.testing.assert_array_equal(store[0].keypoints, clip.astype(np.float32))


def test_persons_by_score_and_by_track(tmp_path):
    """Without tracks the surest person of each frame comes first; with tracks a person keeps a place."""
    clip = pixels(3, 4, 18)
    clip[:, 2] = clip[[1, 0, 2], 2]
    openpose(tmp_path / "free" / WALK, "v", clip)
    openpose(tmp_path / "tracked" / WALK, "v", clip, tracks=[4, 0, 9])
    free, source = read(tmp_path / "free", "openpose18", max_persons=2)
    ranked = clip.copy()
    ranked[:, 2] = clip[[1, 0, 2], 2]
    np.testing.assert_array_equal(free["walk/v"].keypoints, ranked[:2])
    assert source.notes["detections_left_out"].startswith("4, beyond 2 persons")
    tracked, _ = read(tmp_path / "tracked", "openpose18")
    np.testing.assert_array_equal(tracked["walk/v"].keypoints, clip)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v_000_keypoints.json", '{"people": [', "v_000_keypoints.json is not readable as json"),
        ("v_000_keypoints.json", [1], "is not a frame of OpenPose: expected a list 'people'"),
        ("v_000_keypoints.json", {"people": [3]}, "person 0: expected a list of numbers, got nothing"),
        ("v_000_keypoints.json", {"people": [{"pose_keypoints_2d": [1, 2]}]}, "3 numbers for each joint, got 2"),
        (
            "v_000_keypoints.json",
            {"people": [{"pose_keypoints_2d": ["a"] * 54}]},
            "person 0: expected a number, got 'a'",
        ),
        ("v_000_keypoints.json", {"people": [{"pose_keypoints_2d": [True] * 54}]}, "expected a number, got True"),
        ("v_000_keypoints.json", {"people": [{"pose_keypoints_2d": [-0.5] * 54}]}, "from -1 to 1.*keypoint_scale"),
        (
            "v_000_keypoints.json",
            {"people": [{"pose_keypoints_2d": [9] * 30}]},
            "frame 1: 18 joints of 3 numbers, but 10 of 3 before",
        ),
        ("v_keypoints.json", {"people": []}, "no frame number in its name"),
        ("v_0_keypoints.json", {"people": []}, "both frame 0 of one video"),
        ("v_999999999_keypoints.json", {"people": []}, "numbered 0 to 999999999, which leaves gaps"),
        ("other.json", {"people": []}, "holds frames of OpenPose, and .*other.json, which is none"),
    ],
)
def test_malformed_openpose(tmp_path, name, content, message):
    clip = pixels(1, 2, 18)
    openpose(tmp_path / WALK, "v", clip, [0, 1] if "999" in name or name == "v_0_keypoints.json" else [1, 2])
    save(tmp_path / WALK / name, content)
    refuses(tmp_path, message)


def test_nan_is_a_joint_that_was_not_seen(tmp_path):
    clip = pixels(1, 2, 18)
    clip[0, 1, 5, 0] = np.nan
    openpose(tmp_path / "poses" / WALK, "v", clip)
    store = prepare("own", tmp_path / "poses", tmp_path / "store", skeleton="openpose18")
    assert store.meta["repaired"] == {"walk/v": 1} and not store[0].keypoints[0, 1, 5].any()
    clip[0, 1, 5, 0] = np.inf
    openpose(tmp_path / "poses" / WALK, "v", clip)
    with pytest.raises(ValueError, match="'walk/v': person 0, frame 1, joint 5 is infinite"):
        prepare("own", tmp_path / "poses", tmp_path / "other", skeleton="openpose18")


def kinetics(clip, label=None, index=None, first=1, shuffle=False):
    """As ST-GCN shares it: shares of the image, frames from 1."""
    data = [
        {
            "frame_index": first + t,
            "skeleton": [
                {"pose": clip[m, t, :, :2].ravel().tolist(), "score": clip[m, t, :, 2].tolist()}
                for m in range(len(clip))
                if clip[m, t].any()
            ],
        }
        for t in range(clip.shape[1])
    ]
    said = {} if label is None else {"label": label, "label_index": index}
    return {"data": data[::-1] if shuffle else data, **said}


def shares(persons, frames, seed=0):
    clip = pixels(persons, frames, 18, seed)
    clip[..., :2] = (clip[..., :2] / 640).round(3)
    return clip


@pytest.mark.parametrize("shuffle", [False, True])
def test_kinetics_skeleton_by_its_own_labels(tmp_path, shuffle):
    clips = {"a": shares(2, 3), "b": shares(1, 4, 1), "c": shares(1, 2, 2)}
    for (name, clip), (label, index) in zip(clips.items(), [("zumba", 2), ("yoga", 0), ("zumba", 2)], strict=True):
        split = "kinetics_val" if name == "c" else "kinetics_train"
        save(tmp_path / split / f"{name}.json", kinetics(clip, label, index, shuffle=shuffle))
    found, source = read(tmp_path, "openpose18")
    assert source.class_names == ("yoga", "class 1", "zumba") and [c.label for c in found.values()] == [2, 0, 2]
    assert source.splits == {"train": ["kinetics_train/a", "kinetics_train/b"], "val": ["kinetics_val/c"]}
    first = found["kinetics_train/a"]
    assert first.image_shape == (256, 340) and "340 x 256" in source.notes["converted"]
    np.testing.assert_allclose(first.keypoints, clips["a"] * [340, 256, 1])
    wide, _ = read(tmp_path, "openpose18", image_shape=(720, 1280))
    np.testing.assert_allclose(wide["kinetics_train/a"].keypoints, clips["a"] * [1280, 720, 1])


def test_kinetics_skeleton_by_its_files_of_labels(tmp_path):
    for split in ("train", "val"):
        table = {}
        for i in range(3):
            clip = shares(1, 2, i)
            save(tmp_path / f"kinetics_{split}" / f"{split}{i}.json", kinetics(clip if i else clip[:0]))
            table[f"{split}{i}"] = {"has_skeleton": bool(i), "label": f"name {i % 2}", "label_index": i % 2}
        save(tmp_path / f"kinetics_{split}_label.json", table)
    found, source = read(tmp_path, "openpose18")
    assert list(found) == [f"kinetics_{s}/{s}{i}" for s in ("train", "val") for i in (1, 2)]
    assert source.class_names == ("name 0", "name 1") and set(source.splits) == {"train", "val"}
    assert set(source.dropped) == {"kinetics_train/train0", "kinetics_val/val0"}
    save(tmp_path / "kinetics_val" / "more.json", kinetics(clip))
    refuses(tmp_path, r"kinetics_val/more.json is in none of .*kinetics_train_label.json")


def test_scores_of_zero_are_joints_that_were_not_seen(tmp_path):
    clip = shares(1, 2)
    clip[0, 0, 3, 2] = 0
    save(tmp_path / "a.json", kinetics(clip, "yoga", 0))
    found, _ = read(tmp_path, "openpose18")
    assert not found["a"].keypoints[0, 0, 3].any() and found["a"].keypoints[0, 1, 3].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": [{"frame_index": 1, "skeleton": []}] * 2}, "frame 1 occurs twice, again as entry 1"),
        ({"data": [{"skeleton": []}]}, "entry 0 of data: frame_index must be a whole number, got nothing"),
        ({"data": [{"frame_index": 1.5, "skeleton": []}]}, "must be a whole number, got 1.5"),
        (
            {"data": [{"frame_index": 1, "skeleton": [{"pose": [0.1] * 36}]}]},
            "frame 1, person 0: score: expected a list",
        ),
        ({"data": [{"frame_index": 1, "skeleton": [{"pose": [0.1] * 36, "score": [1]}]}]}, "18 joints in pose, but 1"),
        ({"label": 3.5}, "label must be text"),
        ({"label_index": -4}, "class numbers start at 0"),
        ({"label": "run"}, "both have the number 0"),
        ({"label_index": 5}, "'yoga' has number 5, and 0 before"),
        ({"label": None}, "second.json names no class, but .*first.json does"),
    ],
)
def test_malformed_kinetics_skeleton(tmp_path, change, message):
    save(tmp_path / "first.json", kinetics(shares(1, 2), "yoga", 0))
    save(tmp_path / "second.json", {**kinetics(shares(1, 2), "yoga", 0), **change})
    refuses(tmp_path, message)
