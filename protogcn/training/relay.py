"""Trainings that take turns in one process and share their batches, each as exact as if it ran by itself."""

import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from protogcn.data.dataset import ClipDataset
from protogcn.data.device_streams import PositionsDataset, split_streams
from protogcn.training.loaders import make_loader
from protogcn.training.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]
Place = tuple[int, int, int]
"""Where a training stands: epoch, 0 in training and 1 in validation, index of the batch."""


class RelayStopped(Exception):
    """Another training of the relay failed, so this one ends where it stands."""


class Relay:
    """Turns of trainings that run in threads: exactly one runs at any time, the others wait for a batch.

    The turn goes to whoever lies farthest behind, so trainings that stand at the same batch see it one after the other,
    and one that resumes from an earlier epoch catches up first. Every training keeps the state of the global random
    generators to itself.

    Args:
        size: number of trainings.
    """

    def __init__(self, size: int) -> None:
        self._standing: dict[int, Place] = dict.fromkeys(range(size), (-1, 0, 0))
        self._turn = 0
        self._stopped = False
        self._changed = threading.Condition()

    def wait(self, runner: int, place: Place) -> None:
        """Hand over, and return when it is this training's turn at a place.

        Raises:
            RelayStopped: another training failed.
        """
        with self._changed:
            self._standing[runner] = place
            self._pass_on()
            if self._turn != runner and not self._stopped:
                devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
                with torch.random.fork_rng(devices):
                    self._changed.wait_for(lambda: self._stopped or self._turn == runner)
            if self._stopped:
                raise RelayStopped

    def leave(self, runner: int) -> None:
        """The training has ended."""
        with self._changed:
            del self._standing[runner]
            self._pass_on()

    def stop(self) -> None:
        """End all trainings at their next batch."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _pass_on(self) -> None:
        if self._standing:
            self._turn = min(self._standing, key=lambda runner: (self._standing[runner], runner))
        self._changed.notify_all()


class SharedBatches:
    """The batches of one split for several streams, each read and prepared once.

    Args:
        recipe: of any of the streams.
        datasets: of the streams, alike but for the stream.
    """

    def __init__(self, recipe: Recipe, datasets: Sequence[ClipDataset]) -> None:
        self._pipelines = [dataset.pipeline for dataset in datasets]
        self._dataset = PositionsDataset(datasets[0], [pipeline.stream for pipeline in self._pipelines])
        self.loader = make_loader(recipe, self._dataset)
        self._batches: Iterator[Any] = iter(())
        self._at = (-1, -1)
        self._held: list[Batch] = []

    def get(self, epoch: int, index: int, stream: int, device: torch.device) -> Batch:
        """The batch of a stream; all streams take one before any takes the next, in the order of epochs and batches."""
        if self._at != (epoch, index):
            if index == 0:
                sampler: Any = self.loader.sampler
                sampler.set_epoch(epoch)
                self._dataset.set_epoch(epoch)
                self._batches = iter(self.loader)
            positions, labels, places = (part.to(device, non_blocking=True) for part in next(self._batches))
            self._held = [(clips, labels, places) for clips in split_streams(positions, self._pipelines)]
            self._at = (epoch, index)
        return self._held[stream]


class Seat:
    """The part of one training in a relay.

    Args:
        relay: whose turns it takes.
        runner: its number, which is also that of its stream.
        batches: of training and validation.
        names: streams of all trainings of the relay.
    """

    def __init__(self, relay: Relay, runner: int, batches: tuple[SharedBatches, SharedBatches], names: Sequence[str]):
        self.relay, self.runner, self.batches, self.names = relay, runner, batches, tuple(names)
        self.epoch = 0
        self.device = torch.device("cpu")

    def __enter__(self) -> "Seat":
        self.relay.wait(self.runner, (-1, 0, 0))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is None:
            self.relay.leave(self.runner)
        else:
            self.relay.stop()

    def set_epoch(self, epoch: int) -> None:
        """Ask for the batches of another epoch."""
        self.epoch = epoch

    def loaders(self, device: torch.device) -> "tuple[SharedLoader, SharedLoader]":
        """What takes the place of the loaders of training and validation, with batches on a device."""
        self.device = device
        return SharedLoader(self, 0), SharedLoader(self, 1)


class SharedLoader:
    """The batches of one stream as its trainer sees them; asking for one lets the other trainings have theirs.

    Args:
        seat: of the training.
        phase: 0 for training, 1 for validation.
    """

    def __init__(self, seat: Seat, phase: int) -> None:
        self._seat, self._phase = seat, phase
        self._batches = seat.batches[phase]
        # The epoch of both is that of the training.
        self.dataset = seat
        if phase == 0:
            self.sampler = seat
        self.batch_size = self._batches.loader.batch_size

    def __len__(self) -> int:
        return len(self._batches.loader)

    def __iter__(self) -> Iterator[Batch]:
        seat = self._seat
        for index in range(len(self)):
            seat.relay.wait(seat.runner, (seat.epoch, self._phase, index))
            yield self._batches.get(seat.epoch, index, seat.runner, seat.device)
