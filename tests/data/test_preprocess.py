"""Centring, turning, image scaling and virtual joints against the published implementations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protogcn.data.half import narrowed, widened
from protogcn.data.pipeline_base import format_clips, without_gaps
from protogcn.data.preprocess import add_virtual_joints, pre_normalize_2d, pre_normalize_3d

FOLDER = Path(__file__).parents[1] / "goldens" / "data"
CASES = json.loads((FOLDER / "preprocess.json").read_text())
ARRAYS = dict(np.load(FOLDER / "preprocess.npz"))


def cases(prefix):
    return [name for name in CASES if name.startswith(prefix)]


def scored(name):
    return np.concatenate([ARRAYS[f"{name}/input"], ARRAYS[f"{name}/score"][..., None]], axis=-1)


@pytest.mark.parametrize("name", cases("prenorm/"))
def test_pre_normalize_3d(name):
    x = ARRAYS[f"{name}/input"]
    before = x.copy()
    centre_joint = 1 if x.shape[2] == 25 else x.shape[2] - 1
    align = CASES[name].get("args", {}).get("align_spine", True)
    out = pre_normalize_3d(x, centre_joint, align_spine=align)
    expected = ARRAYS[f"{name}/out"]
    assert out.dtype == expected.dtype
    if align:
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)
    else:
        np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("case", "spine", "shoulders"),
    [("prenorm_align_spine_False", False, True), ("prenorm_align_shoulder_False", True, False)],
)
def test_pre_normalize_3d_with_the_two_switches_of_mmaction2(case, spine, shoulders):
    x = np.random.default_rng(800).standard_normal((2, 3, 25, 3))
    expected = json.loads((FOLDER / "mmaction2.json").read_text())[case]
    out = pre_normalize_3d(x, 1, align_spine=spine, align_shoulders=shoulders)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", cases("kinetics/"))
def test_virtual_joints(name):
    out = add_virtual_joints(scored(name))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, ARRAYS[f"{name}/out"])


@pytest.mark.parametrize("name", cases("prenorm2d/"))
def test_pre_normalize_2d(name):
    shape = CASES[name]["img_shape"]
    out = pre_normalize_2d(scored(name), shape and tuple(shape), auto=CASES[name]["args"].get("mode") == "auto")
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, ARRAYS[f"{name}/out"])


@pytest.mark.parametrize("name", cases("format/"))
def test_format_clips(name):
    x = scored(name) if f"{name}/score" in ARRAYS else ARRAYS[f"{name}/input"]
    out = format_clips(x, CASES[name]["num_clips"], CASES[name].get("num_person", 2))
    assert out.dtype == np.float32 and out.flags.c_contiguous
    np.testing.assert_array_equal(out, ARRAYS[f"{name}/out"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pre_normalize_3d_against_its_definition(dtype):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 12, 25, 3)).astype(dtype)
    x[0, 3:] = 0
    x[1, 5] = 0
    x[2, [5, 6]] = 0
    x[1, 2, 9] = 0
    out = pre_normalize_3d(x, 1)
    kept = [t for t in range(12) if t != 5]
    swapped = x[[1, 0, 2]][:, kept]
    expected = np.where((swapped == 0).all(-1, keepdims=True), swapped, swapped - swapped[0, 0, 1])
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


def test_turned_clips_stand_upright():
    x = np.random.default_rng(0).standard_normal((1, 5, 25, 3))
    spine = x[0, 0, 1] - x[0, 0, 0]
    x[0, 0, 8] = x[0, 0, 4] + np.cross(spine, [1.0, 2.0, 3.0])
    first: Any = pre_normalize_3d(x, 1, align_spine=True)[0, 0]
    np.testing.assert_allclose(first[1] - first[0], [0, 0, float(np.linalg.norm(spine))], atol=1e-12)
    shoulders: Any = first[8] - first[4]
    np.testing.assert_allclose(shoulders, [float(np.linalg.norm(shoulders)), 0, 0], atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 4, 25, 3), (2, 4, 25, 3)])
def test_nobody_there(shape):
    x = np.zeros(shape)
    assert pre_normalize_3d(x, 1, align_spine=True) is x


@given(st.integers(0, 2**16 - 1))
def test_half_precision_conversions(bits):
    x = np.array([bits], dtype=np.uint16).view(np.float16)
    x.flags.writeable = False
    np.testing.assert_array_equal(widened(x), x.astype(np.float32))
    np.testing.assert_array_equal(narrowed(widened(x)), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_joints_with_gaps_become_unseen(dtype, gap):
    x = np.ones((1, 2, 3, 3), dtype=dtype)
    assert without_gaps(x) is x
    x[0, 1, 2, 1] = gap
    out = without_gaps(x)
    assert out.dtype == dtype
    assert out.sum() == 15 and not out[0, 1, 2].any()
