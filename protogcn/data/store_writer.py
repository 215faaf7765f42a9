"""Writing a clip store: clips are checked, repaired and appended one at a time."""

import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data import store_files as files

_DTYPES = ("float32", "float16")
_LONGEST_ID = 512


class StoreWriter:
    """Appends clips to ``keypoints.npy`` in ``folder``; :meth:`finish` adds the index and the description.

    Args:
        folder: an existing empty folder.
        num_joints, num_channels, num_classes: what every clip must agree with.
        dtype: ``"float32"``, ``"float16"`` or None (float16 if the first clip has it, else float32).
    """

    def __init__(
        self, folder: Path, num_joints: int, num_channels: int, num_classes: int, dtype: str | None = None
    ) -> None:
        if dtype is not None and dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}; got {dtype!r}")
        self.folder = folder
        self.joint_shape = (num_joints, num_channels)
        self.num_classes = num_classes
        self.dtype = np.dtype(dtype).newbyteorder("<") if dtype else None
        self._may_round = dtype is not None
        self._digest = hashlib.sha256()
        self._file = (folder / files.KEYPOINTS).open("wb")
        self._rows: dict[str, int] = {}
        self._positions: list[int] = []
        self._seen = 0
        self._labels: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        self._image_shapes: list[tuple[int, int]] = []
        self._dropped: dict[str, None] = {}
        self._repaired: dict[str, int] = {}

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(
        self, keypoints: npt.ArrayLike, label: int, clip_id: str, image_shape: tuple[int, int] | None = None
    ) -> None:
        """Check one clip (M, T, V, C) and append it.

        Raises:
            ValueError: it is malformed; the message names its id.
        """
        position, self._seen = self._seen, self._seen + 1
        self._check_id(clip_id, position)
        where = f"Clip {clip_id!r}"
        label = _integer(label, f"{where}: the label")
        if not 0 <= label < self.num_classes:
            raise ValueError(
                f"{where}: label {label} is out of range for {self.num_classes} classes "
                f"(labels start at 0, so they end at {self.num_classes - 1})."
            )
        height, width = _check_image_shape(image_shape, where)
        array = self._check_keypoints(keypoints, where)
        missing = int(np.isnan(array).any(axis=-1).sum())
        if missing:
            array = np.where(np.isnan(array).any(axis=-1, keepdims=True), array.dtype.type(0), array)
        if not array.any():
            self._dropped[clip_id] = None
            return
        if missing:
            self._repaired[clip_id] = missing
        # Each sample of a store is read as one run of rows, so rows must lie as (M, T) in C order.
        data = np.ascontiguousarray(array).data.cast("B")
        if not self._positions:
            self._file.write(files.header_bytes((0, *self.joint_shape), array.dtype))
        self._file.write(data)
        self._digest.update(data)
        self._rows[clip_id] = len(self._positions)
        self._positions.append(position)
        self._labels.append(label)
        self._sizes.append(array.shape[:2])
        self._image_shapes.append((height, width))

    def finish(self, splits: Mapping[str, Sequence[str] | Sequence[int]], description: Mapping[str, Any]) -> None:
        """Complete the header and write index and description; ``splits`` name ids or positions of added clips.

        Raises:
            ValueError: no clip is left, or a split names a clip that was never added.
        """
        if not self._positions or self.dtype is None:
            raise ValueError(
                f"No clip to store: {self._seen} were read, {len(self._dropped)} of them empty (all joints zero)."
            )
        sizes = np.array(self._sizes, dtype=np.int64)
        offsets = np.concatenate(([0], np.cumsum(sizes.prod(axis=1)))).astype(np.int64)
        self._file.seek(0)
        self._file.write(files.header_bytes((int(offsets[-1]), *self.joint_shape), self.dtype))
        self._file.close()
        arrays: dict[str, npt.NDArray[Any]] = {
            "offsets": offsets,
            "persons": sizes[:, 0],
            "lengths": sizes[:, 1],
            "labels": np.array(self._labels, dtype=np.int64),
            "ids": np.array(list(self._rows), dtype=np.str_),
            "image_shapes": np.array(self._image_shapes, dtype=np.int32),
        }
        arrays |= {f"split/{name}": self._resolve(name, members) for name, members in splits.items()}
        index_path = self.folder / files.INDEX
        with index_path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        meta = {
            "format": files.FORMAT,
            "version": files.VERSION,
            "clips": len(self._positions),
            "rows": int(offsets[-1]),
            "dtype": self.dtype.name,
            **description,
            "splits": {name: len(arrays[f"split/{name}"]) for name in splits},
            "dropped": list(self._dropped),
            "repaired": self._repaired,
            "checksums": {
                "keypoints": self._digest.hexdigest(),
                "index": hashlib.sha256(index_path.read_bytes()).hexdigest(),
            },
        }
        text = json.dumps(meta, indent=1, ensure_ascii=False)
        (self.folder / files.META).write_text(text + "\n", encoding="utf-8")

    def _check_id(self, clip_id: str, position: int) -> None:
        if not isinstance(clip_id, str) or not clip_id or not clip_id.isprintable() or len(clip_id) > _LONGEST_ID:
            shown = repr(clip_id)[:80]
            raise ValueError(
                f"Clip number {position}: its id must be printable text of 1 to {_LONGEST_ID} characters; got {shown}."
            )
        if clip_id in self._rows or clip_id in self._dropped:
            raise ValueError(f"Clip {clip_id!r} occurs twice; every clip needs an id of its own.")

    def _check_keypoints(self, keypoints: npt.ArrayLike, where: str) -> npt.NDArray[Any]:
        try:
            array = np.asarray(keypoints)
        except ValueError as error:
            raise ValueError(f"{where}: the keypoints are not a regular array: {error}.") from error
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{where}: the keypoints must be numbers; got dtype {array.dtype}.")
        joints, channels = self.joint_shape
        if array.ndim != 4 or array.shape[2:] != self.joint_shape:
            raise ValueError(
                f"{where}: the keypoints must be (persons, frames, {joints} joints, {channels} channels); "
                f"got shape {array.shape}."
            )
        if array.shape[0] == 0:
            raise ValueError(f"{where}: it has no person; leave it out.")
        if array.shape[1] == 0:
            raise ValueError(f"{where}: it has no frame; leave it out.")
        if self.dtype is None:
            self.dtype = np.dtype("<f2" if array.dtype == np.float16 else "<f4")
        if self.dtype.itemsize == 2 and array.dtype != np.float16 and not self._may_round:
            raise ValueError(
                f"{where}: it has {array.dtype} keypoints while the store is float16 as its first clip is; "
                "pass dtype='float32' to keep full precision for all clips."
            )
        with np.errstate(over="ignore"):
            array = array.astype(self.dtype, copy=False)
        if np.isinf(array).any():
            person, frame, joint, _ = np.argwhere(np.isinf(array))[0]
            raise ValueError(
                f"{where}: person {person}, frame {frame}, joint {joint} is infinite (or beyond {self.dtype.name}); "
                "write NaN or zeros for a joint that was not seen."
            )
        return array

    def _resolve(self, name: str, members: Sequence[str] | Sequence[int]) -> npt.NDArray[np.int64]:
        """Clip indices of a split given by ids or positions, without the dropped clips."""
        row_of_position = {position: row for row, position in enumerate(self._positions)}
        rows: dict[int, None] = {}
        for member in members:
            if isinstance(member, str):
                row = self._rows.get(member)
                known = row is not None or member in self._dropped
            else:
                position = _integer(member, f"Split {name!r}: a member")
                row = row_of_position.get(position)
                known = 0 <= position < self._seen
            if not known:
                raise ValueError(
                    f"Split {name!r} names the clip {member!r}, which is not among the {self._seen} clips."
                )
            if row is None:
                continue
            if row in rows:
                raise ValueError(f"Split {name!r} names the clip {member!r} twice.")
            rows[row] = None
        return np.array(list(rows), dtype=np.int64)


def _integer(value: Any, what: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{what} must be a whole number; got {value!r}.") from None


def _check_image_shape(image_shape: Any, where: str) -> tuple[int, int]:
    """(height, width), or zeros where it is not known."""
    if image_shape is None:
        return 0, 0
    if not isinstance(image_shape, Sequence) or len(image_shape) != 2:
        raise ValueError(f"{where}: image_shape must be (height, width); got {image_shape!r:.80}.")
    height, width = (_integer(side, f"{where}: image_shape") for side in image_shape)
    if not (0 < height < 1 << 16 and 0 < width < 1 << 16):
        raise ValueError(f"{where}: image_shape must be positive pixels (height, width); got {image_shape!r}.")
    return height, width
