"""The Lightning module: one network, its criterion, its optimiser, and a validation that counts every clip once."""

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn

from protogcn.data.pipeline_base import Pipeline
from protogcn.models import SkeletonClassifier, create_criterion, recomputed_activations
from protogcn.training.averaging import average_statistics
from protogcn.training.compiling import compiled
from protogcn.training.depth import parameter_depths
from protogcn.training.history import History
from protogcn.training.optimizers import learning_rate_factor, make_optimizer
from protogcn.training.recipe import Recipe


class StreamTask(lightning.LightningModule):
    """Train one stream.

    Args:
        recipe: the run's recipe.
        model: a network of the catalogue.
        pipelines: of the training and of the validation clips.
        steps_per_epoch: optimiser steps of one epoch.
        history: receives a row per epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: SkeletonClassifier,
        pipelines: tuple[Pipeline, Pipeline],
        steps_per_epoch: int,
        history: History,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model
        self.pipelines = pipelines
        head = recipe.model.options.get("head", "linear")
        self.criterion = create_criterion(recipe.model.name, head=head, **recipe.loss)
        self.steps_per_epoch = steps_per_epoch
        self.history = history
        # Not the module itself, whose states would have other names.
        self._forward_train = compiled(model.forward_train) if recipe.trainer.compile else model.forward_train
        self._before_step: list[Callable[[], None]] = []
        self._training = self._validation = torch.zeros(3, dtype=torch.float64)
        self._validated: dict[str, float] = {}
        self._started = 0.0

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips)

    def on_train_start(self) -> None:
        # What a part of the network or the criterion keeps in bounds, such as a learned temperature.
        found = (getattr(module, "before_step", None) for module in self.modules())
        self._before_step = [step for step in found if callable(step)]

    def on_train_epoch_start(self) -> None:
        # Dropout draws from the global generator. Seeded per epoch, a resumed run continues with the very same numbers.
        torch.manual_seed((self.recipe.seed * 100_003 + self.current_epoch) * 1_009 + self.global_rank)
        # The weights that are tested are validated too, whatever the rhythm.
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1
        loader: Any = self.trainer.train_dataloader
        loader.sampler.set_epoch(self.current_epoch)
        loader.dataset.set_epoch(self.current_epoch)
        self._training = torch.zeros(3, dtype=torch.float64, device=self.device)
        self._started = time.perf_counter()

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        for before_step in self._before_step:
            before_step()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_index: int) -> Tensor:
        clips, labels, _ = batch
        with recomputed_activations(self.device.type == "cpu" and not self.recipe.trainer.compile):
            logits, aux = self._forward_train(self.pipelines[0].network_input(clips.flatten(0, 1)))
        terms = self.criterion(_full(logits), aux, labels)
        self._training += self._counts(terms["loss"].detach(), logits, labels)
        return terms["loss"]

    def on_validation_epoch_start(self) -> None:
        self._validation = torch.zeros(3, dtype=torch.float64, device=self.device)
        average_statistics(self.model, self.trainer.strategy)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_index: int) -> None:
        clips, labels, _ = batch
        logits = _full(self.model(self.pipelines[1].network_input(clips.flatten(0, 1))))
        self._validation += self._counts(nn.functional.cross_entropy(logits, labels), logits, labels)

    def on_validation_epoch_end(self) -> None:
        self._validated = self._report("val", self._validation)

    def on_train_epoch_end(self) -> None:
        # Before the checkpoint is written, so that all processes resume from what they had.
        average_statistics(self.model, self.trainer.strategy)
        row = {"epoch": self.current_epoch + 1.0, **self._report("train", self._training), **self._validated}
        self._validated = {}
        row["lr"] = self._base_rate()
        row["seconds"] = time.perf_counter() - self._started
        self.history.rows.append(row)
        if self.trainer.is_global_zero:
            self.history.write()
            loader: Any = self.trainer.train_dataloader
            clips = len(loader) * loader.batch_size * self.trainer.world_size
            self.print(self.history.describe(self.recipe.trainer.epochs, clips))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history.rows

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history.rows = list(checkpoint["history"])

    def configure_optimizers(self) -> Any:
        config = self.recipe.optimizer
        depths = parameter_depths(self.model) if config.layer_decay < 1 else {}
        depths = {f"model.{name}": depth for name, depth in depths.items()}
        optimizer = make_optimizer(config, self.named_parameters(), depths, fused=not self.recipe.trainer.gradient_clip)
        steps = self.steps_per_epoch * self.recipe.trainer.epochs
        factor = learning_rate_factor(self.recipe.schedule, steps, self.steps_per_epoch)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _base_rate(self) -> float:
        """The present learning rate of parameters without a multiplier of their own."""
        scheduler: Any = self.trainer.lr_scheduler_configs[0].scheduler
        rate: float = self.recipe.optimizer.lr * scheduler.lr_lambdas[0](scheduler.last_epoch)
        return rate

    @staticmethod
    def _counts(loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        # Summed on the device and read once per epoch: reading every step would make the device wait for the host.
        correct = (logits.argmax(1) == labels).sum()
        return torch.stack([loss.double() * len(labels), correct.double(), torch.full_like(loss, len(labels)).double()])

    def _report(self, part: str, counts: Tensor) -> dict[str, float]:
        loss, correct, clips = self.trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        report = {f"{part}_loss": loss / clips, f"{part}_top1": correct / clips}
        self.log_dict(report)
        return report


def _full(logits: Tensor) -> Tensor:
    """Logits of reduced precision as float32; double stays double."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
