"""Networks of several streams together: clips are decoded once, and every stream is taken from them on the device."""

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graphs.streams import check_stream
from protogcn.data.device_streams import split_streams
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.evaluation.presets import RULES, preset_of
from protogcn.evaluation.scores import KINDS, check_choice
from protogcn.inference.optimize import optimize
from protogcn.models.base import SkeletonClassifier

__all__ = ["FusedStreams", "StreamScores"]


@dataclass(frozen=True, eq=False)
class StreamScores:
    """What the networks of several streams say of N samples.

    Attributes:
        fused: (N, classes), the weighted mean of the streams: probabilities or logits, as the rule says.
        single: stream -> (N, classes), as `protogcn test` writes them: logits where a sample is one network input,
            else averaged over its inputs.
        class_names: one per class.
    """

    fused: Tensor
    single: Mapping[str, Tensor]
    class_names: tuple[str, ...]

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k classes with the highest fused scores of every sample, the highest first, with these scores."""
        scores, classes = self.fused.topk(min(k, self.fused.shape[1]))
        return [
            [(self.class_names[index], score) for index, score in zip(*row, strict=True)]
            for row in zip(classes.tolist(), scores.tolist(), strict=True)
        ]


class FusedStreams(nn.Module):
    """Networks of several streams, made fast, from one decoded batch to single and fused scores.

    Networks run one after the other: stacked by ``torch.func.vmap``, whose convolutions are grouped, six of them took
    half as much processor time again, and grouped convolutions by themselves saved none.

    Args:
        models: stream -> network, all of one layout, number of classes and number of persons. They stay as they are.
        pipeline: how clips are prepared, the section ``pipeline`` of the recipe.
        channels: of the clips, ``xyz``, ``xy`` or ``xys``.
        average: of the inputs of a sample, ``probabilities`` or ``logits``.
        weights: one per stream, in the order of the models; those that the authors of the network published where left
            out, likewise the rule.
        rule: ``probabilities`` or ``logits``, what is fused.
        class_names: one per class; those that the networks know, or ``class <index>``, where left out.
        dtype: precision, see :func:`protogcn.inference.optimize`.
        compile: whether the networks are compiled.

    Attributes:
        streams: names in the order of the weights.
        kind: of the single scores, ``logits`` or ``probabilities``.
        networks: the fast networks, whose ``report`` says how far each is from its original.

    Raises:
        ValueError: networks, pipeline and weights do not fit each other; the message says which and why.
    """

    def __init__(
        self,
        models: Mapping[str, SkeletonClassifier],
        pipeline: PipelineConfig,
        *,
        channels: str = "xyz",
        average: str = "probabilities",
        weights: Sequence[float] | None = None,
        rule: str | None = None,
        class_names: Sequence[str] = (),
        dtype: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not models:
            raise ValueError("there are no networks to run: give one for each stream, such as {'j': model, 'b': other}")
        self.streams = tuple(check_stream(stream) for stream in models)
        networks = [_checked(stream, model) for stream, model in models.items()]
        _check_alike(dict(models))
        first = networks[0]
        self.num_classes = first.num_classes
        self.pipelines = [build_pipeline(pipeline, first.skeleton, each, "test", channels) for each in self.streams]
        for stream, own, model in zip(self.streams, self.pipelines, networks, strict=True):
            _check_input(stream, own.gives, own.in_channels, model)
        name = first.description.model if first.description else ""
        preset = preset_of(name)
        check_choice(average, KINDS, "average of test clips")
        self.average = average
        self.kind = "logits" if pipeline.test_inputs == 1 else average
        self.rule = preset.rule if rule is None else rule
        check_choice(self.rule, RULES, "fusion rule")
        if self.rule == "logits" and self.kind != "logits":
            raise ValueError(
                "rule 'logits' needs logits, but probabilities of several test clips are averaged: use rule "
                "'probabilities', or average='logits'"
            )
        self.weights = _shares(preset.weights(self.streams) if weights is None else weights, self.streams)
        self.class_names = _names(class_names, networks)
        self.networks = nn.ModuleList(_fast(model, dtype, compile) for model in networks)
        own_precision = next(first.parameters()).dtype
        self.precision = torch.promote_types(dtype or own_precision, torch.float32)
        self.following = any(each.stream.endswith("m") for each in self.pipelines)
        super().train(False)

    def train(self, mode: bool = True) -> "FusedStreams":
        """Does nothing: there is no training mode."""
        return self

    def decode(self, clips: Sequence[Any]) -> Tensor:
        """What all streams follow from, on the CPU.

        Args:
            clips: `Clip`s of a store or arrays (M, T, V, C).

        Returns:
            (N, test clips, M, T, V, C), or (N, test clips, M, T, 2, V, C) with the frame behind each where motions
            need it.

        Raises:
            ValueError: a clip does not fit the skeleton or the channels.
        """
        if not len(clips):
            raise ValueError("there are no clips to classify")
        pipeline = self.pipelines[0]
        decoded = []
        for clip in clips:
            prepared = pipeline.prepare(clip)
            decoded.append(pipeline.positions(prepared, pipeline.draw(prepared), following=self.following))
        return torch.from_numpy(np.stack(decoded))

    @torch.no_grad()
    def forward(self, positions: Tensor) -> StreamScores:
        """Scores of a decoded batch.

        Args:
            positions: what :meth:`decode` gives; it is moved to the device of the networks.
        """
        weight = next(itertools.chain(self.parameters(), self.buffers()))
        clips = split_streams(positions.to(weight.device, non_blocking=True), self.pipelines)
        single: dict[str, Tensor] = {}
        fused: Tensor | None = None
        for stream, pipeline, network, share, own in zip(
            self.streams, self.pipelines, self.networks, self.weights, clips, strict=True
        ):
            logits = network(pipeline.network_input(own.flatten(0, 1).to(self.precision)))
            scores = self._averaged(logits.float().unflatten(0, (len(positions), -1)))
            single[stream] = scores
            softened = scores.softmax(-1) if self.rule == "probabilities" and self.kind == "logits" else scores
            fused = softened * share if fused is None else fused.add_(softened, alpha=share)
        assert fused is not None
        return StreamScores(fused, single, self.class_names)

    def classify(self, clips: Sequence[Any], batch_size: int = 16) -> StreamScores:
        """Scores of clips of a store, or of arrays (M, T, V, C), decoded and computed in batches."""
        found = [self(self.decode(clips[at : at + batch_size])) for at in range(0, max(len(clips), 1), batch_size)]
        single = {stream: torch.cat([each.single[stream] for each in found]) for stream in self.streams}
        return StreamScores(torch.cat([each.fused for each in found]), single, self.class_names)

    def _averaged(self, logits: Tensor) -> Tensor:
        """Scores of samples (N, inputs, classes) over their inputs."""
        if logits.shape[1] == 1 and self.kind == "logits":
            return logits[:, 0]
        return (logits.softmax(-1) if self.average == "probabilities" else logits).mean(1)


def _fast(model: SkeletonClassifier, dtype: torch.dtype | None, compile: bool) -> nn.Module:
    try:
        return optimize(model, dtype=dtype, compile=compile)
    except ValueError as error:
        # Whoever asked for another precision is to know that it does not do.
        if dtype is not None:
            raise
        warnings.warn(f"a network runs as it is ({error})", stacklevel=4)
        return copy.deepcopy(model).eval().requires_grad_(False)


def _checked(stream: str, model: object) -> SkeletonClassifier:
    if isinstance(model, SkeletonClassifier):
        return model
    raise ValueError(f"the network of stream {stream} must be one of this library, got {type(model).__name__}")


def _check_alike(models: Mapping[str, SkeletonClassifier]) -> None:
    (first_stream, first), *others = models.items()
    for stream, model in others:
        for what, expected, found in (
            ("joints", first.skeleton.name, model.skeleton.name),
            ("classes", first.num_classes, model.num_classes),
        ):
            if expected != found:
                raise ValueError(
                    f"the networks of streams {first_stream} and {stream} differ in their {what}, {expected} and "
                    f"{found}: streams are fused where they are of the same clips"
                )
        if model.skeleton != first.skeleton:
            raise ValueError(
                f"the networks of streams {first_stream} and {stream} both take {first.skeleton.name}, but with "
                "different bones: train them on the same layout"
            )


def _check_input(stream: str, gives: str, channels: int, model: SkeletonClassifier) -> None:
    if model.in_channels != channels:
        raise ValueError(
            f"the network of stream {stream} takes {model.in_channels} channels, and the pipeline gives {channels} "
            f"({gives}): give the pipeline and the channels of its training"
        )


def _shares(weights: Sequence[float], streams: Sequence[str]) -> tuple[float, ...]:
    """Weights that sum to one."""
    array = np.asarray(weights, np.float64)
    if array.shape != (len(streams),):
        raise ValueError(f"got {array.size} weights for {len(streams)} streams; give one for each of {list(streams)}")
    if not np.isfinite(array).all() or array.min() < 0 or not array.max() > 0:
        raise ValueError(f"weights must be finite, not negative and not all zero; got {list(weights)}")
    return tuple((array / array.sum()).tolist())


def _names(given: Sequence[str], models: Sequence[SkeletonClassifier]) -> tuple[str, ...]:
    count = models[0].num_classes
    told = (each.description.class_names for each in models if each.description)
    known = tuple(given) or next(filter(None, told), ())
    names = known or tuple(f"class {index}" for index in range(count))
    if len(names) != count:
        raise ValueError(f"class_names must name the {count} classes of the networks, got {len(names)} names")
    return names
