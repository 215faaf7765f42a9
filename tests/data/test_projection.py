"""Pictures of 3-D poses: which way is up, what each view keeps, and that unseen joints stay unseen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.layouts import get_skeleton
from protogcn.data.projection import PICTURE, in_pixels, project, seen_joints, upright
from protogcn.data.synthetic import generate

NTU = get_skeleton("ntu25")
HEAD, LEFT_ANKLE, CENTRE = 3, 14, NTU.body_centre
(CLIP, *_) = (clip.keypoints for clip in generate("ntu25", actions=["wave"], subjects=1, views=[1], occlusion=0))


def whole(points):
    return np.ones(points.shape[:-1], dtype=bool)


@pytest.mark.parametrize(("up", "order", "sign"), [("y", [0, 1, 2], 1), ("z", [0, 2, 1], 1), ("-y", [0, 1, 2], -1)])
@pytest.mark.parametrize("said", [True, False])
def test_heads_are_up_whatever_the_axes(up, order, sign, said):
    stored = CLIP[..., order].astype(np.float16)
    stored[..., "xyz".index(up[-1])] *= sign
    before = stored.copy()
    out = upright(stored, NTU, up if said else "")
    assert out.dtype == np.float16
    np.testing.assert_array_equal(out, CLIP.astype(np.float16))
    np.testing.assert_array_equal(stored, before)


def test_axis_of_the_camera_is_never_up():
    lying = CLIP[..., [0, 2, 1]]
    assert np.array_equal(upright(lying, NTU)[..., 1], CLIP[..., 1])
    assert np.array_equal(upright(lying, NTU, camera=True), lying)
    assert np.array_equal(upright(lying, NTU, "z", camera=True), CLIP)


@pytest.mark.parametrize("view", ["front", "side", "camera"])
def test_heads_are_above_feet(view):
    points = project(CLIP, whole(CLIP), view)
    assert (points[..., HEAD, 1] < points[..., LEFT_ANKLE, 1]).all()


def test_what_each_view_shows():
    x = CLIP.astype(np.float64)
    for view, across, down in (("front", 0, 1), ("side", 2, 1), ("top", 0, 2)):
        np.testing.assert_array_equal(project(CLIP, whole(CLIP), view), x[..., [across, down]] * [1, -1])
    np.testing.assert_allclose(project(CLIP, whole(CLIP), "camera"), x[..., :2] / x[..., 2:] * [1, -1])


def test_camera_may_look_along_either_direction():
    behind = CLIP * [1, 1, -1]
    np.testing.assert_allclose(project(behind, whole(CLIP), "camera"), project(CLIP, whole(CLIP), "camera"))
    with pytest.raises(ValueError, match="projection to front"):
        project(CLIP - CLIP[0, 0, CENTRE], whole(CLIP), "camera")


def test_near_joints_of_a_turned_clip_stay_in_front_of_the_camera():
    wide = CLIP.copy()
    wide[:, :, HEAD, 0] += 50
    points = project(wide, whole(wide), "camera", np.radians([0, 60, 0]))
    assert np.isfinite(points).all() and np.abs(points).max() < 500


def test_turns_keep_heights_and_tilts_keep_the_horizontal():
    turned = project(CLIP, whole(CLIP), "front", np.radians([0, 40, 0]))
    still = project(CLIP, whole(CLIP), "front")
    np.testing.assert_allclose(turned[..., 1], still[..., 1], atol=1e-6)
    assert np.abs(turned[..., 0] - still[..., 0]).max() > 0.05
    tilted = project(CLIP, whole(CLIP), "front", np.radians([30, 0, 0]))
    np.testing.assert_allclose(tilted[..., 0], still[..., 0], atol=1e-6)


def test_tilting_comes_after_turning():
    turned = project(CLIP, whole(CLIP), "front", np.radians([0, 40, 0]))
    both = project(CLIP, whole(CLIP), "front", np.radians([20, 40, 0]))
    np.testing.assert_allclose(both[..., 0], turned[..., 0], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.sampled_from(["front", "side", "top"]), st.floats(1e-3, 1e3))
def test_pictures_keep_the_shape_of_a_clip(seed, share, view, size):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 4, 25, 3)) * size
    mask = rng.random(x.shape[:-1]) < share
    x[~mask] = 0
    plane = project(x, mask, view)
    out = in_pixels(plane, mask)
    assert out.dtype == np.float32 and (out[mask] > 0).all() and not out[~mask].any()
    assert (out < np.array(PICTURE[::-1])).all()
    if mask.sum() > 1:
        extents = np.ptp(out[mask], axis=0)
        assert extents.max() == pytest.approx(256, rel=1e-4)
        np.testing.assert_allclose(
            extents / extents.max(), np.ptp(plane[mask], axis=0) / np.ptp(plane[mask], axis=0).max()
        )


def test_a_point_stands_in_the_middle():
    mask = np.zeros((1, 1, 25), dtype=bool)
    mask[0, 0, 3] = True
    out = in_pixels(np.full((1, 1, 25, 2), 7.0), mask)
    assert out[0, 0, 3].tolist() == [160, 160] and not out[~mask].any()


def test_lost_joints_and_absent_persons_are_unseen():
    x = np.concatenate([CLIP, np.zeros_like(CLIP)])
    x[0, 2, 7] = 0
    mask = seen_joints(x, NTU)
    assert mask[0].sum() == mask[0].size - 1 and not mask[0, 2, 7] and not mask[1].any()


def test_centre_at_the_origin_was_seen():
    x = np.concatenate([CLIP, np.zeros_like(CLIP)]) - CLIP[0, :, CENTRE][:, None]
    x[1] = 0
    x[0, 2, 7] = 0
    mask = seen_joints(x, NTU)
    assert mask[0, :, CENTRE].all() and not mask[0, 2, 7] and not mask[1].any()
    lost = CLIP.copy()
    lost[:, :, CENTRE] = 0
    assert not seen_joints(lost, NTU)[..., CENTRE].any(), "metres from the camera, the origin is no place for a body"
