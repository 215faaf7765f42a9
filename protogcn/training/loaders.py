"""Batches for training and evaluation, the same for any number of processes, workers and resumes."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.class_split import ClassSubset, pick_shots, unseen_classes
from protogcn.data.dataset import ClipDataset
from protogcn.data.pipeline import build_pipeline
from protogcn.data.prepared_clips import open_prepared, prepare_ahead
from protogcn.data.store import ClipStore
from protogcn.training.epochs import EpochPlan, plan_epoch
from protogcn.training.recipe import Recipe


class ClipSampler(Sampler[int]):
    """Indices of one process: drawn by (seed, epoch) for training, in order and without padding for evaluation.

    Training gives every process equally many full batches, leaving out what remains of the drawn order; evaluation
    deals every clip to exactly one process.

    Args:
        size: items of an epoch.
        seed: of the order; None keeps the items in order.
        batch_size: items of a batch of one process.
        rank: which process this is.
        processes: how many there are.
        plan: what a training epoch shows; None shuffles the items.

    Raises:
        ValueError: training with fewer clips than one batch of all processes, or evaluation with fewer than processes.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int | None,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        plan: EpochPlan | None = None,
    ) -> None:
        self.size, self.seed, self.rank, self.processes, self.plan = size, seed, rank, processes, plan
        self.epoch = 0
        batch = batch_size * processes
        self.used = size if seed is None else size // batch * batch
        if seed is not None and self.used == 0:
            several = f" for each of {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"{size} training clips are fewer than one batch of {batch_size}{several}; lower --trainer.batch_size"
                + (" or --devices" if processes > 1 else "")
            )
        if self.used < processes:
            raise ValueError(f"{size} test clips are fewer than {processes} processes; lower --devices")

    def set_epoch(self, epoch: int) -> None:
        """Shuffle anew; the same epoch always gives the same order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.size)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch])
            order = self.plan.items(rng) if self.plan else rng.permutation(self.size)
        return iter(order[self.rank : self.used : self.processes].tolist())

    def __len__(self) -> int:
        return len(range(self.rank, self.used, self.processes))


def open_store(recipe: Recipe) -> ClipStore:
    """The store of a recipe, narrowed to the classes that its training may know.

    Raises:
        FileNotFoundError, ValueError: no store there, or a damaged one, or ``data.unseen`` does not fit it; the message
            says what to type.
    """
    if not recipe.data.store:
        raise ValueError(
            "the recipe names no store; write one with `protogcn data prepare` and give --data.store=<folder>"
        )
    store = ClipStore.open(recipe.data.store)
    if recipe.benchmark in list_benchmarks():
        expected = get_benchmark(recipe.benchmark).num_classes
        if store.num_classes != expected:
            raise ValueError(
                f"{store.path} has {store.num_classes} classes, but {recipe.benchmark} has {expected}; give its own "
                "store by --data.store=<folder>, or these clips a name of their own by --benchmark=<name>"
            )
    unseen = _unseen(recipe, store)
    if not unseen or recipe.data.shots:
        return store
    return ClassSubset(store, [name for name in store.class_names if name not in unseen])


def _unseen(recipe: Recipe, store: ClipStore) -> tuple[str, ...]:
    if not recipe.data.unseen:
        return ()
    return unseen_classes(recipe.data.unseen, store.class_names, recipe.benchmark)


def split_names(recipe: Recipe) -> tuple[str, str]:
    """Names of the training and the test split: the recipe's, else the fold of the benchmark.

    Raises:
        ValueError: the benchmark has no such fold.
    """
    known = get_benchmark(recipe.benchmark) if recipe.benchmark in list_benchmarks() else None
    folds = known.splits if known else (("train", "test"),)
    if recipe.data.fold >= len(folds):
        there = f"0 to {len(folds) - 1}" if len(folds) > 1 else "0 alone"
        raise ValueError(f"{recipe.benchmark} has the folds {there}; got data.fold {recipe.data.fold}")
    train, test = folds[recipe.data.fold]
    return recipe.data.train or train, recipe.data.test or test


def make_dataset(recipe: Recipe, store: ClipStore, mode: str, skeleton: Skeleton | None = None) -> ClipDataset:
    """The clips of a split through the recipe's pipeline; ``mode`` is ``train``, ``val`` or ``test``.

    ``skeleton`` is the layout of a network that is there already, instead of the one that the recipe names.
    """
    train, test = split_names(recipe)
    layout = _network_skeleton(recipe, store, skeleton)
    pipeline = build_pipeline(recipe.pipeline, layout, recipe.stream, mode, channels=store.channels)
    name = train if mode == "train" else test
    indices = store.split(name)
    if not len(indices):
        kept = f" of {', '.join(store.class_names)}" if isinstance(store, ClassSubset) else ""
        raise ValueError(f"the split {name} of {store.path} holds no clips{kept}; convert its source again")
    if mode == "train" and recipe.data.shots:
        indices = pick_shots(store, indices, recipe.data.shots, recipe.seed, _unseen(recipe, store) or None)
    repeat = _epoch_plan(recipe, store, indices).passes if mode == "train" else 1
    # A test alone reads every clip once, so it writes nothing.
    prepared = (prepare_ahead if mode == "train" else open_prepared)(store, pipeline)
    return ClipDataset(store, indices, pipeline, seed=recipe.seed, repeat=repeat, prepared=prepared)


def _epoch_plan(recipe: Recipe, store: ClipStore, indices: Sequence[int] | NDArray[np.int64]) -> EpochPlan:
    return plan_epoch(recipe.data, np.asarray(store.labels, dtype=np.int64)[indices], store.class_names)


def _network_skeleton(recipe: Recipe, store: ClipStore, skeleton: Skeleton | None) -> Skeleton:
    """The layout that the network sees: its own, or that of the clips with the graph of the recipe if it names one.

    Raises:
        ValueError: the joints of the two differ, or the protocol cannot extend the clips.
    """
    joints = _extended_skeleton(recipe, store)
    if skeleton is not None:
        if skeleton.joints != joints.joints:
            raise ValueError(
                f"the network takes the {skeleton.num_joints} joints of {skeleton.name}, and the clips of {store.path} "
                f"have the {joints.num_joints} of {joints.name}"
            )
        return skeleton
    if not recipe.model.skeleton:
        return joints
    named = get_skeleton(recipe.model.skeleton)
    if named.joints != joints.joints:
        raise ValueError(
            f"model.skeleton {recipe.model.skeleton} has other joints than the clips of {store.path}, which are "
            f"{joints.name}; leave it out to take the graph of {joints.name}"
        )
    return named


def _extended_skeleton(recipe: Recipe, store: ClipStore) -> Skeleton:
    """The layout of the prepared clips: protogcn_2d adds three virtual joints to COCO's."""
    if recipe.pipeline.protocol != "protogcn_2d":
        return store.skeleton
    if store.skeleton.name != "coco17":
        raise ValueError(
            f"protocol protogcn_2d adds virtual joints to coco17, and the clips of {store.path} are "
            f"{store.skeleton.name}; take --pipeline.protocol=pyskl_2d, which knows any layout"
        )
    return get_skeleton("coco20")


def make_loader(recipe: Recipe, dataset: ClipDataset, *, rank: int = 0, processes: int = 1) -> DataLoader:
    """Batches of (clips (N, num_clips, M, T, V, C), labels (N,), places in the data set (N,))."""
    training = dataset.pipeline.training
    size = recipe.trainer.batch_size if training else recipe.trainer.eval_batch_size
    seed = recipe.seed if training else None
    plan = _epoch_plan(recipe, dataset.store, dataset.indices) if training else None
    sampler = ClipSampler(
        plan.size if plan else len(dataset),
        seed=seed,
        batch_size=size,
        rank=rank,
        processes=processes,
        plan=plan,
    )
    return DataLoader(
        dataset,
        batch_size=size,
        # A loader draws from its generator whenever it starts. Were that the global one, dropout would come out
        # differently after a resume, where the loader starts before the epoch is seeded.
        generator=torch.Generator().manual_seed(recipe.seed),
        sampler=sampler,
        num_workers=recipe.data.workers,
        persistent_workers=recipe.data.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
