"""Every recipe that ships: read for all six streams, and run from a store through pipeline, network and criterion.

The published recipes are held to the table of the released configurations, value by value.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from graphs.layouts import get_skeleton
from graphs.streams import STREAMS
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.data.pipeline_config import PipelineConfig
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.models import create_criterion
from protogcn.training.evaluate import build_model, kind_of_scores
from protogcn.training.loaders import make_dataset, make_loader, split_names
from protogcn.training.recipe import (
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TrainerConfig,
    load_recipe,
)

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("*/*.yaml"))

PROTOTYPES = {"j": 400, "jm": 400, "b": 100, "bm": 100, "k": 100, "km": 100}
CONTRASTIVE = {"j": 0.2, "jm": 0.2, "b": 0.3, "bm": 0.3, "k": 0.1, "km": 0.1}
FLIP, DROP = {"flip": 0.5}, {"part_drop": 0.2}
# Benchmark -> what training adds to the rotation, for (j and jm, b and bm, k and km).
AUGMENTATION: dict[str, tuple[dict[str, float], ...]] = {
    "ntu60_xsub": ({}, FLIP, FLIP),
    "ntu60_xview": ({}, {}, DROP),
    "ntu120_xsub": (FLIP, FLIP, DROP),
    "ntu120_xset": ({}, FLIP, FLIP),
    "kinetics400": (FLIP, FLIP, FLIP),
    "finegym": (FLIP, FLIP, FLIP),
}


def read(path: str, stream: str, *words: str) -> Recipe:
    return load_recipe(CONFIGS / path, stream, words)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("benchmark", AUGMENTATION)
def test_published_recipe(benchmark: str, stream: str) -> None:
    recipe = read(f"{benchmark}/protogcn.yaml", stream)
    pixels = benchmark in ("kinetics400", "finegym")
    large = benchmark == "kinetics400"

    assert (recipe.benchmark, recipe.stream, recipe.seed) == (benchmark, stream, 0)
    assert recipe.pipeline == PipelineConfig(
        protocol="protogcn_2d" if pixels else "protogcn_3d",
        clip_len=100,
        num_persons=2,
        test_clips=10,
        rotation=0.0 if pixels else 0.2,
        flip_mirror=False,
        **AUGMENTATION[benchmark]["jbk".index(stream[0])],
    )
    assert recipe.model == ModelConfig(name="protogcn", options={"num_prototypes": PROTOTYPES[stream]})
    assert recipe.loss == {"contrastive_weight": CONTRASTIVE[stream]}
    assert recipe.optimizer == OptimizerConfig(
        name="sgd", lr=0.1 if large else 0.025, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    assert recipe.schedule == ScheduleConfig(name="cosine", warmup_epochs=0.0)
    # The last two decide how the run is watched and how fast it is tested, and no number.
    assert recipe.trainer == TrainerConfig(
        epochs=150,
        batch_size=64 if large else 16,
        accumulate=1,
        precision="32-true",
        gradient_clip=0.0,
        ema=0.0,
        patience=0,
        validate_every=1,
        eval_batch_size=recipe.trainer.eval_batch_size,
    )
    assert recipe.evaluation == EvaluationConfig(average="probabilities", checkpoint="best")
    assert kind_of_scores(recipe) == "probabilities"
    assert recipe.data.repeat == 1
    known = get_benchmark(benchmark)
    assert split_names(recipe) == (known.train_split, known.test_split)


def test_every_benchmark_with_published_protogcn_streams_has_its_recipe() -> None:
    published = {name for name in list_benchmarks() if "k" in get_benchmark(name).published.get("protogcn", {})}
    assert published <= set(AUGMENTATION) <= {path.split("/")[0] for path in RECIPES}


def test_criterion_and_network_fill_in_the_rest_of_the_published_recipe() -> None:
    criterion = create_criterion("protogcn", contrastive_weight=0.2)
    assert (criterion.temperature, criterion.momentum, criterion.label_smoothing) == (0.125, 0.9, 0.0)


@pytest.fixture(scope="module", params=RECIPES)
def path(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def store(path: str, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Two clips of noise in the layout of the recipe's benchmark, both in the training and in the test split."""
    recipe = read(path, "j")
    known = get_benchmark(recipe.benchmark) if recipe.benchmark in list_benchmarks() else None
    flat = recipe.pipeline.protocol.endswith("_2d")
    channels = known.channels if known else "xys" if flat else "xyz"
    skeleton = get_skeleton(known.skeleton if known else "coco17" if flat else "ntu25")
    rng = np.random.default_rng(0)
    shape = (recipe.pipeline.num_persons, 120, skeleton.num_joints, len(channels))
    scale = 400 if channels == "xys" else 1
    clips = [
        Clip((rng.random(shape) * scale).astype(np.float16), label, f"clip{label}", (1080, 1920)) for label in range(2)
    ]
    return write_store(
        tmp_path_factory.mktemp("store") / "clips",
        clips,
        skeleton=skeleton,
        class_names=known.num_classes if known else 12,
        splits={name: ["clip0", "clip1"] for name in split_names(recipe)},
        channels=channels,
    )


def words(store: ClipStore) -> list[str]:
    return [f"--data.store={store.path}", "--data.workers=0", "--trainer.batch_size=2"]


@pytest.mark.parametrize("stream", STREAMS)
def test_pipeline_of_every_stream(path: str, store: ClipStore, stream: str) -> None:
    recipe = read(path, stream, *words(store))
    for mode, count in (("train", 1), ("val", 1), ("test", recipe.pipeline.test_clips)):
        dataset = make_dataset(recipe, store, mode)
        clips, labels, places = next(iter(make_loader(recipe, dataset)))
        joints = 20 if recipe.pipeline.protocol == "protogcn_2d" else store.skeleton.num_joints
        assert clips.shape == (2, count, recipe.pipeline.num_persons, recipe.pipeline.clip_len, joints, 3)
        assert clips.dtype == torch.float32
        assert clips.isfinite().all()
        assert clips.std() > 0
        assert torch.equal(labels, places % 2)
        assert len(set(places.tolist())) == 2


@pytest.mark.parametrize("stream", ["j", "km"])
def test_network_of_the_recipe_learns_from_its_batch(path: str, store: ClipStore, stream: str) -> None:
    recipe = read(path, stream, *words(store))
    dataset = make_dataset(recipe, store, "train")
    clips, labels, _ = next(iter(make_loader(recipe, dataset)))
    model = build_model(recipe, dataset, store.num_classes)
    criterion = create_criterion(recipe.model.name, **recipe.loss)
    with torch.no_grad():
        logits, aux = model.forward_train(clips.flatten(0, 1))
        terms = criterion(logits, aux, labels)
    assert logits.shape == (2, len(store.class_names))
    assert aux["reconstructed_graph"].shape == (2, clips.shape[-2] ** 2)
    # A fresh classifier spreads its belief evenly.
    assert terms["cross_entropy"].item() == pytest.approx(math.log(logits.shape[1]), abs=0.5)
    weight = recipe.loss["contrastive_weight"]
    assert terms["loss"].item() == pytest.approx((terms["cross_entropy"] + weight * terms["contrastive"]).item())
