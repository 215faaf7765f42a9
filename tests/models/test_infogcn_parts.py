"""What InfoGCN is made of: its input representation, its graph convolution, its latent code and its class priors."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from block_goldens import Watch
from small_models import random_clips, small_model
from torch import Tensor, nn

from graphs.layouts import get_skeleton
from protogcn.models import create_model
from protogcn.models.infogcn import InfoGCN


def small(**options: Any) -> InfoGCN:
    model = small_model("infogcn", **options)
    assert isinstance(model, InfoGCN)
    return model


# (joint, what is subtracted from it) by k, of the released matrices. Joints not named are left as they are.
NTU = {
    1: "0-1 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 20-1 21-22 "
    "22-7 23-24 24-11",
    2: "2-1 3-20 4-1 5-20 6-4 7-5 8-1 9-20 10-8 11-9 12-1 13-0 14-12 15-13 16-1 17-0 18-16 19-17 21-7 22-6 23-11 24-10",
    8: "",
    12: "",
}
NW_UCLA = {
    1: "0-12 0-16 1-0 2-1 2-3 2-4 2-8 4-5 5-6 6-7 8-9 9-10 10-11 12-13 13-14 14-15 16-17 17-18 18-19",
    2: "0-13 0-17 1-12 1-16 2-0 2-5 2-9 4-6 5-7 8-10 9-11 12-14 13-15 16-18 17-19",
    7: "",
    12: "",
}


def modes(skeleton: Any, **options: Any) -> np.ndarray:
    """The mode matrix of a network, read off what reaches its joint embedding."""
    joints = get_skeleton(skeleton).num_joints
    model = small(skeleton=skeleton, in_channels=1, num_persons=1, **options).double().eval()
    with Watch({"embedding": model.input.embedding}) as seen:
        model(torch.eye(joints, dtype=torch.float64).view(1, 1, joints, joints, 1))
    matrix: np.ndarray = seen["embedding in"].squeeze().T.numpy()
    return matrix


def subtracting(pairs: str, joints: int) -> np.ndarray:
    matrix = np.eye(joints)
    for pair in pairs.split():
        joint, other = map(int, pair.split("-"))
        matrix[joint, other] -= 1
    return matrix


@pytest.mark.parametrize("compat", [None, "infogcn"])
@pytest.mark.parametrize("skeleton", ["ntu25", "ntu25_pyskl", "ntu25_infogcn", "nturgb+d"])
@pytest.mark.parametrize("k", NTU)
def test_modes_of_ntu_are_the_released_ones(k: int, skeleton: str, compat: str | None) -> None:
    np.testing.assert_array_equal(modes(skeleton, k=k, compat=compat), subtracting(NTU[k], 25))


@pytest.mark.parametrize("k", NW_UCLA)
def test_modes_of_nw_ucla_as_released(k: int) -> None:
    np.testing.assert_array_equal(modes("ucla20", k=k, compat="infogcn"), subtracting(NW_UCLA[k], 20))


@pytest.mark.parametrize("skeleton", ["ucla20", "coco17", "hand21", "h36m17"])
@pytest.mark.parametrize("k", [1, 2, 3, 100_000])
def test_modes_of_the_paper_subtract_the_ancestor(k: int, skeleton: str) -> None:
    tree = get_skeleton(skeleton)
    pairs = " ".join(f"{joint}-{above}" for joint, above in enumerate(tree.ancestors(k)) if above >= 0)
    np.testing.assert_array_equal(modes(skeleton, k=k), subtracting(pairs, tree.num_joints))


def test_a_described_skeleton_has_the_modes_of_its_name() -> None:
    for name in ("ntu25", "ucla20"):
        described = get_skeleton(get_skeleton(name).to_dict())
        np.testing.assert_array_equal(modes(described, k=2, compat="infogcn"), modes(name, k=2, compat="infogcn"))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "k=0": ({"k": 0}, "k=0 subtracts every joint from itself.*k=25 for joints as they are"),
    "k=-1": ({"k": -1}, "k must be a positive integer, got -1"),
    "k=1.5": ({"k": 1.5}, "k must be an integer, got 1.5"),
    "k=true": ({"k": True}, "k must be an integer, got True"),
    "compat": ({"compat": "infogcm"}, "compat must be 'infogcn' or none, got 'infogcm'"),
    "nothing released": ({"compat": "infogcn", "skeleton": "coco17"}, "released graphs of ntu25.*none of coco17"),
    "no heads": ({"num_heads": 0}, "num_heads must be a positive integer, got 0"),
    "noise": ({"noise_ratio": -0.5}, "noise_ratio must be at least 0, got -0.5"),
    "gain": ({"prior_gain": -1.0}, "prior_gain must be at least 0, got -1"),
    "narrow": ({"base_channels": 7}, "base_channels must be at least 8.*got 7"),
    "dropout": ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options_are_refused(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        create_model("infogcn", **{"num_classes": 5, **options})


def test_differences_of_joints_survive_reduced_precision() -> None:
    # A pose far from the origin and a millimetre beside it: in bfloat16 both are the same.
    model = small(k=1, num_persons=1).eval()
    clips = 4 + random_clips(1, 1, 3, 25, 3) / 1000
    with torch.autocast("cpu", torch.bfloat16), Watch({"embedding": model.input.embedding}) as seen:
        model(clips)
    bones = seen["embedding in"][0, :, 0, 5]
    torch.testing.assert_close(bones, clips[0, 0, :, 5] - clips[0, 0, :, 4], rtol=1e-3, atol=1e-6)


def test_missing_persons_are_zeros() -> None:
    model = small().double().eval()
    clips = random_clips(3, 1, 9, 25, 3, dtype=torch.float64)
    filled = torch.cat([clips, torch.zeros_like(clips)], 1)
    torch.testing.assert_close(model(clips), model(filled), rtol=1e-12, atol=0)


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_graph_convolution_is_a_loop_over_heads(heads: int) -> None:
    model = small(num_heads=heads).double().eval()
    graph = model.typed_blocks()[1].graph
    for parameter in graph.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 16, 3, 25, dtype=torch.float64)
    out = torch.zeros(2, 32, 3, 25, dtype=torch.float64)
    depth = 16 // 8
    for sample, frame in np.ndindex(2, 3):
        nodes = x[sample, :, frame].T
        projected = graph.query_key(graph.pre_norm(nodes))
        for head in range(heads):
            query = projected[:, head * depth : (head + 1) * depth]
            key = projected[:, (heads + head) * depth : (heads + head + 1) * depth]
            topology = torch.softmax(query @ key.T / math.sqrt(depth), 1) * graph.topology[head]
            rows = slice(32 * head, 32 * (head + 1))
            assert graph.heads.bias is not None
            mixed = topology @ nodes @ graph.heads.weight[rows, :, 0, 0].T + graph.heads.bias[rows]
            out[sample, :, frame] += mixed.T
    torch.testing.assert_close(graph(x), torch.relu(graph.norm(out) + graph.down(x)), rtol=1e-9, atol=1e-9)


def test_sampled_codes_have_the_deviation_that_the_network_says() -> None:
    model = small(noise_ratio=0.7, num_blocks=1, widen_at=(), downsample_at=()).double().train()
    model.spread.weight.data.zero_()
    model.spread.bias.data.copy_(torch.linspace(-2, 1, model.num_features))
    clips = random_clips(100, 1, 1, 25, 3, dtype=torch.float64)
    torch.manual_seed(0)
    with torch.no_grad():
        codes = [model.forward_train(clips)[1] for _ in range(20)]
    mean = codes[0]["latent_mean"]
    noise = torch.stack([code["latent"] - mean for code in codes]) / torch.exp(0.7 * codes[0]["latent_spread"])
    assert noise.shape == (20, 100, 16)
    assert abs(noise.mean()) < 5 / math.sqrt(noise.numel())
    assert (noise.std((0, 1)) - 1).abs().max() < 5 / math.sqrt(2 * 2000)
    assert abs((noise**4).mean() - 3) < 5 * math.sqrt(96 / noise.numel())


def test_the_deviation_is_capped() -> None:
    model = small(noise_ratio=1.0).double().train()
    model.spread.weight.data.zero_()
    model.spread.bias.data.fill_(1000)
    logits, aux = model.forward_train(random_clips(4, 1, 4, 25, 3, dtype=torch.float64))
    noise = (aux["latent"] - aux["latent_mean"]).detach()
    assert 80 < noise.std() < 120
    logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_noise_follows_the_global_seed_and_stays_out_of_evaluation() -> None:
    model = small()
    clips = random_clips(4, 1, 4, 25, 3)

    def logits() -> Tensor:
        return model.forward_train(clips)[0].detach()

    torch.manual_seed(5)
    first, second = logits(), logits()
    torch.manual_seed(5)
    assert torch.equal(logits(), first)
    assert not torch.allclose(first, second)
    model.eval()
    assert torch.equal(logits(), model(clips))
    assert not torch.allclose(small(noise_ratio=3.0, seed=0).forward_train(clips)[0], model.train()(clips))


@pytest.mark.parametrize("gain", [0.0, 1.0, 3.0])
def test_priors_are_orthogonal_and_as_long_as_the_gain(gain: float) -> None:
    prior = small(prior_gain=gain).prior
    assert prior.shape == (7, 32)
    torch.testing.assert_close(prior @ prior.T, gain**2 * torch.eye(7), rtol=1e-5, atol=1e-5)


def test_priors_of_more_classes_than_features_have_orthogonal_columns() -> None:
    prior = small(num_classes=50).prior
    torch.testing.assert_close(prior.T @ prior, 9 * torch.eye(32), rtol=1e-5, atol=1e-5)


def test_priors_are_state_but_no_parameters() -> None:
    first, second = small(seed=1), small(seed=2)
    assert "prior" not in dict(first.named_parameters())
    assert not torch.equal(first.prior, second.prior)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.prior, second.prior)
    _, aux = second.forward_train(random_clips(2, 1, 4, 25, 3))
    assert aux["prior"] is second.prior


def test_reset_classifier_draws_new_priors() -> None:
    model = small().double()
    model.reset_classifier(11)
    assert model.prior.shape == (11, 32)
    assert model.prior.dtype == torch.float64
    torch.testing.assert_close(model.prior @ model.prior.T, 9 * torch.eye(11, dtype=torch.float64), rtol=0, atol=1e-5)


def test_position_and_embedding_bias_fall_out_of_training() -> None:
    # They are constants in front of a batch norm: no effect and no gradient, yet they count in evaluation.
    model = small(noise_ratio=0.0).double().train()
    shifted = copy.deepcopy(model)
    shifted.input.position.data.add_(torch.randn_like(shifted.input.position))
    clips = random_clips(4, 2, 6, 25, 3, dtype=torch.float64)
    torch.testing.assert_close(shifted(clips), model(clips), rtol=1e-8, atol=1e-8)
    assert not torch.allclose(shifted.eval()(clips), model.eval()(clips), rtol=1e-3)
