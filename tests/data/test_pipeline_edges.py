"""What every pipeline does with unusual clips and recipes: documented repairs and refusals that say what to type."""

from dataclasses import replace

import numpy as np
import pytest

from graphs import streams
from graphs.layouts import get_skeleton
from protogcn.data.pipeline import PROTOCOLS, PipelineConfig, build_pipeline
from protogcn.data.store import Clip

OF_CLIPS = [name for name in PROTOCOLS if name != "heatmap"]
FLAT = PipelineConfig("protogcn_2d", clip_len=20, test_clips=2, flip=0.5)


def recipe(protocol, **changes):
    config = PipelineConfig(
        protocol, clip_len=16, test_clips=3, rotation=0.3, flip=0.5, part_drop=0.3, joint_dropout=0.1
    )
    return replace(config, **changes)


def source(protocol, persons=2, frames=30, dtype=np.float32, skeleton=None):
    layout = {"protogcn_2d": "coco20", "pyskl_2d": "coco17"}.get(protocol, "ntu25")
    channels = "xys" if protocol.endswith("2d") else "xyz"
    joints = 17 if channels == "xys" else 25
    keypoints = np.random.default_rng(persons + frames).random((persons, frames, joints, 3)).astype(dtype)
    return Clip(keypoints, 0, "some_clip", (240, 320)), layout, channels


@pytest.mark.parametrize("mode", ["train", "val", "test"])
@pytest.mark.parametrize("protocol", OF_CLIPS)
@pytest.mark.parametrize(("persons", "frames", "dtype"), [(1, 1, np.float16), (2, 9, np.float32), (3, 50, np.float64)])
def test_every_protocol_takes_every_clip(protocol, mode, persons, frames, dtype):
    clip, layout, channels = source(protocol, persons, frames, dtype)
    before = clip.keypoints.copy()
    clip.keypoints.flags.writeable = False
    for stream in streams.STREAMS:
        pipeline = build_pipeline(recipe(protocol), layout, stream, mode, channels)
        out = pipeline(clip, np.random.default_rng(5))
        assert out.dtype == np.float32 and out.shape == pipeline.out_shape and np.isfinite(out).all()
        assert pipeline.num_clips == len(out) == (3 if mode == "test" else 1)
        assert np.array_equal(out, pipeline(clip, np.random.default_rng(5)))
        assert mode == "train" or np.array_equal(out, pipeline(clip))
    np.testing.assert_array_equal(clip.keypoints, before)


@pytest.mark.parametrize("protocol", OF_CLIPS)
def test_training_differs_from_draw_to_draw(protocol):
    clip, layout, channels = source(protocol)
    pipeline = build_pipeline(recipe(protocol), layout, "j", "train", channels)
    rng = np.random.default_rng(0)
    assert not np.array_equal(pipeline(clip, rng), pipeline(clip, rng))
    with pytest.raises(ValueError, match="Generator"):
        pipeline(clip)


@pytest.mark.parametrize("protocol", OF_CLIPS)
@pytest.mark.parametrize("persons", [0, 2])
def test_clips_without_anybody_give_zeros(protocol, persons):
    clip, layout, channels = source(protocol)
    empty = Clip(np.zeros((persons, *clip.keypoints.shape[1:]), dtype=np.float16), 0, "empty", (240, 320))
    out = build_pipeline(recipe(protocol), layout, "j", "train", channels)(empty, np.random.default_rng(0))
    assert out.shape[1:3] == (2, 16)
    assert not out.any()


@pytest.mark.parametrize("protocol", OF_CLIPS)
def test_gaps_become_unseen_joints(protocol):
    clip, layout, channels = source(protocol)
    pipeline = build_pipeline(recipe(protocol), layout, "j", "test", channels)
    clip.keypoints[0, 4, 7] = 0
    expected = pipeline(clip)
    clip.keypoints[0, 4, 7, 1] = np.nan
    np.testing.assert_array_equal(pipeline(clip), expected)


@pytest.mark.parametrize("protocol", OF_CLIPS)
def test_missing_persons_are_zeros_and_further_ones_are_left_out(protocol):
    clip, layout, channels = source(protocol, persons=1)
    out = build_pipeline(recipe(protocol), layout, "j", "val", channels)(clip)
    assert out[:, 0].any() and not out[:, 1].any()
    alone = build_pipeline(recipe(protocol, num_persons=1), layout, "j", "val", channels)(clip)
    np.testing.assert_array_equal(alone, out[:, :1])
    crowd, _, _ = source(protocol, persons=3)
    assert build_pipeline(recipe(protocol), layout, "j", "val", channels)(crowd).shape[1] == 2


def test_absent_person_does_not_widen_the_box():
    clip, _, _ = source("nw_ucla")
    pipeline = build_pipeline(recipe("nw_ucla"), "ntu25", "j", "val")
    both = np.concatenate([clip.keypoints[:1] + 5, np.zeros_like(clip.keypoints[:1])])
    out = pipeline(both)
    np.testing.assert_array_equal(out[:, 0], pipeline(both[:1])[:, 0])
    assert not out[:, 1].any()
    assert out[0, 0].min(axis=(0, 1)).tolist() == pytest.approx([-1] * 3, abs=0.3)


def test_flat_axis_does_not_divide_by_zero():
    clip, _, _ = source("nw_ucla", persons=1)
    clip.keypoints[..., 2] = 3
    out = build_pipeline(recipe("nw_ucla"), "ntu25", "j", "val")(clip)
    assert np.isfinite(out).all() and not out[..., 2].any()


@pytest.mark.parametrize("padding", ["zero", "loop"])
def test_padding_protocol(padding):
    config = PipelineConfig("pyskl_3d", clip_len=12, sampling="pad", padding=padding, test_clips=1)
    clip, _, _ = source("pyskl_3d", frames=8)
    out = build_pipeline(config, "ntu25", "j", "test")(clip)[0]
    first, rest = out[:, :8], out[:, 8:]
    np.testing.assert_array_equal(rest, first[:, :4] if padding == "loop" else np.zeros_like(rest))
    with pytest.raises(ValueError, match="raise clip_len to at least 20"):
        build_pipeline(config, "ntu25", "j", "test")(source("pyskl_3d", frames=20)[0])


def test_noise_moves_neighbouring_frames_apart():
    clip, _, _ = source("protogcn_3d")
    quiet, loud = (
        build_pipeline(PipelineConfig(rotation=0, noise=noise, clip_len=16), "ntu25", "jm", "train")
        for noise in (0.0, 0.5)
    )
    still = np.repeat(clip.keypoints[:, :1], 30, axis=1)
    assert not quiet(still, np.random.default_rng(0)).any()
    assert loud(still, np.random.default_rng(0)).any()


def test_flip_of_the_image_protocol_needs_the_image():
    clip, layout, channels = source("protogcn_2d")
    pipeline = build_pipeline(FLAT, layout, "j", "train", channels)
    prepared = pipeline.prepare(clip.keypoints)
    with pytest.raises(ValueError, match="image_shape"):
        pipeline.apply(prepared, replace(pipeline.draw(prepared, np.random.default_rng(0)), flip=True))


def test_clips_of_twenty_joints_are_not_extended_again():
    clip = np.random.default_rng(0).random((1, 30, 20, 3))
    assert build_pipeline(FLAT, "coco20", "b", "val", "xys")(clip).shape == (1, 2, 20, 20, 3)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (np.zeros((1, 5, 17, 3)), r"\(persons, frames, 25, 3\).*ntu25"),
        (np.zeros((5, 25, 3)), r"shape \(5, 25, 3\), expected \(persons, frames, 25, 3\)"),
        (np.zeros((1, 5, 25, 2)), r"channels 'xyz'"),
        (np.zeros((1, 0, 25, 3)), "no frames"),
        (np.zeros((1, 5, 25, 3), dtype=int), "int64"),
    ],
)
def test_clips_that_do_not_fit(keypoints, message):
    pipeline = build_pipeline(PipelineConfig(), "ntu25", "j", "val")
    with pytest.raises(ValueError, match=message):
        pipeline(keypoints)
    with pytest.raises(ValueError, match="clip 'S001'"):
        pipeline(Clip(keypoints, 0, "S001"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "protogcn3d"}, "did you mean 'protogcn_3d'"),
        ({"sampling": "unifrom"}, "'uniform'"),
        ({"padding": "zeros"}, "'zero'"),
        ({"clip_len": 0}, "pipeline.clip_len must be at least 1, got 0"),
        ({"flip": 1.5}, "probability"),
        ({"rotation": -0.1}, "0 or more"),
        ({"noise": float("nan")}, "0 or more"),
        ({"p_interval": (0.8, 0.5)}, "low <= high"),
        ({"p_interval": (0.5,)}, "two numbers"),
        ({"protocol": "nw_ucla", "sampling": "pad"}, "uniform"),
        ({"sampling": "pad"}, "test_clips must be 1"),
        ({"protocol": "infogcn", "sampling": "pad"}, "uniform for protocol infogcn"),
        ({"test_share": 0.0}, "test_share"),
        ({"protocol": "pyskl_3d", "compat": "mmaction"}, "did you mean 'mmaction2'"),
        ({"compat": "mmaction2"}, "empty for protocol protogcn_3d"),
        ({"protocol": "pyskl_2d", "compat": "mmaction2", "p_interval": (0.5, 1)}, "takes all frames"),
        ({"centre": True}, "false for protocol protogcn_3d"),
    ],
)
def test_recipe_errors(options, message):
    with pytest.raises(ValueError, match=message):
        PipelineConfig(**options)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, ("ntu25", "jb", "train", "xyz"), "stream 'jb'"),
        ({"kbone": "grandfather"}, ("ntu25", "k", "train", "xyz"), "'grandparent' or 'infogcn:<k>'"),
        ({}, ("ntu25", "j", "validation", "xyz"), "mode 'validation'"),
        ({}, ("ntu25", "j", "train", "xyzs"), "channels 'xyzs'"),
        ({}, ("coco17", "j", "train", "xys"), "protogcn_2d or pyskl_2d"),
        (
            {"protocol": "protogcn_2d"},
            ("ntu25", "j", "train", "xyz"),
            "protogcn_3d, pyskl_3d, ctrgcn, infogcn or nw_ucla",
        ),
        ({"protocol": "pyskl_3d"}, ("sparse", "j", "train", "xyz"), "align_spine to false"),
        ({"protocol": "infogcn"}, ("coco17", "j", "train", "xys"), "protogcn_2d or pyskl_2d"),
        ({"part_drop": 0.1}, ("sparse", "j", "train", "xyz"), "part_drop to 0"),
        ({"flip": 0.1}, ("sparse", "j", "train", "xyz"), "flip to 0"),
    ],
)
def test_build_errors(options, arguments, message):
    skeleton, *rest = arguments
    if skeleton == "sparse":
        skeleton = type(get_skeleton("ntu25")).from_edges("sparse", ["a", "b", "c"], [("a", "b"), ("b", "c")])
    with pytest.raises(ValueError, match=message):
        build_pipeline(PipelineConfig(**options), skeleton, *rest)
