"""Plain readings of the papers: what the released code computes, in the order and with all the work of the release.

They are oracles for the networks and the pipeline of this library, and what its speed is compared with. State names are
those of the official checkpoints. The modules need neither pytest nor other tests, but that ``heatmap_plain`` reads the
oracle of the heat maps next door.
"""

from typing import Any

import torch
from torch import nn

from graphs import get_skeleton

from .ctrgcn_plain import PlainCTRGCN
from .infogcn_plain import PlainInfoGCN, mode_matrix
from .protogcn_plain import PlainProtoGCN
from .stgcnpp_plain import PlainSTGCNPP

FRAMES = {"protogcn": 100, "ctrgcn": 64, "infogcn": 64, "stgcnpp": 100}
"""Networks of this package by their names in the catalogue, and the frames of a clip in their published recipes."""


def plain_network(name: str, num_classes: int = 60, **options: Any) -> nn.Module:
    """The plain network of a name in the catalogue, for the 25 joints of NTU RGB+D.

    ``protogcn.models.checkpoints.load_official(ours, plain.state_dict())`` gives ours the same weights.
    """
    match name:
        case "protogcn":
            return PlainProtoGCN(num_classes, **options)
        case "ctrgcn":
            return PlainCTRGCN(num_classes, _partition("ntu25"), **options)
        case "infogcn":
            return PlainInfoGCN(num_classes, mode_matrix(get_skeleton("ntu25_infogcn").parents, 1), **options)
        case "stgcnpp":
            return PlainSTGCNPP(num_classes, _partition("ntu25_pyskl"), **options)
    raise ValueError(f"there is no plain reading of {name!r}, only of {', '.join(FRAMES)}")


def _partition(layout: str) -> torch.Tensor:
    return torch.as_tensor(get_skeleton(layout).adjacency("spatial"), dtype=torch.get_default_dtype())
