"""Json files of poses from outside: parsed with every surprise turned into one sentence that names the file."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_LARGEST = 1 << 30
_SIZE_KEYS = (("height", "width"), ("image_height", "image_width"), ("frame_height", "frame_width"))
_INNER = ("metadata", "meta", "info", "video", "video_info", "image")


def read_json(file: Path) -> Any:
    """The content of a json file.

    Raises:
        ValueError: it is no json, or larger than any clip.
    """
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"{file} is larger than any file of poses ({file.stat().st_size:,} bytes).")
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not readable as json ({error}); it may be truncated: copy it again.") from error


def numbers_in(values: Any, where: str, size: int) -> npt.NDArray[np.float64]:
    """(V, size) numbers from a flat list, or from a list of lists; ``null`` becomes NaN.

    Raises:
        ValueError: other things than numbers, or a number of them that does not divide by ``size``.
    """
    flat: list[float] = []
    if not isinstance(values, list):
        raise ValueError(f"{where}: expected a list of numbers, got {brief(values)}.")
    for value in values:
        for number in value if isinstance(value, list) else [value]:
            flat.append(number_in(number, where))
    if not flat or len(flat) % size:
        raise ValueError(f"{where}: expected {size} numbers for each joint, got {len(flat)} numbers.")
    return np.array(flat).reshape(-1, size)


def number_in(value: Any, where: str) -> float:
    """A number; ``null`` becomes NaN.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: expected a number, got {brief(value)}.")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{where}: a number of {len(str(value))} digits is no coordinate.") from None


def whole_in(value: Any, where: str) -> int:
    """A whole number, also where it is written as text or with a decimal point.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1 << 53:
        raise ValueError(f"{where} must be a whole number, got {brief(value)}.")
    if int(value) != value:
        raise ValueError(f"{where} must be a whole number, got {value!r}.")
    return int(value)


def size_in(content: Any, where: str) -> tuple[int, int] | None:
    """(height, width) of the video, if the content says it, at the top or one level below."""
    places = [content] if isinstance(content, dict) else []
    places += [content[key] for key in _INNER if places and isinstance(content.get(key), dict)]
    for place in places:
        for height, width in _SIZE_KEYS:
            if height in place and width in place:
                size = whole_in(place[height], f"{where}: {height}"), whole_in(place[width], f"{where}: {width}")
                return size if min(size) > 0 else None
        pair = place.get("image_shape", place.get("img_shape"))
        if isinstance(pair, list) and len(pair) >= 2:
            return whole_in(pair[0], f"{where}: image_shape"), whole_in(pair[1], f"{where}: image_shape")
    return None


def label_in(content: dict[str, Any], where: str) -> str | None:
    """The class that a file names itself, if it does.

    Raises:
        ValueError: it is no text.
    """
    label = content.get("label")
    if label is None or label == "" or label == "unknown":
        return None
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise ValueError(f"{where}: label must be text, got {brief(label)}.")
    return str(label)


def brief(value: Any) -> str:
    """What a surprising value is, in a few words."""
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:6])) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else repr(value)[:60]
