"""Whole pipelines against the published ones, and their fast paths against the plain route."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs import streams
from protogcn.data.nw_ucla_feeder import nearest_decimals
from protogcn.data.pipeline import PROTOCOLS, Draw, PipelineConfig, build_pipeline
from protogcn.data.pipeline_base import format_clips
from protogcn.data.preprocess import pre_normalize_3d
from protogcn.data.sampling import uniform_frames, uniform_test_frames
from protogcn.data.store import Clip

FOLDER = Path(__file__).parents[1] / "goldens" / "data"
CASES: dict[str, Any] = {}
ARRAYS: dict[str, Any] = {}
for part in ("pipelines", "pipelines_more"):
    CASES |= json.loads((FOLDER / f"{part}.json").read_text())
    ARRAYS |= dict(np.load(FOLDER / f"{part}.npz"))
UCLA = json.loads((FOLDER / "ucla.json").read_text())
UCLA_ARRAYS = dict(np.load(FOLDER / "ucla.npz"))
UCLA_STREAMS = {"joint": "j", "bone": "b", "motion": "jm", "bone_motion": "bm"}
SMALL = PipelineConfig(clip_len=20, test_clips=2)
OF_CLIPS = [name for name in PROTOCOLS if name != "heatmap"]
FLAT = replace(SMALL, protocol="protogcn_2d", flip=0.5)


def named(prefix):
    return [name for name in CASES if name.startswith(prefix)]


def flat_clip(case):
    keypoints = np.concatenate([ARRAYS[f"{case}/input"], ARRAYS[f"{case}/score"][..., None]], axis=-1)
    return Clip(keypoints, 0, case, (240, 320))


def replayed(pipeline: Any, prepared, name, rng):
    """The draw of a recorded training case; the released code draws frames last."""
    case = CASES[name]
    part = case["dropped_part"]
    return replace(
        pipeline.draw_frames(prepared.keypoints.shape[1], rng),
        angles=np.array(case["angles"]),
        flip=bool(case["flipped"]),
        part=-1 if part is None else part,
    )


@pytest.mark.parametrize("name", named("ntu_test/"))
def test_published_ntu_test(name):
    _, case, stream = name.split("/")
    out = build_pipeline(SMALL, "ntu25", stream, "test")(ARRAYS[f"ntu/{case}/input"])
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, ARRAYS[name])


@pytest.mark.parametrize("name", named("ntu_train/"))
def test_published_ntu_training(name):
    _, case, stream, _ = name.split("/")
    pipeline: Any = build_pipeline(SMALL, "ntu25", stream, "train")
    prepared = pipeline.prepare(ARRAYS[f"ntu/{case}/input"])
    rng = np.random.RandomState(CASES[name]["np_seed"])
    np.testing.assert_allclose(rng.uniform(-0.2, 0.2, 3), CASES[name]["angles"], rtol=1e-15)
    out = pipeline.apply(prepared, replayed(pipeline, prepared, name, rng))
    np.testing.assert_allclose(out, ARRAYS[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", named("ntu_full/"))
def test_published_ntu_test_at_full_size(name):
    _, case, stream = name.split("/")
    T = int(case[1:])
    x = np.random.default_rng(1500 + T).standard_normal((2, T, 25, 3)).astype(np.float16)
    out = build_pipeline(PipelineConfig(), "ntu25", stream, "test")(x)
    expected = CASES[name]
    assert out.shape == (10, 2, 100, 25, 3)
    np.testing.assert_allclose(out.sum(axis=(1, 2, 3, 4), dtype=float), expected["clip_sums"], rtol=1e-12)
    assert np.abs(out).sum(dtype=float) == pytest.approx(expected["abs_sum"], rel=1e-12)
    for index, value in expected["probe"].items():
        assert out[tuple(json.loads(f"[{index[1:-1]}]"))] == value


@pytest.mark.parametrize("name", named("gym_test/"))
def test_published_finegym_test(name):
    _, case, stream = name.split("/")
    out = build_pipeline(FLAT, "coco20", stream, "test", "xys")(flat_clip(f"gym/{case}"))
    np.testing.assert_array_equal(out, ARRAYS[name])


@pytest.mark.parametrize("name", named("gym_train/"))
def test_published_finegym_training(name):
    _, case, stream = name.split("/")
    pipeline: Any = build_pipeline(FLAT, "coco20", stream, "train", "xys")
    prepared = pipeline.prepare(flat_clip(f"gym/{case}"))
    rng = np.random.RandomState(CASES[name]["np_seed"])
    draw = pipeline.draw_frames(prepared.keypoints.shape[1], rng)
    out = pipeline.apply(prepared, replace(draw, flip=bool(rng.rand() < 0.5)))
    np.testing.assert_array_equal(out, ARRAYS[name])


def test_published_pyskl_tests():
    solid = build_pipeline(replace(SMALL, protocol="pyskl_3d"), "ntu25_pyskl", "b", "test")
    np.testing.assert_allclose(solid(ARRAYS["pyskl_ntu3d/input"]), ARRAYS["pyskl_ntu3d/out"], rtol=1e-6, atol=1e-7)
    flat = build_pipeline(replace(SMALL, protocol="pyskl_2d"), "coco17", "jm", "test", "xys")
    np.testing.assert_array_equal(flat(flat_clip("pyskl_ntu2d")), ARRAYS["pyskl_ntu2d/out"])


@pytest.mark.parametrize("mode", ["test", "train"])
def test_mmaction2_is_pyskl_with_other_frames(mode):
    """Its sampler and its normaliser are checked alone; here, that a recipe switches both."""
    config = replace(SMALL, protocol="pyskl_3d", rotation=0.0, align_spine=False, compat="mmaction2")
    clip = np.random.default_rng(0).standard_normal((2, 61, 25, 3))
    out = build_pipeline(config, "ntu25_pyskl", "j", mode)(clip, np.random.default_rng(1))
    turned = pre_normalize_3d(clip, 1, align_spine=False, align_shoulders=True)
    if mode == "test":
        frames = uniform_test_frames(61, 20, 2, "spread", None)
    else:
        frames = uniform_frames(61, 20, np.random.default_rng(1), short="run", p_interval=None)
    np.testing.assert_array_equal(out, format_clips(turned[:, frames], len(out), 2))
    unlike = build_pipeline(replace(config, compat=""), "ntu25_pyskl", "j", mode)(clip, np.random.default_rng(1))
    assert not np.array_equal(out, unlike)


def test_mmaction2_keeps_unsure_image_joints():
    clip = np.full((1, 30, 17, 3), 100.0)
    clip[..., 2] = 0.001
    config = PipelineConfig("pyskl_2d", clip_len=8, test_clips=1)
    for compat, hidden in (("", True), ("mmaction2", False)):
        out = build_pipeline(replace(config, compat=compat), "coco17", "j", "val", "xys")(clip)
        assert out[:, 0, ..., :2].any() == (not hidden)


@pytest.mark.parametrize("protocol", [name for name in OF_CLIPS if not name.endswith("_2d")])
def test_modes_formed_in_the_model(protocol):
    clip = np.random.default_rng(0).standard_normal((2, 61, 25, 3))
    config = PipelineConfig(protocol, clip_len=20, test_clips=1, mode_in_model=True)
    outside = replace(config, mode_in_model=False)
    for stream in streams.STREAMS:
        out = build_pipeline(config, "ntu25", stream, "train")(clip, np.random.default_rng(1))
        same = "jm" if stream.endswith("m") else "j"
        np.testing.assert_array_equal(
            out, build_pipeline(outside, "ntu25", same, "train")(clip, np.random.default_rng(1))
        )
        mine = build_pipeline(outside, "ntu25", stream, "train")(clip, np.random.default_rng(1))
        assert np.array_equal(out, mine) == (stream == same)


def test_only_infogcn_leaves_the_modes_to_the_model_by_itself():
    by_itself = {name for name in OF_CLIPS if build_for(name, "k").stream == "j"}
    assert by_itself == {"infogcn"}


def build_for(protocol, stream):
    layout, channels = ("coco17", "xys") if protocol.endswith("_2d") else ("ntu25", "xyz")
    return build_pipeline(PipelineConfig(protocol), layout, stream, "val", channels)


@pytest.fixture(scope="module")
def ucla_clips(shared_data):
    with np.load(shared_data / "nw_ucla.npz") as archive:
        frames, offsets, names = archive["frames"], archive["offsets"], archive["names"].tolist()
    rows = {name: names.index(name) for name in {case.split("/")[2] for case in UCLA}}
    return {name: frames[None, offsets[row] : offsets[row + 1]] for name, row in rows.items()}


@pytest.mark.parametrize("name", UCLA)
def test_published_nw_ucla_feeder(name, ucla_clips):
    mode, stream, clip = name.split("/")
    config = PipelineConfig("nw_ucla", clip_len=52, num_persons=1, test_clips=1, significant_digits=6)
    pipeline: Any = build_pipeline(config, "ucla20", UCLA_STREAMS[stream], "test")
    prepared = pipeline.prepare(ucla_clips[clip])
    draw = pipeline.draw(prepared)
    if mode == "train":
        angles = np.radians([UCLA[name]["agx_deg"], UCLA[name]["agy_deg"], 0])
        draw = Draw(np.array(UCLA[name]["frame_indices"]), angles=angles)
    features = pipeline.features(prepared.keypoints, draw)
    np.testing.assert_allclose(features[0, ::2].transpose(2, 0, 1), UCLA_ARRAYS[name], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(pipeline.apply(prepared, draw)[0, 0], features[0].astype(np.float32))


def test_nearest_decimals_is_what_a_reader_of_the_text_gets():
    rng = np.random.default_rng(0)
    texts = [f"{value:.6g}" for value in rng.standard_normal(5000) * 10.0 ** rng.integers(-6, 7, 5000)] + ["0", "-0.1"]
    stored = np.array(texts, dtype=np.float64).astype(np.float32)
    assert nearest_decimals(stored, 6).tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("stream", streams.STREAMS)
@pytest.mark.parametrize("frames", [3, 60])
def test_sampling_before_the_stream_changes_nothing(stream, frames):
    """Long clips are sampled first and short ones last; both must equal the stream of the whole clip, then sampled."""
    config = replace(SMALL, flip=0.5, part_drop=0.5, scale=0.1, shear=0.1, joint_dropout=0.1)
    pipeline: Any = build_pipeline(config, "ntu25", stream, "train")
    prepared = pipeline.prepare(np.random.default_rng(1).standard_normal((2, frames, 25, 3)).astype(np.float32))
    for seed in range(6):
        draw = pipeline.draw(prepared, np.random.default_rng(seed))
        whole = pipeline.stream_of(pipeline.augmented(prepared.keypoints, draw))[:, draw.frames]
        np.testing.assert_allclose(pipeline.apply(prepared, draw)[0], whole, rtol=1e-6, atol=1e-6)
