"""From trained weights to a score file: every clip of the test split once, on one process or several."""

import contextlib
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from protogcn import __version__
from protogcn.data.dataset import ClipDataset
from protogcn.evaluation.metrics import Metrics, average_clips, evaluate
from protogcn.evaluation.scores import ScoreFile, save_scores
from protogcn.inference import optimize
from protogcn.models import SkeletonClassifier, create_model, import_models, model_info
from protogcn.training.loaders import make_dataset, make_loader, open_store, split_names
from protogcn.training.model_facts import save_tested
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import HISTORY, METRICS, SCORES, checkpoint_path, count_folds, write_json

# Entries of a checkpoint that are read here, beside those that Lightning reads.
_CHECKPOINT: dict[str, type] = {"state_dict": dict, "history": list}
# Making a network fast takes as long as some clips do.
_LEAST_INPUTS = 32


def build_model(recipe: Recipe, dataset: ClipDataset, num_classes: int) -> SkeletonClassifier:
    """The recipe's network for the clips of a data set, its weights drawn from the recipe's seed.

    Raises:
        ValueError: the network takes something else than the pipeline gives.
    """
    if recipe.model.module:
        import_models(recipe.model.module)
    info = model_info(recipe.model.name)
    takes, gives = info.takes, dataset.pipeline.gives
    if takes != gives:
        advice = "heatmap" if takes == "heatmaps" else "another protocol than heatmap"
        raise ValueError(
            f"{recipe.model.name} takes {takes}, and protocol {recipe.pipeline.protocol} gives {gives}: set "
            f"pipeline.protocol to {advice}"
        )
    options = dict(recipe.model.options)
    if info.reads_names(options.get("head", "linear")) and "class_names" not in options:
        options["class_names"] = _names_of(dataset)
    torch.manual_seed(recipe.seed)
    model = create_model(
        recipe.model.name,
        skeleton=dataset.pipeline.skeleton,
        num_classes=num_classes,
        in_channels=dataset.pipeline.in_channels,
        num_persons=dataset.pipeline.out_shape[1],
        **options,
    )
    return model.double() if recipe.trainer.precision == "64-true" else model


def _names_of(dataset: ClipDataset) -> list[str]:
    names = list(dataset.store.class_names)
    if names == [f"class {index}" for index in range(len(names))]:
        raise ValueError(
            f"the classes of {dataset.store.path} have no names, with which the network compares clips: prepare the "
            "store with class names, or list them in model.options.class_names"
        )
    return names


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint, tensors and plain containers only.

    Raises:
        ValueError: it is damaged, or none of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged and was not loaded ({type(error).__name__}). Bring back a copy of it, or train the "
            "stream anew with --fresh"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), t) for k, t in _CHECKPOINT.items()):
        raise ValueError(f"{path} is no checkpoint of a training; train the stream anew with --fresh")
    return content


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the network of a training checkpoint.

    Raises:
        ValueError: the checkpoint is damaged or holds another network; the message names what differs.
    """
    content = read_checkpoint(path)["state_dict"]
    state = {name.removeprefix("model."): value for name, value in content.items() if name.startswith("model.")}
    own = model.state_dict()
    differs = [f"{name} is missing" for name in sorted(own.keys() - state.keys())]
    differs += [f"{name} is not known" for name in sorted(state.keys() - own.keys())]
    differs += [
        f"{name} is {tuple(state[name].shape)} there, {tuple(own[name].shape)} here"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if differs:
        more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
        raise ValueError(
            f"{path} holds another network than the recipe and the store ask for: {'; '.join(differs[:3])}{more}. "
            "Check --store and the options of the model, or train the stream anew with --fresh"
        )
    model.load_state_dict(state)


@torch.no_grad()
def score_clips(
    model: nn.Module, recipe: Recipe, dataset: ClipDataset, *, rank: int = 0, processes: int = 1
) -> tuple[Tensor, Tensor]:
    """Scores of this process's share of a data set, by a copy of the network made fast where there are many clips.

    Returns:
        Places in the data set (n,) and scores (n, classes): logits for one clip per sample or where the recipe averages
        logits, else averaged probabilities.
    """
    weight = next(model.parameters())
    loader = make_loader(recipe, dataset, rank=rank, processes=processes)
    places, scores = [], []
    was_training = model.training
    model.eval()
    network = fast_copy(model, len(dataset) // processes * recipe.pipeline.test_inputs)
    for clips, _, place in tqdm(loader, "test", leave=False, disable=True if rank else None):
        samples, count = clips.shape[:2]
        inputs = dataset.pipeline.network_input(clips.flatten(0, 1).to(weight.device, weight.dtype, non_blocking=True))
        with reduced_precision(recipe.trainer.precision, weight.device):
            logits = network(inputs)
        logits = logits.float().view(samples, count * dataset.pipeline.views, -1).cpu().numpy()
        scores.append(torch.from_numpy(average_clips(logits, kind_of_scores(recipe))))
        places.append(place)
    model.train(was_training)
    return torch.cat(places), torch.cat(scores)


def fast_copy(model: nn.Module, inputs: int) -> nn.Module:
    """A copy with the same scores in less time where the number of inputs makes up for its making, else the model."""
    if not isinstance(model, SkeletonClassifier) or inputs < _LEAST_INPUTS:
        return model
    try:
        return optimize(model)
    except ValueError as error:
        warnings.warn(f"the clips are scored by the network as it is ({error})", stacklevel=3)
        return model


def kind_of_scores(recipe: Recipe) -> str:
    """``logits`` where the recipe tests one input per sample or averages logits, else ``probabilities``."""
    return "logits" if recipe.pipeline.test_inputs == 1 else recipe.evaluation.average


def gather_scores(places: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Put the shares of all processes together, in the order of the data set."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        shares: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, (places, scores))
        places, scores = (torch.cat(parts) for parts in zip(*shares, strict=True))
    order = places.argsort()
    return places[order], scores[order]


def write_results(
    folder: Path,
    recipe: Recipe,
    dataset: ClipDataset,
    scores: Tensor,
    facts: dict[str, Any],
    model: SkeletonClassifier | None = None,
) -> Metrics:
    """Write ``scores_test.npz``, the plots and, last, ``metrics.json``, which marks the run as finished.

    With ``model``, its weights and all that describes them are written into ``model.safetensors``, too.
    """
    from protogcn.evaluation.plots import plot_confusion, plot_curves

    meta = {
        "benchmark": recipe.benchmark,
        "split": split_names(recipe)[1],
        "stream": recipe.stream,
        "model": recipe.model.name,
        "seed": recipe.seed,
        **({"fold": recipe.data.fold} if count_folds(recipe) > 1 else {}),
        "version": __version__,
    }
    names = dataset.store.class_names
    result = ScoreFile(np.array(dataset.ids), scores.numpy(), kind_of_scores(recipe), dataset.labels, names, meta)
    metrics = evaluate(result.scores, result.labels)
    save_scores(folder / SCORES, result)
    title = f"{recipe.benchmark}, {recipe.model.name}, stream {recipe.stream}: {100 * metrics.top1:.2f} % top-1"
    plot_confusion(metrics.confusion, folder / "confusion.png", names, title)
    if (folder / HISTORY).is_file():
        plot_curves(folder / HISTORY, folder / "curves.png", title)
    low, high = metrics.top1_interval
    content = {
        **facts,
        **meta,
        "clips": len(result.ids),
        "top1": metrics.top1,
        "top1_interval": [low, high],
        f"top{metrics.k}": metrics.top5,
        "mean_class": metrics.mean_class,
    }
    if model is not None:
        save_tested(folder, model, recipe, dataset, content)
    write_json(folder / METRICS, content)
    return metrics


def test_run(folder: Path, recipe: Recipe, which: str, facts: dict[str, Any], device: str) -> Metrics:
    """Test the saved weights of a run folder on one process.

    Raises:
        FileNotFoundError: no store or no such checkpoint.
        ValueError: the checkpoint is damaged or does not fit the recipe, or the device is not there.
    """
    path = checkpoint_path(folder, which)
    check_device(device)
    store = open_store(recipe)
    dataset = make_dataset(recipe, store, "test")
    model = build_model(recipe, dataset, store.num_classes)
    load_weights(model, path)
    _, scores = gather_scores(*score_clips(model.to(device), recipe, dataset))
    return write_results(folder, recipe, dataset, scores, facts | {"checkpoint": which}, model)


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        ValueError: naming it.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); take cpu") from error


@contextlib.contextmanager
def reduced_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Autocast to the precision of a recipe, where that is a mixed one."""
    # Like Lightning, a CPU takes bfloat16 for both.
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.bfloat16 if device.type == "cpu" else torch.float16}
    if precision in kinds:
        with torch.autocast(device.type, kinds[precision]):
            yield
    else:
        yield
