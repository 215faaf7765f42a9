"""Which published network a state dict is of, told from names and shapes, and that network with its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from graphs.layouts import get_skeleton, list_skeletons
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.models.base import SkeletonClassifier
from protogcn.models.checkpoints import load_official, unwrap_state_dict
from protogcn.models.family_table import FAMILIES, FIRST_GRAPH, PROTOTYPES, Family, Shapes
from protogcn.models.named_families import PREFIXES, check_named, named_family_of, named_options
from protogcn.models.registry import create_model
from protogcn.models.volume_families import (
    CLASSIFIER,
    ENTRIES,
    check_maps,
    map_layouts,
    volume_family_of,
    volume_options,
)

_KNOWN = (*FAMILIES, *ENTRIES, *PREFIXES)


@dataclass(frozen=True)
class Detected:
    """A published network, as its weights tell.

    Attributes:
        model: an entry of :func:`protogcn.models.list_models`.
        num_classes: size of the classifier; 0 for networks whose classes are texts, whose weights do not tell.
        num_joints: V; None for networks of heat maps, whose weights do not depend on it.
        in_channels: C of the clips, or the number of heat maps.
        num_persons: most persons of a clip; None where the weights do not depend on it.
        layouts: layouts of the catalogue that it can be of, a single one where there is no doubt.
        options: options of the model.
        notes: what the weights do not tell and was taken for granted, one sentence each.
    """

    model: str
    num_classes: int
    num_joints: int | None
    in_channels: int
    num_persons: int | None
    layouts: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line: model, size, input."""
        options = ", ".join(f"{key} {_listed(value)}" for key, value in self.options.items())
        persons = f", {self.num_persons} persons" if self.num_persons else ""
        clips = f"{self.num_joints} joints, {self.in_channels} channels{persons}"
        taken = clips if self.num_joints else f"{self.in_channels} heat maps"
        classes = f"{self.num_classes} classes" if self.num_classes else "classes by their names"
        return f"{self.model}: {classes}, {taken}; {options}"


def detect(state_dict: Mapping[str, Tensor], model: str | None = None) -> Detected:
    """Tell which published network a state dict is of, and how it was built.

    Args:
        state_dict: official names to tensors, as :func:`protogcn.models.checkpoints.read_state_dict` gives them.
        model: the entry of the catalogue that it is of, where that is known already.

    Raises:
        ValueError: it is of no network of the catalogue, or its shapes contradict each other.
    """
    state = unwrap_state_dict(state_dict)
    name = _family_of(state) if model is None else model
    if name not in _KNOWN:
        raise ValueError(unknown("family of official checkpoints", name, _KNOWN, show_all=True))
    if name in PREFIXES:
        maps, told, untold = named_options(name, state)
        return Detected(name, 0, None, maps, None, map_layouts(maps), told, untold)
    shapes = Shapes(name, state)
    if name in ENTRIES:
        maps, (told, untold) = shapes(ENTRIES[name], 5)[1], volume_options(name, shapes)
        return Detected(name, shapes(CLASSIFIER, 2)[0], None, maps, None, map_layouts(maps), told, untold)
    family = FAMILIES[name]
    kept = family.fixed[0] if family.fixed and family.topology not in state else family.topology
    topologies, joints, _ = shapes(kept, 3)
    entry = shapes(family.entry)
    in_channels = entry[1] // topologies if name == "msg3d" else entry[1]
    options, notes = _layers(family, shapes)
    match name:
        case "protogcn" | "dgstgcn":
            options["num_topologies"] = topologies
            if name == "protogcn":
                options["num_prototypes"] = shapes(PROTOTYPES, 2)[0]
        case "infogcn":
            options["num_heads"] = topologies
        case "msg3d":
            options |= _scales(shapes, topologies)
        case "stgcn" | "stgcnpp":
            options["adaptive"] = "importance" if f"{FIRST_GRAPH}PA" in state else "init"
            options["graph_residual"] = f"{FIRST_GRAPH}down.0.weight" in state
            if options["adaptive"] == "importance":
                notes.append("the learned matrix PA multiplies the topology; --option adaptive=offset adds it instead")
    width = options["base_channels"] if name == "infogcn" else in_channels
    persons, rest = divmod(shapes(family.norm, 1)[0], joints * width)
    if rest or not persons or (persons > 1 and not family.by_person):
        raise ValueError(
            f"this looks like {name}, but its input norm has {shapes(family.norm, 1)[0]} channels for {joints} joints "
            f"of {width}"
        )
    classes = shapes(family.classifier, 2)[0]
    layouts = _layouts(family, state, joints)
    counted = persons if family.by_person else None
    return Detected(name, classes, joints, in_channels, counted, layouts, options, tuple(notes))


def build_official(
    state_dict: Mapping[str, Tensor],
    *,
    model: str | None = None,
    skeleton: str | Path | Skeleton | None = None,
    **options: Any,
) -> tuple[SkeletonClassifier, Detected]:
    """Build the network that a state dict is of, with its weights, strictly.

    Args:
        state_dict: official names to tensors.
        model: the entry of the catalogue that it is of, where that is known already.
        skeleton: layout of its clips, where that cannot be told from the weights.
        **options: options of the model, over those that were told from the weights. InfoGCN needs ``k``, of which its
            weights say nothing, networks whose classes are texts ``class_names`` and ``text_encoder``.

    Returns:
        The model in evaluation mode, and what was told from the weights.

    Raises:
        ValueError: the network is unknown or does not fit, or something must be said that the weights do not tell.
    """
    found = detect(state_dict, model)
    if found.model in PREFIXES:
        check_named(found.model, options)
    layout = _choose(found, skeleton, state_dict)
    if found.model == "infogcn":
        if "k" not in options:
            raise ValueError(
                "the weights of InfoGCN do not tell which mode k of the input they were trained on: give --k 1 for "
                f"bones, 2 for vectors from the grandparent, ..., or {found.num_joints} for joints as they are"
            )
        released = layout.name in ("ucla20", "ntu25", "ntu25_pyskl", "ntu25_infogcn")
        options = {"compat": "infogcn" if released else None, **options}
    persons: dict[str, Any] = {} if found.num_persons is None else {"num_persons": found.num_persons}
    network = create_model(
        found.model,
        skeleton=layout,
        num_classes=found.num_classes or len(options["class_names"]),
        in_channels=found.in_channels,
        **persons,
        **found.options | options,
    )
    load_official(network, state_dict)
    return network.eval(), found


def _family_of(state: Mapping[str, Tensor]) -> str:
    for name, family in FAMILIES.items():
        if all(mark in state for mark in family.marks) and family.lacks not in state:
            return name
    if on_maps := volume_family_of(state):
        return on_maps
    if named := named_family_of(state):
        return named
    some = ", ".join(list(state)[:3])
    if any(name.startswith("model.") for name in state):
        raise ValueError(
            "this looks like a checkpoint of a training with this library, which needs no conversion: its run folder "
            "holds model.safetensors, or gets it by `protogcn test <run folder>`"
        )
    raise ValueError(
        f"these are the weights of no published network that is known here ({', '.join(_KNOWN)}): its "
        f"entries are called {some}, ..."
    )


def _layers(family: Family, shapes: Shapes) -> tuple[dict[str, Any], list[str]]:
    """Width, depth and where it changes, from the blocks one after another."""
    count = 0
    while family.block.format(family.first + count) in shapes.state:
        count += 1
    names = [family.block.format(family.first + index) for index in range(count)]
    if not names:
        raise ValueError(f"this looks like {shapes.name}, but has no {family.block.format(family.first)}")
    widths = [shapes(name, 1)[0] for name in names]
    wider, slower = [], []
    for index in range(1, count):
        if widths[index] == 2 * widths[index - 1]:
            wider.append(index + 1)
        elif widths[index] != widths[index - 1]:
            raise ValueError(
                f"this looks like {shapes.name}, but block {index + 1} goes from {widths[index - 1]} to "
                f"{widths[index]} channels; a block keeps them or doubles them"
            )
        if family.residual.format(family.first + index) in shapes.state:
            slower.append(index + 1)
    notes = []
    if wider:
        notes.append(f"blocks that double the channels ({_listed(wider)}) halve the frame rate")
    options = {"base_channels": widths[0], "num_blocks": count, "widen_at": wider, "downsample_at": slower}
    return options, notes


def _scales(shapes: Shapes, num_scales: int) -> dict[str, Any]:
    """The scales and windows of MS-G3D."""
    branch = "backbone.gcn3d1.gcn3d.{}"
    windows: list[int] = []
    while (entry := f"{branch.format(len(windows))}.out_conv.weight") in shapes.state:
        windows.append(shapes(entry, 5)[3])
    graph = shapes(f"{branch.format(0)}.gcn3d.1.PA", 3)
    return {"num_scales": num_scales, "num_window_scales": graph[0], "windows": windows}


def _layouts(family: Family, state: Mapping[str, Tensor], joints: int) -> tuple[str, ...]:
    """The layouts whose topology the weights hold, else those that came with the implementation."""
    usual = family.layouts.get(joints, ())
    same = [name for name in list_skeletons() if get_skeleton(name).num_joints == joints]
    matching = tuple(name for name in same if _has_topology(family, state, get_skeleton(name)))
    if set(usual) & set(matching):
        return tuple(name for name in usual if name in matching)
    return matching or usual or tuple(same)


def _has_topology(family: Family, state: Mapping[str, Tensor], skeleton: Skeleton) -> bool:
    if family.fixed is None or family.fixed[0] not in state:
        return False
    held = state[family.fixed[0]].double().numpy()
    expected = skeleton.adjacency(family.fixed[1])
    return held.size == expected.size and np.allclose(held.reshape(expected.shape), expected, rtol=0, atol=1e-4)


def _choose(found: Detected, skeleton: str | Path | Skeleton | None, state_dict: Mapping[str, Tensor]) -> Skeleton:
    parts = f"{found.num_joints} joints" if found.num_joints else f"{found.in_channels} heat maps"
    if skeleton is None:
        if len(found.layouts) == 1:
            return get_skeleton(found.layouts[0])
        several = f"can be those of {', '.join(found.layouts)}" if found.layouts else "are of no layout that is known"
        raise ValueError(
            f"the {parts} of this {found.model} {several}: say which by --skeleton <name>, or "
            "--skeleton <file.yaml> for a layout of your own"
        )
    layout = get_skeleton(skeleton)
    if found.num_joints is None:
        check_maps(found.in_channels, layout)
        return layout
    if layout.num_joints != found.num_joints:
        raise ValueError(f"{layout.name} has {layout.num_joints} joints, these weights are for {found.num_joints}")
    family, state = FAMILIES[found.model], unwrap_state_dict(state_dict)
    others = [name for name in found.layouts if _has_topology(family, state, get_skeleton(name))]
    if others and not _has_topology(family, state, layout):
        raise ValueError(
            f"the topology that these weights hold is that of {' or '.join(others)}, not of {layout.name}: leave out "
            "--skeleton, or name one of the same graph"
        )
    return layout


def _listed(value: Any) -> str:
    return " and ".join(str(each) for each in value) or "none" if isinstance(value, list | tuple) else str(value)
