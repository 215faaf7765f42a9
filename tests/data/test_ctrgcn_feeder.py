"""CTR-GCN's and InfoGCN's feeder for NTU against the released one, and against torch's own interpolation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import augment
from graphs.layouts import get_skeleton
from protogcn.data.ctrgcn_feeder import between_frames
from protogcn.data.pipeline import Draw, PipelineConfig, build_pipeline
from protogcn.data.sampling import cropped_positions, random_cropped_positions, stretched_positions

FOLDER = Path(__file__).parents[1] / "goldens" / "data"
CROPS = json.loads((FOLDER / "ctrgcn_feeder.json").read_text())
ARRAYS = dict(np.load(FOLDER / "ctrgcn_feeder.npz"))
CONFIG = PipelineConfig("ctrgcn", clip_len=64, test_clips=1, p_interval=(0.5, 1.0), rotation=0.3)


def from_feeder(x):
    """(C, T, V, M) of the released code as (M, T, V, C)."""
    return x.transpose(3, 1, 2, 0)


def feeder_clips():
    rng = np.random.default_rng(407)
    rows = np.zeros((3, 70, 150), dtype=np.float32)
    for i, valid in enumerate((70, 41, 12)):
        rows[i, :valid] = rng.standard_normal((valid, 150))
    rows[1, :, 75:] = 0
    return rows.reshape(3, 70, 2, 25, 3).swapaxes(1, 2)


CLIPS = feeder_clips()


@pytest.mark.parametrize("name", CROPS)
def test_published_crops(name):
    x, case = from_feeder(ARRAYS[f"{name}/input"]), CROPS[name]
    valid = int(name.split("_v")[1].split("_")[0])
    if case["drawn"]:
        positions = random_cropped_positions(valid, 64, np.random.RandomState(case["np_seed"]), (0.5, 1.0))
        given = stretched_positions(case["drawn"]["bias"], case["drawn"]["cropped_length"], 64)
        np.testing.assert_array_equal(positions, given)
    else:
        positions = cropped_positions(valid, 64, 0.95)
    out = between_frames(x, positions)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, from_feeder(ARRAYS[f"{name}/out"]), rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize("name", ["rot/s0", "rot/s5"])
def test_published_turns(name):
    out = augment.rotate(from_feeder(ARRAYS[f"{name}/input"]), ARRAYS[f"{name}/angles"])
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, from_feeder(ARRAYS[f"{name}/out"]), rtol=1e-6, atol=5e-7)
    np.testing.assert_allclose(
        augment.rotation_matrix(ARRAYS[f"{name}/angles"]), ARRAYS[f"{name}/matrix"], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("clip", range(3))
@pytest.mark.parametrize(("stream", "flags"), [("j", "00"), ("jm", "01"), ("b", "10"), ("bm", "11")])
def test_published_test_clips(stream, flags, clip):
    out = build_pipeline(CONFIG, "ntu25", stream, "test")(CLIPS[clip])
    assert out.shape == (1, 2, 64, 25, 3) and out.dtype == np.float32
    expected = from_feeder(ARRAYS[f"feeder/test/bone{flags[0]}vel{flags[1]}/{clip}"])
    np.testing.assert_allclose(out[0, :, ::8], expected, rtol=1e-6, atol=1e-6)


def test_published_training_clip():
    pipeline = build_pipeline(CONFIG, "ntu25", "bm", "train")
    prepared = pipeline.prepare(CLIPS[0])
    torch.manual_seed(9)
    angles = torch.zeros(3).uniform_(-0.3, 0.3).numpy()
    draw = Draw(random_cropped_positions(70, 64, np.random.RandomState(9)), angles=angles)
    out = pipeline.apply(prepared, draw)
    expected = from_feeder(ARRAYS["feeder/train/bone1vel1/0"])
    np.testing.assert_allclose(out[0, :, ::8], expected, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 120), st.integers(1, 100), st.integers(0, 20), st.integers(0, 10))
def test_between_frames_is_bilinear_interpolation(length, clip_len, start, rest):
    x = np.random.default_rng(length).standard_normal((2, start + length + rest, 3, 2)).astype(np.float32)
    out = between_frames(x, stretched_positions(start, length, clip_len))
    rows = torch.from_numpy(x[:, start : start + length].reshape(2, length, 6).swapaxes(1, 2).reshape(1, 1, 12, length))
    expected = torch.nn.functional.interpolate(rows, size=(12, clip_len), mode="bilinear", align_corners=False)
    expected = expected.reshape(2, 6, clip_len).swapaxes(1, 2).reshape(2, clip_len, 3, 2)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stream", ["j", "b", "k", "jm", "bm", "km"])
def test_training_draws_and_replays(stream):
    pipeline = build_pipeline(replace(CONFIG, flip=0.5, part_drop=0.5, scale=0.1), "ntu25", stream, "train")
    prepared = pipeline.prepare(CLIPS[0])
    draws = [pipeline.draw(prepared, np.random.default_rng(seed)) for seed in range(4)]
    assert all(np.abs(draw.angles).max() <= 0.3 for draw in draws)
    assert len({draw.frames.tobytes() for draw in draws}) == 4
    for seed, draw in enumerate(draws):
        np.testing.assert_array_equal(pipeline.apply(prepared, draw), pipeline(CLIPS[0], np.random.default_rng(seed)))


def test_frames_count_up_to_the_number_that_show_anybody():
    """The released rule: empty frames at the end are cut off; a gap costs as many frames at the end."""
    pipeline = build_pipeline(CONFIG, "ntu25", "j", "test")
    assert pipeline.prepare(CLIPS[2]).keypoints.shape == (2, 12, 25, 3)
    gap = CLIPS[0].copy()
    gap[:, 5:8] = 0
    np.testing.assert_array_equal(pipeline.prepare(gap).keypoints, gap[:, :67])


def test_centring_is_what_conversion_does():
    config, raw = replace(CONFIG, centre=True), CLIPS[1].copy()
    raw[0, :41] += np.array([0.5, 1, 3], dtype=np.float32)
    pipeline = build_pipeline(config, "ntu25", "j", "test")
    prepared = pipeline.prepare(raw).keypoints
    origin = raw[0, 0, get_skeleton("ntu25").body_centre]
    np.testing.assert_array_equal(prepared[0], raw[0, :41] - origin)
    assert not prepared[1].any(), "an absent person stays absent"
    np.testing.assert_array_equal(pipeline.prepare(prepared).keypoints, prepared)
    late = np.zeros_like(raw)
    late[1] = 1.0
    late[0, 3:] = raw[0, 3:]
    np.testing.assert_array_equal(
        pipeline.prepare(late).keypoints[1], np.broadcast_to(1 - late[0, 3, 1], late[1].shape)
    )


def test_float16_clips_are_cropped_in_single_precision():
    half = CLIPS[0].astype(np.float16)
    out = build_pipeline(CONFIG, "ntu25", "b", "test")(half)
    np.testing.assert_array_equal(out, build_pipeline(CONFIG, "ntu25", "b", "test")(half.astype(np.float32)))


def test_further_test_clips_are_fixed_crops():
    pipeline = build_pipeline(replace(CONFIG, test_clips=3), "ntu25", "j", "test")
    out = pipeline(CLIPS[0])
    assert out.shape == (3, 2, 64, 25, 3)
    np.testing.assert_array_equal(out[:1], build_pipeline(CONFIG, "ntu25", "j", "test")(CLIPS[0]))
    assert len({clip.tobytes() for clip in out}) == 3
    np.testing.assert_array_equal(out, pipeline(CLIPS[0]))


def test_motion_does_not_cross_test_clips():
    out = build_pipeline(replace(CONFIG, test_clips=2), "ntu25", "jm", "test")(CLIPS[0])
    assert not out[:, :, -1].any()


def test_infogcn_gives_positions_and_motions():
    for stream, same in (("j", "j"), ("b", "j"), ("k", "j"), ("jm", "jm"), ("bm", "jm"), ("km", "jm")):
        out = build_pipeline(replace(CONFIG, protocol="infogcn"), "ntu25_infogcn", stream, "test")(CLIPS[0])
        np.testing.assert_array_equal(out, build_pipeline(CONFIG, "ntu25", same, "test")(CLIPS[0]))
