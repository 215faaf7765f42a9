"""Several streams of the same clips: a clip is read, augmented and sampled once, its streams follow on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from protogcn.data.dataset import ClipDataset
from protogcn.data.pipeline_base import Pipeline, Prepared


class PositionsDataset(ClipDataset):
    """The clips of a data set as the positions that every stream follows from, see `Pipeline.positions`.

    Draws come from (seed, epoch, clip id) as in any data set, so they are those of each stream by itself.

    Args:
        dataset: of any one of the streams, all of whose pipelines have the same recipe.
        streams: those that are wanted.
    """

    def __init__(self, dataset: ClipDataset, streams: Sequence[str]) -> None:
        super().__init__(
            dataset.store,
            dataset.indices,
            dataset.pipeline,
            dataset.seed,
            repeat=dataset.repeat,
            prepared=dataset.prepared,
        )
        self.following = any(name.endswith("m") for name in streams)

    def show(self, prepared: Prepared, rng: np.random.Generator | None) -> NDArray[Any]:
        return self.pipeline.positions(prepared, self.pipeline.draw(prepared, rng), following=self.following)


def split_streams(positions: Tensor, pipelines: Sequence[Pipeline]) -> list[Tensor]:
    """The batch that each pipeline would have given by itself.

    The numbers are the same to the last bit on a CPU, as numpy and torch do the same subtractions; only a turned clip,
    whose product with the matrix of the turn covers more frames here, may differ by a rounding in double precision.

    Args:
        positions: a batch (B, num_clips, M, T, ...) of a `PositionsDataset`, on any device.
        pipelines: of the streams; alike but for the stream.

    Returns:
        For each pipeline (B, num_clips, M, T, V, C), float32.
    """
    names = [pipeline.stream for pipeline in pipelines]
    found = pipelines[0].streams_of(positions.flatten(0, 1), set(names))
    return [found[name].unflatten(0, positions.shape[:2]) for name in names]
