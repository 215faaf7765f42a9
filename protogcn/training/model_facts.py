"""Between runs and saved models: what a run says of its model, and the recipe that a saved model implies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.class_split import ClassSubset
from protogcn.data.dataset import ClipDataset
from protogcn.data.pipeline import Pipeline, build_pipeline
from protogcn.data.store import ClipStore
from protogcn.models import ModelDescription, SkeletonClassifier, save_model
from protogcn.training.loaders import split_names
from protogcn.training.recipe import Recipe, parse_recipe

# What of the results of a run its model keeps.
_METRICS = ("top1", "top1_interval", "top5", "mean_class", "clips", "checkpoint", "epochs")


def save_tested(
    folder: Path, model: SkeletonClassifier, recipe: Recipe, dataset: ClipDataset, results: dict[str, Any]
) -> None:
    """Write the model of a run with all that describes it into ``model.safetensors`` of its folder."""
    facts = facts_of(recipe) | {
        "class_names": list(dataset.store.class_names),
        "metrics": {key: results[key] for key in _METRICS if key in results},
    }
    facts["evaluation"] |= {"channels": dataset.store.channels}
    if isinstance(dataset.store, ClassSubset):
        facts["evaluation"]["unseen"] = list(dataset.store.left_out)
    try:
        save_model(model, folder, module=recipe.model.module, seed=recipe.seed, **facts)
    except ValueError as error:
        # A network of the user's own that cannot be built twice has its scores and checkpoints all the same.
        print(f"no model.safetensors: {error}", flush=True)


def facts_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says of a model that was trained by it, as :func:`protogcn.models.save_model` takes it."""
    return {
        "benchmark": recipe.benchmark,
        "stream": recipe.stream,
        "preprocessing": recipe.as_dict()["pipeline"],
        "evaluation": {
            "split": split_names(recipe)[1],
            "fold": recipe.data.fold,
            "average": recipe.evaluation.average,
            "precision": recipe.trainer.precision,
            "batch_size": recipe.trainer.eval_batch_size,
        },
    }


def class_names_of(recipe: Recipe, num_classes: int) -> Sequence[str]:
    """Names of the classes of a recipe's benchmark; none where they are not known or of another number."""
    names = get_benchmark(recipe.benchmark).class_names if recipe.benchmark in list_benchmarks() else None
    return names if names and len(names) == num_classes else ()


def recipe_of(description: ModelDescription, store: str, split: str = "", origin: str | Path = "the model") -> Recipe:
    """The recipe that tests a saved model as it was tested.

    Args:
        description: what the model says of itself.
        store: folder of the clips.
        split: of the store; empty takes the one that the model was tested on.
        origin: where the description comes from, for messages.

    Raises:
        ValueError: the model does not say how its clips were prepared, or says it wrongly.
    """
    if not description.preprocessing or not description.stream:
        raise ValueError(
            f"{origin} does not say how the clips of its network are prepared, as it was converted without a recipe: "
            "convert it again with --recipe configs/<benchmark>/<model>.yaml --stream <stream>"
        )
    said = description.evaluation
    trainer = {"precision": said.get("precision", "32-true"), "eval_batch_size": said.get("batch_size", 64)}
    content = {
        "benchmark": description.benchmark or "own",
        "stream": description.stream,
        "seed": description.seed or 0,
        "data": {
            "store": store,
            "test": split or said.get("split", ""),
            "fold": said.get("fold", 0),
            "unseen": said.get("unseen", []),
        },
        "pipeline": dict(description.preprocessing),
        "model": {"name": description.model, "module": description.module, "options": dict(description.options)},
        "trainer": trainer,
        "evaluation": {"average": said.get("average", "probabilities")},
    }
    return parse_recipe(content, origin)


def pipeline_of(description: ModelDescription, mode: str = "test") -> Pipeline:
    """What turns a clip into the input of a saved model, as in its training.

    ``pipeline(clip, None)`` takes a :class:`protogcn.data.store.Clip` and gives (test clips, M, T, V, C), which the
    model takes as a batch; the logits of several test clips are averaged.

    Raises:
        ValueError: the model does not say how its clips were prepared, or says it wrongly.
    """
    recipe = recipe_of(description, store="")
    channels = str(description.evaluation.get("channels", "xyz"))
    return build_pipeline(recipe.pipeline, description.skeleton, recipe.stream, mode, channels=channels)


def check_classes(description: ModelDescription, store: ClipStore, origin: str | Path) -> None:
    """Refuse a store whose classes are not those of a model, in number or in order.

    Raises:
        ValueError: naming the first class that differs.
    """
    if store.num_classes != description.num_classes:
        raise ValueError(
            f"{origin} tells {description.num_classes} classes apart, and the clips of {store.path} are of "
            f"{store.num_classes}"
        )
    anonymous = [f"class {index}" for index in range(store.num_classes)]
    names, others = list(description.class_names), list(store.class_names)
    if not names or anonymous in (names, others):
        return
    for index, (name, other) in enumerate(zip(names, others, strict=True)):
        if name != other:
            raise ValueError(
                f"class {index} is {name!r} for {origin} and {other!r} in {store.path}: its scores would count for "
                "other actions. Prepare the store with the class names in the order of the model"
            )
