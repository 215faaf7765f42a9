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
===============  ==================================================================  ============================

Instead of parents, ``joints`` may be a plain list of names with ``edges`` (pairs in any order and direction) and
``centre`` beside it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from graphs.messages import unknown
from graphs.skeleton import Skeleton

_ARM_25 = "{0}_shoulder:spine_shoulder {0}_elbow:{0}_shoulder {0}_wrist:{0}_elbow {0}_hand:{0}_wrist"
_LEG_25 = "{0}_hip:spine_base {0}_knee:{0}_hip {0}_ankle:{0}_knee {0}_foot:{0}_ankle"


def _both(chains: str) -> str:
    return " ".join(chains.format(side) for side in ("left", "right"))


def _each(pairs: str) -> str:
    """Left and right alternating, joint by joint."""
    return " ".join(pair.format(side) for pair in pairs.split() for side in ("left", "right"))


_NTU = (
    "spine_base:spine_mid spine_mid:spine_shoulder neck:spine_shoulder head:neck "
    f"{_both(_ARM_25)} {_both(_LEG_25)} spine_shoulder:"
)
_KINECT_ARM = _ARM_25.replace("spine_shoulder", "shoulder_centre")
_KINECT_LEG = _LEG_25.replace("spine_base", "hip_centre")
_FACE = _each("{0}_eye:nose {0}_ear:{0}_eye")
_COCO_ARMS = _each("{0}_elbow:{0}_shoulder {0}_wrist:{0}_elbow")
_COCO_LEGS = _each("{0}_knee:{0}_hip {0}_ankle:{0}_knee")
_OPENPOSE = (
    "nose:neck neck: "
    + " ".join(f"{s}_shoulder:neck {s}_elbow:{s}_shoulder {s}_wrist:{s}_elbow" for s in ("right", "left"))
    + " "
    + " ".join(f"{s}_hip:{{hang}} {s}_knee:{s}_hip {s}_ankle:{s}_knee" for s in ("right", "left"))
    + " right_eye:nose left_eye:nose right_ear:right_eye left_ear:left_eye"
)
_OPENPOSE_18 = " ".join(pair.format(hang=f"{pair.split('_')[0]}_shoulder") for pair in _OPENPOSE.split())
_FINGERS = ("index", "middle", "ring", "little")
_HIPS_AND_SHOULDERS = [["left_shoulder", "right_shoulder"], ["left_hip", "right_hip"]]

# name -> (joints as "joint:parent", further keys of `Skeleton.from_dict`)
_CATALOGUE: dict[str, tuple[str, dict[str, Any]]] = {
    "ntu25": (
        _NTU + " " + _both("{0}_hand_tip:{0}_thumb {0}_thumb:{0}_hand"),
        {"body_centre": "spine_mid"},
    ),
    "ntu25_pyskl": (
        _NTU + " " + _both("{0}_hand_tip:{0}_hand {0}_thumb:{0}_hand"),
        {
            "body_centre": "spine_mid",
            "bones": {"left_hand_tip": "left_thumb", "right_hand_tip": "right_thumb"},
        },
    ),
    "ntu25_infogcn": (
        _NTU.replace("spine_mid:spine_shoulder", "spine_mid:").replace(" spine_shoulder:", " spine_shoulder:spine_mid")
        + " "
        + _both("{0}_hand_tip:{0}_thumb {0}_thumb:{0}_hand"),
        {"body_centre": "spine_mid"},
    ),
    "coco17": (
        f"nose: {_FACE} {_each('{0}_shoulder:nose')} {_COCO_ARMS} {_each('{0}_hip:{0}_shoulder')} {_COCO_LEGS}",
        {"bones": {"left_hip": "nose", "right_hip": "nose"}, "extra_edges": _HIPS_AND_SHOULDERS},
    ),
    "coco20": (
        f"nose:neck {_FACE} {_each('{0}_shoulder:neck')} {_COCO_ARMS} {_each('{0}_hip:mid_hip')} {_COCO_LEGS} "
        "mid_hip:mid_torso mid_torso:neck neck:",
        {},
    ),
    "openpose18": (_OPENPOSE_18, {}),
    "openpose18_pyskl": (_OPENPOSE_18, {"bones": {"nose": None, "neck": "nose"}}),
    "openpose20": (
        _OPENPOSE.format(hang="mid_hip") + " mid_hip:mid_torso mid_torso:neck",
        {"body_centre": "mid_torso"},
    ),
    "ucla20": (
        "hip_centre:spine spine:shoulder_centre shoulder_centre: head:shoulder_centre "
        + _both(_KINECT_ARM)
        + " "
        + _both(_KINECT_LEG),
        {"body_centre": "spine"},
    ),
    "utd20": (
        "head:shoulder_centre shoulder_centre: spine:shoulder_centre hip_centre:spine "
        + _both(_KINECT_ARM)
        + " "
        + _both(_KINECT_LEG),
        {"body_centre": "spine"},
    ),
    "msr20": (
        _each("{0}_shoulder:shoulder_centre")
        + " shoulder_centre: spine:shoulder_centre "
        + _each("{0}_hip:hip_centre")
        + " hip_centre:spine "
        + _each("{0}_elbow:{0}_shoulder {0}_wrist:{0}_elbow {0}_hand:{0}_wrist")
        + " "
        + _each("{0}_knee:{0}_hip {0}_ankle:{0}_knee {0}_foot:{0}_ankle")
        + " head:shoulder_centre",
        {"body_centre": "spine"},
    ),
    "kinect15": (
        "head:neck neck:torso torso: "
        + _both("{0}_shoulder:neck {0}_elbow:{0}_shoulder {0}_hand:{0}_elbow")
        + " "
        + _both("{0}_hip:torso {0}_knee:{0}_hip {0}_foot:{0}_knee"),
        {},
    ),
    "penn13": (
        f"head: {_each('{0}_shoulder:head')} {_COCO_ARMS} {_each('{0}_hip:{0}_shoulder')} {_COCO_LEGS}",
        {"extra_edges": _HIPS_AND_SHOULDERS},
    ),
    "mediapipe33": (
        "nose: "
        + _both("{0}_eye_inner:nose {0}_eye:{0}_eye_inner {0}_eye_outer:{0}_eye")
        + " "
        + _each("{0}_ear:{0}_eye_outer {0}_mouth:nose {0}_shoulder:nose")
        + f" {_COCO_ARMS} "
        + _each("{0}_pinky:{0}_wrist {0}_index:{0}_wrist {0}_thumb:{0}_wrist {0}_hip:{0}_shoulder")
        + f" {_COCO_LEGS} "
        + _each("{0}_heel:{0}_ankle {0}_foot_index:{0}_ankle"),
        {
            "extra_edges": [
                ["left_mouth", "right_mouth"],
                *_HIPS_AND_SHOULDERS,
                *([f"{side}_pinky", f"{side}_index"] for side in ("left", "right")),
                *([f"{side}_heel", f"{side}_foot_index"] for side in ("left", "right")),
            ]
        },
    ),
    "halpe26": (
        f"nose:head {_FACE} {_each('{0}_shoulder:neck')} {_COCO_ARMS} {_each('{0}_hip:mid_hip')} {_COCO_LEGS} "
        "head:neck neck: mid_hip:neck " + _each("{0}_big_toe:{0}_heel {0}_small_toe:{0}_heel {0}_heel:{0}_ankle"),
        {"body_centre": "mid_hip"},
    ),
    "h36m17": (
        "pelvis: "
        + " ".join(f"{side}_hip:pelvis {side}_knee:{side}_hip {side}_ankle:{side}_knee" for side in ("right", "left"))
        + " spine:pelvis thorax:spine neck_nose:thorax head:neck_nose "
        + _both("{0}_shoulder:thorax {0}_elbow:{0}_shoulder {0}_wrist:{0}_elbow"),
        {},
    ),
    "smpl24": (
        f"pelvis: {_each('{0}_hip:pelvis')} spine1:pelvis {_each('{0}_knee:{0}_hip')} spine2:spine1 "
        f"{_each('{0}_ankle:{0}_knee')} spine3:spine2 {_each('{0}_foot:{0}_ankle')} neck:spine3 "
        f"{_each('{0}_collar:spine3')} head:neck "
        + _each("{0}_shoulder:{0}_collar {0}_elbow:{0}_shoulder {0}_wrist:{0}_elbow {0}_hand:{0}_wrist"),
        {},
    ),
    "hand21": (
        "wrist: thumb_cmc:wrist thumb_mcp:thumb_cmc thumb_ip:thumb_mcp thumb_tip:thumb_ip "
        + " ".join(
            f"{name}_mcp:wrist {name}_pip:{name}_mcp {name}_dip:{name}_pip {name}_tip:{name}_dip" for name in _FINGERS
        ),
        {
            "parts": {
                "thumb": ["thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"],
                **{finger: [f"{finger}_{bone}" for bone in ("mcp", "pip", "dip", "tip")] for finger in _FINGERS},
            }
        },
    ),
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
    return sorted(fnmatch.filter(_CATALOGUE, pattern))


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
            f"a skeleton is given by name, YAML file or description; got {type(source).__name__} {source!r}"
        )
    name = source.strip().lower().replace("-", "_").replace(" ", "_")
    name = _ALIASES.get(name, name)
    if name not in _CATALOGUE:
        hint = "An own skeleton is given by the path of its .yaml file."
        raise ValueError(
            f"{unknown('skeleton', source, [*_CATALOGUE, *_ALIASES])} Catalogue: {', '.join(list_skeletons())}. {hint}"
        )
    return _from_catalogue(name)


@cache
def _from_catalogue(name: str) -> Skeleton:
    tree, details = _CATALOGUE[name]
    joints = {joint: above or None for joint, _, above in (pair.partition(":") for pair in tree.split())}
    return Skeleton.from_dict({"name": name, "joints": joints, **details})


def _from_file(path: Path) -> Skeleton:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only; a key that is given twice is an error instead of silently replacing the first."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
            for key in keys:
                if keys.count(key) > 1:
                    raise ValueError(f"{key!r} appears twice, again in line {node.start_mark.line + 1} or below")
            return super().construct_mapping(node, deep=deep)

    if not path.is_file():
        raise FileNotFoundError(f"there is no skeleton file {path}; `graphs.layouts` shows what one looks like")
    try:
        description = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
        if not isinstance(description, Mapping):
            raise ValueError(f"expected 'key: value' lines with at least 'joints:'; got {description!r}")
        return Skeleton.from_dict({"name": path.stem, **description})
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
