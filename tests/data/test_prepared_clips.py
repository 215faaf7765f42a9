"""Clips kept after the deterministic part of a pipeline: the same to the last bit, or made again."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_recipe, write_tiny_store
from torch.utils.data import DataLoader

from protogcn.data import prepared_clips
from protogcn.data.class_split import ClassSubset
from protogcn.data.dataset import ClipDataset
from protogcn.data.device_streams import PositionsDataset
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.data.prepared_clips import PreparedClips, open_prepared, prepare_ahead
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.training.loaders import make_dataset
from protogcn.training.recipe import parse_recipe

CONFIGS = {
    "protogcn_3d": PipelineConfig(clip_len=8, test_clips=2, flip=0.5, part_drop=0.5),
    "pyskl_3d": PipelineConfig(protocol="pyskl_3d", clip_len=8, test_clips=2, scale=0.1, noise=0.1),
    "pyskl_2d": PipelineConfig(protocol="pyskl_2d", clip_len=8, test_clips=2, flip=0.5),
    "ctrgcn": PipelineConfig(protocol="ctrgcn", clip_len=8, test_clips=2, p_interval=(0.5, 1.0), centre=True),
    "infogcn": PipelineConfig(protocol="infogcn", clip_len=8, test_clips=1, centre=True),
    "nw_ucla": PipelineConfig(protocol="nw_ucla", clip_len=8, test_clips=1, num_persons=1),
    "heatmap": PipelineConfig(protocol="heatmap", clip_len=8, test_clips=2, projection="front", image_size=16),
}
# Another value of every field, alone or with what it needs.
OTHERS: dict[str, Any] = {
    "clip_len": 5,
    "num_persons": 3,
    "test_clips": 4,
    "sampling": "pad",
    "padding": "loop",
    "p_interval": (0.3, 0.9),
    "test_share": 0.5,
    "compat": "mmaction2",
    "rotation": 1.0,
    "scale": 0.3,
    "shear": 0.3,
    "noise": 0.4,
    "flip": 0.7,
    "flip_mirror": True,
    "part_drop": 0.9,
    "joint_dropout": 0.4,
    "centre": False,
    "align_spine": False,
    "spine": (1, 2),
    "shoulders": (4, 8),
    "kbone": "infogcn:3",
    "mode_in_model": True,
    "turn_degrees": 10,
    "tilt_degrees": 10,
    "significant_digits": 5,
    "image_size": 20,
    "test_image_size": 20,
    "crop_area": (0.9, 1.0),
    "crop_aspect": (0.9, 1.0),
    "sigma": 1.0,
    "use_score": False,
    "double": False,
    "maps": "joint+limb",
    "projection": "side",
    "up": "z",
}


@pytest.fixture(autouse=True)
def _every_store_is_large(monkeypatch):
    monkeypatch.setattr(prepared_clips, "LEAST_BYTES", 0)


@pytest.fixture(params=["float32", "float16"])
def stores(request, tmp_path):
    """Stores of positions in space and in the image, in which some joints and persons are missing."""
    rng = np.random.default_rng(0)
    made = {}
    for channels, skeleton, joints in (("xyz", "ntu25", 25), ("xys", "coco17", 17)):
        clips = []
        for i, frames in enumerate((1, 5, 20, 9, 31, 12)):
            keypoints = rng.standard_normal((1 + i % 2, frames, joints, 3)) + 2
            if channels == "xys":
                keypoints[..., 2] = rng.random(keypoints.shape[:-1])
            keypoints[-1, frames // 2 :, 3:5] = 0
            clips.append(Clip(keypoints.astype(request.param), i % 3, f"clip{i}", (48, 64)))
        made[channels] = write_store(tmp_path / channels, clips, skeleton=skeleton, class_names=3, channels=channels)
    return made


def a_pipeline(stores, protocol, mode="train", config=None, stream="b"):
    store = stores["xys" if protocol.endswith("2d") else "xyz"]
    return store, build_pipeline(config or CONFIGS[protocol], store.skeleton, stream, mode, store.channels)


def items(data):
    return torch.cat([batch[0] for batch in DataLoader(data)])


@pytest.mark.parametrize("protocol", CONFIGS)
def test_nothing_is_different(stores, protocol):
    store, training = a_pipeline(stores, protocol)
    kept = prepare_ahead(store, training)
    assert kept is not None and kept.path.parent == store.path / "prepared"
    assert len(kept) == len(store)
    for row in range(len(store)):
        fresh = training.prepare(store[row]).keypoints
        assert kept[row].dtype == fresh.dtype and not kept[row].flags.writeable
        np.testing.assert_array_equal(kept[row], fresh)
    rows = np.arange(len(store))
    for mode in ("train", "val", "test"):
        # One folder serves all streams and modes.
        _, pipeline = a_pipeline(stores, protocol, mode, stream="j")
        again = open_prepared(ClipStore.open(store.path), pipeline)
        assert again is not None and again.path == kept.path
        with_file, without = (ClipDataset(store, rows, pipeline, 3, prepared=each) for each in (again, None))
        assert torch.equal(items(with_file), items(without))
        assert with_file.cached == 0
        assert torch.equal(items(PositionsDataset(with_file, ["j", "b"])), items(PositionsDataset(without, ["j", "b"])))


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
def test_worker_processes_map_the_file(stores):
    store, pipeline = a_pipeline(stores, "protogcn_3d")
    data = ClipDataset(store, np.arange(len(store)), pipeline, prepared=prepare_ahead(store, pipeline))
    loader = DataLoader(data, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(torch.cat([batch[0] for batch in loader]), items(data))


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
@pytest.mark.parametrize("protocol", CONFIGS)
@pytest.mark.parametrize("field", [field.name for field in fields(PipelineConfig) if field.name != "protocol"])
def test_what_decides_is_named(stores, protocol, field):
    store, pipeline = a_pipeline(stores, protocol)
    try:
        changed = replace(CONFIGS[protocol], **{field: OTHERS[field]})
        _, other = a_pipeline(stores, protocol, config=changed, stream="j" if field == "maps" else "b")
    except ValueError:
        # No such option in this protocol.
        return
    kept, others = prepare_ahead(store, pipeline), prepare_ahead(store, other)
    assert kept is not None
    if field in pipeline.prepared_by:
        assert others is None or others.path != kept.path
        return
    assert others is not None and others.path == kept.path
    for row in range(len(store)):
        np.testing.assert_array_equal(other.prepare(store[row]).keypoints, kept[row])


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
@pytest.mark.parametrize("damage", ["cut", "longer", "numbers", "sizes", "no sizes", "text", "type"])
def test_a_damaged_folder_is_made_again(stores, damage):
    store, pipeline = a_pipeline(stores, "protogcn_3d")
    path = prepare_ahead(store, pipeline).path
    keypoints, shapes = path / "keypoints.npy", path / "shapes.npy"
    content = keypoints.read_bytes()
    if damage == "cut":
        keypoints.write_bytes(content[:-4])
    elif damage == "longer":
        keypoints.write_bytes(content + b"more")
    elif damage == "numbers":
        # What another version of the library might have kept.
        changed = np.load(keypoints)
        np.save(keypoints, changed + np.float32(1e-3))
    elif damage == "sizes":
        np.save(shapes, np.load(shapes)[::-1].copy())
    elif damage == "no sizes":
        shapes.unlink()
    elif damage == "text":
        shapes.write_text("nothing that numpy wrote")
    else:
        np.save(keypoints, np.load(keypoints).astype(np.float16))
    assert open_prepared(store, pipeline) is None
    kept = prepare_ahead(store, pipeline)
    assert kept is not None and kept.path == path
    assert keypoints.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
def test_where_nothing_is_written(stores, monkeypatch):
    store, pipeline = a_pipeline(stores, "protogcn_3d")
    assert prepare_ahead(ClassSubset(store, ["class 0", "class 1"]), pipeline) is None
    # Clips that a pipeline leaves alone are in the store already.
    config = PipelineConfig(protocol="protogcn_2d", clip_len=8)
    flat = stores["xys"]
    assert prepare_ahead(flat, build_pipeline(config, "coco20", "j", "train", "xys")) is None
    images = PipelineConfig(protocol="heatmap", clip_len=8)
    assert prepare_ahead(flat, build_pipeline(images, "coco17", "j", "train", "xys")) is None
    with monkeypatch.context() as patch:
        patch.setattr(prepared_clips, "LEAST_BYTES", 1 << 20)
        assert prepare_ahead(store, pipeline) is None
    with monkeypatch.context() as patch:
        patch.setattr(prepared_clips.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
        assert prepare_ahead(store, pipeline) is None
    assert not (store.path / "prepared").exists()
    (store.path / "prepared").write_text("in the way")
    assert prepare_ahead(store, pipeline) is None


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
def test_an_interruption_leaves_nothing(stores, monkeypatch):
    store, pipeline = a_pipeline(stores, "protogcn_3d")
    original, calls = pipeline.prepare, []

    def prepare(clip):
        calls.append(clip)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(clip)

    monkeypatch.setattr(pipeline, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        prepare_ahead(store, pipeline)
    assert list((store.path / "prepared").iterdir()) == []


@pytest.mark.parametrize("stores", ["float32"], indirect=True)
def test_a_store_that_was_written_anew_has_a_folder_of_its_own(stores):
    store, pipeline = a_pipeline(stores, "protogcn_3d")
    kept = prepare_ahead(store, pipeline)
    clips = [Clip(clip.keypoints + 1, clip.label, clip.id) for clip in store]
    other = write_store(store.path, clips, skeleton="ntu25", class_names=3, overwrite=True)
    assert open_prepared(other, pipeline) is None
    assert prepare_ahead(other, pipeline).path != kept.path


def test_a_training_keeps_what_it_prepares_and_a_test_only_reads(tmp_path):
    store = write_tiny_store(tmp_path / "store")
    recipe = parse_recipe(tiny_recipe(tmp_path / "store"), "here")
    assert make_dataset(recipe, store, "test").prepared is None
    assert isinstance(make_dataset(recipe, store, "train").prepared, PreparedClips)
    assert isinstance(make_dataset(recipe, store, "val").prepared, PreparedClips)
    assert isinstance(make_dataset(recipe, store, "test").prepared, PreparedClips)
