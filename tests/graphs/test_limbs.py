import numpy as np
import pytest
import yaml

from graphs import Skeleton, get_skeleton, list_skeletons

PUBLISHED = "0-1 0-2 1-3 2-4 0-5 5-7 7-9 0-6 6-8 8-10 5-11 11-13 13-15 6-12 12-14 14-16 11-12"
STICK = {"name": "stick", "joints": {"hip": None, "head": "hip", "left_hand": "head", "right_hand": "head"}}


def test_limbs_of_coco_are_the_published_ones():
    skeleton = get_skeleton("coco17")
    assert [f"{start}-{end}" for start, end in skeleton.limbs] == PUBLISHED.split()
    left, right = [0, 2, 4, 5, 6, 10, 11, 12], [1, 3, 7, 8, 9, 13, 14, 15]
    assert skeleton.limb_mirror[left].tolist() == right and skeleton.limb_mirror[right].tolist() == left
    assert skeleton.limb_mirror[16] == 16


@pytest.mark.parametrize("name", sorted(set(list_skeletons()) - {"coco17"}))
def test_limbs_are_the_edges_unless_named(name):
    skeleton = get_skeleton(name)
    assert skeleton.limbs == skeleton.edges and skeleton.limb_edges is None and "limbs" not in skeleton.to_dict()


@pytest.mark.parametrize("name", list_skeletons())
def test_limbs_change_places_in_the_mirror(name):
    skeleton = get_skeleton(name)
    order, joints = skeleton.limb_mirror, skeleton.mirror_permutation
    assert order.dtype == np.int64 and not order.flags.writeable
    assert (order[order] == np.arange(len(skeleton.limbs))).all()
    for limb, image in zip(skeleton.limbs, order, strict=True):
        assert set(skeleton.limbs[image]) == set(joints[list(limb)].tolist())


@pytest.mark.parametrize("limbs", [[["head", "left_hand"], ["right_hand", "head"]], [[1, 0]], []])
def test_own_limbs_in_a_file(tmp_path, limbs):
    path = tmp_path / "stick.yaml"
    path.write_text(yaml.safe_dump(STICK | {"limbs": limbs}, sort_keys=False))
    skeleton = get_skeleton(path)
    assert skeleton.limbs == tuple((skeleton.index(start), skeleton.index(end)) for start, end in limbs)
    again = get_skeleton(yaml.safe_load(yaml.safe_dump(skeleton.to_dict(), sort_keys=False)))
    assert again == skeleton and again.limbs == skeleton.limbs and hash(again) == hash(skeleton)


def test_limbs_from_edges_and_their_mirror():
    details = {"limbs": [["hip", "left_hand"], ["right_hand", "hip"], ["head", "left_hand"]]}
    skeleton = Skeleton.from_edges("stick", list(STICK["joints"]), [(0, 1), (1, 2), (1, 3)], "hip", **details)
    assert skeleton.limbs == ((0, 2), (3, 0), (1, 2))
    assert skeleton.limb_mirror.tolist() == [1, 0, 2]


def test_limbs_equal_to_the_edges_make_no_difference():
    plain = Skeleton.from_dict(STICK)
    assert Skeleton.from_dict(STICK | {"limbs": [list(edge) for edge in plain.edges]}) == plain


def test_one_joint_has_no_limbs():
    skeleton = Skeleton("lonely", ("nose",), (-1,))
    assert skeleton.limbs == () and skeleton.limb_mirror.shape == (0,)


@pytest.mark.parametrize(
    "limbs, message",
    [
        ([["head", "hed"]], "'stick', limbs: unknown joint 'hed'; did you mean 'head'"),
        ([["head", "head"]], "limbs: joint 'head' is paired with itself"),
        ([["head"]], "limbs: .*is no pair of two joints"),
        ("head", "'limbs' must be a list"),
        ([[0, 4]], "there is no joint 4; joints are numbered 0 to 3"),
        ([[0, 1], [2, 1], [1, 0]], "the limb head - hip is given twice in limbs"),
    ],
)
def test_limbs_that_cannot_be(limbs, message):
    with pytest.raises(ValueError, match=message):
        Skeleton.from_dict(STICK | {"limbs": limbs})


def test_limbs_given_as_indices_are_checked():
    with pytest.raises(ValueError, match="limbs refers to joint 7"):
        Skeleton("pair", ("a", "b"), (-1, 0), limb_edges=((0, 7),))
    with pytest.raises(ValueError, match="limbs must hold pairs of two different joints"):
        Skeleton("pair", ("a", "b"), (-1, 0), limb_edges=((1, 1),))
