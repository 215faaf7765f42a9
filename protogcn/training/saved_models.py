"""Test a saved model from its file alone, and turn official weights into one."""

from pathlib import Path
from typing import Any

from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.evaluation.metrics import Metrics, evaluate
from protogcn.models import load_model, save_model
from protogcn.models.checkpoints import read_state_dict
from protogcn.models.families import Detected, build_official, detect
from protogcn.models.saved import find_model_file
from protogcn.training.evaluate import check_device, gather_scores, score_clips, write_results
from protogcn.training.loaders import make_dataset, open_store
from protogcn.training.model_facts import check_classes, class_names_of, facts_of, recipe_of
from protogcn.training.recipe import load_recipe
from protogcn.training.run_folder import facts


def test_saved(
    path: str | Path,
    store: str,
    *,
    split: str = "",
    out: Path | None = None,
    device: str = "cpu",
    module: str | None = None,
) -> Metrics:
    """Test a saved model on a split of a store, prepared, averaged and counted as in its training.

    Args:
        path: a file that a run or a conversion wrote, or the folder of a run.
        store: folder of the clips.
        split: of the store; empty takes the one that the model was tested on.
        out: folder for scores, plots and metrics; None writes none.
        device: ``cpu`` or ``cuda``.
        module: the file or module that registers a model of your own; it is run.

    Raises:
        FileNotFoundError: no such model, store or split.
        ValueError: model and clips do not fit; the message says why.
    """
    path = find_model_file(path)
    check_device(device)
    model = load_model(path, module=module)
    assert model.description is not None
    recipe = recipe_of(model.description, store, split, path)
    clips = open_store(recipe)
    check_classes(model.description, clips, path)
    channels = model.description.evaluation.get("channels", clips.channels)
    if channels != clips.channels:
        raise ValueError(f"{path} takes clips of channels {channels}, and {clips.path} holds {clips.channels}")
    dataset = make_dataset(recipe, clips, "test", model.skeleton)
    _, scores = gather_scores(*score_clips(model.to(device), recipe, dataset))
    if out is None:
        return evaluate(scores.numpy(), dataset.labels)
    out.mkdir(parents=True, exist_ok=True)
    return write_results(out, recipe, dataset, scores, facts(f"1 x {device}") | {"model_file": str(path)})


def convert(
    source: str | Path,
    target: str | Path,
    *,
    model: str | None = None,
    skeleton: str | None = None,
    class_names: list[str] | None = None,
    recipe: str | None = None,
    stream: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Path, Detected]:
    """Turn a checkpoint of an official implementation into a saved model.

    Args:
        source: the checkpoint.
        target: the file to write, ``*.safetensors``.
        model: the network it is of, where that cannot be told from its weights.
        skeleton: layout of its clips, where that cannot be told from its weights.
        class_names: one per class, in the order of the logits.
        recipe: the recipe it was trained by, which says how clips are prepared for it.
        stream: the stream it was trained on.
        overwrite: replace a file that is there.
        **options: options of the model, over those that are told from the weights.

    Returns:
        The file, and what the weights told.

    Raises:
        FileExistsError: the target is there.
        FileNotFoundError: no such checkpoint or recipe.
        ValueError: the checkpoint cannot be read safely, is of no known network, or does not fit what is said of it.
    """
    if Path(target).exists() and not overwrite:
        raise FileExistsError(f"{target} is there already; choose another name, or replace it by --overwrite")
    state = read_state_dict(source)
    found = detect(state, model)
    known: dict[str, Any] = {"stream": stream}
    if recipe is not None:
        trained = load_recipe(recipe, stream)
        if trained.model.name != found.model:
            raise ValueError(f"{source} is of {found.model}, and the recipe {recipe} trains {trained.model.name}")
        known = facts_of(trained) | {"class_names": class_names_of(trained, found.num_classes)}
        if skeleton is None and len(found.layouts) != 1 and trained.benchmark in list_benchmarks():
            skeleton = trained.model.skeleton or get_benchmark(trained.benchmark).model_skeleton
        told = ("k", "compat") if found.model == "infogcn" else ()
        options = {key: trained.model.options[key] for key in told if key in trained.model.options} | options
    if class_names is not None:
        known["class_names"] = class_names
        if not found.num_classes:
            # The classifier is made of them.
            options["class_names"] = class_names
    built, found = build_official(state, model=model, skeleton=skeleton, **options)
    return save_model(built, target, source=Path(source).name, **known), found
