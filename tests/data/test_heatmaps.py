import json

import numpy as np
import pytest
import torch
from heatmap_oracle import render_slowly
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Skeleton, get_skeleton
from protogcn.data import heatmap_windows, heatmaps_torch
from protogcn.data.heatmaps import mirror_maps, num_maps, render

COCO = get_skeleton("coco17")
VISION = ("joint_56_m2_t6", "joint_64_noscore_double", "limb_48x56_double", "limb_56_m2_t6")
DATA = ("joint/float32", "joint/float64", "limb/float32", "limb/float64")
DOUBLED = ("joint_noscore/float32", "joint_double/float32", "limb_double/float32")
ALL_MAPS = ("joint", "limb", "joint+limb")
# Where the foot of a perpendicular falls on the very end of a limb, rounding may move it by one unit in the last place.
ROUNDING = 5e-6


def close_to(expected, maps):
    return pytest.approx(expected, rel=0, abs=1.2e-7 if "limb" in maps else 0)


@pytest.mark.parametrize("case", [*VISION, "rgbpose_224_sigma07_scale025"])
def test_published_maps(goldens, case):
    golden = json.loads((goldens / "vision" / f"heatmap__{case}.json").read_text())
    asked, outputs = golden["hyperparameters"], golden["outputs"]
    size, rng = (asked["img_h"], asked["img_w"]), np.random.default_rng(golden["input_seed"])
    shape = (asked["M"], asked["T"], asked["V"])
    points = (rng.uniform(-0.1, 1.1, (*shape, 2)) * size[::-1]).astype(np.float32)
    scores = rng.uniform(0, 1, shape)
    scores[rng.uniform(size=shape) < 0.1] = 0
    maps = "limb" if asked.get("with_limb") else "joint"
    volume = render(
        points,
        scores.astype(np.float32) if asked.get("use_score", True) else None,
        COCO,
        size,
        maps=maps,
        sigma=asked.get("sigma", 0.6),
        scaling=asked.get("scaling", 1.0),
    )
    if asked.get("double"):
        volume = np.concatenate([volume, mirror_maps(volume, COCO, maps)])
    assert volume.shape == tuple(outputs["heatmap"]["shape"]) and volume.dtype == np.float32
    for part in (outputs["heatmap"], outputs["nonzero_sample"]):
        assert volume.ravel()[part["indices"]] == close_to(part["values"], maps)
    wide = volume.astype(np.float64)
    assert wide.sum((0, 2, 3)) == pytest.approx(outputs["per_channel_sum"], rel=1e-7)
    assert wide.sum((1, 2, 3)) == pytest.approx(outputs["per_frame_sum"], rel=1e-7)
    if maps == "joint":
        assert np.count_nonzero(volume) == outputs["nonzero_count"]


@pytest.mark.parametrize("case", [*DATA, *DOUBLED])
def test_published_transforms(goldens, case):
    golden = json.loads((goldens / "data" / "heatmaps.json").read_text())
    arrays, asked = np.load(goldens / "data" / "heatmaps.npz"), golden["cases"][case]
    points, scores, expected = (arrays[f"{case}/{name}"] for name in ("kp", "score", "out"))
    options, before = asked["args"], points.copy()
    maps = "limb" if options.get("with_limb") else "joint"
    volume = render(points, scores if options.get("use_score", True) else None, COCO, asked["img_shape"], maps=maps)
    if options.get("double"):
        volume = np.concatenate([volume, mirror_maps(volume, COCO, maps)])
    assert volume.dtype == expected.dtype and volume.shape == expected.shape
    np.testing.assert_allclose(volume, expected, rtol=0, atol=1.2e-7 if maps == "limb" else 0)
    assert (points == before).all()
    assert [list(limb) for limb in COCO.limbs] == golden["limb_skeleton"]


@st.composite
def scenes(draw):
    """Points anywhere in and around an image, some missing, some twice, and scores on both sides of the least one."""
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 3)), COCO.num_joints
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 0.3, 1.0, 8.0]))
    points = rng.uniform(0.5 - 0.6 * spread, 0.5 + 0.6 * spread, (*shape, 2)) * size[::-1]
    if draw(st.booleans()):
        points = np.round(points)
    points[rng.uniform(size=points.shape) < 0.05] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.5]))
    scores = rng.choice([0.0, 5e-4, 1e-3, 0.3, 1.0, np.nan], shape, p=[0.1, 0.05, 0.05, 0.4, 0.35, 0.05])
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return points.astype(dtype), scores.astype(dtype), size


@settings(max_examples=60)
@given(scenes(), st.sampled_from(ALL_MAPS), st.sampled_from([0.3, 0.6, 2.5]), st.sampled_from([0.5, 1.0, 1.7]))
def test_slow_fast_and_on_device_agree(scene, maps, sigma, scaling):
    points, scores, size = scene
    if min(int(side * scaling + 0.5) for side in size) < 1:
        size = (2, 2)
    options = {"sigma": sigma, "scaling": scaling}
    parts = [(name, None if name == "joint" else COCO.limbs) for name in maps.split("+")]
    slow = np.concatenate([render_slowly(points, scores, limbs, size, **options) for _, limbs in parts], axis=1)
    fast = render(points, scores, COCO, size, maps=maps, **options)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=ROUNDING if "limb" in maps else 1e-7)
    poses = torch.from_numpy(points), torch.from_numpy(scores)
    assert (render(*poses, COCO, size, maps=maps, **options).numpy() == fast).all()
    limbs = np.array(COCO.limbs if "limb" in maps else (), dtype=np.int64).reshape(-1, 2)
    on_device = heatmaps_torch.paint(
        poses[0][None] * scaling,
        poses[1][None],
        limbs,
        joints="joint" in maps,
        size=fast.shape[2:],
        sigma=sigma,
        least_score=1e-3,
    )
    np.testing.assert_allclose(on_device[0].numpy(), slow, rtol=0, atol=ROUNDING if "limb" in maps else 2e-7)


def some_poses(*lead, size=20):
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.1, 1.1, (*lead, COCO.num_joints, 2)) * size
    return points.astype(np.float32), rng.uniform(0, 1, (*lead, COCO.num_joints)).astype(np.float32)


@pytest.mark.parametrize("maps", ALL_MAPS)
def test_leading_axes_are_clips_of_their_own(maps):
    points, scores = some_poses(2, 3, 2, 4)
    volume = render(points, scores, COCO, (20, 24), maps=maps)
    assert volume.shape == (2, 3, 4, num_maps(COCO, maps), 20, 24)
    for clip in np.ndindex(2, 3):
        assert (render(points[clip], scores[clip], COCO, (20, 24), maps=maps) == volume[clip]).all()
    both = [render(points, scores, COCO, (20, 24), maps=part) for part in maps.split("+")]
    assert (np.concatenate(both, axis=-3) == volume).all()


@pytest.mark.parametrize("block", [1, 7])
@pytest.mark.parametrize("engine", [heatmap_windows, heatmaps_torch])
def test_blocks_do_not_show(monkeypatch, engine, block):
    points, scores = some_poses(1, 2, 3)
    library = torch.from_numpy if engine is heatmaps_torch else np.asarray
    options = {"joints": True, "size": (20, 20), "sigma": 0.6, "least_score": 1e-3}
    whole = engine.paint(library(points), library(scores), np.array(COCO.limbs), **options)
    monkeypatch.setattr(engine, "_LIMBS_AT_ONCE", block)
    monkeypatch.setattr(engine, "_PIXELS_AT_ONCE", 25 * block)
    assert (engine.paint(library(points), library(scores), np.array(COCO.limbs), **options) == whole).all()


@pytest.mark.parametrize("maps", ALL_MAPS)
def test_persons_meet_in_the_maximum(maps):
    points, scores = some_poses(3, 4)
    together = render(points, scores, COCO, (20, 20), maps=maps)
    alone = [render(points[[person]], scores[[person]], COCO, (20, 20), maps=maps) for person in range(3)]
    assert (together == np.maximum.reduce(alone)).all()


@pytest.mark.parametrize("lead", [(0, 3), (2, 0), (0, 2, 3), (4, 0, 3)], ids=str)
@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_nobody_and_nothing(lead, library):
    volume = render(library(np.zeros((*lead, 17, 2), np.float32)), None, COCO, (5, 6), maps="joint+limb")
    assert tuple(volume.shape) == (*lead[:-2], lead[-1], 34, 5, 6) and not volume.any()


def test_mirror_twice_is_the_volume_and_left_becomes_right():
    points, scores = some_poses(1, 2)
    for maps in ALL_MAPS:
        volume = render(points, scores, COCO, (20, 20), maps=maps)
        mirrored = mirror_maps(volume, COCO, maps)
        assert (mirror_maps(mirrored, COCO, maps) == volume).all()
        assert (mirror_maps(torch.from_numpy(volume), COCO, maps).numpy() == mirrored).all()
    wrist = COCO.index("left_wrist"), COCO.index("right_wrist")
    arm = COCO.limbs.index((7, 9)) + 17, COCO.limbs.index((8, 10)) + 17
    for left, right in (wrist, arm):
        assert (mirrored[:, right] == volume[:, left, :, ::-1]).all() and volume[:, left].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_type_gives_single_precision_without_history(dtype):
    points, scores = (torch.from_numpy(part).to(dtype).requires_grad_() for part in some_poses(1, 2))
    volume = render(points, scores, COCO, (20, 20), maps="joint+limb")
    assert volume.dtype == torch.float32 and not volume.requires_grad
    single = render(points.float(), scores.float(), COCO, (20, 20), maps="joint+limb")
    assert torch.allclose(volume, single, rtol=0, atol=ROUNDING)


def test_far_and_missing_joints_are_unseen():
    points, scores = some_poses(1, 1)
    for wrong in (np.nan, np.inf, 1e30, -1e7):
        points[0, 0, 9] = 3.0, wrong
        volume = render(points, scores, COCO, (20, 20), maps="joint+limb")
        hidden = np.where(np.arange(17) == 9, 0, scores)
        assert (volume == render(np.nan_to_num(points, posinf=0), hidden, COCO, (20, 20), maps="joint+limb")).all()


def test_a_short_limb_is_the_joint_it_starts_from():
    stick = Skeleton.from_dict({"name": "stick", "joints": {"top": None, "tip": "top"}, "limbs": [["top", "tip"]]})
    points = np.array([[[[4.2, 5.1], [4.9, 5.6]]]], np.float32)
    scores = np.array([[[0.9, 0.5]]], np.float32)
    volume = render(points, scores, stick, (10, 10), maps="joint+limb")
    assert (volume[:, 2] == volume[:, 0]).all() and volume[0, 2].max() > 0.5
    turned = Skeleton.from_dict({"name": "stick", "joints": {"top": None, "tip": "top"}})
    assert (render(points, scores, turned, (10, 10), maps="limb")[:, 0] == volume[:, 1]).all()


LONELY = Skeleton("lonely", ("nose",), (-1,))
POINTS = np.zeros((1, 2, 17, 2), np.float32)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"maps": "limbs"}, "unknown maps 'limbs'; did you mean 'limb'"),
        (
            {"skeleton": LONELY, "points": POINTS[:, :, :1], "maps": "limb"},
            "'lonely' has no limbs to draw; take maps='joi",
        ),
        (
            {"skeleton": get_skeleton("penn13")},
            r"'penn13' .* points \(\.\.\., M, T, 13, 2\).* got shape \(1, 2, 17, 2\)",
        ),
        ({"points": np.zeros((1, 2, 17, 3), np.float32)}, "x and y in pixels; got shape"),
        ({"points": np.zeros((2, 17, 2), np.float32)}, r"floating array \(\.\.\., M, T, V, C\)"),
        ({"points": np.zeros((1, 2, 17, 2), int)}, "floating array"),
        ({"points": [[0.0]]}, "numpy array or torch tensor"),
        ({"scores": np.zeros((1, 17))}, r"need scores of shape \(1, 2, 17\); got \(1, 17\)"),
        ({"scores": torch.zeros(1, 2, 17)}, "one library"),
        ({"size": (0, 5)}, r"\(height, width\) of the image in whole pixels, at least 1; got \(0, 5\)"),
        ({"size": (5.5, 5)}, "whole pixels"),
        ({"size": (5,)}, "height, width"),
        ({"sigma": 0.0}, "sigma must be above 0; got 0.0"),
        ({"sigma": float("nan")}, "sigma must be above 0; got nan"),
        ({"sigma": float("inf")}, "sigma must be"),
        ({"least_score": -1.0}, "least_score must be 0 or more; got -1.0"),
        ({"scaling": 0.0}, "scaling must be above 0"),
        ({"scaling": 0.01}, "scaling=0.01 leaves no pixel of an image of height 9 and width 9"),
    ],
)
def test_what_cannot_be_rendered(changes, message):
    arguments = {"points": POINTS, "scores": None, "skeleton": COCO, "size": (9, 9)} | changes
    with pytest.raises(ValueError, match=message):
        render(**arguments)


def test_numbers_of_maps():
    assert [num_maps(COCO, maps) for maps in ALL_MAPS] == [17, 17, 34]
    assert [num_maps(get_skeleton("ntu25"), maps) for maps in ALL_MAPS] == [25, 24, 49]
    assert num_maps(LONELY) == 1
    for maps in ("limb", "joint+limb"):
        with pytest.raises(ValueError, match="no limbs to draw"):
            num_maps(LONELY, maps)
    with pytest.raises(ValueError, match=r"'coco17' has 34 joint\+limb maps.* got shape \(17, 4, 4\)"):
        mirror_maps(np.zeros((17, 4, 4)), COCO, "joint+limb")
