"""On the layout ``ntu25`` every network has the graph that its released weights were trained on."""

import pytest
import torch
from small_models import small_model

PYSKL = ("aagcn", "ctrgcn_pyskl", "msg3d", "stgcn", "stgcnpp")


def topologies(name: str, skeleton: str) -> list[torch.Tensor]:
    """What the network holds of the skeleton: matrices over joints that are not drawn at random."""
    state = small_model(name, skeleton=skeleton).state_dict()
    return [
        value for key, value in state.items() if key.endswith(("topology", "graph.A")) and value.shape[-1] % 25 == 0
    ]


@pytest.mark.parametrize("name", PYSKL)
def test_networks_of_pyskl_have_its_hands(name: str) -> None:
    own, released = topologies(name, "ntu25"), topologies(name, "ntu25_pyskl")
    assert own
    assert all(torch.equal(*pair) for pair in zip(own, released, strict=True))


def test_the_authors_ctrgcn_has_the_hands_of_the_layout() -> None:
    own, other = topologies("ctrgcn", "ntu25"), topologies("ctrgcn", "ntu25_pyskl")
    assert own
    assert not any(torch.equal(*pair) for pair in zip(own, other, strict=True))


def test_other_layouts_keep_their_graph() -> None:
    joints = {"coco17": 17, "ucla20": 20}
    for skeleton, count in joints.items():
        state = small_model("stgcn", skeleton=skeleton).state_dict()
        held = [value for value in state.values() if value.ndim == 3 and value.shape[-1] == count]
        expected = small_model("stgcn", skeleton=skeleton).skeleton.adjacency("stgcn_spatial")
        assert any(torch.allclose(value, torch.as_tensor(expected, dtype=value.dtype)) for value in held)
