"""From the saved networks of several streams to one that takes clips and gives fused scores."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from graphs.messages import unknown
from graphs.streams import STREAMS, check_stream
from protogcn.data.pipeline_config import PipelineConfig
from protogcn.inference.streams import FusedStreams
from protogcn.models import SkeletonClassifier, load_model
from protogcn.models.description import ModelDescription
from protogcn.models.saved import MODEL_FILE, find_model_file

__all__ = ["find_streams", "load_streams"]

# What only training looks at: networks of other augmentation are tested alike.
_AUGMENTATION = (
    *("rotation", "scale", "shear", "noise", "flip", "flip_mirror", "part_drop", "joint_dropout"),
    *("turn_degrees", "tilt_degrees", "image_size", "crop_area", "crop_aspect"),
)


def load_streams(
    models: str | Path | Iterable[str | Path],
    streams: Sequence[str] | None = None,
    *,
    weights: Sequence[float] | None = None,
    rule: str | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,
    device: str | torch.device = "cpu",
    module: str | None = None,
) -> FusedStreams:
    """Load the networks of several streams, as runs of one recipe leave them, for inference.

    Args:
        models: a folder that holds a run folder for each stream, such as ``runs/nw_ucla/protogcn``; or run folders or
            files ``model.safetensors``, one for each stream.
        streams: of a folder, which ones, in order; all that there are where left out.
        weights: one per stream; as the authors of the network published where left out, likewise the rule.
        rule: ``probabilities`` or ``logits``, what is fused.
        dtype: precision, see :func:`protogcn.inference.optimize`.
        compile: whether the networks are compiled.
        device: where they run.
        module: the file or module that registers a network of your own; it is run.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: the networks are not of one kind, benchmark, layout and way to prepare clips; the message names what
            differs.
    """
    if isinstance(models, str | Path):
        paths = list(find_streams(models, streams).values())
    elif streams is not None:
        raise ValueError("streams chooses from a folder of runs; of files, name those that are wanted")
    else:
        paths = [find_model_file(each) for each in models]
    if not paths:
        raise ValueError("there are no networks to load: name a folder of runs, or one model.safetensors per stream")
    found: dict[str, SkeletonClassifier] = {}
    origin: dict[str, Path] = {}
    for path in paths:
        model = load_model(path, module=module)
        description = _described(model, path)
        if description.stream in found:
            raise ValueError(f"{origin[description.stream]} and {path} are both of stream {description.stream}")
        found[description.stream], origin[description.stream] = model, path
    descriptions = {origin[stream]: _described(model, origin[stream]) for stream, model in found.items()}
    check_same_test(descriptions)
    first_path, first = next(iter(descriptions.items()))
    networks = FusedStreams(
        found,
        pipeline_config(first, first_path),
        channels=str(first.evaluation.get("channels", "xyz")),
        average=str(first.evaluation.get("average", "probabilities")),
        weights=weights,
        rule=rule,
        dtype=dtype,
        compile=compile,
    )
    return networks.to(device)


def find_streams(folder: str | Path, streams: Sequence[str] | None = None) -> dict[str, Path]:
    """Saved models of a folder of runs by stream, in the usual order or in that asked for.

    Raises:
        FileNotFoundError: there is no such folder, or no model of a stream.
        ValueError: no such stream.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name one that holds a run for each stream")
    there = [stream for stream in STREAMS if (folder / stream / MODEL_FILE).is_file()]
    if streams is None:
        if not there:
            raise FileNotFoundError(
                f"{folder} holds no {'/'.join(('<stream>', MODEL_FILE))}; name the folder of one model of one "
                "benchmark, such as runs/nw_ucla/protogcn"
            )
        streams = there
    return {check_stream(stream): find_model_file(folder / stream) for stream in streams}


def pipeline_config(description: ModelDescription, origin: str | Path) -> PipelineConfig:
    """How the clips of a saved network are prepared.

    Raises:
        ValueError: it does not say so, or says it wrongly.
    """
    fields = [each.name for each in dataclasses.fields(PipelineConfig)]
    for key in description.preprocessing:
        if key not in fields:
            raise ValueError(f"{origin}: {unknown('entry of its pipeline', key, fields)}")
    try:
        return PipelineConfig(**description.preprocessing)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{origin} says wrongly how its clips are prepared ({error})") from error


def check_same_test(descriptions: Mapping[Path, ModelDescription]) -> None:
    """Refuse saved networks that were not tested on the same clips, prepared and counted alike.

    Raises:
        ValueError: naming two files and what differs.
    """
    (first_path, first), *others = descriptions.items()
    expected = _decides_test(first, first_path)
    for path, description in others:
        own = _decides_test(description, path)
        differs = [
            f"{name} {_short(own[name])} instead of {_short(value)}"
            for name, value in expected.items()
            if own[name] != value
        ]
        if differs:
            raise ValueError(
                f"{path} and {first_path} are not of the same clips and preparation, so their scores are not fused: "
                f"{'; '.join(differs[:3])}"
            )


def _decides_test(description: ModelDescription, path: Path) -> dict[str, Any]:
    config = dataclasses.asdict(pipeline_config(description, path))
    found = {
        "model": description.model,
        "benchmark": description.benchmark,
        "skeleton": description.skeleton.name,
        "classes": description.num_classes,
        "class names": description.class_names,
    }
    said = {name: description.evaluation.get(name) for name in ("split", "fold", "channels", "average", "precision")}
    prepared = {f"pipeline.{name}": value for name, value in config.items() if name not in _AUGMENTATION}
    return found | said | prepared


def _described(model: SkeletonClassifier, path: Path) -> ModelDescription:
    description = model.description
    assert description is not None
    if not description.preprocessing or not description.stream:
        raise ValueError(
            f"{path} does not say how the clips of its network are prepared, as it was converted without a recipe: "
            "convert it again with --recipe configs/<benchmark>/<model>.yaml --stream <stream>"
        )
    return description


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
