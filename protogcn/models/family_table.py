"""Where each published implementation keeps what tells its networks apart."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# Layouts by number of joints, of the graphs that each implementation came with.
_PYSKL = {25: ("ntu25_pyskl",), 17: ("coco17",), 18: ("openpose18_pyskl",), 21: ("hand21",)}
_PROTOGCN = _PYSKL | {20: ("coco20", "openpose20", "ucla20")}
_CTRGCN = {25: ("ntu25",), 20: ("ucla20",)}
_INFOGCN = {25: ("ntu25_infogcn",), 20: ("ucla20",)}


@dataclass(frozen=True)
class Family:
    """Where an implementation keeps what tells its networks apart.

    Attributes:
        marks: entries that the networks of this family have.
        lacks: an entry that they lack, and a related family has.
        topology: a learned topology (K, V, V); where it is absent, ``fixed`` has its shape.
        entry: a convolution or linear map over the channels of the clip.
        block: a batch norm over the output channels of a block, by the number of the block.
        residual: a convolution that a block has where it changes channels or frame rate.
        first: number of the first block.
        norm: batch norm of the input.
        by_person: whether that has channels of its own for each person.
        classifier: the last linear map.
        layouts: number of joints -> layouts.
        fixed: the entry that holds the topology of the skeleton as it is, and the strategy that it follows.
    """

    marks: tuple[str, ...]
    topology: str
    entry: str
    layouts: Mapping[int, tuple[str, ...]]
    block: str = "backbone.gcn.{}.gcn.bn.weight"
    residual: str = "backbone.gcn.{}.residual.conv.weight"
    first: int = 0
    lacks: str = ""
    norm: str = "backbone.data_bn.weight"
    by_person: bool = False
    classifier: str = "cls_head.fc_cls.weight"
    fixed: tuple[str, str] | None = None


class Shapes:
    """Looks up shapes and says what is missing.

    Args:
        name: the network that the state dict is taken for.
        state: official names to tensors.
    """

    def __init__(self, name: str, state: Mapping[str, Tensor]) -> None:
        self.name, self.state = name, state

    def __call__(self, entry: str, axes: int | None = None) -> tuple[int, ...]:
        """The shape of an entry.

        Raises:
            ValueError: it is missing, empty, or has another number of axes (by default fewer than two).
        """
        if entry not in self.state:
            raise ValueError(f"this looks like {self.name}, but has no {entry}")
        shape = tuple(self.state[entry].shape)
        if 0 in shape or (len(shape) != axes if axes else len(shape) < 2):
            raise ValueError(f"this looks like {self.name}, but its {entry} has shape {shape}")
        return shape


FIRST_GRAPH = "backbone.gcn.0.gcn."
PROTOTYPES = "backbone.prn.query_matrix.weight"
_G = FIRST_GRAPH
_BRANCHES = "backbone.gcn.0.tcn.branches.0.0.weight"
FAMILIES: dict[str, Family] = {
    "protogcn": Family((_G + "beta", PROTOTYPES), _G + "A", _G + "pre.0.weight", _PROTOGCN),
    "dgstgcn": Family((_G + "beta",), _G + "A", _G + "pre.0.weight", _PYSKL, lacks=PROTOTYPES),
    "stgcn": Family(
        (_G + "conv.weight",),
        _G + "PA",
        _G + "conv.weight",
        _PYSKL,
        lacks=_BRANCHES,
        fixed=(_G + "A", "stgcn_spatial"),
    ),
    "stgcnpp": Family(
        (_G + "conv.weight", _BRANCHES),
        _G + "PA",
        _G + "conv.weight",
        _PYSKL,
        fixed=(_G + "A", "spatial"),
    ),
    "aagcn": Family(
        (_G + "conv_d.0.weight",),
        _G + "A",
        _G + "conv_d.0.weight",
        _PYSKL,
        by_person=True,
        fixed=("backbone.A", "spatial"),
    ),
    "ctrgcn_pyskl": Family(
        ("backbone.net.0.gcn1.convs.0.conv3.weight",),
        "backbone.net.0.gcn1.A",
        "backbone.net.0.gcn1.convs.0.conv3.weight",
        _PYSKL,
        "backbone.net.{}.gcn1.bn.weight",
        "backbone.net.{}.residual.conv.weight",
        by_person=True,
        fixed=("backbone.A", "spatial"),
    ),
    "ctrgcn": Family(
        ("l1.gcn1.convs.0.conv3.weight",),
        "l1.gcn1.PA",
        "l1.gcn1.convs.0.conv3.weight",
        _CTRGCN,
        "l{}.gcn1.bn.weight",
        "l{}.residual.conv.weight",
        first=1,
        norm="data_bn.weight",
        by_person=True,
        classifier="fc.weight",
    ),
    "infogcn": Family(
        ("l1.agcn.shared_topology",),
        "l1.agcn.shared_topology",
        "to_joint_embedding.weight",
        _INFOGCN,
        "l{}.agcn.bn.weight",
        "l{}.residual.conv.weight",
        first=1,
        norm="data_bn.weight",
        by_person=True,
        classifier="decoder.weight",
    ),
    "msg3d": Family(
        ("backbone.sgcn1.0.PA",),
        "backbone.sgcn1.0.PA",
        "backbone.sgcn1.0.mlp.layers.0.weight",
        _PYSKL,
        "backbone.gcn3d{}.gcn3d.0.out_bn.weight",
        "backbone.sgcn{}.1.residual.conv.weight",
        first=1,
        by_person=True,
        fixed=("backbone.A", "binary_adj"),
    ),
}
