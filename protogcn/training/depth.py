"""How deep each part of a network lies: the stem, its stages one after another, the head."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from torch import nn

Part = nn.Module | nn.Parameter

# What a network puts behind its stages, wherever it is registered.
_HEAD = ("classifier", "dropout")
_ROWS = ("blocks", "stages", "layers", "resblocks")


def layers_of(model: nn.Module) -> list[list[Part]]:
    """The stem of a network, then its stages in the order they are passed; what is in none of them is the head.

    A network or its backbone may say so itself by a method ``parts()`` that gives such a list. Otherwise the stages are
    the numbered parts nearest to the top (the items of a ``ModuleList``, of a ``Sequential`` called ``blocks``,
    ``stages`` or ``layers``, or ``layer1``, ``layer2``, ...), the stem is what was registered before them, and the
    classifier is always head.

    Raises:
        ValueError: there are no numbered parts.
    """
    # Level by level, with what is passed on the way to each module.
    level: list[tuple[nn.Module, list[Part]]] = [(model, [])]
    while level:
        below: list[tuple[nn.Module, list[Part]]] = []
        for module, passed in level:
            if callable(offered := getattr(module, "parts", None)) and not isinstance(offered, nn.Module):
                first, *stages = offered()
                return [[*passed, *first], *(list(stage) for stage in stages)]
            # Position codes and class tokens enter with the input; a single number is a temperature or a gate.
            stem = [*passed, *(each for each in module.parameters(recurse=False) if each.numel() > 1)]
            if row := _row(module):
                names, numbered = row
                return [[*stem, *_before(module, names)], *_each(numbered)]
            children = [(name, child) for name, child in module.named_children() if name not in _HEAD]
            below += [(child, [*stem, *_before(module, [name])]) for name, child in children]
        level = below
    raise ValueError(
        f"{type(model).__name__} has no numbered blocks, so that its depth cannot be told: give it a method parts() "
        "that lists its stem and its stages"
    )


def parameter_depths(model: nn.Module) -> dict[str, int]:
    """Depth of each parameter by its full name: 0 in the stem, 1 in the first stage, ..., one more in the head.

    Raises:
        ValueError: see `layers_of`.
    """
    layers = layers_of(model)
    depths = {id(each): depth for depth, layer in enumerate(layers) for each in parameters_in(layer)}
    return {name: depths.get(id(each), len(layers)) for name, each in model.named_parameters()}


def parameters_in(layer: Sequence[Part]) -> Iterator[nn.Parameter]:
    """The parameters of a stem or stage."""
    for part in layer:
        if isinstance(part, nn.Module):
            yield from part.parameters()
        else:
            yield part


def _each(modules: Sequence[nn.Module]) -> list[list[Part]]:
    return [[module] for module in modules]


def _before(module: nn.Module, names: Sequence[str]) -> list[Part]:
    """The children that were registered before the first one named."""
    earlier: list[Part] = []
    for name, child in module.named_children():
        if name in names:
            break
        if name not in _HEAD:
            earlier.append(child)
    return earlier


def _row(module: nn.Module) -> tuple[list[str], list[nn.Module]] | None:
    """Names of the children that hold the stages, and the stages; of several rows the one with the most weights."""
    rows: list[tuple[list[str], list[nn.Module]]] = []
    numbered: dict[str, list[tuple[int, str, nn.Module]]] = defaultdict(list)
    for name, child in module.named_children():
        if name in _HEAD:
            continue
        if isinstance(child, nn.ModuleList) or (isinstance(child, nn.Sequential) and name in _ROWS):
            rows.append(([name], list(child.children())))
        elif match := re.fullmatch(r"(.*\D)(\d+)", name):
            numbered[match[1]].append((int(match[2]), name, child))
    for siblings in numbered.values():
        siblings.sort(key=lambda sibling: sibling[0])
        rows.append(([name for _, name, _ in siblings], [child for _, _, child in siblings]))
    sizes = [sum(each.numel() for stage in stages for each in stage.parameters()) for _, stages in rows]
    usable = [(size, row) for size, row in zip(sizes, rows, strict=True) if size and len(row[1]) > 1]
    return max(usable, key=lambda each: each[0])[1] if usable else None
