"""Official networks whose classes are texts: what their weights tell, all but the names of the classes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from protogcn.models.family_table import Shapes
from protogcn.models.volume_families import volume_options

# Network -> where it keeps the video encoder.
PREFIXES = {"skeletonclip": "backbone.video_encoder.", "skeletonclip_pp": "video_encoder.resnet."}
_MARKS = {"skeletonclip": "cls_head.logit_scale", "skeletonclip_pp": "temp"}
_STEM = "conv1.conv.weight"
_ENCODERS = {"skeletonclip": "random", "skeletonclip_pp": "random-bert"}


def named_family_of(state: Mapping[str, Tensor]) -> str | None:
    """The network whose classes are texts that a state dict is of."""
    for name, prefix in PREFIXES.items():
        if prefix + _STEM in state and _MARKS[name] in state:
            return name
    return None


def named_options(name: str, state: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """Heat maps of a frame, options of a network whose classes are texts, and what its weights do not tell.

    Raises:
        ValueError: an entry is missing, or shapes contradict each other.
    """
    prefix = PREFIXES[name]
    video = {f"backbone.{key.removeprefix(prefix)}": value for key, value in state.items() if key.startswith(prefix)}
    shapes = Shapes(name, video)
    maps = shapes(f"backbone.{_STEM}", 5)[1]
    told, notes = volume_options("posec3d_slowonly", shapes)
    del told["stem_kernel"]
    if name == "skeletonclip":
        return maps, told, notes
    whole = Shapes(name, state)
    told["embed_dim"] = whole("text_proj.weight", 2)[0]
    if "video_embed_linear.0.weight" in state:
        mark = "it learned by all classes; --option variant=pacl_batch says that it did by those of a batch"
        return maps, told | {"variant": "pacl"}, (*notes, mark)
    told["variant"] = "itm" if "itm_head.weight" in state else "raw"
    told["video_width"] = whole("video_encoder.linear.weight", 2)[0]
    return maps, told, notes


def check_named(name: str, options: Mapping[str, Any]) -> None:
    """Refuse to build a network whose classes are texts without these, or without what splits them into tokens.

    Raises:
        ValueError: saying what to give.
    """
    if not options.get("class_names"):
        raise ValueError(
            f"these are the weights of {name}, which do not know what its classes are called: give --classes-file "
            "<names.txt>, one name on each line in the order of the labels (class_names=[...] of build_official)"
        )
    if not options.get("text_encoder"):
        raise ValueError(
            f"{name} needs the text encoder whose tokens it was trained with; its weights are those of the checkpoint: "
            f"--option text_encoder={_ENCODERS[name]}, or the folder where it started from"
        )
