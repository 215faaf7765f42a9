"""Streams that train at once end with the very numbers of streams that train by themselves."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_runs import (
    Stopped,
    assert_same_weights,
    checkpoint,
    error_of,
    history,
    stop_before_epoch,
    tiny_recipe,
    train,
    weights,
    write_recipe,
)

from protogcn.data.dataset import ClipDataset
from protogcn.data.device_streams import PositionsDataset, split_streams
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.evaluation.scores import load_scores
from protogcn.training.recipe import parse_recipe
from protogcn.training.together import describe_groups, group_streams

STREAMS = ("j", "b", "k", "jm", "bm", "km")


class ArrayStore:
    """Clips in memory, with the few things that a data set asks of a store."""

    def __init__(self, clips, image_shape=None):
        self.ids = [f"clip {index}" for index in range(len(clips))]
        self.labels = np.arange(len(clips))
        self.clips = clips
        self.image_shape = image_shape

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, row):
        @dataclasses.dataclass
        class Clip:
            keypoints: np.ndarray
            label: int
            id: str
            image_shape: tuple | None

        return Clip(self.clips[row], row, self.ids[row], self.image_shape)


CASES = {
    "protogcn_3d": {"rotation": 0.2, "scale": 0.1, "flip": 0.5, "part_drop": 0.3},
    "pyskl_3d": {"rotation": 0.3, "noise": 0.01, "shear": 0.1, "joint_dropout": 0.1},
    "ctrgcn": {"rotation": 0.3, "p_interval": (0.5, 1.0), "scale": 0.1},
    "infogcn": {"kbone": "infogcn:2", "p_interval": (0.5, 1.0)},
    "nw_ucla": {"turn_degrees": 30, "significant_digits": 6},
    "protogcn_2d": {"flip": 0.5},
    "pyskl_2d": {"flip": 0.5, "joint_dropout": 0.1},
}


def clips_of(protocol, dtype=np.float32):
    """Clips of two, one and no persons, longer and shorter than a network input."""
    rng = np.random.default_rng(3)
    flat = protocol.endswith("_2d")
    joints = 17 if flat else 25
    made = []
    for persons, frames in ((2, 40), (1, 23), (1, 9), (2, 16), (0, 12)):
        clip = rng.normal(size=(persons, frames, joints, 3)).cumsum(1)
        if flat:
            clip[..., :2] = clip[..., :2] * 20 + 200
            clip[..., 2] = rng.uniform(0.2, 1, clip[..., 2].shape)
        made.append(clip.astype(dtype))
    return ArrayStore(made, (480, 640) if flat else None)


def datasets_of(protocol, mode, dtype=np.float32, **options):
    config = PipelineConfig(**{"protocol": protocol, "clip_len": 16, "test_clips": 3, **options})
    flat = protocol.endswith("_2d")
    layout = {"protogcn_2d": "coco20", "pyskl_2d": "coco17"}.get(protocol, "ntu25")
    store = clips_of(protocol, dtype)
    return [
        ClipDataset(store, range(len(store)), build_pipeline(config, layout, stream, mode, "xys" if flat else "xyz"))
        for stream in STREAMS
    ]


def assert_split_is_exact(datasets):
    """The streams of one shared decode against those of one pipeline each, in two epochs."""
    shared = PositionsDataset(datasets[0], STREAMS)
    for epoch in (0, 1):
        for dataset in (shared, *datasets):
            dataset.set_epoch(epoch)
        positions = torch.stack([shared[item][0] for item in range(len(shared))])
        split = split_streams(positions, [dataset.pipeline for dataset in datasets])
        for stream, dataset, batch in zip(STREAMS, datasets, split, strict=True):
            alone = torch.stack([dataset[item][0] for item in range(len(dataset))])
            assert batch.dtype == torch.float32 and batch.shape == alone.shape
            assert torch.equal(batch, alone), (stream, epoch, (batch - alone).abs().max())


@pytest.mark.parametrize("mode", ["train", "val", "test"])
@pytest.mark.parametrize("protocol", CASES)
def test_streams_of_one_decode_are_those_of_pipelines_of_their_own(protocol, mode):
    assert_split_is_exact(datasets_of(protocol, mode, **CASES[protocol]))


@pytest.mark.parametrize("mode", ["train", "val"])
@pytest.mark.parametrize("protocol", ["protogcn_3d", "pyskl_2d", "ctrgcn"])
def test_half_precision_stores_keep_their_arithmetic(protocol, mode):
    assert_split_is_exact(datasets_of(protocol, mode, np.float16, rotation=0.0))


@pytest.mark.parametrize("padding", ["zero", "loop"])
@pytest.mark.parametrize("protocol", ["pyskl_3d", "pyskl_2d", "protogcn_2d"])
def test_padded_clips_split_alike(protocol, padding):
    assert_split_is_exact(datasets_of(protocol, "train", sampling="pad", padding=padding, test_clips=1, clip_len=48))


def test_heat_map_networks_draw_from_shared_joints():
    config = PipelineConfig(protocol="heatmap", clip_len=8, image_size=16, test_image_size=16)
    store = clips_of("pyskl_2d")
    alone = [
        ClipDataset(store, range(len(store)), build_pipeline(config, "coco17", stream, "train", "xys"))
        for stream in ("j", "b")
    ]
    shared = PositionsDataset(alone[0], ("j", "b"))
    batches = split_streams(torch.stack([shared[item][0] for item in range(4)]), [own.pipeline for own in alone])
    maps = [own.pipeline.network_input(batch.flatten(0, 1)) for own, batch in zip(alone, batches, strict=True)]
    for own, got in zip(alone, maps, strict=True):
        clips = torch.stack([own[item][0] for item in range(4)])
        assert torch.equal(got, own.pipeline.network_input(clips.flatten(0, 1)))
    assert not torch.equal(maps[0][:, :10], maps[1][:, :10])


def assert_same_runs(first, second, streams):
    """Weights, histories and scores of two folders of runs agree to the last bit."""
    for stream in streams:
        assert_same_weights(weights(first / stream), weights(second / stream))
        assert history(first / stream) == history(second / stream)
        assert (
            load_scores(first / stream / "scores_test.npz").scores
            == load_scores(second / stream / "scores_test.npz").scores
        ).all()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_store):
    """Streams with losses, epochs and schedules of their own, dropout drawing for each."""
    return write_recipe(
        tmp_path_factory.mktemp("recipe"),
        tiny_store,
        trainer={"epochs": 3, "ema": 0.9},
        model={"options": {**tiny_recipe("")["model"]["options"], "dropout": 0.3}},
        streams={"b": {"loss": {"contrastive_weight": 0.3}}, "jm": {"trainer": {"epochs": 2, "gradient_clip": 0.5}}},
    )


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory):
    """The runs of three streams, one after the other."""
    runs = tmp_path_factory.mktemp("alone")
    assert train(recipe, runs, "--streams", "j,b,jm") == 0
    return runs / "tiny" / "protogcn"


def test_trained_at_once_or_one_by_one_streams_end_alike(recipe, alone, tmp_path, capsys, monkeypatch):
    reads = []
    show = PositionsDataset.show
    monkeypatch.setattr(PositionsDataset, "show", lambda *args: (reads.append(args), show(*args))[1])
    assert train(recipe, tmp_path, "--streams", "j,b,jm", "--together") == 0
    # Thirty clips in each of three epochs, and fifteen more to validate on, however many streams there are.
    assert len(reads) == 3 * (30 + 15)
    out = capsys.readouterr().out
    assert "streams j, b, jm: at once, from the same batches" in out
    assert "\nb  epoch 3/3" in out and "\njm epoch 2/2" in out and "fused by" in out
    assert_same_runs(tmp_path / "tiny" / "protogcn", alone, ("j", "b", "jm"))


def test_what_was_cut_off_goes_on_together_or_alone(recipe, alone, tmp_path, capsys):
    with stop_before_epoch(2), pytest.raises(Stopped):
        train(recipe, tmp_path, "--streams", "j,b,jm", "--together")
    runs = tmp_path / "tiny" / "protogcn"
    # The first stream fails at the start of its second epoch, when the others have still to end their first.
    assert checkpoint(runs / "j")["epoch"] == 0 and not (runs / "b" / "checkpoints" / "last.ckpt").exists()
    assert train(recipe, tmp_path, "--stream", "jm") == 0
    with stop_before_epoch(3), pytest.raises(Stopped):
        train(recipe, tmp_path, "--streams", "j,b,jm", "--together")
    assert train(recipe, tmp_path, "--streams", "j,b,jm", "--together", "--data.workers", "1") == 0
    assert_same_runs(runs, alone, ("j", "b", "jm"))
    capsys.readouterr()
    assert train(recipe, tmp_path, "--streams", "j,b,jm", "--together") == 0
    assert "epoch" not in capsys.readouterr().out


def parsed(stream, **sections):
    return parse_recipe(tiny_recipe("store", stream=stream, **sections), "test")


def test_streams_of_other_draws_form_other_groups():
    flipped = {"pipeline": {"flip": 0.5}}
    recipes = [parsed("j"), parsed("b", **flipped), parsed("jm", optimizer={"lr": 0.2}), parsed("k", **flipped)]
    recipes.append(parsed("km", trainer={"batch_size": 3}, seed=4))
    groups = group_streams(recipes)
    assert groups == [[0, 2], [1, 3], [4]]
    assert describe_groups(recipes, groups) == [
        "j, jm: at once, from the same batches",
        "b, k: at once, from the same batches (pipeline.flip 0.5 instead of 0.0)",
        "km: by itself (seed 4 instead of 0; trainer.batch_size 3 instead of 5)",
    ]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--stream", "j", "--together"], "--together is about several streams"),
        (["--together"], "--together is about several streams"),
        (["--streams", "j,b", "--together", "--devices", "2"], "streams train together in one process, got 2"),
    ],
)
def test_what_cannot_train_together_says_so(tiny_yaml, tmp_path, capsys, words, expected):
    assert train(tiny_yaml, tmp_path, *words) == 2
    assert expected in error_of(capsys)


def test_an_error_of_one_stream_ends_all(tiny_store, tmp_path, capsys):
    wrong = write_recipe(tmp_path, tiny_store, streams={"b": {"model": {"options": {"base_channels": 7}}}})
    assert train(wrong, tmp_path, "--streams", "j,b,k", "--together") == 2
    assert "base_channels must be a multiple" in error_of(capsys)
    assert not (tmp_path / "tiny" / "protogcn" / "j" / "metrics.json").exists()
