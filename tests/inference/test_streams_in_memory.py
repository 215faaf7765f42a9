"""Networks of several streams that were never saved, run together and on clips that are given as arrays."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import NETWORK

from graphs.streams import STREAMS
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.evaluation.metrics import average_clips
from protogcn.evaluation.presets import preset_of
from protogcn.inference import FusedStreams
from protogcn.models import SkeletonClassifier, create_model


def network(name: str, seed: int, layout: str, classes: int = 4, **options: Any) -> SkeletonClassifier:
    torch.manual_seed(seed)
    return create_model(name, skeleton=layout, num_classes=classes, **options).eval()


PROTOCOLS = {
    "protogcn_3d": ("protogcn", "ntu25", NETWORK),
    "ctrgcn": ("ctrgcn", "ntu25", {"base_channels": 8, "num_blocks": 2, "widen_at": [2], "downsample_at": [2]}),
    "infogcn": (
        "infogcn",
        "ntu25_infogcn",
        {"base_channels": 16, "num_blocks": 2, "widen_at": [2], "downsample_at": [2]},
    ),
    "protogcn_2d": ("protogcn", "coco17", NETWORK),
}


def clips_of(layout_joints: int, flat: bool) -> list[np.ndarray]:
    """Two persons, one beside an empty slot, one alone, nobody; longer and shorter than a network input."""
    rng = np.random.default_rng(2)
    made = []
    for persons, frames in ((2, 30), (2, 9), (1, 17), (1, 6)):
        clip = rng.normal(size=(persons, frames, layout_joints, 3)).cumsum(1)
        if flat:
            clip[..., :2] = 20 * clip[..., :2] + 200
            clip[..., 2] = rng.uniform(0.2, 1, clip.shape[:-1])
        made.append(clip.astype(np.float32))
    made[1][1], made[3][:] = 0, 0
    return made


@pytest.mark.parametrize("test_clips", [1, 3])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_networks_in_memory_equal_one_pipeline_each(protocol: str, test_clips: int) -> None:
    name, layout, options = PROTOCOLS[protocol]
    config = PipelineConfig(protocol=protocol, clip_len=12, test_clips=test_clips, rotation=0.0)
    flat = protocol.endswith("_2d")
    models = {
        stream: network(name, seed, "coco20" if flat else layout, **options) for seed, stream in enumerate(STREAMS)
    }
    # The published rule of these fuses logits.
    average = "logits" if preset_of(name).rule == "logits" else "probabilities"
    channels = "xys" if flat else "xyz"
    fast = FusedStreams(models, config, channels=channels, average=average)
    clips = clips_of(17 if flat else 25, flat)
    shaped: list[Any] = [dataclasses.replace(_Shown(clip)) for clip in clips] if flat else clips
    found = fast.classify(shaped, batch_size=3)
    single = {}
    for stream, model in models.items():
        pipeline = build_pipeline(config, model.skeleton, stream, "test", channels)
        inputs = torch.from_numpy(np.stack([pipeline(clip) for clip in shaped]))
        with torch.no_grad():
            logits = model(inputs.flatten(0, 1)).unflatten(0, (len(clips), test_clips)).numpy()
        single[stream] = logits[:, 0] if test_clips == 1 else average_clips(logits, average)
        np.testing.assert_allclose(found.single[stream].numpy(), single[stream], rtol=0, atol=1e-5)
    preset = preset_of(name)
    weights = np.array(preset.weights(STREAMS)) / sum(preset.weights(STREAMS))
    soft = preset.rule == "probabilities" and fast.kind == "logits"
    terms = [torch.from_numpy(each).softmax(-1).numpy() if soft else each for each in single.values()]
    expected = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    np.testing.assert_allclose(found.fused.numpy(), expected, rtol=0, atol=1e-5)


@dataclasses.dataclass
class _Shown:
    """A clip with the size of its video."""

    keypoints: np.ndarray
    id: str = "shown"
    image_shape: tuple[int, int] = (480, 640)


def test_reduced_precision_and_own_weights() -> None:
    config = PipelineConfig(clip_len=12, test_clips=2)
    models = {stream: network("protogcn", seed, "ntu25", **NETWORK) for seed, stream in enumerate(("j", "bm"))}
    clips = clips_of(25, flat=False)
    exact = FusedStreams(models, config, weights=(3, 1)).classify(clips)
    torch.testing.assert_close(exact.fused, 0.75 * exact.single["j"] + 0.25 * exact.single["bm"])
    rough = FusedStreams(models, config, weights=(3, 1), dtype=torch.bfloat16).classify(clips)
    assert rough.fused.dtype == torch.float32
    assert 0 < (rough.fused - exact.fused).abs().max() < 0.02
    assert exact.top(9)[0][0][0].startswith("class ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": {}}, "there are no networks"),
        ({"models": {"x": None}}, "unknown stream"),
        ({"models": {"j": torch.nn.Linear(2, 2)}}, "must be one of this library, got Linear"),
        ({"weights": (1, 2, 3)}, "got 3 weights for 2 streams"),
        ({"weights": (0, 0)}, "not all zero"),
        ({"rule": "logits"}, "rule 'logits' needs logits"),
        ({"rule": "median"}, "unknown fusion rule"),
        ({"average": "median"}, "unknown average of test clips"),
        ({"channels": "xy"}, "xy"),
        ({"class_names": ["one"]}, "must name the 4 classes"),
    ],
)
def test_networks_in_memory_that_do_not_fit(change: dict[str, Any], said: str) -> None:
    models = {stream: network("protogcn", 0, "ntu25", **NETWORK) for stream in ("j", "b")}
    given: dict[str, Any] = {"models": models, "pipeline": PipelineConfig(clip_len=12, test_clips=2), **change}
    with pytest.raises(ValueError, match=said):
        FusedStreams(given.pop("models"), given.pop("pipeline"), **given)


@pytest.mark.parametrize(
    ("layout", "classes", "said"), [("kinect15", 4, "differ in their joints"), ("ntu25", 5, "differ in their classes")]
)
def test_networks_of_other_layouts_or_classes(layout: str, classes: int, said: str) -> None:
    models = {"j": network("protogcn", 0, "ntu25", **NETWORK), "b": network("protogcn", 0, layout, classes, **NETWORK)}
    with pytest.raises(ValueError, match=said):
        FusedStreams(models, PipelineConfig())


def test_clips_that_do_not_fit() -> None:
    networks = FusedStreams({"j": network("protogcn", 0, "ntu25", **NETWORK)}, PipelineConfig(clip_len=12))
    with pytest.raises(ValueError, match="there are no clips"):
        networks.classify([])
    with pytest.raises(ValueError, match="expected"):
        networks.classify([np.zeros((1, 5, 17, 3), np.float32)])
