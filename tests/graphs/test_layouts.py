import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graphs import Skeleton, get_skeleton, list_skeletons

GOLDEN_NAMES = {
    "nturgb+d": "ntu25_pyskl",
    "coco": "coco17",
    "coco_new": "coco20",
    "openpose": "openpose18",
    "openpose_new": "openpose20",
    "handmp": "hand21",
    "nw_ucla": "ucla20",
    "h36m": "h36m17",
    "smpl": "smpl24",
    "mediapipe33": "mediapipe33",
    "halpe26": "halpe26",
}
STICK = """
name: stick_figure
joints:
  hip:
  head: hip
  left_hand: head
  right_hand: head
"""


def pairs(values):
    return tuple(tuple(pair) for pair in values)


OUR_SPELLING = {f"pinky_{bone}": f"little_{bone}" for bone in ("mcp", "pip", "dip", "tip")}


def respell(joint):
    side, _, rest = joint.replace("center", "centre").partition("_")
    return f"{ {'l': 'left', 'r': 'right'}.get(side, side) }_{rest}" if rest else side


@pytest.fixture(scope="module")
def reference(goldens):
    return json.loads((goldens / "data" / "layouts.json").read_text())


@pytest.mark.parametrize("alias, name", GOLDEN_NAMES.items())
def test_published_layouts(reference, alias, name):
    skeleton, golden = get_skeleton(alias), reference[alias]
    assert skeleton.name == name and skeleton.num_joints == golden["num_node"]
    assert set(skeleton.mirror) == set(pairs(golden["left_right"]))
    assert skeleton.joints == tuple(OUR_SPELLING.get(joint, respell(joint)) for joint in golden["names"])
    if "inward" in golden:
        assert set(skeleton.edges) == set(pairs(golden["inward"])) and skeleton.centre == golden["center"]
    if "bone_pairs_proto" in golden:
        assert skeleton.bone_pairs == pairs(golden["bone_pairs_proto"])
        assert skeleton.kbone_pairs == pairs(golden["kbone_pairs_proto"])
    if "spatial_flip_order" in golden:
        assert skeleton.mirror_permutation.tolist() == golden["spatial_flip_order"]


def test_variants(reference):
    ntu, ucla = reference["nturgb+d"], reference["nw_ucla"]
    assert set(get_skeleton("ntu25").edges) == set(pairs(ntu["ctr_inward"]))
    assert get_skeleton("ntu25").bone_pairs == pairs(ntu["ctr_bone_pairs"])
    assert {edge[::-1] for edge in get_skeleton("ntu25_infogcn").edges} == set(pairs(ntu["info_inward"]))
    assert get_skeleton("openpose18_pyskl").bone_pairs == pairs(reference["openpose"]["bone_pairs_pyskl"])
    assert get_skeleton("hand21").bone_pairs == pairs(reference["handmp"]["bone_pairs_pyskl"])
    assert set(get_skeleton("ucla20").edges) == set(pairs(ucla["ctr_inward"]))
    assert get_skeleton("ucla20").bone_pairs == pairs(ucla["ctr_bone_pairs"])


def test_part_drop_groups_of_ntu(reference):
    golden = reference["nturgb+d"]["part_drop"]
    for name in list_skeletons("ntu25*"):
        parts = get_skeleton(name).parts
        assert list(parts) == ["left arm", "left leg", "right arm", "right leg"]
        assert [set(part) for part in parts.values()] == [set(part) for _, part in sorted(golden.items())]


def test_every_documented_connection_is_drawn(reference):
    for name in ("mediapipe33", "halpe26"):
        skeleton = get_skeleton(name)
        drawn = {frozenset(edge) for edge in skeleton.edges + skeleton.extra_edges}
        assert {frozenset(edge) for edge in reference[name]["connections"]} <= drawn


@pytest.mark.parametrize(
    "name, centre", [("ntu25", 1), ("ucla20", 1), ("coco20", 19), ("openpose20", 19), ("kinect15", 2), ("coco17", 0)]
)
def test_body_centre(name, centre):
    assert get_skeleton(name).body_centre == centre


@pytest.mark.parametrize("name", list_skeletons())
def test_the_catalogue_is_consistent(name):
    skeleton = get_skeleton(name)
    assert skeleton.name == name and name.split("_")[0].endswith(str(skeleton.num_joints))
    assert get_skeleton(name) is skeleton, "built once"
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton
    assert skeleton.parts, "part drop works in every layout"
    order = skeleton.mirror_permutation
    for tree in (skeleton.parents, skeleton.bone_tree):
        mirrored = [-1 if tree[order[joint]] < 0 else order[tree[order[joint]]] for joint in range(len(tree))]
        assert np.array_equal(mirrored, tree), "the two sides of the body are built alike"
    limbs = {part: {int(order[joint]) for joint in members} for part, members in skeleton.parts.items()}
    for part, members in limbs.items():
        other = {"left": "right", "right": "left"}.get(part.split()[0], part)
        assert members == set(skeleton.parts[" ".join([other, *part.split()[1:]])])


@pytest.mark.parametrize("alias", ["NTU25", "nturgb+d", "nw-ucla", " coco ", "Human3.6M", "sbu", "mediapipe"])
def test_aliases(alias):
    assert get_skeleton(alias).name in list_skeletons()


def test_listing():
    assert list_skeletons("ntu*") == ["ntu25", "ntu25_infogcn", "ntu25_pyskl"]
    assert list_skeletons("nothing*") == []
    assert len(list_skeletons()) == 19


@pytest.mark.parametrize("typo, near", [("coco18", "'coco17'"), ("ntu52", "'ntu25'"), ("openpse", "'openpose")])
def test_a_typo_lists_near_matches_and_the_catalogue(typo, near):
    with pytest.raises(ValueError, match=f"unknown skeleton '{typo}'; did you mean .*{near}.* Catalogue: coco17, "):
        get_skeleton(typo)


def test_other_sources():
    skeleton = get_skeleton("ntu25")
    assert get_skeleton(skeleton) is skeleton
    assert get_skeleton(skeleton.to_dict()) == skeleton
    with pytest.raises(ValueError, match="got int 25"):
        get_skeleton(25)


def test_own_layout_from_yaml(tmp_path):
    path = tmp_path / "stick.yaml"
    path.write_text(STICK)
    skeleton = get_skeleton(path)
    assert get_skeleton(str(path)) == skeleton
    assert skeleton.joints == ("hip", "head", "left_hand", "right_hand") and skeleton.parents == (-1, 0, 1, 1)
    assert skeleton.mirror == ((2, 3),) and list(skeleton.parts) == ["left arm", "right arm"]
    path.write_text(
        STICK.replace("name: stick_figure", "")
        + "mirror: []\nparts: {hands: [left_hand, 3]}\nbody_centre: head\nbones: {left_hand: hip}\n"
        + "extra_edges: [[left_hand, right_hand]]\n"
    )
    skeleton = get_skeleton(path)
    assert skeleton.name == "stick" and skeleton.mirror == () and skeleton.parts == {"hands": (2, 3)}
    assert skeleton.bone_pairs[2] == (2, 0) and skeleton.body_centre == 1 and skeleton.extra_edges == ((2, 3),)


def test_own_layout_from_a_list_of_edges(tmp_path):
    path = tmp_path / "own.yml"
    path.write_text("joints: [a, b, c]\nedges: [[a, b], [c, b]]\ncentre: a\n")
    assert get_skeleton(path).parents == (-1, 0, 1)


@pytest.mark.parametrize("name", list_skeletons())
def test_the_catalogue_survives_yaml(tmp_path, name):
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(get_skeleton(name).to_dict(), sort_keys=False))
    assert get_skeleton(path) == get_skeleton(name)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected 'key: value' lines"),
        ("- a\n- b", "expected 'key: value' lines"),
        ("joints: {a: , b: a", "not valid YAML"),
        ("joints: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("name: x", "the key 'joints' is missing"),
        ("joints: hip", "'joints' must be a list of names or 'joint: parent' lines; got 'hip'"),
        ("joints: [a, b]", "'edges' must say which joints are joined"),
        ("joints: {a: , b: a}\nedges: [[a, b]]", "'edges' must be left out"),
        ("joints: {a: , b: c}", "parent of 'b': unknown joint 'c'"),
        ("joints: {hip: , left_knee: hpi}", "unknown joint 'hpi'; did you mean 'hip'"),
        ("joints: {a: , b: a, a: b}", "'a' appears twice, again in line 1"),
        ("joints: {a: b, b: a}", "runs in a circle: a -> b -> a"),
        ("joints: {a: , b: }", r"2 roots \(a, b\)"),
        ("joints: {a: , no: a}", "joint 1 needs a name as text; got False"),
        ("joints: {a: , b: a}\nmiror: []", "unknown key 'miror'; did you mean 'mirror'"),
        ("joints: {a: , b: a}\nmirror: [[a, c]]", "mirror: unknown joint 'c'"),
        ("joints: {a: , b: a}\nmirror: 3", "'mirror' must be a list; got 3"),
        ("joints: {a: , b: a}\nparts: [a]", "'parts' must hold 'name: value' lines"),
        ("joints: {a: , b: a}\nparts: {p: a}", "'p' must be a list; got 'a'"),
        ("joints: {a: , b: a}\nparts: {p: [a], q: [a]}", "joint 'a' is in part 'p' and in part 'q'"),
        ("joints: {a: , b: a}\nbones: {b: x}", "bones, parent of 'b': unknown joint 'x'"),
        ("joints: {a: , b: a}\nbones: [b]", "'bones' must hold 'name: value' lines"),
        ("joints: {a: , b: a}\nbody_centre: [a]", r"body_centre: unknown joint \"\['a'\]\""),
        ("joints: {a: , b: a}\nbody_centre: 7", "there is no joint 7; joints are numbered 0 to 1"),
    ],
)
def test_a_bad_file_says_where_and_why(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        get_skeleton(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no skeleton file .*nowhere\.yaml"):
        get_skeleton(tmp_path / "nowhere.yaml")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "left_knee", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "joints", "edges", "centre", "mirror", "parts", "bones", "x"]), PLAIN))
def test_any_description_gives_a_skeleton_or_a_reason(description):
    try:
        skeleton = Skeleton.from_dict(description)
    except ValueError as error:
        assert str(error)
    else:
        assert Skeleton.from_dict(skeleton.to_dict()) == skeleton
