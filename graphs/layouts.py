"""The catalogue of skeletons, and own skeletons from YAML files.

An own skeleton is a short YAML file. Only ``joints`` is required: every joint in the order of the data arrays, followed
by the joint it hangs on; the one that hangs on nothing is the centre of the graph::

    name: stick_figure
    joints:
      hip:
      head: hip
      left_hand: head
      right_hand: head

Optional keys, all with joint names (or indices):

===============  ==================================================================  ============================
key              meaning                                                             when left out
===============  ==================================================================  ============================
``mirror``       ``[[left_hand, right_hand]]``: pairs that change places in a mirror ``left_x``, ``right_x`` names
``parts``        ``{left arm: [left_hand]}``: limbs, disjoint                        arms and legs told by names
``body_centre``  the joint that centring moves to the origin                         the centre
``bones``        ``{left_hand: hip}``: parents of the bone streams where they differ as in ``joints``
``extra_edges``  ``[[left_hand, right_hand]]``: drawn, but in no adjacency           none
``limbs``        ``[[head, left_hand]]``: lines of limb heat maps, from start to end edges, from child to parent
===============  ==================================================================  ============================

Instead of parents, ``joints`` may be a plain list of names with ``edges`` (pairs in any order and direction) and
``centre`` beside it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from graphs.messages import unknown
from graphs.skeleton import Skeleton

_ARMS_HANDS = "(@shoulder:{0} @elbow:@shoulder @wrist:@elbow @hand:@wrist)"
_LEGS_FEET = "(@hip:{0} @knee:@hip @ankle:@knee @foot:@ankle)"
_NTU_LIMBS = f"{_ARMS_HANDS.format('spine_shoulder')} {_LEGS_FEET.format('spine_base')}"
_KINECT_LIMBS = f"{_ARMS_HANDS.format('shoulder_centre')} {_LEGS_FEET.format('hip_centre')}"
_COCO_BODY = "[@shoulder:{0} @elbow:@shoulder @wrist:@elbow @hip:{1} @knee:@hip @ankle:@knee]"
_OPENPOSE_BODY = (
    "nose:neck neck: {{@shoulder:neck @elbow:@shoulder @wrist:@elbow}} {{@hip:{0} @knee:@hip @ankle:@knee}} "
    "{{@eye:nose}} {{@ear:@eye}}"
)
_FINGERS = ("index", "middle", "ring", "little")
_GIRDLES = [["left_shoulder", "right_shoulder"], ["left_hip", "right_hip"]]
# The lines that PoseC3D draws, in the order of the channels of its published weights.
_COCO_LIMBS = [
    *[[0, 1], [0, 2], [1, 3], [2, 4]],
    *[[0, 5], [5, 7], [7, 9], [0, 6], [6, 8], [8, 10]],
    *[[5, 11], [11, 13], [13, 15], [6, 12], [12, 14], [14, 16], [11, 12]],
]

# Joints as "joint:parent" in array order, the root as "joint:". With @ for the side, (...) stands for the joints of the
# left side and then those of the right, {...} for right and then left, [...] for left and right in turn.
_TREES = {
    "ntu25": "spine_base:spine_mid spine_mid:spine_shoulder neck:spine_shoulder head:neck "
    f"{_NTU_LIMBS} spine_shoulder: (@hand_tip:@thumb @thumb:@hand)",
    "ntu25_pyskl": "spine_base:spine_mid spine_mid:spine_shoulder neck:spine_shoulder head:neck "
    f"{_NTU_LIMBS} spine_shoulder: (@hand_tip:@hand @thumb:@hand)",
    "ntu25_infogcn": "spine_base:spine_mid spine_mid: neck:spine_shoulder head:neck "
    f"{_NTU_LIMBS} spine_shoulder:spine_mid (@hand_tip:@thumb @thumb:@hand)",
    "coco17": "nose: [@eye:nose @ear:@eye] " + _COCO_BODY.format("nose", "@shoulder"),
    "coco20": "nose:neck [@eye:nose @ear:@eye] "
    + _COCO_BODY.format("neck", "mid_hip")
    + " mid_hip:mid_torso mid_torso:neck neck:",
    "openpose18": _OPENPOSE_BODY.format("@shoulder"),
    "openpose18_pyskl": _OPENPOSE_BODY.format("@shoulder"),
    "openpose20": _OPENPOSE_BODY.format("mid_hip") + " mid_hip:mid_torso mid_torso:neck",
    "openpose25": "nose:neck neck: {@shoulder:neck @elbow:@shoulder @wrist:@elbow} mid_hip:neck "
    "{@hip:mid_hip @knee:@hip @ankle:@knee} {@eye:nose} {@ear:@eye} (@big_toe:@ankle @small_toe:@big_toe @heel:@ankle)",
    "ucla20": f"hip_centre:spine spine:shoulder_centre shoulder_centre: head:shoulder_centre {_KINECT_LIMBS}",
    "utd20": f"head:shoulder_centre shoulder_centre: spine:shoulder_centre hip_centre:spine {_KINECT_LIMBS}",
    "msr20": "[@shoulder:shoulder_centre] shoulder_centre: spine:shoulder_centre [@hip:hip_centre] hip_centre:spine "
    "[@elbow:@shoulder @wrist:@elbow @hand:@wrist @knee:@hip @ankle:@knee @foot:@ankle] head:shoulder_centre",
    "kinect15": "head:neck neck:torso torso: (@shoulder:neck @elbow:@shoulder @hand:@elbow) "
    "(@hip:torso @knee:@hip @foot:@knee)",
    "penn13": "head: " + _COCO_BODY.format("head", "@shoulder"),
    "mediapipe33": "nose: (@eye_inner:nose @eye:@eye_inner @eye_outer:@eye) [@ear:@eye_outer @mouth:nose] "
    "[@shoulder:nose @elbow:@shoulder @wrist:@elbow @pinky:@wrist @index:@wrist @thumb:@wrist] "
    "[@hip:@shoulder @knee:@hip @ankle:@knee @heel:@ankle @foot_index:@ankle]",
    "halpe26": "nose:head [@eye:nose @ear:@eye] "
    + _COCO_BODY.format("neck", "mid_hip")
    + " head:neck neck: mid_hip:neck [@big_toe:@heel @small_toe:@heel @heel:@ankle]",
    "h36m17": "pelvis: {@hip:pelvis @knee:@hip @ankle:@knee} spine:pelvis thorax:spine neck_nose:thorax head:neck_nose "
    "(@shoulder:thorax @elbow:@shoulder @wrist:@elbow)",
    "smpl24": "pelvis: [@hip:pelvis] spine1:pelvis [@knee:@hip] spine2:spine1 [@ankle:@knee] "
    "spine3:spine2 [@foot:@ankle] neck:spine3 [@collar:spine3] head:neck "
    "[@shoulder:@collar @elbow:@shoulder @wrist:@elbow @hand:@wrist]",
    "hand21": "wrist: thumb_cmc:wrist thumb_mcp:thumb_cmc thumb_ip:thumb_mcp thumb_tip:thumb_ip "
    + " ".join(
        f"{name}_mcp:wrist {name}_pip:{name}_mcp {name}_dip:{name}_pip {name}_tip:{name}_dip" for name in _FINGERS
    ),
}

# Further keys of `Skeleton.from_dict`. body_centre is what the published pre-processing of the layout subtracts.
_DETAILS: dict[str, dict[str, Any]] = {
    "ntu25": {"body_centre": "spine_mid"},
    "ntu25_pyskl": {
        "body_centre": "spine_mid",
        "bones": {"left_hand_tip": "left_thumb", "right_hand_tip": "right_thumb"},
    },
    "coco17": {
        "bones": {"left_hip": "nose", "right_hip": "nose"},
        "extra_edges": _GIRDLES,
        "limbs": _COCO_LIMBS,
    },
    "openpose18_pyskl": {"bones": {"nose": None, "neck": "nose"}},
    "openpose20": {"body_centre": "mid_torso"},
    "openpose25": {"body_centre": "mid_hip"},
    "ucla20": {"body_centre": "spine"},
    "utd20": {"body_centre": "spine"},
    "msr20": {"body_centre": "spine"},
    "penn13": {"extra_edges": _GIRDLES},
    "mediapipe33": {
        "extra_edges": [
            ["left_mouth", "right_mouth"],
            *_GIRDLES,
            *([f"{side}_pinky", f"{side}_index"] for side in ("left", "right")),
            *([f"{side}_heel", f"{side}_foot_index"] for side in ("left", "right")),
        ]
    },
    "halpe26": {"body_centre": "mid_hip"},
    "hand21": {
        "parts": {
            "thumb": ["thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"],
            **{finger: [f"{finger}_{bone}" for bone in ("mcp", "pip", "dip", "tip")] for finger in _FINGERS},
        }
    },
}

_ALIASES = {
    "ntu": "ntu25",
    "ntu_rgb_d": "ntu25",
    "kinect_v2": "ntu25",
    "kinect25": "ntu25",
    "nturgb+d": "ntu25_pyskl",
    "infogcn": "ntu25_infogcn",
    "coco": "coco17",
    "hrnet": "coco17",
    "movenet": "coco17",
    "coco_new": "coco20",
    "openpose": "openpose18",
    "openpose_new": "openpose20",
    "body_25": "openpose25",
    "nw_ucla": "ucla20",
    "kinect_v1": "ucla20",
    "kinect20": "ucla20",
    "utkinect": "ucla20",
    "utd_mhad": "utd20",
    "msr_action3d": "msr20",
    "sbu": "kinect15",
    "penn_action": "penn13",
    "mediapipe": "mediapipe33",
    "blazepose": "mediapipe33",
    "halpe": "halpe26",
    "h36m": "h36m17",
    "human3.6m": "h36m17",
    "smpl": "smpl24",
    "handmp": "hand21",
    "mediapipe_hand": "hand21",
}


def list_skeletons(pattern: str = "*") -> list[str]:
    """Names in the catalogue that match a shell pattern such as ``"ntu*"``, sorted."""
    return sorted(fnmatch.filter(_TREES, pattern))


def get_skeleton(source: str | Path | Mapping[str, Any] | Skeleton) -> Skeleton:
    """The skeleton of that name, alias, file or description; a `Skeleton` is returned as it is.

    Args:
        source: a name in the catalogue (`list_skeletons`), an alias such as ``"nturgb+d"`` or ``"coco"``, the path of a
            ``.yaml`` file (format above), or what `Skeleton.to_dict` gave.

    Raises:
        FileNotFoundError: no such YAML file.
        ValueError: no such name (near matches are listed), or a file that does not describe a skeleton (and why).
    """
    if isinstance(source, Skeleton):
        return source
    if isinstance(source, Mapping):
        return Skeleton.from_dict(source)
    if isinstance(source, Path) or (isinstance(source, str) and source.lower().endswith((".yaml", ".yml"))):
        return _from_file(Path(source))
    if not isinstance(source, str):
        raise ValueError(
            f"a skeleton is given by name, YAML file or description; got {type(source).__name__} {brief(source)}"
        )
    name = source.strip().lower().replace("-", "_").replace(" ", "_")
    name = _ALIASES.get(name, name)
    if name not in _TREES:
        hint = "An own skeleton is given by the path of its .yaml file."
        raise ValueError(
            f"{unknown('skeleton', source, [*_TREES, *_ALIASES])} Catalogue: {', '.join(list_skeletons())}. {hint}"
        )
    return _from_catalogue(name)


@cache
def _from_catalogue(name: str) -> Skeleton:
    pairs = (pair.partition(":") for pair in _expand(_TREES[name]).split())
    joints = {joint: above or None for joint, _, above in pairs}
    return Skeleton.from_dict({"name": name, "joints": joints, **_DETAILS.get(name, {})})


def _expand(tree: str) -> str:
    """Write out the groups of left and right joints."""

    def sides(group: re.Match[str]) -> str:
        kind, body = group[0][0], group[0][1:-1]
        order = ("right_", "left_") if kind == "{" else ("left_", "right_")
        blocks = body.split() if kind == "[" else [body]
        return " ".join(block.replace("@", side) for block in blocks for side in order)

    return re.sub(r"\(.*?\)|\{.*?\}|\[.*?\]", sides, tree)


def _from_file(path: Path) -> Skeleton:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only; a key that is given twice is an error instead of silently replacing the first."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
                if isinstance(key, Hashable) and key in seen:
                    raise ValueError(f"{key!r} appears twice, again in line {key_node.start_mark.line + 1}")
                if isinstance(key, Hashable):
                    seen.add(key)
            return super().construct_mapping(node, deep=deep)

    if not path.is_file():
        raise FileNotFoundError(f"there is no skeleton file {path}; `graphs.layouts` shows what one looks like")
    try:
        description = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
        if not isinstance(description, Mapping):
            raise ValueError(f"expected 'key: value' lines with at least 'joints:'; got {brief(description)}")
        return Skeleton.from_dict({"name": path.stem, **description})
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
