"""Key points in the format of COCO; and, for all formats, tracks that come back and garbage that is named."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pose_files import WALK, coco, openpose, pixels, read, refuses, save

from graphs.layouts import get_skeleton
from protogcn.data.prepare import prepare
from protogcn.data.readers.poses import read_poses


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
