import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import get_skeleton, list_skeletons
from graphs.adjacency import STRATEGIES, hop_distance, k_adjacency, k_mode, normalise, random

TREES = {"size": st.integers(1, 14), "seed": st.integers(0, 2**32 - 1)}
PYSKL = ["nturgb+d", "openpose", "openpose_new", "coco", "coco_new"]


@pytest.fixture(scope="module")
def reference(goldens):
    with np.load(goldens / "data" / "adjacency.npz") as arrays:
        return dict(arrays)


def same(ours, golden):
    return ours.dtype == golden.dtype and np.array_equal(ours, golden)


@pytest.mark.parametrize("layout", [*PYSKL, "handmp"])
@pytest.mark.parametrize("strategy", ["spatial", "stgcn_spatial", "binary_adj"])
def test_pyskl_family(reference, layout, strategy):
    source = "pyskl" if layout == "handmp" else "proto"
    assert same(get_skeleton(layout).adjacency(strategy), reference[f"{source}/{layout}/{strategy}/hop1"])


@pytest.mark.parametrize("layout", PYSKL)
def test_hops_and_scales(reference, layout):
    skeleton = get_skeleton(layout)
    for max_hop in (1, 2):
        assert same(hop_distance(skeleton, max_hop), reference[f"proto/{layout}/hop_dis/max{max_hop}"])
    for k in (0, 2, 4):
        assert same(skeleton.adjacency("k_hop", k=k)[0], reference[f"proto/{layout}/k_adjacency/k{k}"])
    for k in (1, 3):
        golden = reference[f"proto/{layout}/k_adjacency_self/k{k}"]
        assert same(skeleton.adjacency("k_hop", k=k, with_self=True)[0], golden)
    assert same(skeleton.adjacency("multi_scale", num_scales=3)[2], reference[f"proto/{layout}/msg3d_norm/k2"])
    drawn = random(skeleton, 3, rng=np.random.RandomState(7))
    assert same(drawn[:2], reference[f"proto/{layout}/random/seed7"])


def test_pyskl_repository(reference):
    golden = reference["pyskl/nturgb+d/stgcn_spatial/hop1"]
    assert same(get_skeleton("ntu25_pyskl").adjacency("stgcn_spatial"), golden)


@pytest.mark.parametrize("name, layout", [("ntu25", "ntu"), ("ucla20", "ucla")])
def test_ctrgcn(reference, name, layout):
    skeleton = get_skeleton(name)
    assert same(skeleton.adjacency("spatial"), reference[f"ctr/{layout}/spatial"])
    assert same(skeleton.adjacency("uniform")[0], reference[f"ctr/{layout}/uniform"])
    assert same(skeleton.adjacency("within_hops", k=2)[0], reference[f"ctr/{layout}/k_scale2"])
    assert np.allclose(
        skeleton.adjacency("symmetric")[0], reference[f"ctr/{layout}/sym_norm_plus1I"], rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("name, layout, reverse", [("ntu25_infogcn", "ntu", False), ("ucla20", "ucla", True)])
def test_infogcn(reference, name, layout, reverse):
    skeleton = get_skeleton(name)
    for k in (1, 2, 8):
        golden = reference[f"info/{layout}/I_minus_Aout_pow{k}"]
        assert same(k_mode(skeleton, k, towards_children=reverse), golden)
    outward = np.eye(skeleton.num_joints) - k_mode(skeleton, 1, towards_children=reverse)
    assert np.array_equal(outward, reference[f"info/{layout}/A_outward_binary"])
    symmetric = skeleton.adjacency("symmetric", self_loops=2)[0]
    assert np.allclose(symmetric, reference[f"info/{layout}/A_norm"], rtol=1e-6, atol=0)
    # InfoGCN lists the edges of NTU from parent to child, so that its inward matrix is our outward one.
    order = [0, 1, 2] if reverse else [0, 2, 1]
    assert same(skeleton.adjacency("spatial")[order], reference[f"info/{layout}/spatial"])


@pytest.mark.parametrize("name", list_skeletons())
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_on_every_skeleton(name, strategy):
    skeleton = get_skeleton(name)
    topology = skeleton.adjacency(strategy)
    assert topology.ndim == 3 and topology.shape[1:] == (skeleton.num_joints,) * 2
    assert topology.dtype == np.float64 and np.isfinite(topology).all()


def test_random_is_normal_and_reproducible():
    skeleton = get_skeleton("ntu25")
    topology = skeleton.adjacency("random", num_topologies=64)
    assert topology.shape == (64, 25, 25)
    assert topology.mean() == pytest.approx(0.04, abs=5e-4) and topology.std() == pytest.approx(0.02, abs=5e-4)
    assert np.array_equal(topology, skeleton.adjacency("random", num_topologies=64, rng=0))
    assert not np.array_equal(topology, skeleton.adjacency("random", num_topologies=64, rng=1))


def test_multi_scale_over_a_window_of_frames():
    skeleton = get_skeleton("coco17")
    topology = skeleton.adjacency("multi_scale", num_scales=6, window=3)
    assert topology.shape == (6, 51, 51)
    assert np.allclose(topology.sum(1), 1)
    one_hop = topology[1] > 0
    near = (skeleton.adjacency("binary_adj")[0] + np.eye(17)) > 0
    assert np.array_equal(one_hop, np.tile(near, (3, 3)))


@pytest.mark.parametrize(
    "strategy, options, message",
    [
        ("spacial", {}, "unknown adjacency strategy 'spacial'; did you mean 'spatial'"),
        ("spatial", {"max_hop": 2}, r"unknown option 'max_hop'.*it takes no options"),
        ("stgcn_spatial", {"maxhop": 2}, r"unknown option 'maxhop'; did you mean 'max_hop'\?"),
        ("stgcn_spatial", {"max_hop": -1}, "max_hop must be a whole number of at least 0; got -1"),
        ("multi_scale", {"num_scales": 0}, "num_scales must be"),
        ("multi_scale", {"window": 1.5}, "window must be a whole number of at least 1; got 1.5"),
        ("random", {"num_topologies": True}, "num_topologies must be"),
        ("within_hops", {"k": 0}, "k must be"),
    ],
)
def test_refuses(strategy, options, message):
    with pytest.raises(ValueError, match=message):
        get_skeleton("ntu25").adjacency(strategy, **options)


@given(**TREES)
def test_columns_of_normalised_topologies_sum_to_one_or_zero(random_tree, size, seed):
    skeleton = random_tree(size, seed)
    for strategy, options in (("spatial", {}), ("uniform", {}), ("multi_scale", {"num_scales": 4, "with_self": False})):
        sums = skeleton.adjacency(strategy, **options).sum(axis=1)
        assert np.all(np.isclose(sums, 1) | (sums == 0))
    assert np.allclose(skeleton.adjacency("uniform").sum(axis=1), 1)
    assert np.array_equal(normalise(np.zeros((size, size))), np.zeros((size, size)))


@given(max_hop=st.integers(1, 4), **TREES)
def test_spatial_configuration_parts_the_neighbourhood(random_tree, max_hop, size, seed):
    skeleton = random_tree(size, seed)
    subsets = skeleton.adjacency("stgcn_spatial", max_hop=max_hop)
    assert len(subsets) == 2 * max_hop + 1
    assert np.all((subsets > 0).sum(axis=0) <= 1), "no pair of joints is in two subsets"
    within = hop_distance(skeleton, max_hop) <= max_hop
    assert np.allclose(subsets.sum(axis=0), normalise(within.astype(float)))


@given(**TREES)
def test_hop_distance_is_that_of_the_tree(random_tree, size, seed):
    skeleton = random_tree(size, seed)
    distance = hop_distance(skeleton)
    assert np.array_equal(distance, distance.T)
    assert np.array_equal(distance[skeleton.centre], skeleton.depths)
    assert all(distance[edge] == 1 for edge in skeleton.edges)
    assert np.all(distance[:, :, None] <= distance[:, None, :] + distance[None, :, :].transpose(0, 2, 1))
    graph = skeleton.adjacency("binary_adj")[0]
    for k in range(size + 1):
        assert np.array_equal(k_adjacency(graph, k) > 0, distance == k)


@given(k=st.integers(1, 16), **TREES)
def test_k_modes_select_ancestors(random_tree, k, size, seed):
    skeleton = random_tree(size, seed)
    position = np.random.default_rng(seed).standard_normal((size, 3))
    above = np.array(skeleton.ancestors(k))
    expected = position - np.where(above[:, None] >= 0, position[above], 0)
    assert np.allclose(k_mode(skeleton, k) @ position, expected)
