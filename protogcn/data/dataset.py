"""Clips of a store as a torch data set, random only through (seed, epoch, clip id)."""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from protogcn.data.pipeline_base import Pipeline, Prepared

if TYPE_CHECKING:
    from protogcn.data.prepared_clips import PreparedClips
    from protogcn.data.store import Clip, ClipStore


class ClipDataset(Dataset[tuple[Tensor, int, int]]):
    """The clips of one split, each through a pipeline.

    The generator of an item is derived from the seed, the epoch and the id of its clip. So an epoch is the same with
    any number of workers or processes, in any order, and after resuming; `set_epoch` reaches workers that are running.

    Args:
        store: the clips.
        indices: rows of the store, for example `store.split("train")`.
        pipeline: the result of `build_pipeline`.
        seed: of everything random.
        repeat: passes over the clips in one epoch, each with draws of its own (PYSKL's RepeatDataset).
        cache_mb: memory, in each process, for clips whose deterministic preprocessing is done; 0 keeps none.
        prepared: all clips of the store in that state, from `prepare_ahead`, which leaves nothing to keep in memory.

    Raises:
        ValueError: if an index is not a row of the store, or `repeat` is not positive.
    """

    def __init__(
        self,
        store: "ClipStore",
        indices: Sequence[int] | NDArray[np.int64],
        pipeline: Pipeline,
        seed: int = 0,
        *,
        repeat: int = 1,
        cache_mb: int = 256,
        prepared: "PreparedClips | None" = None,
    ) -> None:
        self.indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(store))]
        if len(outside):
            raise ValueError(
                f"clip indices must be rows of the store, 0..{len(store) - 1}, got {outside[:5].tolist()}: "
                "take them from store.split(name)"
            )
        if repeat < 1:
            raise ValueError(f"repeat must be at least 1, got {repeat}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.store, self.pipeline, self.seed, self.repeat = store, pipeline, seed, repeat
        # Shared memory, so that workers that outlive an epoch see the next one begin.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.prepared = prepared
        self._cache: dict[int, Prepared] = {}
        self._cache_left = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.indices) * self.repeat

    def __getitem__(self, i: int) -> tuple[Tensor, int, int]:
        """Item `i`: float32 (num_clips, M, T, V, C), class index, and `i` itself."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"item {i} of {len(self)}")
        turn, place = divmod(int(i) % len(self), len(self.indices))
        row = int(self.indices[place])
        clip = self.store[row]
        prepared = self._prepare(row, clip)
        rng = None
        if self.pipeline.training:
            key = [self.seed, self.epoch * self.repeat + turn, zlib.crc32(clip.id.encode())]
            rng = np.random.default_rng(key)
        shown = torch.from_numpy(self.show(prepared, rng))
        return shown, int(clip.label), turn * len(self.indices) + place

    def show(self, prepared: Prepared, rng: np.random.Generator | None) -> NDArray[Any]:
        """What an item holds of a prepared clip."""
        return self.pipeline(prepared, rng)

    @property
    def epoch(self) -> int:
        """The epoch whose draws the items show."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Show the draws of another epoch, in running workers too. Call it before iterating over a loader."""
        self._epoch.fill_(epoch)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every item, (len(self),)."""
        return np.tile(np.asarray(self.store.labels, dtype=np.int64)[self.indices], self.repeat)

    @property
    def ids(self) -> list[str]:
        """Clip id of every item."""
        return [self.store.ids[row] for row in self.indices] * self.repeat

    @property
    def cached(self) -> int:
        """Clips held in memory."""
        return len(self._cache)

    def _prepare(self, row: int, clip: "Clip") -> Prepared:
        if self.prepared is not None:
            return Prepared(self.prepared[row], clip.image_shape)
        if (known := self._cache.get(row)) is not None:
            return known
        prepared = self.pipeline.prepare(clip)
        # A mapped clip that preprocessing left alone is in the page cache already.
        if not np.may_share_memory(prepared.keypoints, clip.keypoints):
            self._remember(row, prepared)
        return prepared

    def _remember(self, row: int, prepared: Prepared) -> None:
        # Filled once and then left: evicting would lose every hit when a shuffled epoch is larger than the cache.
        if prepared.keypoints.nbytes <= self._cache_left:
            self._cache[row] = prepared
            self._cache_left -= prepared.keypoints.nbytes
