"""Poses as estimators write them: what was written comes back, and whatever is malformed is named."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphs.layouts import get_skeleton
from protogcn.cli import main
from protogcn.data.prepare import prepare
from protogcn.data.readers.options import ReadOptions
from protogcn.data.readers.poses import read_poses
from protogcn.data.store import ClipStore

BODY_25_TO_18 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
WALK, RUN = "walk", "run"
TIP = "name: tip\njoints:\n  tip:\n"


def pixels(persons, frames, joints, seed=0):
    """(M, T, V, 3) in pixels with scores that fall from person to person."""
    rng = np.random.default_rng(seed)
    clip = np.concatenate(
        [rng.uniform(10, 600, (persons, frames, joints, 2)), np.ones((persons, frames, joints, 1))], -1
    )
    clip[..., 2] = 0.9 - 0.2 * np.arange(persons)[:, None, None] + rng.uniform(0, 0.05, (persons, frames, joints))
    return clip.round(3)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(path, skeleton, **options):
    """Clips by id, and the source."""
    source = read_poses(path, get_skeleton(skeleton), **options)
    return {clip.id: clip for clip in source.clips}, source


def refuses(path, message, skeleton="openpose18"):
    with pytest.raises(ValueError, match=message) as caught:
        read(path, skeleton)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------- OpenPose
def openpose(folder, video, clip, numbers=None, tracks=None, key="pose_keypoints_2d"):
    """A file for each frame, people in reverse order, so that their order is no help."""
    for t, number in enumerate(numbers if numbers is not None else range(clip.shape[1])):
        people = [
            {
                "person_id": [-1 if tracks is None else tracks[m]],
                key: clip[m, t].ravel().tolist(),
                "face_keypoints_2d": [],
            }
            for m in reversed(range(len(clip)))
            if clip[m, t].any()
        ]
        save(folder / f"{video}_{number:012d}_keypoints.json", {"version": 1.3, "people": people})


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


# ------------------------------------------------------------------------------------------ Kinetics-Skeleton
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


# --------------------------------------------------------------------------------------------------- MediaPipe
def landmarks(frames, seed=0):
    """(T, 33, 4): x, y, z, visibility."""
    return np.random.default_rng(seed).uniform(0, 1, (frames, 33, 4)).round(4)


def as_objects(frame):
    return [dict(zip(("x", "y", "z", "visibility"), joint.tolist(), strict=True)) for joint in frame]


MEDIAPIPE = {
    "objects": lambda clip: [as_objects(frame) for frame in clip],
    "lists": lambda clip: clip.tolist(),
    "persons": lambda clip: {"pose_landmarks": [[as_objects(frame)] for frame in clip]},
    "numbered": lambda clip: {
        "frames": [{"frame": t, "pose_landmarks": as_objects(f)} for t, f in reversed(list(enumerate(clip)))]
    },
    "camel": lambda clip: [{"poseLandmarks": as_objects(frame), "timestamp": 0.1} for frame in clip],
    "named": lambda clip: [
        {
            "frame_index": t,
            **{
                f"{n[5:]}_{n[:4]}".upper() if n.startswith("left_") else n: o
                for n, o in zip(get_skeleton("mediapipe33").joints, as_objects(frame), strict=True)
            },
        }
        for t, frame in enumerate(clip)
    ],
}


@pytest.mark.parametrize("form", MEDIAPIPE)
def test_mediapipe_json(tmp_path, form):
    clip = landmarks(5)
    save(tmp_path / WALK / "a.json", MEDIAPIPE[form](clip))
    found, source = read(tmp_path, "mediapipe33")
    assert source.channels == "xyz" and source.notes["format"] == "MediaPipe"
    np.testing.assert_array_equal(found["walk/a"].keypoints, clip[None, ..., :3])


def test_mediapipe_units(tmp_path):
    """Of an image, x and z are scaled by its width and y by its height; world landmarks are metres and go first."""
    image, world = landmarks(2), landmarks(2, 1)
    frames = [
        {"pose_landmarks": as_objects(i), "pose_world_landmarks": as_objects(w)}
        for i, w in zip(image, world, strict=True)
    ]
    save(tmp_path / WALK / "a.json", frames)
    found, _ = read(tmp_path, "mediapipe33", image_shape=(100, 200))
    np.testing.assert_array_equal(found["walk/a"].keypoints, world[None, ..., :3])
    save(tmp_path / WALK / "a.json", {"width": 200, "height": 100, "frames": MEDIAPIPE["objects"](image)})
    found, source = read(tmp_path, "mediapipe33")
    np.testing.assert_allclose(found["walk/a"].keypoints, image[None, ..., :3] * [2, 1, 2])
    assert "width / height" in source.notes["converted"]


def test_mediapipe_in_joints_of_coco(tmp_path):
    clip = landmarks(2)
    save(tmp_path / WALK / "a.json", clip.tolist())
    found, source = read(tmp_path, "coco17")
    mine, theirs = get_skeleton("coco17").joints, get_skeleton("mediapipe33").joints
    np.testing.assert_array_equal(found["walk/a"].keypoints[0], clip[:, [theirs.index(j) for j in mine], :3])
    assert "left_heel" in source.notes["converted"]


def test_mediapipe_frames_without_anybody(tmp_path):
    clip = landmarks(4)
    entries = MEDIAPIPE["objects"](clip)
    for nobody in (None, [], {"frame": 1, "pose_landmarks": None}):
        frames = (
            [{"frame": t, "pose_landmarks": e} for t, e in enumerate(entries)]
            if isinstance(nobody, dict)
            else [*entries]
        )
        frames[1] = nobody
        save(tmp_path / WALK / "a.json", frames)
        found = read(tmp_path, "mediapipe33")[0]["walk/a"].keypoints
        assert not found[:, 1].any() and np.array_equal(found[0, [0, 2, 3]], clip[[0, 2, 3], :, :3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[{"x": 1, "y": 2}] * 33], "frame 0, person 0, landmark 0: expected x, y, z and visibility, got an object"),
        ([[[1, 2, 3, 4, 5]] * 33], "landmark 0: expected x, y, z and visibility, got 5 numbers"),
        ([[[1, 2, "c"]] * 33], "landmark 0: expected a number, got 'c'"),
        (["abc"], "frame 0: expected a list of landmarks, got 'abc'"),
        ([[[1, 2, 3]] * 33, [[1, 2, 3]] * 32], "frame 1: 32 joints of 3 numbers, but 33 of 3 before"),
        ([{"frame": 1, "landmarks": []}, {"frame": 1, "landmarks": []}], "frame 1 occurs twice, again as entry 1"),
        ([{"frame": 1, "landmarks": []}, []], "entry 1 of its frames has no frame number"),
        ([{"frame": 1, "tail": {"x": 1, "y": 1, "z": 1}}], "'tail' is no landmark of MediaPipe"),
        ({"hello": 1}, "holds an object with 'hello', which is no format of poses"),
        (3, "holds 3, which is no format of poses"),
        ([[[1, 2, 3]] * 30], "30 joints per person, but mediapipe33 has 33"),
        ({"people": []}, "one frame of OpenPose, but is not named like one"),
    ],
)
def test_malformed_mediapipe(tmp_path, content, message):
    save(tmp_path / WALK / "a.json", content)
    refuses(tmp_path, message, "mediapipe33")


# -------------------------------------------------------------------------------------------------------- COCO
def coco(clip, tracks=None, names=None, images=True, video=None, offset=0):
    """Annotations with their images."""
    annotations = [
        {
            "id": i,
            "image_id": offset + t,
            "category_id": 1,
            "keypoints": clip[m, t].ravel().tolist(),
            **({} if tracks is None else {"track_id": tracks[m]}),
        }
        for i, (m, t) in enumerate(np.ndindex(clip.shape[:2]))
        if clip[m, t].any()
    ]
    if not images:
        return annotations
    listed = [
        {
            "id": offset + t,
            "file_name": f"frame_{t:05d}.jpg",
            "width": 640,
            "height": 480,
            **({"video_id": video} if video else {}),
        }
        for t in range(clip.shape[1])
    ]
    return {
        "images": listed[::-1],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names or get_skeleton("coco17").joints)}],
    }


def test_coco_annotations(tmp_path):
    clip = pixels(2, 4, 17)
    clip[1, 2] = 0
    clip[:, 3] = 0
    save(tmp_path / WALK / "a.json", coco(clip, tracks=[7, 3]))
    found, source = read(tmp_path, "coco17")
    np.testing.assert_array_equal(found["walk/a"].keypoints, clip)
    assert found["walk/a"].image_shape == (480, 640) and source.notes["format"] == "COCO"


def test_coco_names_of_joints_decide_their_order(tmp_path):
    clip, joints = pixels(1, 2, 17), list(get_skeleton("coco17").joints)
    order = np.random.default_rng(0).permutation(17)
    save(tmp_path / WALK / "a.json", coco(clip[:, :, order], names=[joints[i] for i in order]))
    np.testing.assert_array_equal(read(tmp_path, "coco17")[0]["walk/a"].keypoints, clip)
    save(tmp_path / WALK / "a.json", coco(clip, names=[*joints[:-1], "tail"]))
    refuses(tmp_path, "names 16 joints of coco17, but not right_ankle", "coco17")


@pytest.mark.parametrize("name", ["{:d}.jpg", "walk/img_{:06d}.png", None])
def test_coco_results(tmp_path, name):
    """A list of results has no images; image_id is a number, or a name with one."""
    clip = pixels(1, 5, 17)
    clip[:, 2] = 0
    results = [
        {**r, "image_id": name.format(r["image_id"]) if name else r["image_id"], "score": 0.5}
        for r in coco(clip, images=False)
    ]
    save(tmp_path / WALK / "a.json", results)
    np.testing.assert_array_equal(read(tmp_path, "coco17")[0]["walk/a"].keypoints, clip)


def test_coco_flags_become_scores(tmp_path):
    clip = pixels(1, 2, 17)
    clip[..., 2] = 2
    clip[0, 0, 1:3] = [[5, 6, 1], [0, 0, 0]]
    save(tmp_path / WALK / "a.json", coco(clip))
    scores = read(tmp_path, "coco17")[0]["walk/a"].keypoints[..., 2]
    assert scores[0, 0, :4].tolist() == [1, 0.5, 0, 1]


def test_coco_of_several_videos(tmp_path):
    first, second = pixels(1, 2, 17), pixels(1, 3, 17, 1)
    one, two = coco(first, video=5), coco(second, video=6, offset=100)
    both = {key: one[key] + two[key] for key in ("images", "annotations")}
    save(tmp_path / "all.json", both | {"videos": [{"id": 5, "name": "jog.mp4"}, {"id": 6, "name": "sit.mp4"}]})
    save(tmp_path / "labels.csv", "clip,label,split\njog,run,train\nsit,rest,test\n")
    for source in (tmp_path, tmp_path / "all.json"):
        found, _ = read(source, "coco17")
        assert list(found) == ["all/jog", "all/sit"]
        np.testing.assert_array_equal(found["all/sit"].keypoints, second)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": [{"image_id": 1}], "images": [{"id": 2}]}, "annotation 0: its image_id '1' is not among"),
        ({"annotations": [3]}, "annotation 0: expected image_id and keypoints, got 3"),
        ({"annotations": [], "images": [{}]}, "image 0: expected id and file_name"),
        (
            {"annotations": [], "images": [{"id": 1, "frame_id": 4}, {"id": 2, "frame_id": 4}]},
            "two images .* are frame 4",
        ),
        ({"annotations": [], "images": [{"id": 1}, {"id": 1}]}, "the image id 1 occurs twice"),
        ([{"image_id": "abc", "keypoints": [1, 2, 3]}], "annotation 0: there is no frame number in its image_id 'abc'"),
        ([{"image_id": 1, "keypoints": [1, 2, 3, 4]}], "annotation 0: expected 3 numbers for each joint, got 4"),
    ],
)
def test_malformed_coco(tmp_path, content, message):
    save(tmp_path / WALK / "a.json", content)
    refuses(tmp_path, message, "coco17")


# --------------------------------------------------------------------------------------------------------- csv
def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize("form", ["x0", "x_1", "named", "long", "long names"])
def test_mediapipe_csv(tmp_path, form):
    clip, joints = landmarks(4), get_skeleton("mediapipe33").joints
    path = tmp_path / WALK / "a.csv"
    rows = [[t, *frame.ravel()] for t, frame in enumerate(clip)]
    if form.startswith("long"):
        named = [[t, joints[v].upper() if "names" in form else v, *clip[t, v]] for t, v in np.ndindex(4, 33)]
        write_csv(path, ["frame", "landmark", "x", "y", "z", "visibility"], named)
    elif form == "named":
        write_csv(path, ["frame", *(f"{j}_{a}" for j in joints for a in ("x", "y", "z", "visibility"))], rows)
    elif form == "x_1":
        write_csv(path, [f"{a}_{v}" for v in range(1, 34) for a in "xyzv"], [row[1:] for row in rows])
    else:
        write_csv(path, ["frame_index", *(f"{a}{v}" for v in range(33) for a in "xyzv")], rows)
    found, source = read(tmp_path, "mediapipe33")
    assert source.channels == "xyz"
    np.testing.assert_array_equal(found["walk/a"].keypoints, clip[None, ..., :3])


def test_csv_with_persons_gaps_and_scores(tmp_path):
    rows = [[f, p, 10 * f + at, 20, 0.5] for f in (0, 1, 4) for p, at in (("b", 300), ("a", 301))]
    for name in ("walk/a", "run/b"):
        write_csv(tmp_path / f"{name}.csv", ["frame", "track_id", "tip_x", "tip_y", "tip_score"], rows)
    save(tmp_path / "tip.yaml", TIP)
    clips, source = read(tmp_path, tmp_path / "tip.yaml", image_shape=(480, 640))
    assert source.channels == "xys" and clips["run/b"].image_shape == (480, 640)
    assert clips["walk/a"].keypoints[0, :, 0, 0].tolist() == [300, 310, 0, 0, 340], "person b came first"
    assert clips["walk/a"].keypoints[1, :, 0, 0].tolist() == [301, 311, 0, 0, 341]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["frame", "tip_x", "tip_y"], ["0", "one", "2"], "a.csv, line 2: 'one' is not a number"),
        (["frame", "tip_x", "tip_y"], ["zero", "1", "2"], "a.csv, line 2: frame must be a whole number"),
        (["frame", "top_x", "top_y"], ["0", "1", "2"], "did you mean 'tip'"),
        (["person", "tip_x", "tip_y"], ["0", "1", "2"], "no column 'frame'"),
        (["frame", "x", "y"], ["0", "1", "2"], "no columns for 1 joints"),
    ],
)
def test_malformed_csv(tmp_path, header, row, message):
    save(tmp_path / "tip.yaml", TIP)
    write_csv(tmp_path / WALK / "a.csv", header, [row])
    refuses(tmp_path, message, tmp_path / "tip.yaml")


# --------------------------------------------------------------------------------------- round trips and noise
@st.composite
def tracked_clips(draw):
    """(M, T, 17, 3) in pixels, persons present in some frames, each joint with a score or missing."""
    persons, frames = draw(st.integers(1, 3)), draw(st.integers(3, 6))
    clip = draw(hnp.arrays(np.float64, (persons, frames, 17, 3), elements=st.integers(3, 2000)))
    clip[..., 2] = draw(hnp.arrays(np.float64, clip.shape[:3], elements=st.sampled_from([0.25, 0.5, 0.75])))
    clip[draw(hnp.arrays(bool, clip.shape[:3], elements=st.sampled_from([False, False, True])))] = 0
    absent = draw(hnp.arrays(bool, (persons, frames)))
    absent[:, 0] = absent[:, -1] = False
    clip[absent] = 0
    clip[:, [0, -1], 0] = [500, 500, 0.5]
    return clip[np.argsort(-clip[..., 2].sum(axis=(1, 2)), kind="stable")]


@settings(max_examples=40, deadline=None)
@given(clip=tracked_clips(), form=st.sampled_from(["openpose", "annotations", "results"]), data=st.data())
def test_tracks_come_back_as_they_were_written(tmp_path_factory, clip, form, data):
    folder = tmp_path_factory.mktemp("poses")
    if form == "openpose":
        openpose(folder / WALK, "v", clip, tracks=range(len(clip)))
    else:
        content = coco(clip, tracks=range(len(clip)), images=form == "annotations")
        entries = content if isinstance(content, list) else content["annotations"]
        order = data.draw(st.permutations(range(len(entries))))
        entries[:] = [entries[i] for i in order]
        save(folder / WALK / "v.json", content)
    skeleton = get_skeleton("coco17")
    found = next(iter(read_poses(folder, skeleton).clips)).keypoints
    totals = clip[..., 2].sum(axis=(1, 2))
    assert len(found) == len(clip)
    for person, total in zip(found, totals, strict=True):
        assert person[..., 2].sum() == pytest.approx(total)
        assert any(np.array_equal(person, written) for written in clip)


GOOD = {
    "v_0_keypoints.json": {"people": [{"pose_keypoints_2d": [5, 6, 0.5] * 18}]},
    "k.json": {
        "data": [{"frame_index": 1, "skeleton": [{"pose": [0.1] * 36, "score": [1] * 18}]}],
        "label": "a",
        "label_index": 0,
    },
    "m.json": [[{"x": 0.1, "y": 0.2, "z": 0.3, "visibility": 1}] * 33],
    "c.json": {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "keypoints": [1, 2, 2] * 17}],
    },
    "r.json": [{"image_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 1}],
}
LAYOUT = {"v": "openpose18", "k": "openpose18", "m": "mediapipe33", "c": "coco17", "r": "coco17"}
JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**20), 10**20) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def broken(draw, content):
    """The content with something else somewhere inside."""
    if isinstance(content, dict | list) and content and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(content) if isinstance(content, dict) else range(min(3, len(content)))))
        copy = dict(content) if isinstance(content, dict) else list(content)
        copy[key] = draw(broken(content[key]))
        return copy
    return draw(JUNK)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(GOOD)))
def test_garbage_gives_one_sentence(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("junk")
    text = json.dumps(data.draw(broken(GOOD[name])))
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    save(folder / WALK / name, text)
    try:
        prepare("own", folder, folder / "store", skeleton=LAYOUT[name[0]])
    except ValueError as error:
        assert str(error) and "\n" not in str(error)


# -------------------------------------------------------------------------------------------- as a user does it
def test_from_the_command_line(tmp_path, capsys):
    save(tmp_path / "poses" / "train" / WALK / "a.json", landmarks(3).tolist())
    save(tmp_path / "poses" / "test" / RUN / "b.json", landmarks(3).tolist())
    words = ["data", "prepare", "own", str(tmp_path / "poses"), str(tmp_path / "store"), "--skeleton", "mediapipe33"]
    assert main([*words, "--image-size", "1280x720", "--max-persons", "1"]) == 0
    assert "MediaPipe" in capsys.readouterr().out
    store = ClipStore.open(tmp_path / "store")
    assert store.class_names == (RUN, WALK) and set(store.splits) == {"train", "test"}
    assert main([*words, "--overwrite", "--image-size", "wide"]) == 2
    assert "--image-size is written <width>x<height>" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--max-persons", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_arrays_and_poses_in_one_folder_are_refused(tmp_path):
    save(tmp_path / WALK / "a.json", landmarks(3).tolist())
    np.save(tmp_path / WALK / "b.npy", np.ones((2, 33, 3)))
    with pytest.raises(ValueError, match="convert arrays and poses one by one"):
        prepare("own", tmp_path, tmp_path / "store", skeleton="mediapipe33")
    with pytest.raises(ValueError, match="--image-size means nothing"):
        options = ReadOptions(image_size="3x4")
        prepare("own", tmp_path / WALK / "b.npy", tmp_path / "store", skeleton="mediapipe33", options=options)
