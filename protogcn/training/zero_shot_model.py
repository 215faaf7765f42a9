"""A saved model and the clips it is asked about: other class names, scores, features."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from protogcn import __version__
from protogcn.data.dataset import ClipDataset
from protogcn.data.store import ClipStore
from protogcn.evaluation.scores import ScoreFile
from protogcn.models import ModelDescription, SkeletonClassifier, load_model
from protogcn.models.saved import find_model_file
from protogcn.models.text.encoders import SPECS
from protogcn.models.text.prompts import fill
from protogcn.models.text_bank import TextBank, make_encoder
from protogcn.training.evaluate import check_device, fast_copy, gather_scores, kind_of_scores, score_clips
from protogcn.training.loaders import make_dataset, split_names
from protogcn.training.model_facts import recipe_of
from protogcn.training.recipe import Recipe
from protogcn.training.run_folder import CONFIG, read_config

ALL = "all"


@dataclass(frozen=True, eq=False)
class Subject:
    """A saved model and the clips that it is asked about.

    Attributes:
        path: the file of the model.
        model: on the device.
        recipe: how clips are prepared for it, and scores averaged.
        store: all clips.
        tested: rows of the split that it is tested on.
        everything: whether clips of unseen classes count wherever they lie in the store.
    """

    path: Path
    model: SkeletonClassifier
    recipe: Recipe
    store: ClipStore
    tested: NDArray[np.int64]
    everything: bool

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""
        assert self.model.description is not None
        return self.model.description

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the classes of its training; none where it does not know them."""
        names = tuple(self.description.class_names)
        return () if _anonymous(names) else names


def open_subject(
    path: str | Path, store: str | Path = "", *, split: str = "", device: str = "cpu", module: str | None = None
) -> Subject:
    """Load a saved model and open the clips it is asked about.

    Args:
        path: a saved model, or the folder of a run.
        store: folder of the clips; empty takes that of the run.
        split: of the store; empty or ``test`` takes what the model was tested on, ``all`` moreover every clip of an
            unseen class wherever it lies, since no training has seen it.
        device: ``cpu`` or ``cuda``.
        module: the file or module that registers a model of your own; it is run.

    Raises:
        FileNotFoundError: no such model or store.
        ValueError: model and clips do not fit; the message says why.
    """
    path = find_model_file(path)
    check_device(device)
    model = load_model(path, module=module)
    assert model.description is not None
    clips = ClipStore.open(store or _store_of_run(path))
    everything = split == ALL and ALL not in clips.splits
    named = "" if everything or (split == "test" and "test" not in clips.splits) else split
    recipe = recipe_of(model.description, str(clips.path), named, path)
    data: dict[str, Any] = {"unseen": []}
    benchmark = str(clips.meta.get("benchmark") or recipe.benchmark)
    if benchmark != recipe.benchmark and recipe.data.test not in clips.splits:
        # Splits of the benchmark of the training mean nothing in a store of another one.
        data |= {"test": named, "fold": 0}
    recipe = dataclasses.replace(recipe, benchmark=benchmark, data=dataclasses.replace(recipe.data, **data))
    channels = model.description.evaluation.get("channels", clips.channels)
    if channels != clips.channels:
        raise ValueError(f"{path} takes clips of channels {channels}, and {clips.path} holds {clips.channels}")
    tested = clips.split(split_names(recipe)[1])
    if not len(tested):
        raise ValueError(f"the split {split_names(recipe)[1]} of {clips.path} holds no clips; name another --split")
    return Subject(path, model.to(device), recipe, clips, tested, everything)


def set_names(
    subject: Subject, names: Sequence[str], text_encoder: str = "", prompts: Sequence[str] | None = None
) -> None:
    """Make the model tell actions of any names apart.

    Args:
        subject: whose model has a text head.
        names: of the classes.
        text_encoder: that of the training, or where its weights lie here; empty takes the one that the model names.
        prompts: templates to put around the names, each with one ``{}``, instead of those of the training.

    Raises:
        FileNotFoundError: no such text weights.
        ValueError: no text head, an empty name or one twice, or another encoder than that of the training.
    """
    head = subject.model.classifier
    if not isinstance(head, TextBank):
        raise ValueError(
            f"{subject.path} has no text head, so it knows its classes by number alone: train with "
            "--model.options.head clip --model.options.text_encoder minilm, or recognise by examples, --shots 5"
        )
    # What a file names is not opened unasked, unless it comes with an installed package.
    if not text_encoder and head.facts.name.split(":")[0] in SPECS:
        text_encoder = head.facts.name
    if not text_encoder:
        raise ValueError(
            f"{subject.path} was trained with the text weights {head.facts.name} and does not hold them: say where "
            "they lie here, --text-encoder <file or folder>"
        )
    encoder = make_encoder(text_encoder)
    if prompts is not None and tuple(prompts) != head.prompts:
        # Compared with the encoder of the training as long as the head has its own prompts.
        head.set_classes(head.class_names, encoder)
        texts = fill(head.class_names, prompts)
        head.prompts = tuple(prompts)
        if head.tower is None:
            vectors = encoder.encode(texts).view(len(prompts), len(head.class_names), -1)
            head.embeddings = vectors.to(head.embeddings)
        else:
            head.tokens = encoder.tokenize(texts).to(head.tokens.device)
    head.set_classes(names, encoder)


def score_names(subject: Subject, rows: NDArray[np.int64], names: Sequence[str], task: str) -> ScoreFile:
    """Scores of clips of some classes of the store among the names of these, which the model has at present.

    Args:
        subject: the model and the clips.
        rows: of the store, (n,).
        names: classes of the store, in the order of the scores.
        task: what the scores are of, for their meta data.
    """
    place = np.full(subject.store.num_classes, -1, dtype=np.int64)
    place[[subject.store.class_names.index(name) for name in names]] = np.arange(len(names))
    meta = {
        "benchmark": subject.recipe.benchmark,
        "split": ALL if subject.everything else split_names(subject.recipe)[1],
        "stream": subject.recipe.stream,
        "model": subject.recipe.model.name,
        "seed": subject.recipe.seed,
        "task": task,
        "version": __version__,
    }
    ids = np.array([subject.store.ids[row] for row in rows])
    scores = outputs(subject, rows)
    return ScoreFile(ids, scores, kind_of_scores(subject.recipe), place[subject.store.labels[rows]], tuple(names), meta)


def embed(subject: Subject, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the network hands to its classifier, averaged over the inputs of each clip, (rows, channels)."""
    evaluation = dataclasses.replace(subject.recipe.evaluation, average="logits")
    recipe = dataclasses.replace(subject.recipe, evaluation=evaluation)
    inputs = len(rows) * subject.recipe.pipeline.test_inputs
    return outputs(subject, rows, _Backbone(subject.model, fast_copy(subject.model, inputs)), recipe)


def outputs(
    subject: Subject, rows: NDArray[np.int64], network: nn.Module | None = None, recipe: Recipe | None = None
) -> NDArray[np.float32]:
    """Scores (rows, names) of clips among the names that the model has at present.

    Another network in place of the model gives what it gives, averaged over the inputs of a clip as ``recipe`` says.
    """
    network, recipe = network or subject.model, recipe or subject.recipe
    tested = make_dataset(subject.recipe, subject.store, "test", subject.model.skeleton)
    dataset = ClipDataset(subject.store, rows, tested.pipeline, seed=recipe.seed)
    return gather_scores(*score_clips(network, recipe, dataset))[1].numpy()


class _Backbone(nn.Module):
    """What enters the classifier of a model, by way of its fast copy where there is one."""

    def __init__(self, model: SkeletonClassifier, fast: nn.Module) -> None:
        super().__init__()
        self.model, self.fast = model, fast

    def forward(self, inputs: Tensor) -> Tensor:
        if self.fast is self.model:
            features: Tensor = self.model.forward_head(self.model.forward_features(inputs), pre_logits=True)
        else:
            features = self.fast(inputs, pre_logits=True)
        # Some heads compare frame by frame.
        return features.flatten(1, -2).mean(1) if features.ndim > 2 else features


def _store_of_run(path: Path) -> str:
    if (path.parent / CONFIG).is_file() and (named := read_config(path.parent).data.store):
        return named
    raise ValueError(f"say on which clips to ask {path}: --store <folder written by protogcn data prepare>")


def _anonymous(names: Sequence[str]) -> bool:
    return list(names) == [f"class {index}" for index in range(len(names))]
