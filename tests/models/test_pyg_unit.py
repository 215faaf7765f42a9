"""Convolutions of PyTorch Geometric as spatial units: exact, on the graph, frame by frame, and refused where unfit."""

import copy
import importlib.util
import pickle
import subprocess
import sys

import pytest
import torch
from small_models import CLASSES, random_clips, small_model
from torch import Tensor, nn

from graphs import get_skeleton
from protogcn.models import create_model
from protogcn.models.layers.pyg import PyGConv

CONVOLUTIONS = [
    "GCNConv",
    "GATv2Conv",
    "GATv2Conv(heads=4)",
    "GINConv",
    "GINConv(train_eps=True)",
    "TransformerConv",
    "TransformerConv(heads=2)",
    "SAGEConv",
    "SAGEConv(aggr='max')",
    "GraphConv",
    "ResGatedGraphConv",
    "ChebConv(K=3)",
]
SKELETON = get_skeleton("ucla20")
HOPS = {"ChebConv(K=3)": 2}


def unit(convolution: str, in_channels: int = 4, out_channels: int = 6, residual: bool = False) -> PyGConv:
    torch.manual_seed(0)
    return PyGConv(in_channels, out_channels, SKELETON, convolution, residual).double()


def features(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_joint_hears_from_its_neighbours_only(convolution: str) -> None:
    graph = unit(convolution)
    reach = SKELETON.adjacency("within_hops", k=HOPS.get(convolution, 1))[0] > 0
    x = features(2, 4, 3, 20).requires_grad_()
    mixed = graph.aggregate(x)
    assert mixed.shape == (2, 6, 3, 20)
    for joint in range(20):
        (gradient,) = torch.autograd.grad(mixed[1, :, 2, joint].square().sum(), x, retain_graph=True)
        heard = (gradient != 0).any(1)
        assert not heard[0].any() and not heard[1, :2].any(), "another sample or frame is heard"
        expected = torch.from_numpy(reach[joint])
        expected[joint] = True
        # A maximum over neighbours may hear but some of them.
        assert not (heard[1, 2] & ~expected).any()
        assert "max" in convolution or torch.equal(heard[1, 2], expected)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_frames_do_not_depend_on_what_is_beside_them_in_the_batch(convolution: str) -> None:
    graph = unit(convolution, residual=True).eval()
    x = features(3, 4, 5, 20)
    together = graph(x)
    alone = torch.cat([graph(x[sample, None, :, frame, None]) for sample in range(3) for frame in range(5)])
    torch.testing.assert_close(together, alone.squeeze(2).unflatten(0, (3, 5)).transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_gcn_is_a_product_with_the_normalised_adjacency() -> None:
    graph = unit("GCNConv")
    weight, bias = (graph.conv.get_parameter(name) for name in ("lin.weight", "bias"))
    x = features(2, 4, 3, 20)
    adjacency = torch.from_numpy(SKELETON.adjacency("symmetric"))[0]
    expected = torch.einsum("oc,nctv,wv->notw", weight, x, adjacency) + bias[:, None, None]
    torch.testing.assert_close(graph.aggregate(x), expected, rtol=1e-12, atol=1e-12)


def test_gin_sums_neighbours_before_its_perceptron() -> None:
    graph = unit("GINConv")
    perceptron = graph.conv.get_submodule("nn")
    x = features(2, 4, 3, 20)
    adjacency = torch.from_numpy(SKELETON.adjacency("binary_adj"))[0] + torch.eye(20)
    expected = perceptron(adjacency @ x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(graph.aggregate(x), expected, rtol=1e-12, atol=1e-12)


def test_gat_is_attention_over_the_neighbourhood() -> None:
    graph = unit("GATv2Conv(heads=2)")
    conv = graph.conv
    x = features(1, 4, 1, 20)
    nodes = x[0, :, 0].T
    source, target = (
        (nodes @ conv.get_parameter(f"{name}.weight").T + conv.get_parameter(f"{name}.bias")).view(20, 2, 6)
        for name in ("lin_l", "lin_r")
    )
    hidden = nn.functional.leaky_relu(source[None] + target[:, None], 0.2)
    scores = (hidden * conv.get_parameter("att")).sum(-1)
    neighbours = torch.from_numpy(SKELETON.adjacency("binary_adj"))[0] + torch.eye(20)
    weights = torch.softmax(scores.masked_fill(neighbours[..., None] == 0, -torch.inf), 1)
    expected = torch.einsum("wvh,vhc->wc", weights, source) / 2 + conv.get_parameter("bias")
    torch.testing.assert_close(graph.aggregate(x)[0, :, 0].T, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("name", ["stgcn", "stgcnpp"])
def test_it_trains(name: str, convolution: str) -> None:
    model = small_model(name, spatial=f"pyg:{convolution}")
    clips, target = random_clips(8, 1, 8, 25, 3), torch.arange(8) % CLASSES
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(clips), target)
        loss.backward()
        losses.append(loss.item())
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("convolution", ["GCNConv", "GATv2Conv", "GINConv", "TransformerConv"])
def test_the_network_keeps_the_contract_of_all_others(convolution: str) -> None:
    model = small_model("stgcn", spatial=f"pyg:{convolution}").eval()
    for persons, frames in ((1, 1), (3, 7)):
        clips = random_clips(2, persons, frames, 25, 3)
        expected = model(clips)
        assert expected.shape == (2, CLASSES)
        torch.testing.assert_close(torch.cat([model(clip[None]) for clip in clips]), expected)
        assert torch.equal(copy.deepcopy(model)(clips), expected)
        assert torch.equal(pickle.loads(pickle.dumps(model))(clips), expected)
        other = small_model("stgcn", seed=5, spatial=f"pyg:{convolution}").eval()
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(clips), expected)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(
                model(clips).float(), expected, rtol=0.1, atol=0.05 * expected.abs().max().item()
            )


def test_any_skeleton_even_without_bones() -> None:
    for skeleton in ("coco17", "hand21"):
        model = small_model("stgcnpp", skeleton=skeleton, spatial="pyg:GATv2Conv").eval()
        assert model(random_clips(1, 1, 4, get_skeleton(skeleton).num_joints, 3)).shape == (1, CLASSES)


REFUSED = {
    "pyg:GATv2Con": r"unknown convolution of PyTorch Geometric 'GATv2Con'; did you mean 'GATv2Conv'",
    "pyg:gcnconv": "did you mean 'GCNConv'",
    "pyg:MessagePassing": "unknown convolution of PyTorch Geometric 'MessagePassing'",
    "pyg:": "pyg: names no convolution: write one of torch_geometric.nn like pyg:GATv2Conv",
    "pyg:GCNConv(": "names no convolution",
    "pyg:GCNConv(64)": "names no convolution",
    "pyg:ChebConv(K=open('x'))": "names no convolution",
    "pyg:ChebConv": r"pyg:ChebConv needs K: write pyg:ChebConv\(K=\.\.\.\)",
    "pyg:ChebConv(k=3)": "unknown option of pyg:ChebConv 'k'; did you mean 'K'",
    "pyg:GCNConv(cached=True)": "unknown option of pyg:GCNConv 'cached'",
    "pyg:GCNConv(out_channels=3)": "unknown option of pyg:GCNConv 'out_channels'",
    "pyg:GATv2Conv(heads='two')": "cannot be built",
    "pyg:GATv2Conv(heads=2, concat=True)": r"must give \(joints, channels\) = \(25, 16\), and gave \(25, 32\)",
    "pyg:GINEConv": "pyg:GINEConv does not work on features and edges alone",
    "pyg:RGCNConv(num_relations=2)": "does not work on features and edges alone",
    "pyg:HypergraphConv": "pyg:HypergraphConv does not work on the edges of a graph",
    "pyg:AGNNConv": "cannot be built from a number of channels in and out",
    "GATv2Conv": "unknown spatial unit 'GATv2Conv'.*spatial.*pyg:<convolution of PyTorch Geometric>",
}


@pytest.mark.parametrize("spatial", REFUSED)
def test_what_does_not_fit_is_refused_with_what_to_type(spatial: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[spatial]):
        small_model("stgcn", spatial=spatial)


@pytest.mark.parametrize(("name", "adaptive"), [("stgcn", "init"), ("stgcnpp", "importance")])
def test_ways_of_learning_a_topology_need_one(name: str, adaptive: str) -> None:
    with pytest.raises(ValueError, match=f"adaptive='{adaptive}' says how a topology is learned, and pyg:GCNConv has"):
        create_model(name, num_classes=3, spatial="pyg:GCNConv", adaptive=adaptive)


def test_no_official_checkpoint_is_pretended() -> None:
    with pytest.raises(ValueError, match="no official checkpoints with convolutions of PyTorch Geometric"):
        small_model("stgcn", spatial="pyg:GCNConv").official_entries()


def test_pytorch_geometric_is_imported_only_where_used() -> None:
    code = (
        "import sys; from protogcn.models import create_model; create_model('stgcn', num_classes=2, num_blocks=1, "
        "widen_at=[], downsample_at=[]); assert 'torch_geometric' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(
    not importlib.util.find_spec("torch_scatter"), reason="torch-scatter is not installed: make scatter"
)
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_torch_scatter_changes_no_result(convolution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch_geometric.typing

    results = []
    for present in (True, False):
        monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", present)
        graph = unit(convolution, residual=True)
        x = features(2, 4, 3, 20).requires_grad_()
        out = graph(x)
        out.square().sum().backward()
        results.append([out, x.grad, *(parameter.grad for parameter in graph.parameters())])
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(
    not importlib.util.find_spec("torch_scatter"), reason="torch-scatter is not installed: make scatter"
)
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "mul"])
def test_torch_scatter_reduces_as_torch_does(reduce: str) -> None:
    import torch_scatter
    from torch_geometric.utils import scatter

    index = torch.randint(0, 7, (40,), generator=torch.Generator().manual_seed(0))
    results = []
    for way in (scatter, torch_scatter.scatter):
        x = features(40, 5).requires_grad_()
        out = way(x, index, dim=0, dim_size=8, reduce=reduce)
        out.square().sum().backward()
        results.append([out, x.grad])
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
