"""Test the saved models of several streams from one decode of the clips, and fuse them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from protogcn.data.device_streams import PositionsDataset
from protogcn.evaluation.ensemble import Fusion, fuse
from protogcn.evaluation.presets import preset_of
from protogcn.evaluation.scores import ScoreFile, save_scores
from protogcn.inference.saved_streams import find_streams, load_streams
from protogcn.inference.streams import FusedStreams
from protogcn.models.saved import read_description
from protogcn.training.evaluate import check_device, reduced_precision, write_results
from protogcn.training.loaders import make_dataset, make_loader, open_store, split_names
from protogcn.training.model_facts import check_classes, recipe_of
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import CONFIG, facts, read_config

FUSED = "scores_fused.npz"


def test_streams(
    folder: str | Path,
    streams: Sequence[str] | None = None,
    *,
    store: str | None = None,
    split: str = "",
    out: Path | None = None,
    device: str = "cpu",
    module: str | None = None,
) -> Fusion:
    """Test the streams of a model together, as `protogcn test` tests each and `protogcn ensemble` fuses them.

    A clip is read, prepared and sampled once for all streams, which are taken from it on the device.

    Args:
        folder: of one model on one benchmark, with a run folder for each stream.
        streams: which; all that have ended where left out.
        store: folder of the clips; that of the first run where left out.
        split: of the store; empty takes the one that the models were tested on.
        out: folder for the scores of each stream, in a folder of its own, and of the fusion; None writes none.
        device: ``cpu`` or ``cuda``.
        module: the file or module that registers a model of your own; it is run.

    Returns:
        The fusion with the weights and the rule that the authors of the network published.

    Raises:
        FileNotFoundError: no such model, store or split.
        FileExistsError: ``out`` holds runs.
        ValueError: the models do not fit each other or the clips; the message says why.
    """
    check_device(device)
    paths = find_streams(folder, streams)
    names = list(paths)
    networks = load_streams(folder, names, device=device, module=module)
    _check_out(out, names)
    first = paths[names[0]]
    store = store or _store_of(first.parent)
    clips = open_store(recipe_of(read_description(first), store, split, first))
    recipes = []
    for path in paths.values():
        description = read_description(path)
        check_classes(description, clips, path)
        recipes.append(recipe_of(description, store, split, path))
    channels = networks.pipelines[0].channels
    if channels != clips.channels:
        raise ValueError(f"{first} takes clips of channels {channels}, and {clips.path} holds {clips.channels}")
    skeleton = networks.pipelines[0].skeleton
    datasets = [make_dataset(recipe, clips, "test", skeleton) for recipe in recipes]
    shared = PositionsDataset(datasets[0], [pipeline.stream for pipeline in networks.pipelines])
    scores = _score(networks, recipes[0], shared)
    meta = {"benchmark": recipes[0].benchmark, "split": split_names(recipes[0])[1], "model": recipes[0].model.name}
    parts = [
        ScoreFile(
            np.array(shared.ids),
            scores[name].numpy(),
            networks.kind,
            shared.labels,
            clips.class_names,
            {**meta, "stream": name, "seed": recipe.seed},
        )
        for name, recipe in zip(names, recipes, strict=True)
    ]
    preset = preset_of(recipes[0].model.name)
    fusion = fuse(parts, preset.weights(names), preset.rule)
    if out is not None:
        for name, recipe, dataset in zip(names, recipes, datasets, strict=True):
            (out / name).mkdir(parents=True, exist_ok=True)
            told = facts(f"1 x {device}") | {"model_file": str(paths[name])}
            write_results(out / name, recipe, dataset, scores[name], told)
        save_scores(out / FUSED, fusion.scores)
    return fusion


def _score(networks: FusedStreams, recipe: Recipe, shared: PositionsDataset) -> dict[str, Tensor]:
    """Scores of every stream in the order of the data set."""
    device = next(networks.buffers()).device
    found: dict[str, list[Tensor]] = {stream: [] for stream in networks.streams}
    for positions, _, _ in tqdm(make_loader(recipe, shared), "test", leave=False):
        with reduced_precision(recipe.trainer.precision, device):
            scores = networks(positions)
        for stream, own in scores.single.items():
            found[stream].append(own.float().cpu())
    return {stream: torch.cat(own) for stream, own in found.items()}


def _store_of(run: Path) -> str:
    if (run / CONFIG).is_file():
        return read_config(run).data.store
    raise ValueError(f"say on which clips to test {run}: --store <folder written by protogcn data prepare>")


def _check_out(out: Path | None, streams: Sequence[str]) -> None:
    for stream in streams if out is not None else ():
        if out is not None and (out / stream / CONFIG).exists():
            raise FileExistsError(f"{out / stream} holds a run, whose results stay as they are; choose another --out")
