"""Poses in an image that is cropped and resized: what the heat-map networks of PYSKL do to key points.

Key points are (..., 2) or (..., 3) with pixels x, y first; what follows them, a score, is left alone. Images are given
by (height, width), boxes by (left, top, right, bottom) in whole pixels. Nothing is written into its input.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]

_ATTEMPTS = 10


def pose_box(
    keypoints: NDArray[Any],
    image_shape: tuple[int, int],
    *,
    padding: float = 0.25,
    threshold: float = 10,
    aspect: tuple[float, float] | None = None,
    beyond_image: bool = True,
) -> Box | None:
    """The padded box around all seen joints of a clip (PYSKL's PoseCompact).

    A coordinate that is zero or no number counts as unseen, x and y each for itself.

    Args:
        keypoints: (..., 2 or 3).
        image_shape: (height, width) in pixels.
        padding: share that the box grows by.
        threshold: pixels; a pose with a shorter side is left where it is.
        aspect: least height by width and least width by height of the box; (1, 1) makes it a square. None leaves it.
        beyond_image: whether the box may reach beyond the image.

    Returns:
        The box, or None where there is too little to see.

    Raises:
        ValueError: the pose is so large that its extent is no number.
    """
    sides = []
    for axis in range(2):
        values = np.nan_to_num(keypoints[..., axis], nan=0.0, posinf=0.0, neginf=0.0)
        seen = values[values != 0]
        if not len(seen) or seen.max() - seen.min() < threshold:
            return None
        sides.append(((seen.max() + seen.min()) / 2, (seen.max() - seen.min()) / 2 * (1 + padding)))
    (x, half_width), (y, half_height) = sides
    if not math.isfinite(half_width + half_height):
        raise ValueError("the joints of a clip are too far apart for pixels: mend its coordinates, or leave it out")
    if aspect is not None:
        half_height = max(aspect[0] * half_width, half_height)
        half_width = max(1 / aspect[1] * half_height, half_width)
    left, top, right, bottom = x - half_width, y - half_height, x + half_width, y + half_height
    if not beyond_image:
        left, top = max(0, left), max(0, top)
        right, bottom = min(image_shape[1], right), min(image_shape[0], bottom)
    return int(left), int(top), int(right), int(bottom)


def crop(keypoints: NDArray[Any], box: Box, *, keep_unseen: bool = False) -> tuple[NDArray[Any], tuple[int, int]]:
    """Key points as pixels of a box, and the shape of the box.

    Args:
        keypoints: (..., 2 or 3).
        box: what is cut out.
        keep_unseen: leave coordinates that are zero at zero, each for itself (PoseCompact); otherwise they move with
            the rest, in double precision as in the released code (RandomResizedCrop, CenterCrop).
    """
    left, top, right, bottom = box
    out = keypoints.copy() if keep_unseen else keypoints.astype(np.float64)
    for axis, corner in enumerate((left, top)):
        values = out[..., axis]
        out[..., axis] = np.where(values != 0, values - corner, values) if keep_unseen else values - corner
    return out, (bottom - top, right - left)


def centre_box(image_shape: tuple[int, int], size: tuple[int, int]) -> Box:
    """The box of a (height, width) in the middle of an image.

    Raises:
        ValueError: the image is smaller.
    """
    (height, width), (high, wide) = image_shape, size
    if high > height or wide > width:
        raise ValueError(f"a box of {wide} x {high} pixels does not fit into an image of {width} x {height}")
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


@dataclass(frozen=True, slots=True, eq=False)
class RandomCrop:
    """The draw of a box, which `placed_box` puts into an image whose size need not be known yet.

    Attributes:
        aspects: width by height of the candidates, in order of preference.
        areas: their shares of the image's area.
        place: where the box lies between left and right, and between top and bottom, from 0 to below 1.
    """

    aspects: NDArray[np.float64]
    areas: NDArray[np.float64]
    place: tuple[float, float]


def draw_crop(
    rng: np.random.Generator,
    area: tuple[float, float] = (0.56, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> RandomCrop:
    """Draw a box that may lie anywhere in an image (RandomResizedCrop).

    Args:
        rng: source of the draws.
        area: smallest and largest share of the image's area.
        aspect: smallest and largest width by height, whose logarithm is uniform.
    """
    aspects = np.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1]), _ATTEMPTS))
    return RandomCrop(aspects, rng.uniform(*area, _ATTEMPTS), (rng.random(), rng.random()))


def placed_box(image_shape: tuple[int, int], drawn: RandomCrop) -> Box:
    """The drawn box in an image (height, width), or the square in its middle where no candidate fits."""
    size = first_fitting_size(image_shape, drawn.aspects, drawn.areas)
    if size is None:
        return centre_box(image_shape, (min(image_shape), min(image_shape)))
    (height, width), (high, wide) = image_shape, size
    left, top = (
        int(share * (rest + 1)) for share, rest in zip(drawn.place, (width - wide, height - high), strict=True)
    )
    return left, top, left + wide, top + high


def first_fitting_size(
    image_shape: tuple[int, int], aspects: NDArray[np.float64], areas: NDArray[np.float64]
) -> tuple[int, int] | None:
    """(height, width) of the first box that fits, of some given by width by height and share of the area; or None."""
    height, width = image_shape
    pixels = areas * height * width
    widths, heights = np.round(np.sqrt(pixels * aspects)), np.round(np.sqrt(pixels / aspects))
    fits = np.flatnonzero((widths <= width) & (heights <= height) & (np.minimum(widths, heights) >= 1))
    return (int(heights[fits[0]]), int(widths[fits[0]])) if len(fits) else None


def resize(
    keypoints: NDArray[Any], image_shape: tuple[int, int], scale: tuple[int, int], *, keep_ratio: bool = True
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Key points in an image of another size, and its shape.

    Args:
        keypoints: (..., 2 or 3).
        image_shape: (height, width) in pixels.
        scale: with `keep_ratio` the bounds of the longer and of the shorter side, in any order, the image becoming as
            large as they allow; (-1, s) only asks for a shorter side of s. Otherwise the new (width, height).

    Returns:
        key points of the same type, and the new (height, width).

    Raises:
        ValueError: a side is not positive.
    """
    height, width = image_shape
    if max(scale) < 1 or (min(scale) < 1 and not (keep_ratio and -1 in scale)):
        raise ValueError(f"scale must be two sides of at least 1 pixel, or (-1, shorter side); got {scale}")
    new_width, new_height = scale
    if keep_ratio:
        longer = math.inf if -1 in scale else max(scale)
        shorter = max(scale) if -1 in scale else min(scale)
        factor = min(longer / max(image_shape), shorter / min(image_shape))
        new_width, new_height = int(width * factor + 0.5), int(height * factor + 0.5)
    out = keypoints.copy()
    out[..., :2] *= np.array([new_width / width, new_height / height], dtype=np.float32)
    return out, (new_height, new_width)
