"""Train one stream, test it, write its folder; or several streams one after the other."""

import logging
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from protogcn.data.dataset import ClipDataset
from protogcn.evaluation.metrics import Metrics
from protogcn.models import SkeletonClassifier
from protogcn.training.allocator import keep_freed_memory
from protogcn.training.averaging import MovingAverage
from protogcn.training.compiling import check_compiler
from protogcn.training.evaluate import (
    build_model,
    gather_scores,
    load_weights,
    read_checkpoint,
    score_clips,
    write_results,
)
from protogcn.training.freezing import freeze_for
from protogcn.training.history import History
from protogcn.training.initialise import initialise
from protogcn.training.loaders import make_dataset, make_loader, open_store
from protogcn.training.processes import is_first
from protogcn.training.recipe import Recipe
from protogcn.training.relay import Seat
from protogcn.training.run_folder import (
    CHECKPOINTS,
    HISTORY,
    checkpoint_path,
    facts,
    is_finished,
    read_start,
    write_config,
    write_start,
)
from protogcn.training.task import StreamTask


@dataclass(frozen=True)
class Machine:
    """Where to train: Lightning's accelerator (``auto``, ``cpu``, ``gpu``), processes per node, nodes."""

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.devices * self.num_nodes


def train_stream(
    recipe: Recipe, folder: Path, machine: Machine, *, fresh: bool = False, seat: Seat | None = None
) -> Metrics | None:
    """Fit, test and write one stream; continues an interrupted run, and leaves a finished one alone.

    Args:
        recipe: the run's recipe.
        folder: the run folder.
        machine: where to train.
        fresh: remove what the folder holds first.
        seat: in a relay of streams that share their batches; None loads them for this one alone.

    Returns:
        Test metrics on the first process; None on the others, or where the run was finished already.

    Raises:
        FileNotFoundError, ValueError: store, recipe or folder do not fit; see the message.
    """
    if is_first():
        if fresh and folder.exists():
            shutil.rmtree(folder)
        write_config(folder, recipe)
    # With --fresh another process may look here before the first one has cleared the folder.
    if not fresh and is_finished(folder):
        return None
    store = open_store(recipe)
    training, validation = (make_dataset(recipe, store, mode) for mode in ("train", "val"))
    last = folder / CHECKPOINTS / "last.ckpt"
    resumed = last if last.is_file() and not fresh else None
    model = build_model(recipe, training, store.num_classes)
    if not resumed:
        _start_from(recipe, model, folder)
    freeze_for(model, recipe.model, recipe.init.way)
    history = History(folder / HISTORY, recipe.stream if seat else "")
    trainer = _trainer(recipe, folder, machine, bar=sys.stderr.isatty() and not seat)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    if recipe.trainer.compile:
        check_compiler(trainer.strategy.root_device)
    loader, evaluation = _loaders(recipe, (training, validation), trainer, seat)
    steps = -(-len(loader) // recipe.trainer.accumulate)
    task = StreamTask(recipe, model, (training.pipeline, validation.pipeline), steps, history)
    if resumed:
        _go_to_epoch(loader, len(read_checkpoint(resumed)["history"]))
    try:
        trainer.fit(task, loader, evaluation, ckpt_path=resumed, weights_only=True)
    except SystemExit as stop:
        # Lightning ends the process so when it is interrupted.
        raise KeyboardInterrupt from stop

    which = recipe.evaluation.checkpoint
    load_weights(task.model, checkpoint_path(folder, which))
    task.model.to(trainer.strategy.root_device)
    test = make_dataset(recipe, store, "test")
    share = score_clips(task.model, recipe, test, rank=trainer.global_rank, processes=trainer.world_size)
    _, scores = gather_scores(*share)
    if not trainer.is_global_zero:
        return None
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    measured = facts(f"{trainer.world_size} x {name}") | {
        "checkpoint": which,
        "epochs": len(history.rows),
        "training_seconds": round(history.seconds, 1),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "training_clips": len(training.indices),
        **({"together": list(seat.names)} if seat else {}),
        **read_start(folder),
    }
    return write_results(folder, recipe, test, scores, measured, task.model)


def _start_from(recipe: Recipe, model: SkeletonClassifier, folder: Path) -> None:
    """Give a network the weights that its recipe names, and note in the run folder where they came from."""
    if not recipe.init.weights:
        if is_first():
            write_start(folder, None)
        return
    weights = recipe.init.weights.replace("{stream}", recipe.stream)
    started = initialise(model, weights, partial=recipe.init.partial)
    if is_first():
        write_start(folder, {"protocol": recipe.init.way, **started.as_dict()})
        print(f"{recipe.init.way}: {started.describe()}", flush=True)


def _loaders(
    recipe: Recipe, datasets: tuple[ClipDataset, ClipDataset], trainer: lightning.Trainer, seat: Seat | None
) -> Any:
    """Batches of training and validation."""
    if seat:
        return seat.loaders(trainer.strategy.root_device)
    return [make_loader(recipe, data, rank=trainer.global_rank, processes=trainer.world_size) for data in datasets]


def _go_to_epoch(loader: Any, epoch: int) -> None:
    # On resume Lightning starts the loader, and so its workers, before it says which epoch this is.
    loader.sampler.set_epoch(epoch)
    loader.dataset.set_epoch(epoch)


class _Patience(EarlyStopping):
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # A run that had stopped and was cut off in its test must not train on.
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def _trainer(recipe: Recipe, folder: Path, machine: Machine, *, bar: bool) -> lightning.Trainer:
    _quieten()
    config = recipe.trainer
    every = min(config.validate_every, config.epochs) or config.epochs
    # In this order, so that the last checkpoint knows of the best one of the same epoch.
    best, last = (
        ModelCheckpoint(folder / CHECKPOINTS, filename=name, enable_version_counter=False, **when)
        for name, when in (
            ("best", {"monitor": "val_top1", "mode": "max"}),
            ("last", {"save_on_train_epoch_end": True}),
        )
    )
    callbacks: list[Callback] = [best, last]
    # Without a terminal a bar would fill the log; a line per epoch is printed anyway.
    if bar:
        callbacks.append(TQDMProgressBar(leave=False))
    if config.ema:
        callbacks.append(MovingAverage(decay=config.ema))
    if config.patience:
        callbacks.append(_Patience("val_top1", mode="max", patience=-(-config.patience // every)))
    logger: Logger | bool = False
    if config.tensorboard:
        from pytorch_lightning.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name="", version="tensorboard")
    distributed = machine.processes > 1
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        # Statistics are averaged before validation instead of copied from the first process at every step.
        strategy=DDPStrategy(broadcast_buffers=False) if distributed else "auto",
        max_epochs=config.epochs,
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.gradient_clip or None,
        check_val_every_n_epoch=every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=logger,
        callbacks=callbacks,
        default_root_dir=folder,
        enable_model_summary=False,
        enable_progress_bar=bar,
    )


def _quieten() -> None:
    """Leave out advice of Lightning that a user of the command line cannot act on."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "does not have many workers",
        # What is frozen on purpose.
        "in eval mode at the start of training",
        "Checkpoint directory",
        "isinstance.treespec, LeafSpec.",
        # Said of several processes: what is logged here is summed over them already, and torch has yet to offer what it
        # recommends in place of broadcast_buffers.
        "It is recommended to use .self.log",
        "broadcast_buffers. is deprecated",
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")
