import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphs import STREAMS, get_skeleton
from graphs.streams import check_stream, compute, compute_all, parse_kbone

LAYOUTS = {"pyskl/openpose/float64": "openpose18_pyskl", "one_frame": "ntu25", "info/ntu": "ntu25_infogcn"}
PYSKL_CASES = [
    *(f"nturgb+d/float{bits}" for bits in (64, 32, 16)),
    *(f"coco_new/float{bits}" for bits in (64, 32, 16)),
    *(f"{layout}/float64" for layout in ("openpose", "openpose_new", "coco")),
    *(f"{layout}/2d+score" for layout in ("openpose", "coco", "coco_new")),
    *(f"pyskl/{layout}/float64" for layout in ("openpose", "coco", "nturgb+d", "handmp")),
    "one_frame",
]
KBONES = ["grandparent", "infogcn:1", "infogcn:2", "infogcn:3", "infogcn:8"]
TREES = {"size": st.integers(1, 12), "frames": st.integers(1, 6), "seed": st.integers(0, 2**32 - 1)}


@pytest.fixture(scope="module")
def reference(goldens):
    with np.load(goldens / "data" / "streams.npz") as arrays:
        return dict(arrays)


def layout_of(case):
    return get_skeleton(LAYOUTS.get(case) or case.removeprefix("pyskl/").removeprefix("info/").split("/")[0])


def clip_of(reference, case):
    x = reference[f"{case}/input"]
    score = reference.get(f"{case}/score")
    return x if score is None else np.concatenate([x, score[..., None]], axis=-1)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("case", PYSKL_CASES)
def test_released_features_bit_by_bit(reference, case, library):
    skeleton, x = layout_of(case), clip_of(reference, case)
    goldens = {key.rpartition("/")[2]: value for key, value in reference.items() if key.rpartition("/")[0] == case}
    names = [name for name in goldens if name in STREAMS]
    assert names
    clip = torch.from_numpy(x.copy()) if library == "torch" else x.copy()
    streams = {name: np.asarray(ours) for name, ours in compute_all(clip, skeleton, names, compat="protogcn").items()}
    for name in names:
        assert streams[name].dtype == goldens[name].dtype
        assert np.array_equal(streams[name], goldens[name]), name
    if "j+bm" in goldens:
        joined = np.concatenate([streams["j"], streams["bm"]], axis=-1)
        assert joined.dtype == goldens["j+bm"].dtype and np.array_equal(joined, goldens["j+bm"])
    assert np.array_equal(np.asarray(clip), x), "the input is left alone"


@pytest.mark.parametrize("k", [1, 2, 8])
def test_infogcn_modes(reference, k):
    skeleton, x = layout_of("info/ntu"), reference["info/ntu/input"]
    assert np.array_equal(compute(x, "k", skeleton, kbone=f"infogcn:{k}"), reference[f"info/ntu/k{k}"])


@pytest.mark.parametrize("k", [1, 2, 8])
def test_infogcn_modes_of_the_released_nw_ucla_code(reference, k):
    skeleton, x = get_skeleton("ucla20"), reference["info/ucla/input"]
    for clip in (x, torch.from_numpy(x)):
        ours = compute(clip, "k", skeleton, kbone=f"infogcn:{k}", compat="infogcn_ucla")
        # Sums over several children: the order of addition is free.
        np.testing.assert_allclose(np.asarray(ours), reference[f"info/ucla/k{k}"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kbone", KBONES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lead", [(), (2,), (3, 2), (2, 3, 2)])
def test_numpy_and_torch_agree_for_any_leading_axes(lead, dtype, kbone):
    skeleton = get_skeleton("coco17")
    x = np.random.default_rng(3).standard_normal((*lead, 4, 17, 3)).astype(dtype)
    for rule in (None, "mean"):
        arrays = compute_all(x, skeleton, kbone=kbone, score_rule=rule)
        tensors = compute_all(torch.from_numpy(x), skeleton, kbone=kbone, score_rule=rule)
        for name in STREAMS:
            assert arrays[name].shape == x.shape and arrays[name].dtype == dtype
            assert np.array_equal(arrays[name], tensors[name].numpy())
            if lead:
                one = compute(x[0], name, skeleton, kbone=kbone, score_rule=rule)
                assert np.array_equal(arrays[name][0], one)


def test_a_mode_beyond_the_tree_is_the_joint_stream():
    x = np.random.default_rng(5).standard_normal((4, 25, 3))
    assert np.array_equal(compute(x, "k", get_skeleton("ntu25"), kbone="infogcn:999999999999"), x)


def test_score_rules():
    x = np.zeros((3, 17, 3))
    x[..., 2] = np.arange(3)[:, None] + np.arange(17)
    skeleton = get_skeleton("coco17")
    mean, difference = (compute_all(x, skeleton, score_rule=rule) for rule in ("mean", "difference"))
    assert mean["b"][0, 15, 2] == (15 + 13) / 2 and difference["b"][0, 15, 2] == 15 - 13
    assert mean["b"][0, 0, 2] == 0 and mean["b"][1, 0, 2] == 1, "the root keeps its own score"
    assert mean["k"][0, 15, 2] == (15 + 11) / 2 and difference["k"][0, 15, 2] == 15 - 11
    assert mean["jm"][0, 4, 2] == 4.5 and difference["jm"][0, 4, 2] == 1
    assert not mean["jm"][-1].any() and not difference["jm"][-1].any()
    released = compute_all(x, get_skeleton("coco17"), score_rule="difference", compat="protogcn")
    assert np.array_equal(released["b"], difference["b"]), "an explicit rule wins over that of the released code"


def test_gradients_flow_also_after_inference_mode():
    skeleton = get_skeleton("ntu25")
    with torch.inference_mode():
        compute(torch.zeros(2, 25, 3), "k", skeleton)
    x = torch.randn(3, 25, 3, dtype=torch.float64, requires_grad=True)
    for name in STREAMS:
        for kbone in ("grandparent", "infogcn:2"):
            assert torch.autograd.gradcheck(
                lambda clip, name=name, kbone=kbone: compute(clip, name, skeleton, kbone=kbone), x
            )


@pytest.mark.parametrize("kbone", ["grandparent", "infogcn:2"])
def test_compiles_without_graph_breaks(kbone):
    skeleton = get_skeleton("ntu25")
    x = torch.randn(2, 2, 5, 25, 3)
    compiled = torch.compile(lambda clip: compute(clip, "km", skeleton, kbone=kbone), backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), compute(x, "km", skeleton, kbone=kbone))


def test_one_missing_joint_does_not_spread():
    skeleton = get_skeleton("ntu25")
    x = np.ones((4, 25, 3))
    x[:, 5] = np.nan
    for kbone in KBONES:
        broken = np.isnan(compute(x, "k", skeleton, kbone=kbone)).any(axis=(0, 2))
        assert broken[5] and broken.sum() <= 3


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((4, 25, 3), np.int64), "int64"),
        (torch.zeros(4, 25, 3, dtype=torch.int32), "int32"),
        (np.zeros((4, 17, 3)), r"'ntu25' has 25 joints,? but .*\(4, 17, 3\) has 17"),
        (np.zeros((4, 25, 5)), r"shape \(4, 25, 5\) has 5 channels; expected 2 .*3 .*4"),
        (np.zeros((4, 25, 1)), "has 1 channels"),
        (np.zeros((25, 3)), r"needs the axes \(..., T, V, C\); got shape \(25, 3\)"),
        ([[[0.0]]], "got list"),
    ],
)
def test_refuses_clips_that_do_not_fit(x, message):
    with pytest.raises(ValueError, match=message):
        compute(x, "b", get_skeleton("ntu25"))


@pytest.mark.parametrize(
    "stream, options, message",
    [
        ("bone", {}, "unknown stream 'bone'.*known: j, b, k, jm, bm, km"),
        ("JM", {}, "unknown stream 'JM'; did you mean 'jm'"),
        ("k", {"kbone": "infogcn"}, "unknown K-bone 'infogcn'; expected 'grandparent' or 'infogcn:<k>'"),
        ("k", {"kbone": "infogcn:0"}, "k >= 1"),
        ("k", {"kbone": "infogcn:²"}, "k >= 1"),
        ("b", {"score_rule": "average"}, "unknown score_rule 'average'"),
        ("b", {"compat": "protogcm"}, "unknown compat 'protogcm'; did you mean 'protogcn'"),
        ("k", {"compat": "infogcn_ucla"}, "give kbone='infogcn:<k>'"),
    ],
)
def test_refuses_options_it_does_not_know(stream, options, message):
    with pytest.raises(ValueError, match=message):
        compute(np.zeros((4, 25, 3)), stream, get_skeleton("ntu25"), **options)


def test_refuses_a_mean_of_scores_that_are_not_there():
    with pytest.raises(ValueError, match=r"score_rule='mean' needs a score .*\(4, 17, 2\)"):
        compute(np.zeros((4, 17, 2)), "b", get_skeleton("coco17"), score_rule="mean")


def test_names():
    assert [check_stream(name) for name in STREAMS] == list(STREAMS)
    assert parse_kbone("grandparent") is None and parse_kbone("infogcn:12") == 12


@given(**TREES)
def test_streams_are_linear(random_tree, size, frames, seed):
    skeleton, rng = random_tree(size, seed), np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 2, frames, size, 3))
    a, b = rng.standard_normal(2)
    for kbone in ("grandparent", "infogcn:2"):
        both, ours, others = (compute_all(clip, skeleton, kbone=kbone) for clip in (a * x + b * y, x, y))
        for name in STREAMS:
            np.testing.assert_allclose(both[name], a * ours[name] + b * others[name], atol=1e-12)


@given(**TREES)
def test_bones_do_not_see_where_the_body_is_nor_motion_a_constant(random_tree, size, frames, seed):
    skeleton, rng = random_tree(size, seed), np.random.default_rng(seed)
    x, shift = rng.standard_normal((2, frames, size, 3)), rng.standard_normal(3)
    here, there = compute_all(x, skeleton), compute_all(x + shift, skeleton)
    for name in ("b", "k", "jm", "bm", "km"):
        np.testing.assert_allclose(here[name], there[name], atol=1e-12)
        assert not here[name][..., -1, :, :].any() or not name.endswith("m")
    still = compute_all(np.broadcast_to(x[:, :1], x.shape), skeleton)
    assert not any(still[name].any() for name in ("jm", "bm", "km"))
    assert not here["b"][..., skeleton.centre, :].any()


@given(**TREES)
def test_a_clip_can_be_rebuilt_from_its_bones_and_its_motion(random_tree, size, frames, seed):
    skeleton = random_tree(size, seed)
    x = np.random.default_rng(seed).standard_normal((frames, size, 3))
    streams = compute_all(x, skeleton)
    rebuilt = np.zeros_like(x)
    for joint in np.argsort(skeleton.depths, kind="stable"):
        above = skeleton.parents[joint]
        rebuilt[:, joint] = x[:, joint] if above < 0 else rebuilt[:, above] + streams["b"][:, joint]
    np.testing.assert_allclose(rebuilt, x, atol=1e-12)
    np.testing.assert_allclose(x[:1] + np.cumsum(streams["jm"], axis=0)[:-1], x[1:], atol=1e-12)


@given(**TREES)
def test_mirroring_the_labels_commutes_with_bones_of_a_mirrored_tree(random_tree, size, frames, seed):
    skeleton = random_tree(size, seed)
    order = skeleton.mirror_permutation
    parents = [-1 if skeleton.parents[joint] < 0 else int(order[skeleton.parents[joint]]) for joint in order]
    mirrored = type(skeleton)("mirrored", skeleton.joints, tuple(parents))
    x = np.random.default_rng(seed).standard_normal((frames, size, 3))
    for name in STREAMS:
        assert np.array_equal(compute(x[:, order], name, mirrored), compute(x, name, skeleton)[:, order])
