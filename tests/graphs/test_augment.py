"""Random transforms of clips: the published numbers, purity, batches, numpy and torch alike."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import augment
from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton

LAYOUT = {"nturgb+d": "ntu25", "nw_ucla": "ucla20", "openpose": "openpose18"}
NTU_PARTS = [{4, 5, 6, 7, 21, 22}, {12, 13, 14, 15}, {8, 9, 10, 11, 23, 24}, {16, 17, 18, 19}]


@pytest.fixture(scope="module")
def recorded(goldens):
    with np.load(goldens / "data" / "augment.npz") as arrays:
        return dict(arrays), json.loads((goldens / "data" / "augment.json").read_text())["cases"]


def clips(samples=3, persons=2, frames=5, skeleton="ntu25", channels=3, seed=0):
    shape = (samples, persons, frames, get_skeleton(skeleton).num_joints, channels)
    return np.random.default_rng(seed).standard_normal(shape)


# name -> (draw for a size, apply); every transform with parameters that make it act
SKELETON = get_skeleton("ntu25")
TRANSFORMS = {
    "rotate": (lambda rng, n: augment.draw_rotation(rng, 0.3, size=n), augment.rotate),
    "scale": (lambda rng, n: augment.draw_scale(rng, 0.2, size=n), augment.scale),
    "shear": (lambda rng, n: augment.draw_shear(rng, 0.5, size=n), augment.shear),
    "noise": (lambda rng, n: augment.draw_noise(rng, 2, 5, 25, size=n), augment.noise),
    "noise shared": (
        lambda rng, n: augment.draw_noise(rng, 2, 5, 25, size=n, shared=True),
        lambda x, draw: augment.noise(x, draw, 0.05, "video"),
    ),
    "flip": (lambda rng, n: augment.draw_flip(rng, size=n), lambda x, hit: augment.flip(x, SKELETON, hit)),
    "relabel": (
        lambda rng, n: augment.draw_flip(rng, size=n),
        lambda x, hit: augment.flip(x, SKELETON, hit, mirror=False),
    ),
    "flip about": (
        lambda rng, n: augment.draw_flip(rng, size=n),
        lambda x, hit: augment.flip(x, SKELETON, hit, axis=1, centre=0.7),
    ),
    "flip image": (
        lambda rng, n: augment.draw_flip(rng, size=n),
        lambda x, hit: augment.flip_image(x, SKELETON, 320, hit),
    ),
    "part drop": (
        lambda rng, n: augment.draw_part_drop(rng, SKELETON, 0.8, size=n),
        lambda x, part: augment.part_drop(x, SKELETON, part),
    ),
    "joint dropout": (lambda rng, n: augment.draw_joint_dropout(rng, 25, 0.3, size=n), augment.joint_dropout),
    "frame dropout": (lambda rng, n: augment.draw_frame_dropout(rng, 5, 0.5, size=n), augment.frame_dropout),
    "frame hold": (
        lambda rng, n: augment.draw_frame_dropout(rng, 5, 0.5, size=n),
        lambda x, keep: augment.frame_dropout(x, keep, "hold"),
    ),
}
every_transform = pytest.mark.parametrize("draw, apply", TRANSFORMS.values(), ids=TRANSFORMS)


class TestPublishedNumbers:
    @pytest.mark.parametrize("case", ["rot/theta0.2/seed1", "rot/theta0.3/seed2", "rot/2d", "rot/float16"])
    def test_rotation(self, recorded, case):
        arrays, _ = recorded
        x = arrays[f"{case}/input"].astype(np.float64)
        out = augment.rotate(x, arrays[f"{case}/angles"])
        np.testing.assert_allclose(out, arrays[f"{case}/out"], rtol=1e-12, atol=1e-13)
        if f"{case}/matrix" in arrays:
            matrix = augment.rotation_matrix(arrays[f"{case}/angles"])
            np.testing.assert_allclose(matrix, arrays[f"{case}/matrix"], rtol=1e-14, atol=1e-16)

    @pytest.mark.parametrize("amount", [0.1, 0.2])
    def test_scale(self, recorded, amount):
        arrays, case = recorded[0], f"scale/{amount}"
        out = augment.scale(arrays[f"{case}/input"], 1 + arrays[f"{case}/draw"] * amount)
        np.testing.assert_allclose(out, arrays[f"{case}/out"], rtol=1e-12)

    @pytest.mark.parametrize("case", ["noise/sigma0.01_baseframe", "noise/sigma0.02_basevideo_sharedTrue"])
    def test_noise(self, recorded, case):
        arrays, cases = recorded
        x, options = arrays[f"{case}/input"], cases[case]["args"]
        direction = arrays[f"{case}/draw_uniform"]
        vectors = (direction / np.linalg.norm(direction, axis=0)).T * arrays[f"{case}/draw_randn"].reshape(-1, 1)
        shape = (1, 1, 25, 3) if options.get("shared") else x.shape
        out = augment.noise(x, vectors.reshape(shape), options["sigma"], options["base"])
        np.testing.assert_allclose(out, arrays[f"{case}/out"], rtol=1e-12)
        assert not out[1, 2].any()

    @pytest.mark.parametrize("layout", LAYOUT)
    def test_label_swap(self, recorded, layout):
        arrays, case = recorded[0], f"spatial_flip/{layout}"
        out = augment.flip(arrays[f"{case}/input"], get_skeleton(LAYOUT[layout]), mirror=False)
        np.testing.assert_array_equal(out, arrays[f"{case}/out"])

    def test_image_flip(self, recorded):
        arrays, cases = recorded
        width = cases["flip2d"]["img_shape"][1]
        with_score = np.concatenate([arrays["flip2d/input"], arrays["flip2d/score"][..., None]], -1)
        out = augment.flip_image(with_score, get_skeleton("coco17"), width)
        np.testing.assert_array_equal(out[..., :2], arrays["flip2d/out"])
        np.testing.assert_array_equal(out[..., 2], arrays["flip2d/score_out"])

    @pytest.mark.parametrize("part", range(4))
    def test_part_drop(self, recorded, part):
        arrays, case = recorded[0], f"part_drop/part{part}"
        index = [set(joints) for joints in SKELETON.parts.values()].index(NTU_PARTS[part])
        out = augment.part_drop(arrays[f"{case}/input"], SKELETON, index)
        np.testing.assert_array_equal(out, arrays[f"{case}/out"])


class TestEveryTransform:
    @every_transform
    def test_batch_equals_each_sample(self, draw, apply):
        x, drawn = clips(), draw(np.random.default_rng(1), 3)
        out = apply(x, drawn)
        assert not np.array_equal(out, x)
        for sample in range(3):
            np.testing.assert_allclose(out[sample], apply(x[sample], drawn[sample]), rtol=1e-13)

    @every_transform
    def test_more_leading_axes(self, draw, apply):
        x, drawn = clips(6), draw(np.random.default_rng(1), 6)
        folded = apply(x.reshape(3, 2, *x.shape[1:]), np.reshape(drawn, (3, 2, *np.shape(drawn)[1:])))
        np.testing.assert_allclose(folded.reshape(x.shape), apply(x, drawn), rtol=1e-13)

    @every_transform
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_torch_equals_numpy(self, draw, apply, dtype):
        x, drawn = clips().astype(dtype), draw(np.random.default_rng(1), 3)
        out = apply(torch.from_numpy(x), drawn)
        assert out.dtype == torch.from_numpy(x).dtype
        np.testing.assert_allclose(out.numpy(), apply(x, drawn), rtol=1e-12 if dtype is np.float64 else 2e-5, atol=1e-6)
        on_device = apply(torch.from_numpy(x), torch.as_tensor(drawn))
        np.testing.assert_allclose(on_device.numpy(), out.numpy(), rtol=2e-5, atol=1e-6)

    @every_transform
    @pytest.mark.parametrize("size", [None, 3])
    def test_input_is_left_alone(self, draw, apply, size):
        x = clips()
        x.setflags(write=False)
        apply(x, draw(np.random.default_rng(1), size))

    @every_transform
    def test_keeps_type_and_shape(self, draw, apply):
        x = clips().astype(np.float16)
        out = apply(x, draw(np.random.default_rng(1), None))
        assert out.dtype == np.float16
        assert out.shape == x.shape

    @every_transform
    def test_never_waits_for_the_device(self, draw, apply):
        # A meta tensor has no values: whatever would read one on the host fails here.
        drawn = draw(np.random.default_rng(1), 3)
        x = torch.empty(3, 2, 5, 25, 3, device="meta")
        assert apply(x, drawn).shape == x.shape
        assert apply(x, torch.as_tensor(drawn).to("meta")).device.type == "meta"

    @every_transform
    def test_gradient(self, draw, apply):
        x = torch.from_numpy(clips()).requires_grad_()
        apply(x, draw(np.random.default_rng(1), 3)).square().sum().backward()
        assert torch.isfinite(x.grad).all()

    @every_transform
    def test_draw_is_reproducible(self, draw, apply):
        first, again = (draw(np.random.default_rng(7), 4) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert np.shape(first)[0] == 4

    @every_transform
    def test_wrong_number_of_samples(self, draw, apply):
        with pytest.raises(ValueError, match="size="):
            apply(clips(3), draw(np.random.default_rng(1), 4))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    @every_transform
    def test_cuda_does_not_synchronise(self, draw, apply):
        x, drawn = torch.from_numpy(clips()).cuda(), draw(np.random.default_rng(1), 3)
        expected = apply(x.cpu(), drawn)
        torch.cuda.set_sync_debug_mode("error")
        try:
            out = apply(x, drawn)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(out.cpu(), expected)


class TestGeometry:
    @given(angles=st.lists(st.floats(-4, 4), min_size=3, max_size=3))
    @settings(max_examples=30, deadline=None)
    def test_rotation_is_orthonormal(self, angles):
        matrix = augment.rotation_matrix(angles)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)

    def test_score_is_not_a_coordinate(self):
        x = clips(skeleton="coco17", seed=2)
        for out in (
            augment.rotate(x, 0.4, dims=2),
            augment.scale(x, np.array([1.2, 0.8])),
            augment.shear(x, augment.draw_shear(np.random.default_rng(0), 0.5, 2)),
            augment.noise(x, augment.draw_noise(np.random.default_rng(0), 2, 5, 17, 2)),
        ):
            np.testing.assert_array_equal(out[..., 2], x[..., 2])
            assert not np.array_equal(out[..., :2], x[..., :2])

    def test_isotropic_scale(self):
        factors = augment.draw_scale(np.random.default_rng(0), 0.5, size=10, isotropic=True)
        assert factors.shape == (10, 3)
        assert (factors == factors[:, :1]).all()
        assert len(np.unique(factors)) == 10

    def test_no_channel_for_the_factors(self):
        with pytest.raises(ValueError, match="3 channels do not fit a clip of 2"):
            augment.scale(clips(channels=2), np.ones(3))

    def test_bad_angles(self):
        with pytest.raises(ValueError, match="dims=2"):
            augment.rotation_matrix(0.3)
        with pytest.raises(ValueError, match="got 4"):
            augment.rotate(clips(channels=4), np.zeros(3))

    def test_integers_are_refused(self):
        with pytest.raises(ValueError, match="floating array"):
            augment.scale(np.zeros((1, 2, 25, 3), dtype=int), 1.0)

    def test_noise_of_an_empty_batch_is_finite(self):
        x = np.zeros((2, 2, 5, 25, 3))
        for base in ("frame", "video"):
            assert not augment.noise(x, augment.draw_noise(np.random.default_rng(0), 2, 5, 25), 0.1, base).any()

    def test_base_typo(self):
        with pytest.raises(ValueError, match="did you mean 'frame'"):
            augment.noise(clips(), 0.0 * clips()[0], base="frames")


class TestFlip:
    @pytest.mark.parametrize("name", list_skeletons())
    @pytest.mark.parametrize("options", [{}, {"mirror": False}, {"axis": 1, "centre": 0.3}])
    def test_twice_is_identity(self, name, options):
        x, skeleton = clips(skeleton=name), get_skeleton(name)
        twice = augment.flip(augment.flip(x, skeleton, **options), skeleton, **options)
        np.testing.assert_allclose(twice, x, atol=1e-14)

    def test_mirror_keeps_distances_and_sides(self):
        x = clips()
        out = augment.flip(x, SKELETON)
        left, right = SKELETON.mirror[0]
        np.testing.assert_array_equal(out[..., left, 0], -x[..., right, 0])
        np.testing.assert_array_equal(out[..., left, 1:], x[..., right, 1:])

    def test_centre_per_sample_and_unseen_joints(self):
        x = clips()
        x[:, 1] = 0
        centre = np.array([0.0, 1.0, 2.0])
        out = augment.flip(x, SKELETON, centre=centre)
        assert not out[:, 1].any()
        np.testing.assert_allclose(out[2], augment.flip(x[2], SKELETON, centre=2.0))

    def test_image_width_per_sample(self):
        x = np.abs(clips(skeleton="coco17", channels=2)) * 50
        x[..., 3, :] = 0
        out = augment.flip_image(x, get_skeleton("coco17"), np.array([100, 200, 300]), np.array([True, False, True]))
        np.testing.assert_array_equal(out[1], x[1])
        np.testing.assert_array_equal(out[2], augment.flip_image(x[2], get_skeleton("coco17"), 300))
        assert not out[0, ..., 4, :].any()

    def test_wrong_layout(self):
        with pytest.raises(ValueError, match=r"coco17.*17 joints.*has 25"):
            augment.flip(clips(), get_skeleton("coco17"))

    def test_draw(self):
        hits = augment.draw_flip(np.random.default_rng(0), 0.25, 4000)
        assert hits.dtype == bool
        assert hits.mean() == pytest.approx(0.25, abs=0.03)
        assert augment.draw_flip(np.random.default_rng(0), 1.0) is True
        assert augment.draw_flip(np.random.default_rng(0), 0.0) is False


class TestOcclusion:
    @pytest.mark.parametrize("name", [name for name in list_skeletons() if get_skeleton(name).parts])
    def test_parts_in_every_layout(self, name):
        x, skeleton = clips(skeleton=name), get_skeleton(name)
        for part, joints in skeleton.parts.items():
            out = augment.part_drop(x, skeleton, part)
            gone = np.isin(np.arange(skeleton.num_joints), joints)
            assert not out[..., gone, :].any()
            np.testing.assert_array_equal(out[..., ~gone, :], x[..., ~gone, :])

    @pytest.mark.parametrize("part", [None, -1, augment.NO_PART, np.full(3, -1), torch.full((3,), -1)])
    def test_no_part(self, part):
        x = torch.from_numpy(clips())
        torch.testing.assert_close(augment.part_drop(x, SKELETON, part), x)

    def test_nan_joints_are_dropped_too(self):
        x = np.full((1, 2, 25, 3), np.nan)
        joints = next(iter(SKELETON.parts.values()))
        assert not augment.part_drop(x, SKELETON, 0)[..., list(joints), :].any()

    def test_unknown_parts(self):
        name = next(iter(SKELETON.parts))
        with pytest.raises(ValueError, match=f"did you mean '{name}'"):
            augment.part_drop(clips(), SKELETON, name[:-1])
        with pytest.raises(ValueError, match="and -1 for none, got 9"):
            augment.part_drop(clips(), SKELETON, 9)

    def test_skeleton_without_parts(self):
        bare = Skeleton("stick", ("top", "bottom"), (-1, 0))
        with pytest.raises(ValueError, match="'stick' defines no body parts"):
            augment.draw_part_drop(np.random.default_rng(0), bare)

    def test_draws(self):
        rng = np.random.default_rng(0)
        parts = augment.draw_part_drop(rng, SKELETON, 0.2, 5000)
        assert (parts >= 0).mean() == pytest.approx(0.2, abs=0.03)
        assert set(parts) == {-1, *range(len(SKELETON.parts))}
        assert isinstance(augment.draw_part_drop(rng, SKELETON, 1.0), int)
        assert augment.draw_joint_dropout(rng, 25, 0.1, 1000).mean() == pytest.approx(0.9, abs=0.01)
        assert augment.draw_frame_dropout(rng, 4, 1.0, 50).sum(1).tolist() == [1] * 50

    def test_hold_repeats_the_last_kept_frame(self):
        x = np.arange(5.0).reshape(1, 5, 1, 1)
        keep = np.array([False, True, False, False, True])
        assert augment.frame_dropout(x, keep, "hold").ravel().tolist() == [1, 1, 1, 1, 4]
        assert augment.frame_dropout(x, keep).ravel().tolist() == [0, 1, 0, 0, 4]
        with pytest.raises(ValueError, match="unknown fill 'holt'"):
            augment.frame_dropout(x, keep, "holt")
