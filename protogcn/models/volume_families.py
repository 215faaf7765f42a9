"""Which published network over heat maps a state dict is of: the three backbones of PoseC3D, told from their shapes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from protogcn.models.family_table import Shapes
from protogcn.models.layers.x3d import round_width

CLASSIFIER = "cls_head.fc_cls.weight"
# Network -> its first convolution, which sees the maps.
ENTRIES = {
    "posec3d_slowonly": "backbone.conv1.conv.weight",
    "posec3d_c3d_light": "backbone.conv1a.conv.weight",
    "posec3d_x3d_shallow": "backbone.conv1_s.conv.weight",
}
_USUAL = "coco17"
_INNER = "backbone.layer{}.{}.conv1.conv.weight"
_GATE = "backbone.layer{}.{}.se_module.fc1.weight"
_RGB = 3


def volume_family_of(state: Mapping[str, Tensor]) -> str | None:
    """The network over heat maps whose first convolution the state has, unless that sees the colours of a video."""
    for name, entry in ENTRIES.items():
        if entry in state and state[entry].ndim == 5 and state[entry].shape[1] != _RGB:
            return name
    return None


def volume_options(name: str, shapes: Shapes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Options of a network over heat maps, and what its weights do not tell.

    Raises:
        ValueError: an entry is missing, or shapes contradict each other.
    """
    match name:
        case "posec3d_slowonly":
            return _slowonly(shapes)
        case "posec3d_c3d_light":
            deep = "backbone.conv5a.conv.weight" in shapes.state
            width = shapes(ENTRIES[name], 5)[0]
            _expect(shapes, "backbone.conv4b.conv.weight", (8 * width, 8 * width))
            note = "the frame rate is kept; --option temporal_downsample=true lets all pools but the first halve it"
            return {"base_channels": width, "num_stages": 4 if deep else 3}, (note,)
        case _:
            return _x3d(shapes)


def map_layouts(maps: int) -> tuple[str, ...]:
    """Layouts of which a number of heat maps can be drawn; COCO's alone where it is among them."""
    found = tuple(name for name in list_skeletons() if maps in _counts(get_skeleton(name)))
    return (_USUAL,) if _USUAL in found else found


def check_maps(maps: int, skeleton: Skeleton) -> None:
    """Refuse a layout of which that number of heat maps cannot be drawn.

    Raises:
        ValueError: saying how many can.
    """
    joints, limbs, both = _counts(skeleton)
    if maps not in (joints, limbs, both):
        raise ValueError(
            f"{skeleton.name} gives {joints} maps of joints, {limbs} of limbs, or {both} of both; these weights are "
            f"for {maps}"
        )


def _counts(skeleton: Skeleton) -> tuple[int, int, int]:
    joints, limbs = skeleton.num_joints, len(skeleton.limbs)
    return joints, limbs, joints + limbs


def _blocks(shapes: Shapes) -> list[list[tuple[int, ...]]]:
    """Shape of the first convolution of every block of every stage."""
    stages: list[list[tuple[int, ...]]] = []
    while _INNER.format(len(stages) + 1, 0) in shapes.state or not stages:
        stage, row = len(stages) + 1, [shapes(_INNER.format(len(stages) + 1, 0), 5)]
        while (entry := _INNER.format(stage, len(row))) in shapes.state:
            row.append(shapes(entry, 5))
        stages.append(row)
    return stages


def _expect(shapes: Shapes, entry: str, channels: tuple[int, int]) -> None:
    """Refuse widths that contradict each other, before a network of such widths fills the memory."""
    if (got := shapes(entry, 5)[:2]) != channels:
        raise ValueError(
            f"this looks like {shapes.name}, but its {entry} is of {got[1]} to {got[0]} channels where the others make "
            f"it {channels[1]} to {channels[0]}"
        )


def _slowonly(shapes: Shapes) -> tuple[dict[str, Any], tuple[str, ...]]:
    width, _, *kernel = shapes(ENTRIES["posec3d_slowonly"], 5)
    stages = _blocks(shapes)
    inflate: list[int | list[int]] = []
    for stage, row in enumerate(stages, start=1):
        planes = width * 2 ** (stage - 1)
        _expect(shapes, f"backbone.layer{stage}.0.conv2.conv.weight", (planes, planes))
        flags = [int(shape[2] > 1) for shape in row]
        inflate.append(flags if len(set(flags)) > 1 else flags[0])
    spatial, temporal = [2] * len(stages), [1] * (len(stages) - 1) + [2]
    options = {
        "base_channels": width,
        "stage_blocks": [len(row) for row in stages],
        "stem_kernel": kernel,
        "inflate": inflate,
        "spatial_strides": spatial,
        "temporal_strides": temporal,
    }
    strides = (
        f"the strides of the published networks, spatial {spatial} and temporal {temporal}; --option "
        "temporal_strides=[...] and its like say others"
    )
    return options, (strides,)


def _x3d(shapes: Shapes) -> tuple[dict[str, Any], tuple[str, ...]]:
    base = shapes(ENTRIES["posec3d_x3d_shallow"], 5)[0]
    stages = _blocks(shapes)
    inner = [row[0][0] for row in stages]
    widths = [base * 2**index for index in range(len(stages))]
    for stage, channels in enumerate(zip(widths, inner, strict=True), start=1):
        _expect(shapes, f"backbone.layer{stage}.0.conv3.conv.weight", channels)
    last = inner[-1] / widths[-1]
    # The published ratio where it gives these widths, which are rounded down.
    ratios = (2.25, last, (inner[-1] + 0.5) / widths[-1])
    ratio = next((each for each in ratios if [int(width * each) for width in widths] == inner), None)
    if ratio is None:
        raise ValueError(
            f"this looks like posec3d_x3d_shallow, but its stages are {widths} channels wide and {inner} inside, which "
            "is no single ratio"
        )
    gates = {
        planes: shapes(entry, 5)[0]
        for stage, planes in enumerate(inner, start=1)
        if (entry := _GATE.format(stage, 0)) in shapes.state
    }
    # The published ratio, else any that gives these widths, which are rounded.
    tried = (1 / 16, *(step / 1000 for step in range(1, 1001)))
    gate_ratio = next(
        (each for each in tried if all(round_width(planes * each) == gate for planes, gate in gates.items())), None
    )
    if gates and gate_ratio is None:
        raise ValueError(
            f"this looks like posec3d_x3d_shallow, but its channel gates are {list(gates.values())} wide for "
            f"{list(gates)} channels, which is no single ratio"
        )
    options = {
        "base_channels": base,
        "stage_blocks": [len(row) for row in stages],
        "spatial_strides": [2] * len(stages),
        "gamma_b": ratio,
        "se_ratio": gate_ratio if gates else None,
        "use_swish": bool(gates),
    }
    notes = (
        f"the strides of the published networks, spatial {options['spatial_strides']}; --option spatial_strides=[...] "
        "says others",
        f"a swish {'follows' if gates else 'does not follow'} the depth-wise convolutions; --option "
        f"use_swish={'false' if gates else 'true'} otherwise",
    )
    return options, notes
