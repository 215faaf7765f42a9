import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import Skeleton

STICK = {"name": "stick", "joints": ("hip", "head", "left_hand", "right_hand"), "parents": (-1, 0, 1, 1)}


def stick(**changes):
    return Skeleton(**{**STICK, **changes})


def test_derived_facts():
    skeleton = stick(mirror=((2, 3),), parts={"arms": (2, 3)})
    assert (skeleton.num_joints, skeleton.centre, skeleton.body_centre) == (4, 0, 0)
    assert skeleton.edges == ((1, 0), (2, 1), (3, 1))
    assert skeleton.bone_pairs == ((0, 0), (1, 0), (2, 1), (3, 1))
    assert skeleton.kbone_pairs == ((0, 0), (1, 1), (2, 0), (3, 0))
    assert skeleton.ancestors(0) == (0, 1, 2, 3)
    assert skeleton.ancestors(3) == (-1, -1, -1, -1)
    assert skeleton.depths.tolist() == [0, 1, 2, 2]
    assert skeleton.mirror_permutation.tolist() == [0, 1, 3, 2]
    assert skeleton.index("head") == skeleton.index(1) == 1


def test_bones_may_follow_another_tree_with_another_root():
    skeleton = stick(bone_parents=(1, -1, 1, 1))
    assert skeleton.centre == 0
    assert skeleton.bone_pairs == ((0, 1), (1, 1), (2, 1), (3, 1))
    assert stick(bone_parents=STICK["parents"]) == stick()


def test_is_a_value():
    one, other = stick(parts={"arms": (2, 3)}), stick(parts={"arms": [2, 3]}, parents=[-1, 0, 1, 1])
    assert one == other and hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != stick()
    with pytest.raises(FrozenInstanceError):
        one.name = "other"
    with pytest.raises(ValueError, match="read-only"):
        one.mirror_permutation[0] = 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"joints": ()}, "there are no joints"),
        ({"joints": ("hip", "head", "hip", "hand")}, "joint 'hip' appears twice, as 0 and as 2"),
        ({"joints": ("hip", "head", "", "hand")}, "joint 2 needs a name as text"),
        ({"joints": ("hip", "head", False, "hand")}, "joint 2 needs a name as text; got False"),
        ({"parents": (-1, 0, 1)}, "parents has 3 entries for 4 joints"),
        ({"parents": (-1, 0, 1, 9)}, "parent of joint 'right_hand' in parents refers to joint 9, .* 0 to 3"),
        (
            {"parents": (-1, 0, 1, "head")},
            "parent of joint 'right_hand' in parents must hold joint indices; got 'head'",
        ),
        ({"parents": (-1, 0, 2, 1)}, "joint 'left_hand' hangs on itself"),
        ({"parents": (-1, 0, -1, 1)}, r"parents has 2 roots \(hip, left_hand\)"),
        ({"parents": (1, 2, 0, 1)}, "runs in a circle: hip -> head -> left_hand -> hip"),
        ({"parents": (-1, 2, 3, 1)}, "runs in a circle: head -> left_hand -> right_hand -> head"),
        ({"bone_parents": (-1, 2, 3, 1)}, "bone_parents runs in a circle"),
        ({"mirror": ((2, 3), (3, 1))}, "'right_hand' is in mirror pair 'left_hand - right_hand' and in mirror pair"),
        ({"mirror": ((2, 2),)}, "mirror must hold pairs of two different joints"),
        ({"mirror": ((2, 4),)}, "mirror refers to joint 4"),
        ({"parts": {"arm": (1, 2), "head": (1,)}}, "joint 'head' is in part 'arm' and in part 'head'"),
        ({"parts": {"arm": ()}}, "part 'arm' has no joints"),
        ({"parts": {"arm": (True,)}}, "must hold joint indices; got True"),
        ({"extra_edges": ((0, 7),)}, "extra_edges refers to joint 7"),
        ({"body_centre": 4}, "body_centre refers to joint 4"),
        ({"name": " "}, "needs a name"),
    ],
)
def test_refuses_with_the_joint_and_the_reason(changes, message):
    with pytest.raises(ValueError, match=message):
        stick(**changes)


def test_unknown_joint_lists_near_matches():
    with pytest.raises(ValueError, match="unknown joint 'left_hnd'; did you mean 'left_hand'"):
        stick().index("left_hnd")
    with pytest.raises(ValueError, match="joint refers to joint 4"):
        stick().index(4)


def test_from_edges_orients_towards_the_centre():
    edges = [("head", "right_hand"), ("hip", "head"), ("left_hand", "head")]
    skeleton = Skeleton.from_edges("stick", STICK["joints"], edges, centre="hip")
    assert skeleton == stick(mirror=((2, 3),), parts={"left arm": (2,), "right arm": (3,)})
    assert Skeleton.from_edges("stick", STICK["joints"], edges).centre == 1


def test_from_edges_by_number():
    skeleton = Skeleton.from_edges("path", 5, [(0, 1), (1, 2), (3, 2), (4, 3)], body_centre=0)
    assert (skeleton.joints[0], skeleton.centre, skeleton.body_centre) == ("joint_0", 2, 0)
    assert skeleton.parents == (1, 2, -1, 2, 3)


@pytest.mark.parametrize(
    "edges, options, message",
    [
        ([(0, 1), (2, 3)], {"centre": 0}, "no edges lead from 'joint_0' to joint_2, joint_3"),
        ([(0, 1), (1, 2), (2, 0), (2, 3)], {}, "closes a loop"),
        ([(0, 1), (1, 2), (2, 1), (2, 3)], {}, "joint_1 - joint_2 is given twice"),
        ([(0, 1), (1, 1)], {}, "joint 1 is paired with itself"),
        ([(0, 1), (1, 4)], {}, "edges: there is no joint 4; joints are numbered 0 to 3"),
        ([(0, 1, 2)], {}, "is no pair of two joints"),
        ("0-1", {}, "'edges' must be a list"),
        ([(0, 1), (1, 2), (2, 3)], {"centre": "joint_9"}, "centre: unknown joint 'joint_9'; did you mean"),
        ([(0, 1), (1, 2), (2, 3)], {"miror": []}, "unknown key 'miror'; did you mean 'mirror'"),
    ],
)
def test_from_edges_says_what_is_wrong(edges, options, message):
    with pytest.raises(ValueError, match=message):
        Skeleton.from_edges("own", 4, edges, **options)


def test_sides_and_limbs_are_told_from_names():
    joints = {"pelvis": None, "l_hip": "pelvis", "RIGHT-hip": "pelvis", "elbow.R": "pelvis", "wrist_r": "elbow.R"}
    skeleton = Skeleton.from_dict({"name": "own", "joints": joints | {"left": "pelvis", "left_tail": "pelvis"}})
    assert skeleton.mirror == ((1, 2),)
    assert skeleton.parts == {"left leg": (1,), "right arm": (3, 4), "right leg": (2,)}


@given(size=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_random_trees(random_tree, size, seed):
    skeleton = random_tree(size, seed)
    order = skeleton.mirror_permutation
    assert np.array_equal(order[order], np.arange(size))
    assert len(skeleton.edges) == size - 1
    assert all(skeleton.depths[child] == skeleton.depths[parent] + 1 for child, parent in skeleton.edges)
    assert skeleton.ancestors(1) == skeleton.parents
    assert Skeleton.from_dict(skeleton.to_dict()) == skeleton
    rng = np.random.default_rng(seed)
    edges = [tuple(rng.permutation(edge).tolist()) for edge in rng.permutation(skeleton.edges).reshape(-1, 2)]
    again = Skeleton.from_edges("random", skeleton.joints, edges, skeleton.centre, mirror=skeleton.mirror)
    assert again == skeleton
