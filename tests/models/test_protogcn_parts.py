"""ProtoGCN's size, its first weights, and the documented habits of the released network."""

import math

import pytest
import torch
from small_models import random_clips, small_model
from torch import Tensor, nn

from protogcn.models import create_criterion, create_model
from protogcn.models.layers.graph import DynamicTopologyConv
from protogcn.models.layers.temporal import MultiBranchTemporal
from protogcn.models.protogcn import ProtoGCN, PrototypeReconstruction


@pytest.fixture(scope="module")
def published() -> ProtoGCN:
    torch.manual_seed(0)
    model = create_model("protogcn", skeleton="ntu25", num_classes=60)
    assert isinstance(model, ProtoGCN)
    return model


def test_published_size(published: ProtoGCN) -> None:
    assert sum(parameter.numel() for parameter in published.parameters()) == 4_344_860
    # The class memory is state, not a parameter.
    assert published.state_dict()["class_memory.memory"].shape == (256, 60)


def test_frames_halve_twice_and_channels_double_twice(published: ProtoGCN) -> None:
    with torch.no_grad():
        for frames in (1, 2, 7, 9):
            features = published.eval().forward_features(random_clips(1, 2, frames, 25, 3))
            assert features.shape == (1, 2, 384, math.ceil(math.ceil(frames / 2) / 2), 25)


def test_first_weights(published: ProtoGCN) -> None:
    assert published.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not published.classifier.bias.any()
    memory = published.class_memory.memory
    assert memory.mean().item() == pytest.approx(0, abs=0.05)
    assert memory.std().item() == pytest.approx(1, rel=0.05)
    topologies = torch.stack([block.graph.A for block in published.typed_blocks()])
    assert topologies.mean().item() == pytest.approx(0.04, rel=0.05)
    assert topologies.std().item() == pytest.approx(0.02, rel=0.05)
    for block in published.typed_blocks():
        assert not block.graph.alpha.any()
        assert not block.graph.beta.any()
        assert not block.temporal.coefficients.any()


def test_other_first_weights_are_those_of_torch(published: ProtoGCN) -> None:
    checked = 0
    for name, module in published.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and name != "classifier":
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert 0.9 * bound < module.weight.abs().max().item() <= bound, name
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2), name
            assert module.bias is None or module.bias.abs().max().item() <= bound, name
            checked += 1
    assert checked > 80


def test_only_the_first_strength_of_a_refinement_counts() -> None:
    model = small_model("protogcn")
    logits, aux = model.forward_train(random_clips(4, 1, 8, 25, 3))
    create_criterion("protogcn")(logits, aux, torch.tensor([0, 1, 2, 3]))["loss"].backward()
    for name, parameter in model.named_parameters():
        if name.endswith((".alpha", ".beta")):
            assert parameter.grad is not None
            assert parameter.grad[0] != 0, name
            assert not parameter.grad[1:].any(), name


@pytest.mark.parametrize(("joints", "length"), [(5, 25), (25, 25), (33, 33)])
def test_mixing_coefficients_hold_25_joints_or_as_many_as_there_are(joints: int, length: int) -> None:
    unit = MultiBranchTemporal(12, joints)
    assert unit.coefficients is not None
    assert unit.coefficients.shape == (length,)
    nn.init.normal_(unit.coefficients)
    x = torch.randn(2, 12, 7, joints)
    unit.eval()(x).sum().backward()
    assert unit.coefficients.grad is not None
    assert unit.coefficients.grad[:joints].any()
    assert not unit.coefficients.grad[joints:].any()


def test_temporal_unit_without_the_global_joint() -> None:
    unit = MultiBranchTemporal(12, 5, stride=2, global_joint=False)
    assert unit(torch.randn(2, 12, 7, 5)).shape == (2, 12, 4, 5)
    assert not any(name.endswith("coefficients") for name in unit.official_entries("own", "official"))


def test_units_say_which_channels_they_need() -> None:
    with pytest.raises(ValueError, match="at least 6 channels, got 5"):
        MultiBranchTemporal(5, 25)
    with pytest.raises(ValueError, match="10 channels cannot be shared evenly by 4 topologies"):
        DynamicTopologyConv(3, 10, 25, num_topologies=4)


def slow_graph_convolution(unit: DynamicTopologyConv, x: Tensor) -> tuple[Tensor, Tensor]:
    """The unit as the paper writes it: projections of every frame, one topology and one channel at a time."""
    q, p = unit.relation(x).mean(2).chunk(2, dim=1)
    features = torch.relu(unit.pre_norm(unit.pre(x)))
    mixed, refined = torch.empty_like(features), []
    width = features.shape[1] // unit.num_topologies
    for sample in range(len(x)):
        for k in range(unit.num_topologies):
            group = range(k * width, (k + 1) * width)
            score = sum(torch.outer(q[sample, c], p[sample, c]) for c in group)
            intra = unit.beta[0] * torch.softmax(score, 0)
            for c in group:
                inter = unit.alpha[0] * torch.tanh(q[sample, c][:, None] - p[sample, c][None, :])
                refined.append(inter + intra)
                mixed[sample, c] = features[sample, c] @ (unit.A[k] + inter + intra)
    out = torch.relu(unit.post_norm(unit.post(mixed)) + unit.down(x))
    return out, torch.stack(refined).view(len(x), -1, *unit.A.shape[1:])


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 8)])
def test_graph_convolution_is_that_of_the_paper(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    unit = DynamicTopologyConv(inputs, outputs, 5, num_topologies=4).double().eval()
    nn.init.constant_(unit.alpha, 0.7)
    nn.init.constant_(unit.beta, 0.4)
    x = torch.randn(3, inputs, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        out, topology = slow_graph_convolution(unit, x)
        torch.testing.assert_close(unit(x), out, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(unit.forward_with_topology(x)[1], topology, rtol=1e-10, atol=1e-12)


def test_reconstruction_is_a_mixture_of_prototypes_for_each_pair_of_joints() -> None:
    torch.manual_seed(0)
    unit = PrototypeReconstruction(6, 4).double().eval()
    topology = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        rebuilt = torch.empty_like(topology)
        for sample, u, v in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(5)).tolist():
            weights = torch.softmax(unit.query.weight @ topology[sample, :, u, v], 0)
            rebuilt[sample, :, u, v] = unit.prototypes.weight @ weights
        graph = torch.relu(unit.norm(unit.post(rebuilt))).mean(1)
        torch.testing.assert_close(unit(topology), graph.reshape(2, 25), rtol=1e-10, atol=1e-12)
