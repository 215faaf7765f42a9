"""Clips and skeletons in other libraries and other layouts."""

import networkx
import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool

from graphs.interop import SPATIAL, TEMPORAL, from_pyg, map_layout, to_networkx, to_pyg, to_pyg_frames
from graphs.layouts import get_skeleton, list_skeletons
from graphs.naming import places, plain_name, sides
from graphs.skeleton import Skeleton


def clip(name="ntu25", persons=2, frames=4, channels=3, dtype=np.float64, seed=0):
    shape = (persons, frames, get_skeleton(name).num_joints, channels)
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class TestGeometric:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("shape", [(1, 1), (2, 5)])
    def test_round_trip_is_exact(self, dtype, shape):
        x = clip(persons=shape[0], frames=shape[1], dtype=dtype)
        back = from_pyg(to_pyg(x, "ntu25")).numpy()
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, x)
        np.testing.assert_array_equal(from_pyg(to_pyg_frames(x, "ntu25")).numpy(), x)

    @pytest.mark.parametrize("name", list_skeletons())
    def test_structure(self, name):
        skeleton, persons, frames = get_skeleton(name), 2, 3
        graph = to_pyg(clip(name, persons, frames), skeleton, label=4)
        graph.validate()
        assert graph.is_undirected()
        joints = skeleton.num_joints
        spatial = graph.edge_index[:, graph.edge_type == SPATIAL]
        temporal = graph.edge_index[:, graph.edge_type == TEMPORAL]
        assert spatial.shape[1] == 2 * persons * frames * (joints - 1)
        assert temporal.shape[1] == 2 * persons * (frames - 1) * joints
        assert torch.equal(graph.frame[spatial[0]], graph.frame[spatial[1]])
        assert torch.equal(graph.joint[temporal[0]], graph.joint[temporal[1]])
        assert (graph.frame[temporal[0]] - graph.frame[temporal[1]]).abs().unique().tolist() == [1]
        assert torch.equal(graph.person[graph.edge_index[0]], graph.person[graph.edge_index[1]])
        bones = {tuple(sorted(pair)) for pair in graph.joint[spatial].T.tolist()}
        assert bones == {tuple(sorted(edge)) for edge in skeleton.edges}
        assert graph.y.tolist() == [4]

    def test_frames_have_no_time(self):
        frames = to_pyg_frames(clip(frames=6), "ntu25", label=1)
        assert len(frames) == 6
        assert all((frame.edge_type == SPATIAL).all() and frame.num_nodes == 50 for frame in frames)

    def test_batches_and_convolves(self):
        graphs = [to_pyg(clip(frames=frames, seed=frames, dtype=np.float32), "ntu25", frames) for frames in (2, 3, 5)]
        batch = next(iter(DataLoader(graphs, batch_size=3)))
        features = GCNConv(3, 8)(batch.x, batch.edge_index)
        assert global_mean_pool(features, batch.batch).shape == (3, 8)
        assert batch.y.tolist() == [2, 3, 5]
        for part, graph in zip(batch.to_data_list(), graphs, strict=True):
            assert torch.equal(from_pyg(part), from_pyg(graph))
        with pytest.raises(ValueError, match="to_data_list"):
            from_pyg(batch)

    def test_new_features_come_back_on_their_joints(self):
        graph = to_pyg(clip(), "ntu25")
        graph.x = graph.joint[:, None].double()
        assert from_pyg(graph)[1, 2, :, 0].tolist() == list(range(25))

    def test_gradient_passes(self):
        x = torch.from_numpy(clip()).requires_grad_()
        from_pyg(to_pyg(x, "ntu25")).sum().backward()
        assert torch.equal(x.grad, torch.ones_like(x))

    def test_refusals(self):
        with pytest.raises(ValueError, match="20 joints"):
            to_pyg(clip("ntu25"), "coco20")
        with pytest.raises(ValueError, match="one clip"):
            to_pyg(clip()[None], "ntu25")
        with pytest.raises(ValueError, match="empty list"):
            from_pyg([])
        graph = to_pyg(clip(), "ntu25")
        del graph.clip_shape
        with pytest.raises(ValueError, match="no clip_shape"):
            from_pyg(graph)


class TestNetworkx:
    @pytest.mark.parametrize("name", list_skeletons())
    def test_tree(self, name):
        skeleton = get_skeleton(name)
        graph = to_networkx(name)
        assert networkx.is_tree(graph)
        assert [graph.nodes[joint]["name"] for joint in graph] == list(skeleton.joints)
        depths = networkx.single_source_shortest_path_length(graph, skeleton.centre)
        assert all(graph.nodes[joint]["depth"] == depth for joint, depth in depths.items())

    def test_direction_sides_and_extra_edges(self):
        graph = to_networkx("coco17", directed=True, extra_edges=True)
        bones = graph.edge_subgraph(edge for edge in graph.edges if graph.edges[edge]["kind"] == "bone")
        assert networkx.is_arborescence(bones)
        assert graph.number_of_edges() == 16 + len(get_skeleton("coco17").extra_edges)
        assert (
            graph.nodes[5]["side"] == "left"
            and graph.nodes[6]["side"] == "right"
            and graph.nodes[0]["side"] == "centre"
        )


class TestNames:
    @pytest.mark.parametrize(
        "name, plain",
        [
            ("l_shoulder", "left_shoulder"),
            ("LShoulder", "left_shoulder"),
            ("shoulder_left", "left_shoulder"),
            ("Right Hip", "right_hip"),
            ("RightHandTip", "right_hand_tip"),
            ("hip_center", "hip_centre"),
            ("nose", "nose"),
            ("spine1", "spine1"),
        ],
    )
    def test_spelling(self, name, plain):
        assert plain_name(name) == plain

    def test_the_two_necks(self):
        assert places(get_skeleton("coco20"))[19] == "mid_shoulder"
        assert places(get_skeleton("ntu25"))[2] == "neck"
        assert places(get_skeleton("ntu25"))[20] == "mid_shoulder"

    @pytest.mark.parametrize("name", list_skeletons())
    def test_places_and_sides(self, name):
        skeleton = get_skeleton(name)
        assert len(set(places(skeleton))) == skeleton.num_joints
        for joint, side in zip(skeleton.joints, sides(skeleton), strict=True):
            assert joint.startswith(side) or side == "centre"


class TestMapLayout:
    @pytest.mark.parametrize("name", list_skeletons())
    def test_identity(self, name):
        x = clip(name)
        np.testing.assert_array_equal(map_layout(x, name, name), x)

    @pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-6), ("float16", 2e-3)])
    def test_virtual_joints_of_coco20(self, goldens, dtype, tolerance):
        with np.load(goldens / "data" / "augment.npz") as arrays:
            x = np.concatenate([arrays[f"kinetics/{dtype}/input"], arrays[f"kinetics/{dtype}/score"][..., None]], -1)
            expected = arrays[f"kinetics/{dtype}/out"]
        np.testing.assert_allclose(map_layout(x, "coco17", "coco20"), expected, rtol=tolerance, atol=tolerance)

    def test_kinect_versions(self):
        x = clip("ntu25")
        back = map_layout(x, "ntu25", "ucla20")
        source, target = get_skeleton("ntu25"), get_skeleton("ucla20")
        for ours, theirs in {
            "spine_base": "hip_centre",
            "spine_shoulder": "shoulder_centre",
            "left_hand": "left_hand",
        }.items():
            np.testing.assert_array_equal(back[..., target.index(theirs), :], x[..., source.index(ours), :])

    def test_torch_equals_numpy(self):
        x = clip("mediapipe33", dtype=np.float32)[None]
        mapped = map_layout(torch.from_numpy(x), "mediapipe33", "h36m17")
        assert mapped.shape == (1, 2, 4, 17, 3)
        np.testing.assert_allclose(mapped.numpy(), map_layout(x, "mediapipe33", "h36m17"), rtol=1e-6)

    def test_what_cannot_be_mapped_is_named(self):
        with pytest.raises(
            ValueError, match=r"coco17 has no joints to make left_hand, .*right_foot.* of ntu25.*missing='parent'"
        ):
            map_layout(clip("coco17"), "coco17", "ntu25")

    def test_missing_joints(self):
        x, target = clip("coco17"), get_skeleton("ntu25")
        hand, wrist = target.index("left_hand"), target.index("left_wrist")
        on_parent = map_layout(x, "coco17", "ntu25", missing="parent")
        np.testing.assert_array_equal(on_parent[..., hand, :], on_parent[..., wrist, :])
        np.testing.assert_array_equal(on_parent[..., wrist, :], x[..., 9, :])
        zero = map_layout(x, "coco17", "ntu25", missing="zero")
        assert not zero[..., hand, :].any()
        np.testing.assert_array_equal(zero[..., wrist, :], on_parent[..., wrist, :])
        with pytest.raises(ValueError, match="did you mean 'parent'"):
            map_layout(x, "coco17", "ntu25", missing="parents")

    def test_nothing_in_common(self):
        with pytest.raises(ValueError, match="nose"):
            map_layout(clip("hand21"), "hand21", "coco17", missing="parent")

    def test_nan_stays_on_its_joint(self):
        x = clip("coco17")
        x[..., 0, :] = np.nan
        mapped = map_layout(x, "coco17", "coco20")
        assert np.isnan(mapped[..., 0, :]).all()
        assert np.isfinite(mapped[..., 1:, :]).all()

    def test_own_spelling(self):
        own = Skeleton("own", ("Hips", "LHip", "RHip"), (-1, 0, 0), mirror=((1, 2),))
        x = clip("ntu25")
        source = get_skeleton("ntu25")
        expected = x[..., [source.index(name) for name in ("spine_base", "left_hip", "right_hip")], :]
        np.testing.assert_array_equal(map_layout(x, "ntu25", own), expected)
