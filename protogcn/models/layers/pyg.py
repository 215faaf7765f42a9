"""Convolutions of PyTorch Geometric as spatial units, on sparse graphs."""

import ast
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.models.layers.static import SpatialUnit

# What convolutions raise when they need more than features and edges, or an extra package.
_UNFIT = (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, LookupError, ImportError)


class PyGConv(SpatialUnit):
    """A convolution of PyTorch Geometric over the bones of the skeleton, frame by frame.

    The frames of a batch are one graph of N * T components, so a joint hears from its neighbours in the same frame of
    the same person only. Edges run in both directions; self loops are up to the convolution.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        skeleton: gives the edges.
        convolution: ``"GATv2Conv"``, or with options ``"GATv2Conv(heads=4)"``. Heads are averaged, and what takes a
            network (``GINConv``) gets a perceptron with one hidden layer.
        residual: whether the unit has a residual path of its own.

    Raises:
        ValueError: no such convolution or option, or it needs more than features and edges.

    Shapes: (N, C_in, T, V) -> (N, C_out, T, V).
    """

    def __init__(
        self, in_channels: int, out_channels: int, skeleton: Skeleton, convolution: str, residual: bool
    ) -> None:
        super().__init__(in_channels, out_channels, residual)
        child, parent = torch.tensor(skeleton.edges, dtype=torch.long).reshape(-1, 2).unbind(1)
        self.edges: Tensor
        edges = torch.stack([torch.cat([child, parent]), torch.cat([parent, child])])
        self.register_buffer("edges", edges, persistent=False)
        self.conv = build_convolution(convolution, in_channels, out_channels)
        self._try(convolution, in_channels, out_channels, skeleton.num_joints)

    def _try(self, name: str, in_channels: int, out_channels: int, joints: int) -> None:
        self.conv.eval()
        try:
            with torch.no_grad():
                out = self.conv(torch.zeros(joints, in_channels), self.edges)
        except _UNFIT as error:
            raise ValueError(f"pyg:{name} does not work on features and edges alone: {error}") from error
        if not isinstance(out, Tensor) or out.shape != (joints, out_channels):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"pyg:{name} must give (joints, channels) = {(joints, out_channels)}, and gave {got}")
        self.conv.train()

    def aggregate(self, x: Tensor) -> Tensor:
        samples, channels, frames, joints = x.shape
        first = torch.arange(samples * frames, device=x.device) * joints
        edges = (self.edges.unsqueeze(1) + first[:, None]).flatten(1)
        out: Tensor = self.conv(x.permute(0, 2, 3, 1).reshape(-1, channels), edges)
        return out.view(samples, frames, joints, -1).permute(0, 3, 1, 2)

    def official_entries(self, own: str, official: str) -> dict[str, tuple[str, ...]]:
        raise ValueError("there are no official checkpoints with convolutions of PyTorch Geometric")


def build_convolution(text: str, in_channels: int, out_channels: int) -> nn.Module:
    """A convolution of PyTorch Geometric by name, or by name and options: ``"ChebConv(K=3)"``.

    Raises:
        ValueError: no such convolution or option, a missing one, or one that is refused; the message says what to type.
    """
    name, options = _parse(text)
    convolution = _find(name)
    parameters = inspect.signature(convolution).parameters
    words = [word for word, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    arguments: dict[str, Any] = {}
    if "nn" in words:
        hidden = nn.Linear(in_channels, out_channels)
        arguments["nn"] = nn.Sequential(hidden, nn.ReLU(), nn.Linear(out_channels, out_channels))
    if {"in_channels", "out_channels"} <= set(words):
        arguments |= {"in_channels": in_channels, "out_channels": out_channels}
    elif not arguments:
        raise ValueError(f"pyg:{name} cannot be built from a number of channels in and out; choose another convolution")
    # The graphs change with the batch, so nothing of them may be kept.
    free = [word for word in words if word not in arguments and word != "cached"]
    for option in options:
        if option not in free:
            raise ValueError(unknown(f"option of pyg:{name}", option, free))
    if {"heads", "concat"} <= set(words):
        arguments["concat"] = False
    arguments |= options
    missing = [word for word in words if parameters[word].default is inspect.Parameter.empty and word not in arguments]
    if missing:
        needed = ", ".join(f"{word}=..." for word in missing)
        raise ValueError(f"pyg:{name} needs {', '.join(missing)}: write pyg:{name}({needed})")
    try:
        return convolution(**arguments)
    except _UNFIT as error:
        raise ValueError(f"pyg:{text} cannot be built: {error}") from error


def _find(name: str) -> type[nn.Module]:
    from torch_geometric.nn import MessagePassing, conv

    classes = {word: getattr(conv, word) for word in conv.__all__ if word != "MessagePassing"}
    known = {word: each for word, each in classes.items() if issubclass(each, MessagePassing)}
    if name not in known:
        raise ValueError(unknown("convolution of PyTorch Geometric", name, known))
    if "edge_index" not in inspect.signature(known[name].forward).parameters:
        raise ValueError(f"pyg:{name} does not work on the edges of a graph; choose another convolution")
    return known[name]


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of ``Name`` or ``Name(option=literal, ...)``."""
    try:
        match ast.parse(text, mode="eval").body:
            case ast.Name(id=name):
                return name, {}
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
                return name, {str(each.arg): ast.literal_eval(each.value) for each in keywords}
    except (SyntaxError, ValueError):
        pass
    raise ValueError(
        f"pyg:{text} names no convolution: write one of torch_geometric.nn like pyg:GATv2Conv, with options in "
        "brackets like pyg:ChebConv(K=3)"
    )
