"""What every reader hands over, and the small decisions they share: class numbers and channels."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.messages import unknown
from protogcn.data.store import Clip


@dataclass
class ClipSource:
    """Clips on their way into a store.

    Attributes:
        clips: read once, in store order.
        channels: ``"xyz"``, ``"xy"`` or ``"xys"``.
        num_joints: V, or None where the first clip has to tell.
        num_classes: smallest number of classes the labels allow.
        class_names: names found in the source, in label order; None where it has numbers only.
        splits: split name -> ids or positions; a lazy reader fills it while the clips are read.
        notes: what the reader left out or noticed; lazily filled likewise.
        dropped: name of each clip that was left out -> why; lazily filled likewise.
        total: number of clips, where it is known beforehand.
        dtype: dtype the store must have to keep all clips exactly; None lets the first clip decide.
    """

    clips: Iterable[Clip]
    channels: str
    num_joints: int | None
    num_classes: int
    class_names: tuple[str, ...] | None = None
    splits: Mapping[str, Sequence[str] | Sequence[int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    total: int | None = None
    dtype: str | None = None


def count_reasons(dropped: Mapping[str, str]) -> str:
    """How many clips were left out for which kind of reason (its text up to a colon), the most frequent first."""
    counts = Counter(reason.split(":")[0] for reason in dropped.values())
    return "; ".join(f"{count:,} {kind}" for kind, count in counts.most_common()) + " (named in dropped.csv)"


def number_classes(
    found: Iterable[str], given: Sequence[str] | None
) -> tuple[dict[str, int], tuple[str, ...] | None, int]:
    """Turn labels written as text into class numbers.

    Whole numbers are class numbers. Names count in the order of ``given``, else in alphabetical order.

    Args:
        found: every distinct label in the source.
        given: class names in label order, where the user gave them.

    Returns:
        label text -> class number; class names (None if labels are numbers and no names were given); number of classes.

    Raises:
        ValueError: a label is not among the given names, or is a negative number.
    """
    texts = sorted(set(found))
    if given is not None:
        place = {name: i for i, name in enumerate(given)}
        numbers = {}
        for text in texts:
            if text in place:
                numbers[text] = place[text]
            elif text.isdecimal() and int(text) < len(given):
                numbers[text] = int(text)
            else:
                raise ValueError(f"{unknown('class', text, given, show_all=len(given) <= 30)}")
        return numbers, tuple(given), len(given)
    if texts and all(_is_whole(text) for text in texts):
        numbers = {text: int(text) for text in texts}
        if min(numbers.values()) < 0:
            raise ValueError(f"class numbers start at 0; got {min(numbers.values())}")
        return numbers, None, max(numbers.values()) + 1
    return {text: i for i, text in enumerate(texts)}, tuple(texts), len(texts)


def choose_channels(count: int, hint: str | None, where: str) -> str:
    """What C numbers per joint mean: 2 ``xy``, 3 ``xyz`` (or ``xys`` if the hint says so), 4 ``xyz`` and a score.

    Raises:
        ValueError: C is something else, or contradicts the hint.
    """
    usual = {2: ("xy",), 3: ("xyz", "xys"), 4: ("xyz",)}.get(count, ())
    if not usual or (hint and hint not in usual):
        expected = f"{hint} as channels" if hint else "2 (x, y), 3 (x, y, z) or 4 (x, y, z, score) numbers per joint"
        raise ValueError(f"{where}: expected {expected}; got {count} numbers per joint.")
    return hint or usual[0]


def keep_channels(keypoints: npt.NDArray[Any], channels: str) -> npt.NDArray[Any]:
    """Leave out the score of 3D joints: a store of 3D clips holds x, y, z."""
    return keypoints[..., : len(channels)]


def positions_of(mask_or_indices: npt.NDArray[Any], count: int, where: str) -> npt.NDArray[np.int64]:
    """Clip positions from a boolean mask (n,) or from an array of positions.

    Raises:
        ValueError: it is neither.
    """
    array = mask_or_indices
    if array.ndim == 1 and array.dtype.kind == "b" and len(array) == count:
        return np.flatnonzero(array)
    if array.ndim == 1 and array.dtype.kind in "iu":
        return array.astype(np.int64)
    raise ValueError(
        f"{where} must be a mask of {count} truth values or an array of clip positions; "
        f"got {array.dtype} of shape {array.shape}."
    )


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
