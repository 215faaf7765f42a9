"""The procedural human is plausible, deterministic, and fits every layout."""

import dataclasses
import time

import numpy as np
import pytest

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from protogcn.data.human.body import INDEX, POINTS, Body, Posture, mirror, pose
from protogcn.data.human.mapping import placement, point_of
from protogcn.data.human.motions import ACTIONS, MUTUAL
from protogcn.data.human.performer import Subject
from protogcn.data.human.sensor import camera_frame, project
from protogcn.data.store import ClipStore
from protogcn.data.synthetic import check_actions, generate, perform, subject_of, view_of, write_synthetic

PARTNER = Subject.draw(1001)
ALL = tuple(ACTIONS)


def one(skeleton="ntu25", action="wave", **options):
    return next(generate(skeleton, actions=[action], subjects=[2], views=[1], repetitions=1, **options))


def take(action, subject, seed=0, frames=60):
    return perform(action, subject, frames, np.random.default_rng(seed), PARTNER)


@pytest.mark.parametrize("action", ALL)
def test_bones_keep_their_length_without_noise(action):
    skeleton = get_skeleton("ntu25")
    clip = one(skeleton, action, noise=0.0, occlusion=0.0)
    child, parent = np.array(skeleton.edges).T
    lengths = np.linalg.norm(clip.keypoints[..., child, :] - clip.keypoints[..., parent, :], axis=-1)
    # A closing hand changes the distance between the tips of thumb and fingers, which are a bone of this layout.
    rigid = [not skeleton.joints[c].endswith(("tip", "thumb")) for c in child]
    assert np.ptp(lengths[..., rigid], axis=1).max() < 1e-5
    assert lengths.min() > 0.01 and lengths.max() < 0.6


@pytest.mark.parametrize("action", ALL)
def test_people_stand_on_the_floor(action):
    for subject in (1, 2, 3):
        for person in take(action, Subject.draw(subject), seed=subject):
            feet = person[
                :, [INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("heel", "foot", "ankle")], 1
            ]
            assert feet.min() > -0.08, "a foot is below the floor"
            lowest = feet.min(axis=1)
            assert np.median(lowest) < 0.08 or action == "jog"
            assert lowest.max() < (0.7 if action == "jump" else 0.25), "both feet are in the air"
            assert person[:, INDEX["head"], 1].min() > 0.3


@pytest.mark.parametrize("action", ALL)
def test_left_handers_mirror_right_handers(action):
    right = dataclasses.replace(Subject.draw(2), left_handed=False)
    left = dataclasses.replace(right, left_handed=True)
    expected = take(action, right) if action == "handshake" else [mirror(person) for person in take(action, right)]
    for got, want in zip(take(action, left), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("action", sorted(MUTUAL))
def test_two_persons_face_each_other_within_reach(action):
    for seed in range(5):
        first, second = take(action, Subject.draw(seed + 1), seed)
        between = second[:, INDEX["pelvis"]] - first[:, INDEX["pelvis"]]
        assert 0.35 < between[0, 2] < 1.7 and np.abs(between[0, 0]) < 0.2
        nose = [person[:, INDEX["nose"]] - person[:, INDEX["head"]] for person in (first, second)]
        assert nose[0][:, 2].mean() > 0 > nose[1][:, 2].mean()


def test_hands_meet_in_a_handshake():
    for seed in range(8):
        first, second = take("handshake", Subject.draw(seed + 1), seed)
        apart = np.linalg.norm(first[:, INDEX["right_hand"]] - second[:, INDEX["right_hand"]], axis=-1)
        assert apart.min() < 0.22


def test_sitting_lowers_and_standing_raises():
    down, up = (take(action, Subject.draw(2))[0][:, INDEX["pelvis"], 1] for action in ("sit down", "stand up"))
    assert down[0] - down[-1] > 0.25
    assert up[-1] - up[0] > 0.25


def test_the_head_tells_drink_from_phone_call():
    for subject in (2, 3, 4):
        reach = {}
        for action in ("drink", "phone call"):
            person = take(action, dataclasses.replace(Subject.draw(subject), left_handed=False), seed=4)[0]
            wrists = person[:, [INDEX["left_wrist"], INDEX["right_wrist"]]]
            reach[action] = np.linalg.norm(wrists - person[:, [INDEX["head"]]], axis=-1).min()
        assert all(distance < 0.35 for distance in reach.values())


def test_reach_beyond_the_arm_stretches_it():
    body = Body()
    far = Posture(wrists=np.array([[[0.0, 0.0, 5.0]], [[0.0, 0.0, 5.0]]]))
    points = pose(body, far, 1)[0]
    stretched = np.linalg.norm(points[INDEX["left_wrist"]] - points[INDEX["left_shoulder"]])
    assert stretched == pytest.approx(body.arm, rel=0.01)


@pytest.mark.parametrize("layout", list_skeletons())
def test_every_layout_of_the_catalogue_is_known_by_name(layout):
    skeleton = get_skeleton(layout)
    assert all(point_of(joint) for joint in skeleton.joints)
    clip = one(layout, noise=0.0, occlusion=0.0, channels="xyz")
    assert clip.keypoints.shape[2:] == (skeleton.num_joints, 3)
    first = clip.keypoints[0, 0]
    apart = np.linalg.norm(first[:, None] - first, axis=-1)[np.triu_indices(skeleton.num_joints, 1)]
    assert apart.min() > 1e-3, "two joints lie on the same point"
    for left, right in skeleton.mirror:
        sides = placement(skeleton)[[left, right]]
        np.testing.assert_allclose(sides[0], mirror(np.repeat(sides[1, :, None], 3, 1))[:, 1])


def test_layouts_show_the_same_performance():
    ntu, ucla = (one(name, noise=0.0, occlusion=0.0).keypoints for name in ("ntu25", "ucla20"))
    elbow = [get_skeleton(name).index("left_elbow") for name in ("ntu25", "ucla20")]
    np.testing.assert_array_equal(ntu[:, :, elbow[0]], ucla[:, :, elbow[1]])


@pytest.mark.parametrize(
    ("joint", "point"),
    [
        ("LeftForeArm", "left_elbow"),
        ("r_shoulder", "right_shoulder"),
        ("rknee", "right_knee"),
        ("shoulder_center", "chest"),
        ("hip", "pelvis"),
        ("left_hip", "left_hip"),
        ("middle_pip", "right_middle_2"),
        ("antenna", None),
    ],
)
def test_joint_names(joint, point):
    assert point_of(joint) == point


def test_unknown_joints_lie_along_the_tree():
    skeleton = Skeleton.from_dict(
        {
            "name": "odd",
            "joints": {"pelvis": None, "belt": "pelvis", "chest": "belt", "plume": "chest", "tassel": "plume"},
        }
    )
    rows = placement(skeleton)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert rows[1, INDEX["pelvis"]] == rows[1, INDEX["chest"]] == 0.5
    assert not np.allclose(rows[3], rows[2]) and not np.allclose(rows[4], rows[3])


def test_a_layout_without_any_known_name_still_moves():
    joints = {"a": None, **{f"{limb}{k}": "a" if k == 0 else f"{limb}{k - 1}" for limb in "bcdef" for k in range(3)}}
    skeleton = Skeleton.from_dict({"name": "blank", "joints": joints})
    rows = placement(skeleton)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert len({tuple(row) for row in rows}) == len(rows)
    keypoints = one(skeleton, noise=0.0, occlusion=0.0).keypoints
    assert (np.ptp(keypoints, axis=1).max(-1) > 1e-3).mean() > 0.8, "all but the feet move"


def test_camera_frame_is_kinect():
    person = pose(Body(), Posture(), 1)[0]
    seen = camera_frame(person, yaw=0.0, distance=3.0, height=0.95)
    assert (seen[:, 2] > 2.5).all(), "the stage lies in front of the camera"
    assert seen[INDEX["left_shoulder"], 0] < seen[INDEX["right_shoulder"], 0]
    assert seen[INDEX["nose"], 2] < seen[INDEX["head"], 2]
    pixels = project(seen)
    assert pixels[INDEX["head"], 1] < pixels[INDEX["pelvis"], 1] and pixels[INDEX["left_ear"], 0] > 960
    turned = camera_frame(person, yaw=0.8, distance=3.0, height=1.6)
    apart = [np.linalg.norm(frame[0] - frame[1:], axis=-1) for frame in (person, seen, turned)]
    np.testing.assert_allclose(apart[1], apart[0])
    np.testing.assert_allclose(apart[2], apart[0])


def test_planar_layouts_get_pixels_and_scores():
    clip = one("coco17", occlusion=5.0)
    assert clip.keypoints.shape[-1] == 3 and clip.image_shape == (1080, 1920)
    scores = clip.keypoints[..., 2]
    assert scores.min() >= 0 and scores.max() <= 1
    assert not clip.keypoints[scores == 0].any()
    assert one("coco17", channels="xy").keypoints.shape[-1] == 2
    assert one("ntu25").image_shape is None


def test_noise_and_occlusion_do_what_they_say():
    clean, noisy = one(noise=0.0, occlusion=0.0).keypoints, one(occlusion=0.0).keypoints
    assert 0.005 < np.abs(noisy - clean).mean() < 0.05
    lost = [(one(action=action, occlusion=4.0).keypoints == 0).all(-1).mean() for action in ALL]
    assert 0 < np.mean(lost) < 0.5
    assert clean.all()


def test_clips_depend_on_their_own_name_only():
    options = {"views": (1, 2), "repetitions": 1}
    many = {clip.id: clip.keypoints for clip in generate(actions=["wave", "push"], subjects=3, **options)}
    few = {clip.id: clip.keypoints for clip in generate(actions=["push"], subjects=[3], **options)}
    assert set(few) < set(many)
    for name, keypoints in few.items():
        np.testing.assert_array_equal(keypoints, many[name])
    other = next(generate(actions=["push"], subjects=[3], views=[1], repetitions=1, seed=1))
    assert not np.array_equal(other.keypoints[:, :10], few[other.id][:, :10])


def test_clip_lengths_persons_and_names():
    clips = list(generate(subjects=2, repetitions=1))
    assert len(clips) == 2 * 3 * len(ACTIONS)
    lengths = [clip.keypoints.shape[1] for clip in clips]
    assert 30 <= min(lengths) < 45 and 75 < max(lengths) <= 90
    for clip in clips:
        assert clip.keypoints.dtype == np.float32 and np.isfinite(clip.keypoints).all()
        assert len(clip.keypoints) == (2 if ALL[clip.label] in MUTUAL else 1)
        assert 1 <= view_of(clip.id) <= 3 and 1 <= subject_of(clip.id) <= 2
        assert int(clip.id[-3:]) == clip.label + 1


def test_people_differ():
    people = [Subject.draw(number) for number in range(1, 41)]
    statures = [person.body.shoulder_height + person.body.neck for person in people]
    assert np.std(statures) > 0.05 and 1.1 < min(statures) < max(statures) < 1.8
    assert sum(person.left_handed for person in people) == 10
    assert people[0].trait("x") == people[0].trait("x") != people[1].trait("x")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ClipStore:
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "store", subjects=4, repetitions=1)


def test_store_and_splits(store):
    assert store.class_names == ALL and store.skeleton.name == "ntu25" and store.channels == "xyz"
    for protocol in ("xsub", "xview"):
        train, test = (set(store.split(f"{protocol}_{part}").tolist()) for part in ("train", "test"))
        assert not train & test and len(train | test) == len(store)
    assert {subject_of(store.ids[i]) for i in store.split("xsub_test")} == {3}
    assert {view_of(store.ids[i]) for i in store.split("xview_test")} == {1}
    assert {view_of(store.ids[i]) for i in store.split("xview_train")} == {2, 3}
    store.verify()


def test_same_seed_same_bytes(store, tmp_path):
    again = write_synthetic(tmp_path / "again", subjects=4, repetitions=1)
    assert (again.path / "keypoints.npy").read_bytes() == (store.path / "keypoints.npy").read_bytes()


def test_empty_splits_are_left_out_and_overwrite_is_asked_for(tmp_path):
    options = {"actions": ["wave", "throw"], "subjects": [1], "views": [2], "repetitions": 1}
    write_synthetic(tmp_path / "s", "coco17", **options)
    assert set(ClipStore.open(tmp_path / "s").splits) == {"xsub_train", "xview_train"}
    with pytest.raises(FileExistsError):
        write_synthetic(tmp_path / "s", "coco17", **options)
    assert write_synthetic(tmp_path / "s", "coco17", overwrite=True, **options).channels == "xys"


def test_a_thousand_clips_take_seconds():
    start = time.process_time()
    clips = sum(1 for _ in generate(subjects=6, repetitions=1))
    assert (time.process_time() - start) / clips < 0.015


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actions": ["wav"]}, "did you mean 'wave'"),
        ({"actions": []}, "one or more"),
        ({"actions": ["wave", "wave"]}, "different names"),
        ({"views": [4]}, "views must be different numbers from 1 to 3"),
        ({"subjects": 0}, "subjects"),
        ({"repetitions": 0}, "repetitions must be at least 1"),
        ({"noise": -1}, "noise"),
        ({"channels": "xyzs"}, "'xyz', 'xys' or 'xy'"),
        ({"frames": (9, 3)}, "least"),
    ],
)
def test_wrong_options_say_what_to_do(options, message):
    with pytest.raises(ValueError, match=message):
        generate(**options)


def test_actions_of_two_need_a_partner():
    with pytest.raises(ValueError, match="takes two"):
        perform("push", PARTNER, 30, np.random.default_rng(0))
    assert check_actions("wave") == ("wave",)
    assert len(POINTS) == len(set(POINTS))
