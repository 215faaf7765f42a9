"""Pictures: what they show, on what scale, and what they refuse."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from graphs.artists import StreamPanel
from graphs.draw import (
    STREAM_TITLES,
    animate_clip,
    animate_streams,
    draw_links,
    draw_skeleton,
    draw_streams,
    draw_topology,
)
from graphs.layouts import get_skeleton, list_skeletons
from graphs.poses import reference_pose
from graphs.skeleton import Skeleton
from graphs.streams import STREAMS, compute
from graphs.views import guess_up, make_view, seen

NTU = get_skeleton("ntu25")


def walk(skeleton="ntu25", persons=1, frames=6):
    """The standing figure, swaying to its left; persons stand two metres apart."""
    pose = reference_pose(get_skeleton(skeleton))
    clip = np.repeat(np.repeat(pose[None, None], persons, 0), frames, 1)
    clip[..., 0] += np.linspace(0, 0.5, frames)[:, None] * pose[:, 1] + 2 * np.arange(persons)[:, None, None]
    return clip


def bones(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


def paint(figure):
    """Draw for real: some mistakes only show then."""
    figure.canvas.draw()
    return figure


class TestReferencePose:
    @pytest.mark.parametrize("name", list_skeletons())
    def test_joints_are_apart_and_sides_mirror(self, name):
        skeleton = get_skeleton(name)
        pose = reference_pose(skeleton)
        assert np.isfinite(pose).all()
        distance = np.linalg.norm(pose[:, None] - pose, axis=-1) + np.eye(len(pose))
        assert distance.min() > 0.004
        mirrored = pose[skeleton.mirror_permutation] * [-1, 1, 1]
        np.testing.assert_allclose(mirrored if skeleton.mirror else pose, pose, atol=1e-12)

    def test_left_is_to_the_right_of_the_viewer(self):
        pose = reference_pose(NTU)
        assert pose[NTU.index("left_hand"), 0] > 0 > pose[NTU.index("right_hand"), 0]

    def test_unknown_names_become_a_tree(self):
        star = Skeleton("star", tuple("abcdefg"), (-1, 0, 0, 0, 1, 2, 3))
        pose = reference_pose(star)
        np.testing.assert_allclose(np.linalg.norm(pose, axis=1), 0.3 * star.depths, atol=1e-12)
        assert len(np.unique(pose.round(6), axis=0)) == 7

    def test_unknown_root_stands_amid_its_children(self):
        skeleton = Skeleton("desk", ("gadget", "head", "pelvis", "left_hand", "right_hand"), (-1, 0, 0, 0, 0))
        pose = reference_pose(skeleton)
        np.testing.assert_allclose(pose[0], pose[1:].mean(0))
        assert pose[2, 1] < pose[0, 1] < pose[1, 1]

    def test_one_unknown_name_continues_its_limb(self):
        names = (*get_skeleton("coco17").joints, "left_gadget")
        skeleton = Skeleton("gadget", names, (*get_skeleton("coco17").parents, 9))
        pose = reference_pose(skeleton)
        forearm = pose[9] - pose[7]
        np.testing.assert_allclose(pose[17] - pose[9], forearm / 2)


class TestView:
    @pytest.mark.parametrize("axis, sign, up", [(1, 1, "y"), (1, -1, "-y"), (2, 1, "z"), (0, -1, "-x")])
    def test_up_is_where_the_head_is(self, axis, sign, up):
        clip = np.zeros((1, 4, 25, 3))
        clip[..., axis] = sign * reference_pose(NTU)[:, 1]
        clip[..., (axis + 1) % 3] = 0.1 * reference_pose(NTU)[:, 0]
        assert guess_up(clip, seen(clip, "xyz"), NTU) == up
        head, foot = make_view(clip, NTU).points[0, 0, [NTU.index("head"), NTU.index("left_foot")], 2]
        assert head > foot

    def test_lying_person_follows_the_custom(self):
        clip = np.ones((1, 1, 25, 3))
        assert guess_up(clip, seen(clip, "xyz"), NTU) == "y"
        assert guess_up(clip[:, :, :21], seen(clip[:, :, :21], "xyz"), get_skeleton("hand21")) == "-y"

    def test_image_is_upside_down_and_unseen_joints_are_gone(self):
        clip = np.random.default_rng(0).uniform(10, 200, (2, 3, 17, 3))
        clip[0, 0, 3, :2] = 0
        clip[0, 1, 4, 2] = 0
        clip[0, 2, 5, 0] = np.nan
        clip[1, 1] = 0
        points = make_view(clip, get_skeleton("coco17")).points
        assert points.shape == (2, 3, 17, 2)
        gone = np.isnan(points).any(-1)
        assert gone[0].sum() == 3 and gone[1, 1].all() and gone[1, [0, 2]].sum() == 0
        np.testing.assert_array_equal(points[0, 0, 0], [clip[0, 0, 0, 0], -clip[0, 0, 0, 1]])

    def test_centred_joint_is_seen(self):
        clip = walk() - walk()[:, :1, 20:21]
        assert np.isfinite(make_view(clip, NTU).points).all()

    def test_refusals(self):
        with pytest.raises(ValueError, match="25 joints of 'ntu25'"):
            make_view(np.zeros((2, 3, 20, 3)), NTU)
        with pytest.raises(ValueError, match="channels 'xyz' need"):
            make_view(np.ones((25, 2)), NTU, channels="xyz")
        with pytest.raises(ValueError, match="2 dimensions, got 3"):
            make_view(np.ones((25, 2)), NTU, dims=3)
        with pytest.raises(ValueError, match="unknown channels 'xyzs'"):
            make_view(np.ones((25, 4)), NTU, channels="xyzs")
        with pytest.raises(ValueError, match="unknown up direction 'up'"):
            make_view(np.ones((25, 3)), NTU, up="up")


class TestSkeleton:
    @pytest.mark.parametrize("name", list_skeletons())
    def test_every_layout(self, name):
        skeleton = get_skeleton(name)
        (ax,) = paint(draw_skeleton(None, name, names=True)).axes
        drawn = {len(lines.get_segments()) for lines in bones(ax)}
        assert len(skeleton.edges) in drawn
        written = {word for text in ax.texts for word in text.get_text().split() if not word.isdigit()}
        assert written == set(skeleton.joints)

    @pytest.mark.parametrize("dims", [2, 3])
    @pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
    def test_clip(self, dims, make):
        figure = paint(draw_skeleton(make(walk(persons=2)), "ntu25", -1, dims=dims, names=True, title="two"))
        assert isinstance(figure, Figure)
        (ax,) = figure.axes
        assert hasattr(ax, "get_zlim") == (dims == 3)
        assert ax.get_title() == "two"

    def test_scales_are_equal_and_cover_the_whole_clip(self):
        clip = walk(frames=30)
        (ax,) = draw_skeleton(clip, "ntu25", 0, dims=2).axes
        assert ax.get_aspect() == 1
        assert ax.get_xlim()[0] < clip[..., 0].min() and ax.get_xlim()[1] > clip[..., 0].max()

    def test_own_axes(self):
        figure = Figure()
        ax = figure.add_subplot()
        assert draw_skeleton(walk(), "ntu25", ax=ax) is figure
        assert len(bones(ax)) == 2

    def test_absent_person_leaves_no_mark(self):
        clip = walk(persons=2)
        clip[1] = 0
        (ax,) = paint(draw_skeleton(clip, "ntu25", dims=2)).axes
        drawn = [sum(len(segment) == 2 for segment in lines.get_segments()) for lines in bones(ax)]
        assert drawn == [0, 24, 0, 0]
        paint(draw_skeleton(clip, "ntu25"))

    @pytest.mark.parametrize("dims", [2, 3])
    def test_nobody(self, dims):
        paint(draw_skeleton(np.zeros((2, 3, 25, 3)), "ntu25", dims=dims))

    def test_missing_frame(self):
        with pytest.raises(ValueError, match=r"frames 0\.\.5, got frame 6"):
            draw_skeleton(walk(), "ntu25", 6)


class TestTopology:
    def test_partitions_share_a_scale(self):
        figure = paint(draw_topology(NTU.adjacency("spatial"), NTU, titles=["self", "inward", "outward"]))
        maps = [ax for ax in figure.axes if ax.images]
        assert [ax.get_title() for ax in maps] == ["self", "inward", "outward"]
        assert {ax.images[0].get_clim() for ax in maps} == {(0.0, 1.0)}
        np.testing.assert_array_equal(maps[1].images[0].get_array(), NTU.adjacency("spatial")[1])
        assert [label.get_text() for label in maps[0].get_yticklabels()] == list(NTU.joints)

    def test_signed_scale_is_symmetric(self):
        topology = torch.randn(6, 17, 17, generator=torch.Generator().manual_seed(0), requires_grad=True)
        figure = paint(draw_topology(topology, "coco17"))
        low, high = next(ax for ax in figure.axes if ax.images).images[0].get_clim()
        assert low == -high == pytest.approx(-topology.abs().max().item())

    def test_one_matrix_without_names(self):
        paint(draw_topology(np.zeros((5, 5))))

    def test_refusals(self):
        with pytest.raises(ValueError, match="expected a topology"):
            draw_topology(np.zeros((3, 4)))
        with pytest.raises(ValueError, match="17 joints, the topology has 25"):
            draw_topology(np.eye(25), "coco17")
        with pytest.raises(ValueError, match="expected 3 titles"):
            draw_topology(NTU.adjacency("spatial"), titles=["self"])


class TestStreams:
    def test_six_panels(self):
        figure = paint(draw_streams(walk(persons=2), "ntu25"))
        titles = [ax.get_title().split("  ×")[0] for ax in figure.axes]
        assert titles == [STREAM_TITLES[name] for name in STREAMS]

    def test_bones_point_from_parent_to_joint(self):
        clip = walk()
        (ax,) = paint(draw_streams(clip, "ntu25", 2, streams=["b"])).axes
        (arrows,) = [c for c in ax.collections if hasattr(c, "U")]
        heads = arrows.get_offsets() + np.stack([arrows.U, arrows.V], 1)
        joints = np.array(NTU.edges)[:, 0]
        expected = clip[0, 2, :, :2]
        assert len(heads) <= len(joints)
        for head in heads:
            assert np.abs(expected - head).sum(1).min() < 1e-9

    def test_strip(self):
        figure = paint(draw_streams(walk(), "ntu25", [0, 2, -1], streams=("j", "jm")))
        assert len(figure.axes) == 6
        assert [t.get_text() for ax in figure.axes[3:] for t in ax.texts] == ["frame 0", "frame 2", "frame 5"]

    def test_scores_and_still_clips(self):
        clip = np.full((1, 1, 17, 3), 0.5)
        clip[..., :2] = 100 * np.abs(reference_pose(get_skeleton("coco17"))[:, :2])
        paint(draw_streams(clip, "coco17", kbone="infogcn:2"))

    def test_refusals(self):
        with pytest.raises(ValueError, match="unknown stream"):
            draw_streams(walk(), "ntu25", streams=["joint"])
        with pytest.raises(ValueError, match=r"frames 0\.\.5, got \[9\]"):
            draw_streams(walk(), "ntu25", 9)


class TestLinks:
    def test_strongest_links_are_drawn_from_row_to_column(self):
        topology = np.zeros((25, 25))
        topology[3, 7], topology[10, 2], topology[5, 6], topology[8, 8] = 1.0, -0.5, 0.1, 9.0
        (ax,) = paint(draw_links(topology, "ntu25", count=2)).axes
        pose = reference_pose(NTU)[:, :2]
        links = sorted((tuple(arrow._posA_posB[0]), tuple(arrow._posA_posB[1])) for arrow in ax.patches)
        assert links == sorted((tuple(pose[a]), tuple(pose[b])) for a, b in [(3, 7), (10, 2)])
        strong, weak = sorted(ax.patches, key=lambda arrow: -arrow.get_linewidth())
        assert strong.get_edgecolor()[0] > 0.6 and weak.get_edgecolor()[2] > weak.get_edgecolor()[0]

    def test_several_maps_over_a_clip(self):
        topology = torch.rand(3, 25, 25)
        topology[:, :, 5], topology[:, 5] = 0, 9
        clip = walk(persons=2)
        clip[0, -1, 5] = np.nan
        figure = paint(draw_links(topology.requires_grad_(), NTU, clip, -1, titles=list("abc"), count=30))
        assert [ax.get_title() for ax in figure.axes] == list("abc")
        # Of the thirty strongest links the 24 of the joint that was not seen stay away.
        assert [len(ax.patches) for ax in figure.axes] == [6, 6, 6]

    def test_nothing_to_draw(self):
        (ax,) = paint(draw_links(np.eye(5), Skeleton("star", tuple("abcde"), (-1, 0, 0, 0, 0)), count=0)).axes
        assert not ax.patches

    def test_refusals(self):
        with pytest.raises(ValueError, match="25 joints, the topology has 17"):
            draw_links(np.eye(17), "ntu25")
        with pytest.raises(ValueError, match=r"frames 0\.\.5, got frame 6"):
            draw_links(np.eye(25), "ntu25", walk(), 6)
        with pytest.raises(ValueError, match="expected 1 titles"):
            draw_links(np.eye(25), "ntu25", titles=["a", "b"])


class TestAnimation:
    @pytest.mark.parametrize("dims, spin", [(2, 0.0), (3, 30.0)])
    @pytest.mark.parametrize("ending", [".gif", ".png"])
    def test_file_has_every_frame(self, tmp_path, dims, spin, ending):
        path = tmp_path / f"walk{ending}"
        clip = walk(persons=2, frames=4)
        clip[1, :2] = 0
        assert isinstance(animate_clip(clip, "ntu25", 10, path, dims=dims, spin=spin), FuncAnimation)
        with Image.open(path) as image:
            assert image.n_frames == 4
            assert image.info["duration"] == 100
            first = np.asarray(image.convert("RGB"))
            assert (first[0, 0] == 255).all()
            image.seek(3)
            assert (first != np.asarray(image.convert("RGB"))).any()

    def test_html_stands_alone(self, tmp_path):
        path = tmp_path / "walk.html"
        animate_clip(torch.as_tensor(walk(frames=3)), "ntu25", path=str(path), dims=2)
        page = path.read_text(encoding="utf-8")
        assert page.count("data:image/png;base64") == 3

    def test_other_endings_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"\.gif, \.png or \.html, got .*walk\.mov"):
            animate_clip(walk(), "ntu25", path=tmp_path / "walk.mov")

    def test_streams_move_side_by_side(self, tmp_path):
        path = tmp_path / "streams.png"
        clip = walk(persons=2, frames=3)
        clip[1] = 0
        animate_streams(clip, "ntu25", 10, path, width=3.0)
        with Image.open(path) as image:
            assert (image.n_frames, image.width) == (3, 300)
            first = np.asarray(image.convert("RGB"))
            image.seek(1)
            changed = (first != np.asarray(image.convert("RGB"))).any(-1)
        thirds = np.split(changed, 3, axis=1)
        assert all(third[: len(third) // 2].any() and third[len(third) // 2 :].any() for third in thirds)

    def test_one_panel_for_each_stream(self, tmp_path):
        path = tmp_path / "streams.gif"
        animate_streams(walk(frames=2), "ntu25", 10, path, streams=["b", "km"], width=2.0)
        with Image.open(path) as image:
            assert image.n_frames == 2 and image.width == 200 > image.height

    def test_arrows_of_a_frame_replace_those_before(self):
        clip = walk(frames=4)
        view = make_view(clip, NTU, 2)
        ax = Figure().add_subplot()
        panel = StreamPanel(ax, NTU, "b", view, compute(view.points, "b", NTU), 1.0)
        for frame in (0, 3):
            panel.show(frame)
        (arrows,) = [c for c in ax.collections if hasattr(c, "U")]
        for head in arrows.get_offsets() + np.stack([arrows.U, arrows.V], 1):
            assert np.abs(clip[0, 3, :, :2] - head).sum(1).min() < 1e-9


def test_import_is_light():
    heavy = "{'matplotlib', 'torch', 'networkx', 'torch_geometric', 'sklearn'}"
    code = (
        f"import sys, graphs.draw, graphs.interop, graphs.augment; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
