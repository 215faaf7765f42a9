"""Moving averages of the weights that forget how a run began, and agree between processes."""

from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn

from protogcn.training.freezing import is_frozen


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and statistics, which is validated, tested and saved in their place.

    The decay rises with the number n of averaged steps, min(decay, (1 + n) / (10 + n)). Under a constant one the
    batch-norm variances of the first steps, larger by orders of magnitude, would outlive thousands of steps.

    Args:
        decay: what the average keeps of itself in a step, once it has risen.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, avg_fn=self._average)
        self._decay = decay
        self._kept = 0.0

    def _average(self, averaged: Tensor, current: Tensor, _: Tensor | int) -> Tensor:
        return averaged + (current - averaged) * (1 - self._kept)

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        # Counted on the host: the count that the average keeps would make it wait for the device at every tensor.
        before = trainer.global_step - 1
        self._kept = min(self._decay, (1 + before) / (10 + before))
        super().on_train_batch_end(trainer, *args)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self._average_model is not None:
            average_statistics(self._average_model, trainer.strategy)


def average_statistics(module: nn.Module, strategy: Any) -> None:
    """Give every process the mean of their buffers: each has normalised batches of its own, so its statistics differ.

    Args:
        module: the same network on every process.
        strategy: Lightning's, which knows the processes.
    """
    if strategy.world_size > 1:
        for part in module.modules():
            # What is frozen agrees already, and the mean of equal numbers may differ in the last bit.
            if is_frozen(part):
                continue
            for buffer in part.buffers(recurse=False):
                if buffer.is_floating_point():
                    buffer.copy_(strategy.reduce(buffer.clone(), reduce_op="mean"))
