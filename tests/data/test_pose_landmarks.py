"""Landmarks of MediaPipe as json, and poses as csv tables, a file for each clip."""

import csv

import numpy as np
import pytest
from pose_files import RUN, WALK, landmarks, read, refuses, save

from graphs.layouts import get_skeleton
from protogcn.cli import main
from protogcn.data.prepare import prepare
from protogcn.data.readers.options import ReadOptions
from protogcn.data.store import ClipStore

TIP = "name: tip\njoints:\n  tip:\n"


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
    nobodies: tuple[object, ...] = (None, [], {"frame": 1, "pose_landmarks": None})
    for nobody in nobodies:
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
