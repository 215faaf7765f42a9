"""Poses in cropped and resized images against the released transforms, and what every crop promises."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protogcn.data.framing import centre_box, crop, draw_crop, first_fitting_size, placed_box, pose_box, resize

FOLDER = Path(__file__).parents[1] / "goldens" / "data"
CASES = json.loads((FOLDER / "framing.json").read_text())
ARRAYS = dict(np.load(FOLDER / "framing.npz"))
SHAPES = st.tuples(st.integers(1, 400), st.integers(1, 400))


def cases(prefix):
    return [name for name in CASES if name.startswith(prefix)]


def check(name, out, shape):
    expected = ARRAYS[f"{name}/out"]
    assert out.dtype == expected.dtype and list(shape) == CASES[name]["img_shape_out"]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", cases("compact/"))
def test_published_compaction(name):
    x, case = ARRAYS[f"{name}/input"], CASES[name]
    ratio, options = case["args"].get("hw_ratio"), case["args"]
    before = x.copy()
    box = pose_box(
        x,
        case["img_shape"],
        threshold=options.get("threshold", 10),
        aspect=(ratio, ratio) if ratio else None,
        beyond_image=options.get("allow_imgpad", True),
    )
    out, shape = crop(x, box, keep_unseen=True) if box else (x, case["img_shape"])
    check(name, out, shape)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", cases("resize/"))
def test_published_resizing(name):
    args = CASES[name]["args"]
    out, shape = resize(
        ARRAYS[f"{name}/input"],
        tuple(CASES[name]["img_shape"]),
        tuple(args["scale"]),
        keep_ratio=args.get("keep_ratio", True),
    )
    check(name, out, shape)


# Height, width, seed of both generators and the box that the released code draws.
BOXES = [
    (64, 64, 0, (1, 3, 63, 63)),
    (64, 64, 1, (2, 1, 56, 58)),
    (64, 80, 2, (1, 1, 58, 57)),
    (80, 64, 3, (3, 18, 58, 71)),
    (64, 64, 4, (3, 4, 55, 55)),
    (256, 256, 5, (32, 22, 214, 236)),
]


@pytest.mark.parametrize(("height", "width", "seed", "box"), BOXES)
def test_published_boxes(height, width, seed, box):
    rng, offsets = np.random.RandomState(seed), random.Random(seed)
    aspects = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 10))
    high, wide = first_fitting_size((height, width), aspects, rng.uniform(0.56, 1.0, 10))
    left, top = offsets.randint(0, width - wide), offsets.randint(0, height - high)
    assert (left, top, left + wide, top + high) == box


@pytest.mark.parametrize("name", [*cases("rrc/"), "centercrop"])
def test_published_crops(name):
    left, top, right, bottom = (int(side) for side in CASES[name]["crop_bbox"])
    box = left, top, right, bottom
    if name == "centercrop":
        assert centre_box(CASES[name]["img_shape"], CASES[name]["img_shape_out"]) == box
    check(name, *crop(ARRAYS[f"{name}/input"], box))


@given(SHAPES, st.integers(0))
def test_random_boxes_lie_in_the_image(image, seed):
    left, top, right, bottom = placed_box(image, draw_crop(np.random.default_rng(seed)))
    assert 0 <= left < right <= image[1] and 0 <= top < bottom <= image[0]


def test_random_boxes_have_the_shares_asked_for():
    draws = [draw_crop(np.random.default_rng(seed), (0.2, 0.3), (0.5, 2.0)) for seed in range(200)]
    boxes = [placed_box((200, 300), draw) for draw in draws]
    wide, high = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes]).T
    assert ((wide * high / 60000 > 0.19) & (wide * high / 60000 < 0.31)).all()
    assert (wide / high).min() < 0.6 and (wide / high).max() > 1.8


def test_image_too_narrow_for_any_box_is_cropped_to_its_middle_square():
    assert placed_box((10, 400), draw_crop(np.random.default_rng(0), (0.9, 1.0))) == (195, 0, 205, 10)


@given(SHAPES, st.integers(4, 200))
def test_shorter_side(image, side):
    x = np.ones((1, 2, 3), dtype=np.float32)
    out, shape = resize(x, image, (-1, side))
    assert min(shape) == side and shape == resize(x, image, (side, -1))[1]
    np.testing.assert_allclose(out[..., 0], shape[1] / image[1], rtol=1e-6)
    assert (out[..., 2] == 1).all(), "a score is no pixel"


def test_box_of_a_pose_holds_it():
    x = np.random.default_rng(0).uniform(50, 150, (2, 5, 17, 3)).astype(np.float32)
    x[0, 0, 0, :2] = 0
    x[1, 1, 1, :2] = np.nan
    box = pose_box(x, (200, 200), padding=0.0, aspect=(1, 1))
    assert box is not None
    left, top, right, bottom = box
    seen = x[..., :2][(x[..., 0] > 0)]
    assert left <= seen[:, 0].min() and right >= seen[:, 0].max() - 1
    assert top <= seen[:, 1].min() and bottom >= seen[:, 1].max() - 1
    assert abs((right - left) - (bottom - top)) <= 1


@pytest.mark.parametrize("x", [np.zeros((2, 3, 17, 2)), np.full((1, 1, 17, 2), np.nan), np.zeros((0, 3, 17, 2))])
def test_nobody_to_frame(x):
    assert pose_box(x, (100, 100)) is None


@pytest.mark.parametrize("scale", [(0, 64), (-1, 0), (-1, -1), (64, -2)])
def test_sides_that_cannot_be(scale):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        resize(np.ones((1, 2)), (10, 10), scale)


def test_new_size_without_a_ratio_needs_both_sides():
    with pytest.raises(ValueError, match="at least 1 pixel"):
        resize(np.ones((1, 2)), (10, 10), (-1, 64), keep_ratio=False)
    with pytest.raises(ValueError, match="does not fit"):
        centre_box((10, 10), (11, 5))


def test_pose_larger_than_numbers_go():
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="too far apart"):
        pose_box(np.array([[-3e38, 5], [3e38, 50]], dtype=np.float32), (100, 100))
