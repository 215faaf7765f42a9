"""The pipeline of heat-map networks: the released transforms and samplers, its order of steps, odd clips, options."""

import json
import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from graphs import augment
from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.data.dataset import ClipDataset
from protogcn.data.framing import RandomCrop, crop, first_fitting_size, placed_box, pose_box, resize
from protogcn.data.heatmaps import mirror_maps, render
from protogcn.data.pipeline import Draw, PipelineConfig, build_pipeline
from protogcn.data.sampling import uniform_frames, uniform_test_frames
from protogcn.data.store import Clip, write_store
from protogcn.data.synthetic import generate

FOLDER = Path(__file__).parents[1] / "goldens" / "vision"
COCO = get_skeleton("coco17")
CONFIG = PipelineConfig("heatmap", clip_len=6, test_clips=2, flip=0.5, image_size=24, test_image_size=32)
SOLID = replace(CONFIG, projection="front")


def published(case):
    return json.loads((FOLDER / f"{case}.json").read_text())


def poses(seed=0, persons=2, frames=20, joints=17, size=(240, 320)):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.2, 0.7, (persons, frames, joints, 2)) * size[::-1]
    scores = rng.uniform(0.3, 1, (persons, frames, joints, 1))
    return np.concatenate([points, scores], axis=-1).astype(np.float32)


def build(mode="val", stream="j", channels="xys", config=CONFIG, skeleton: Any = COCO) -> Any:
    return build_pipeline(config, skeleton, stream, mode, channels)


def maps_of(pipeline, clip, rng=None):
    return pipeline.network_input(torch.from_numpy(pipeline(clip, rng))).numpy()


def assert_listed(x, expected):
    assert list(x.shape) == expected["shape"]
    np.testing.assert_array_equal(x.reshape(-1)[expected["indices"]], np.float32(expected["values"]))
    for name, value in (("mean", x.mean(dtype=float)), ("std", x.std(dtype=float))):
        assert value == pytest.approx(expected[name], rel=1e-6)


@pytest.mark.parametrize("case", ["compact_resize64_flip", "compact_resizeshort64_flip"])
def test_published_transforms(case):
    golden = published(f"pose_transforms__{case}")
    size, expected = golden["hyperparameters"], golden["outputs"]
    rng = np.random.default_rng(golden["input_seed"])
    x = (rng.uniform(0.2, 0.7, (2, 6, 17, 2)) * [size["w"], size["h"]]).astype(np.float32)
    x[1, 3:] = 0
    box = pose_box(x, (size["h"], size["w"]), aspect=(1, 1))
    assert box is not None
    x, shape = crop(x, box, keep_unseen=True)
    assert list(shape) == expected["compact_shape"]
    assert_listed(x, expected["compact_kp"])
    x, shape = resize(x, shape, tuple(size["scale"]), keep_ratio=-1 in size["scale"])
    assert list(shape) == expected["resize_shape"]
    assert_listed(x, expected["resize_kp"])
    assert_listed(augment.flip_image(x, COCO, shape[1]), expected["flip_kp"])


def test_validation_shows_the_published_transforms():
    """Compaction and resizing alone, where the sampled frames are all frames."""
    golden = published("pose_transforms__compact_resize64_flip")
    rng = np.random.default_rng(golden["input_seed"])
    x = (rng.uniform(0.2, 0.7, (2, 6, 17, 2)) * [1920, 1080]).astype(np.float32)
    x[1, 3:] = 0
    config = replace(CONFIG, test_image_size=64)
    out = build("val", channels="xy", config=config)(Clip(x, 0, "golden", (1080, 1920)))
    assert_listed(out[0, ..., :2], golden["outputs"]["resize_kp"])
    assert out[0, 0, ..., 2].all() and out[0, 1, :3, :, 2].all() and not out[0, 1, 3:, :, 2].any()
    draw = Draw(np.arange(6), flip=True)
    pipeline = build("val", channels="xy", config=config)
    out = pipeline.apply(pipeline.prepare(Clip(x, 0, "golden", (1080, 1920))), draw)
    assert_listed(out[0, ..., :2], golden["outputs"]["flip_kp"])


@pytest.mark.parametrize("case", published("pose_transforms__random_resized_crop_boxes")["outputs"])
def test_published_boxes(case):
    rng, offsets, shape = np.random.RandomState(case["seed"]), random.Random(case["seed"]), (case["h"], case["w"])
    aspects = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 10))
    areas = rng.uniform(0.56, 1.0, 10)
    size = first_fitting_size(shape, aspects, areas)
    assert size is not None
    rest = shape[1] - size[1], shape[0] - size[0]
    left, top = (offsets.randint(0, side) for side in rest)
    place = (left + 0.5) / (rest[0] + 1), (top + 0.5) / (rest[1] + 1)
    assert list(placed_box(shape, RandomCrop(aspects, areas, place))) == case["box"]


@pytest.mark.parametrize(("name", "window"), [("uniform_sample", (1.0, 1.0)), ("uniform_sample_mmaction2", None)])
def test_published_frames(name, window):
    for case in published(f"{name}__test_mode")["outputs"]:
        frames = uniform_test_frames(case["total_frames"], case["clip_len"], case["num_clips"], "spread", window)
        assert frames.tolist() == case["frame_inds"]
    for case in published(f"{name}__train_mode")["outputs"]:
        rng = np.random.RandomState(case["seed"])
        frames = uniform_frames(case["total_frames"], case["clip_len"], rng, short="run", p_interval=window)
        assert frames.tolist() == case["frame_inds"]


@pytest.mark.parametrize("compat", ["", "mmaction2"])
@pytest.mark.parametrize("mode", ["val", "test"])
@pytest.mark.parametrize("frames", [3, 9, 40])
def test_frames_of_validation_and_test(compat, mode, frames):
    pipeline = build(mode, config=replace(CONFIG, compat=compat))
    drawn = pipeline.draw(pipeline.prepare(poses(frames=frames))).frames
    count = 2 if mode == "test" else 1
    window = None if compat else (1.0, 1.0)
    assert drawn.tolist() == uniform_test_frames(frames, 6, count, "spread", window).tolist()


def plain_training(x, frames, box, flip, size):
    """The steps of the released pipeline one after another, in its types, joint by joint where it goes so."""
    x = x[:, frames]
    x, scores = x[..., :2].copy(), x[..., 2]
    seen = x != 0
    low = [x[..., axis][seen[..., axis]].min() for axis in range(2)]
    high = [x[..., axis][seen[..., axis]].max() for axis in range(2)]
    half = max((high[0] - low[0]) / 2 * 1.25, (high[1] - low[1]) / 2 * 1.25)
    centre = [(low[axis] + high[axis]) / 2 for axis in range(2)]
    left, top, right, bottom = (
        int(v) for v in (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
    )
    x[..., 0][seen[..., 0]] -= left
    x[..., 1][seen[..., 1]] -= top
    height, width = bottom - top, right - left
    factor = 64 / min(height, width)
    new = int(height * factor + 0.5), int(width * factor + 0.5)
    x = x * np.array([new[1] / width, new[0] / height], dtype=np.float32)
    x = x.astype(np.float64) - box[:2]
    x = x * np.array([size / (box[2] - box[0]), size / (box[3] - box[1])], dtype=np.float32)
    if flip:
        x[..., 0] = np.where(x[..., 0] != 0, size - x[..., 0], 0)
        pairs = [(left, left + 1) for left in range(1, 17, 2)]
        order = [0] + [joint for left, right in pairs for joint in (right, left)]
        x, scores = x[:, :, order], scores[:, :, order]
    return np.concatenate([x, scores[..., None]], axis=-1).astype(np.float32)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_order_of_training(seed, flip):
    x = poses(seed)
    x[1, 5:] = 0
    x[0, 3, 4, :2] = 0
    rng = np.random.default_rng(seed)
    pipeline = build("train")
    prepared = pipeline.prepare(Clip(x, 0, "clip", (240, 320)))
    draw = replace(pipeline.draw(prepared, rng), flip=flip)
    box = pose_box(x[:, draw.frames], (240, 320), aspect=(1, 1))
    assert box is not None and draw.crop is not None
    compact = resize(np.zeros((1, 2), np.float32), (box[3] - box[1], box[2] - box[0]), (-1, 64))[1]
    out = pipeline.apply(prepared, draw)
    expected = plain_training(x, draw.frames, placed_box(compact, draw.crop), flip, 24)
    np.testing.assert_array_equal(out, expected[None])


@pytest.mark.parametrize(("maps", "stream"), [("joint", "j"), ("limb", "b"), ("joint+limb", "j")])
def test_maps_on_the_device(maps, stream):
    pipeline = build("test", stream, config=replace(CONFIG, maps=maps if "+" in maps else "", sigma=0.8))
    clips = pipeline(poses())
    out = pipeline.network_input(torch.from_numpy(clips))
    assert pipeline.gives == "heatmaps" and pipeline.views == 2
    assert out.shape == (4, pipeline.in_channels, 6, 32, 32) and out.dtype == torch.float32 and out.is_contiguous()
    plain = render(clips[..., :2], clips[..., 2], COCO, (32, 32), maps=maps, sigma=0.8)
    np.testing.assert_allclose(out[::2], plain.swapaxes(1, 2), atol=1e-6)
    np.testing.assert_allclose(out[1::2], mirror_maps(plain, COCO, maps).swapaxes(1, 2), atol=1e-6)
    assert out.amax() > 0.2


def test_views_of_each_mode():
    for mode, views, size, double in (
        ("train", 1, 24, True),
        ("val", 1, 32, True),
        ("test", 2, 32, True),
        ("test", 1, 32, False),
    ):
        pipeline = build(mode, config=replace(CONFIG, double=double))
        out = maps_of(pipeline, poses(), np.random.default_rng(0))
        assert pipeline.views == views and out.shape == (pipeline.num_clips * views, 17, 6, size, size)
        assert pipeline.config.test_inputs == (4 if double else 2)


def test_mmaction2_draws_fainter_joints_and_cuts_out_the_middle():
    x = poses(persons=1)
    x[..., 2] = 5e-4
    assert not maps_of(build(), x).any()
    assert maps_of(build(config=replace(CONFIG, compat="mmaction2")), x).any()
    tiny = np.zeros((1, 6, 17, 3), dtype=np.float32)
    tiny[..., :2], tiny[..., 2] = [40, 12], 1
    clip = Clip(tiny, 0, "wide image", (32, 64))
    squeezed = build()(clip)[0, 0, 0, 0]
    cut = build(config=replace(CONFIG, compat="mmaction2"))(clip)[0, 0, 0, 0]
    assert squeezed.tolist() == [20, 12, 1] and cut.tolist() == [24, 12, 1]


def test_scores():
    x = poses(persons=1, frames=6)
    x[0, :, 3, :2] = 0
    bright = build(config=replace(CONFIG, use_score=False))(x)
    assert set(np.unique(bright[..., 2])) == {0, 1} and not bright[0, 0, :, 3, 2].any()
    np.testing.assert_array_equal(build()(x)[0, 0, ..., 2], x[0, ..., 2])
    np.testing.assert_array_equal(build(channels="xy")(x[..., :2]), bright)


def test_joints_nobody_saw_do_not_widen_the_square():
    """Annotations put such joints into a corner of the image, with a score of 0."""
    x = poses(persons=1)
    x[..., 5, :] = 0
    corner = x.copy()
    corner[..., 5, :2] = 1
    for config in (CONFIG, replace(CONFIG, use_score=False)):
        np.testing.assert_array_equal(build(config=config)(corner), build(config=config)(x))


def test_dropped_joints_are_not_drawn():
    x = poses(persons=1)
    pipeline = build("train", config=replace(CONFIG, part_drop=1.0, joint_dropout=0.3))
    prepared = pipeline.prepare(x)
    draw = pipeline.draw(prepared, np.random.default_rng(0))
    lost = set(list(COCO.parts.values())[draw.part]) | set(np.flatnonzero(~draw.joints))
    out = pipeline.apply(prepared, draw)
    drawn = pipeline.network_input(torch.from_numpy(out)).amax(dim=(0, 2, 3, 4)) > 0
    assert 0 < len(lost) < 17 and not drawn[list(lost)].any()
    whole = pipeline.apply(prepared, replace(draw, part=-1, joints=None))
    assert np.array_equal(out[..., :2], whole[..., :2]), "what is dropped still counts for the box"


def test_flipping_twice_changes_nothing():
    pipeline = build("train")
    prepared = pipeline.prepare(poses())
    draw = pipeline.draw(prepared, np.random.default_rng(0))
    still, flipped = (pipeline.apply(prepared, replace(draw, flip=flip)) for flip in (False, True))
    assert not np.array_equal(still, flipped)
    np.testing.assert_allclose(augment.flip_image(flipped, COCO, 24), still, atol=1e-5)


@pytest.mark.parametrize("mode", ["train", "val", "test"])
@pytest.mark.parametrize("channels", ["xys", "xy", "xyz"])
@pytest.mark.parametrize("persons", [0, 2])
def test_clips_without_anybody_give_empty_maps(mode, channels, persons):
    pipeline = build(mode, channels=channels, config=SOLID if channels == "xyz" else CONFIG)
    out = maps_of(pipeline, np.zeros((persons, 9, 17, len(channels)), np.float16), np.random.default_rng(0))
    assert out.shape[1:3] == (17, 6) and not out.any()


def test_persons_share_the_maps_and_further_ones_are_left_out():
    x = poses(persons=3)
    both = build()(x)
    assert both.shape == (1, 2, 6, 17, 3)
    np.testing.assert_array_equal(both, build()(x[:2]))
    three = build(config=replace(CONFIG, num_persons=3))
    assert three(x).shape[1] == 3 and maps_of(three, x).shape == (1, 17, 6, 32, 32)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(1, 30),
    st.floats(-3, 4),
    st.floats(-5, 5),
    st.sampled_from(["train", "val", "test"]),
    st.sampled_from(["xys", "xy"]),
    st.sampled_from([None, (1, 1), (480, 640), (2, 900)]),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(0, 2**31),
)
def test_every_clip_becomes_maps(persons, frames, size, place, mode, channels, image, dtype, seed):
    """Poses of any size anywhere; without the size of its image a pose fills the maps however small its numbers."""
    rng = np.random.default_rng(seed)
    x = ((rng.random((persons, frames, 17, len(channels))) + place) * 10**size).astype(dtype)
    x[..., 2:] = 1
    x[rng.random(x.shape[:3]) < 0.3] = 0
    pipeline = build(mode, channels=channels)
    out = pipeline(Clip(x, 0, "clip", image), np.random.default_rng(seed))
    assert out.shape == pipeline.out_shape and out.dtype == np.float32 and np.isfinite(out).all()
    drawn = pipeline.network_input(torch.from_numpy(out))
    assert drawn.amin() >= 0 and drawn.amax() <= 1
    chosen = x[:2, pipeline.draw(pipeline.prepare(x), np.random.default_rng(seed)).frames]
    if image is None and mode != "train" and chosen.any():
        assert drawn.amax() > 0


@pytest.mark.parametrize("projection", ["front", "side", "top", "camera"])
@pytest.mark.parametrize("layout", ["ntu25", "mediapipe33", "ucla20"])
def test_bodies_in_space(projection, layout):
    clip = next(iter(generate(layout, actions=["wave"], subjects=1, views=[1], channels="xyz")))
    config = replace(SOLID, projection=projection)
    pipeline = build("val", config=config, channels="xyz", skeleton=layout)
    out = pipeline(clip)
    seen = out[..., 2] == 1
    assert seen.mean() > 0.4 and ((out[seen] > 0) & (out[seen] < 32)).all()
    assert np.ptp(out[seen][:, :2], axis=0).max() > 20
    assert maps_of(pipeline, clip).shape == (1, pipeline.skeleton.num_joints, 6, 32, 32)
    training = build("train", config=config, channels="xyz", skeleton=layout)
    turned, again = (training(clip, np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(turned, again) and np.isfinite(turned).all()


def test_turns_are_drawn_and_bounded():
    pipeline = build("train", config=replace(SOLID, turn_degrees=30, tilt_degrees=10), channels="xyz", skeleton="ntu25")
    prepared = pipeline.prepare(np.random.default_rng(0).random((1, 9, 25, 3)))
    angles = np.degrees([pipeline.draw(prepared, np.random.default_rng(seed)).angles for seed in range(100)])
    assert (np.abs(angles).max(axis=0) <= [10, 30, 0]).all() and (np.abs(angles).max(axis=0) > [8, 25, -1]).all()


def test_unseen_joints_in_space_are_not_drawn():
    clip = next(iter(generate("ntu25", actions=["wave"], subjects=1, views=[1], occlusion=0)))
    keypoints = np.concatenate([clip.keypoints, np.zeros_like(clip.keypoints)])
    keypoints[0, :, 7] = 0
    out = build("val", config=SOLID, channels="xyz", skeleton="ntu25")(keypoints)
    assert not out[0, 1].any() and not out[0, 0, :, 7].any() and out[0, 0, :, [3, 14], 2].all()


@pytest.fixture(scope="module")
def penn(tmp_path_factory):
    rng = np.random.default_rng(0)
    clips = [
        Clip(np.append(rng.uniform(20, 200, (1, T, 13, 2)), np.ones((1, T, 13, 1)), -1), i % 2, f"clip{i}", image)
        for i, (T, image) in enumerate([(5, None), (30, (240, 320)), (9, (480, 270)), (14, (240, 320))])
    ]
    folder = tmp_path_factory.mktemp("penn") / "store"
    return write_store(folder, clips, skeleton="penn13", class_names=["a", "b"], channels="xys")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_from_clips_to_maps(penn, workers):
    pipeline = build("train", skeleton=penn.skeleton, channels=penn.channels)
    data = ClipDataset(penn, range(len(penn)), pipeline, seed=3)
    data.set_epoch(2)
    ((clips, labels, _),) = DataLoader(data, batch_size=4, num_workers=workers)
    assert clips.shape == (4, 1, 2, 6, 13, 3) and labels.tolist() == [0, 1, 0, 1]
    rng = np.random.default_rng([3, 2, zlib.crc32(b"clip2")])
    np.testing.assert_array_equal(clips[2], pipeline(penn[2], rng))
    maps = pipeline.network_input(clips.flatten(0, 1))
    assert maps.shape == (4, 13, 6, 24, 24) and (maps.amax(dim=(1, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize(
    ("changes", "stream", "channels", "message"),
    [
        ({}, "k", "xys", "j .joint maps. and b .limb maps."),
        ({}, "jm", "xys", "set stream to j"),
        ({}, "j", "xyz", "pipeline.projection, one of front, side, top, camera"),
        ({"projection": "front"}, "j", "xy", "leave it out"),
        ({"maps": "joint+limb"}, "b", "xys", "copy of stream j"),
    ],
)
def test_pipelines_that_cannot_be(changes, stream, channels, message):
    with pytest.raises(ValueError, match=message):
        build_pipeline(replace(CONFIG, **changes), "coco17", stream, "train", channels)


def test_layout_without_sides_cannot_be_mirrored():
    tail = Skeleton("tail", ("a", "b"), (-1, 0))
    for mode in ("train", "test"):
        with pytest.raises(ValueError, match=r"pipeline\.double to false"):
            build_pipeline(replace(CONFIG, flip=0.0), tail, "j", mode, "xys")
    out = build_pipeline(replace(CONFIG, flip=0.0, double=False), tail, "b", "test", "xys")
    assert maps_of(out, poses(joints=2)).shape == (2, 1, 6, 32, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"crop_area": (0.5, 1.5)}, "crop_area"),
        ({"crop_area": (0.5,)}, "two numbers"),
        ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"maps": "limbs"}, "joint.limb"),
        ({"projection": "fron"}, "front"),
        ({"projection": "front", "up": "w"}, "-y"),
        ({"up": "y"}, "without a projection"),
        ({"noise": 0.1}, "no use for it"),
        ({"sampling": "pad", "test_clips": 1}, "uniform for protocol heatmap"),
        ({"compat": "mmaction2", "p_interval": (0.5, 1.0)}, "takes all frames"),
    ],
)
def test_recipes_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize("change", [{"image_size": 48}, {"double": False}, {"sigma": 1.0}, {"projection": "front"}])
def test_options_of_heat_maps_are_refused_elsewhere(change):
    with pytest.raises(ValueError, match="only protocol heatmap uses it"):
        PipelineConfig("pyskl_2d", **change)


def test_defaults_are_the_published_recipe():
    config = PipelineConfig("heatmap")
    assert (config.image_size, config.test_image_size, config.sigma, config.test_inputs) == (56, 64, 0.6, 20)
    assert config.crop_area == (0.56, 1.0) and config.crop_aspect == (3 / 4, 4 / 3) and config.use_score
