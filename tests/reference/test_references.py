"""The plain networks and pipeline equal the released ones, and ours equal them."""

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from models.gcn_goldens import Golden, assert_matches
from torch import Tensor, nn

from graphs import streams
from protogcn.data.pipeline import PipelineConfig, build_pipeline
from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official

from . import FRAMES, plain_network
from .infogcn_plain import PlainInfoGCN
from .pipeline_plain import training_clip
from .protogcn_plain import PlainProtoGCN

CASES = {
    "protogcn": "protogcn__ntu25_60c_T64_M2",
    "ctrgcn": "ctrgcn_official__ntu25_60c_T64_M2",
    "infogcn": "infogcn__ntu25_60c_k1_T64_M2",
    "stgcnpp": "stgcnpp__ntu25_60c_T64_M2",
}
TERMS = {
    "cross_entropy": "cross_entropy",
    "class_specific_contrastive": "contrastive",
    "label_smoothing_cross_entropy": "cross_entropy",
    "mmd_class_conditional": "class_mean_distance",
    "l2_norm_of_mean_latent": "latent_mean_norm",
    "total": "loss",
}
SIZES: dict[str, dict[str, Any]] = {
    "protogcn": {"base_channels": 16, "num_prototypes": 8},
    "ctrgcn": {"base_channels": 16},
    "infogcn": {"base_channels": 16},
    "stgcnpp": {"base_channels": 14},
}
CLASSES = 5


def golden_normal(name: str, shape: tuple[int, ...]) -> Tensor:
    """What the goldens prescribe for numbers outside the state: standard normal, seeded by a name."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32)).double()


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def released(golden: Golden, plain: nn.Module) -> nn.Module:
    """The plain network with the weights of a case, in float64."""
    plain = plain.double()
    plain.load_state_dict(golden.state_dict(), strict=True)
    if isinstance(plain, PlainProtoGCN):
        memory = plain.cls_head.csc_loss.memory
        memory.copy_(golden.class_memory(tuple(memory.shape)))
        plain.backbone.prn.dropout.p = 0.0
    if isinstance(plain, PlainInfoGCN):
        plain.prior.copy_(3 * golden_normal("z_prior", tuple(plain.prior.shape)) / 16)
    return plain


def check_released(golden: Golden, plain: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of inference; loss terms, logits and running statistics of a training step."""
    noise = golden_normal("latent_noise", (golden.case["input_shape"][0], 256))
    monkeypatch.setattr(torch, "randn_like", lambda mean: noise.to(mean))
    expected = golden.case["training"]["bn_batch"]
    clips, target = golden.clips(), torch.tensor(golden.case["training"]["labels"])
    with torch.no_grad():
        assert_matches(plain.eval()(clips), golden.case["outputs"]["logits"])
        terms, logits = cast(Any, plain.train()).losses(clips, target)
    assert_matches(logits, expected["logits"])
    for name, value in expected["loss_terms"].items():
        np.testing.assert_allclose(terms[TERMS[name]].item(), value, rtol=1e-9, err_msg=name)
    statistics = expected["running_statistics_after_one_forward"]
    assert statistics
    for name, values in statistics.items():
        assert_matches(plain.state_dict()[name], values)


def test_plain_networks_equal_the_released(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden.load(CASES[name])
    check_released(golden, released(golden, plain_network(name)), monkeypatch)


def test_plain_protogcn_of_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden.load("protogcn__coconew20_99c_T48_M2")
    options = golden.case["hyperparameters"]
    plain = PlainProtoGCN(
        options["num_classes"],
        options["joints"],
        num_prototypes=options["num_prototypes"],
        contrastive_weight=options["contrastive_weight"],
    )
    check_released(golden, released(golden, plain), monkeypatch)


@pytest.fixture
def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """A small plain network whose every number counts, and ours with its weights, both in float64."""
    torch.manual_seed(0)
    depth: dict[str, Any] = {"num_blocks": 3, **SIZES[name]}
    plain = plain_network(name, CLASSES, wider=(2, 3), **depth).double()
    for key, entry in plain.state_dict().items():
        if key.endswith("running_var"):
            entry.uniform_(0.5, 1.5)
        elif entry.is_floating_point():
            entry.add_(0.1 * torch.randn_like(entry))
    ours = create_model(name, num_classes=CLASSES, widen_at=(2, 3), downsample_at=(2, 3), **depth).double()
    load_official(ours, plain.state_dict())
    if isinstance(plain, PlainProtoGCN):
        plain.cls_head.csc_loss.memory.copy_(cast(Any, ours).class_memory.memory)
        for dropout in (plain.backbone.prn.dropout, cast(Any, ours).reconstruction.dropout):
            dropout.p = 0.0
    if isinstance(plain, PlainInfoGCN):
        plain.prior.copy_(cast(Any, ours).prior)
    return plain, ours


@pytest.mark.parametrize(("samples", "persons", "frames"), [(3, 2, 16), (2, 2, 9), (4, 1, 11)])
@pytest.mark.parametrize("training", [False, True])
def test_our_networks_equal_the_plain(
    name: str, pair: tuple[nn.Module, nn.Module], samples: int, persons: int, frames: int, training: bool
) -> None:
    """Logits, loss terms, every gradient and every running statistic; a lone person is also one beside zeros."""
    plain, ours = (model.train(training) for model in pair)
    clips = torch.randn(samples, persons, frames, 25, 3, dtype=torch.float64)
    padded = clips
    if persons == 1 and name in ("ctrgcn", "infogcn"):
        padded = torch.cat([clips, torch.zeros_like(clips)], 1)
    target = torch.arange(samples) % CLASSES
    torch.manual_seed(1)
    expected, expected_logits = cast(Any, plain).losses(padded, target)
    torch.manual_seed(1)
    logits, aux = cast(Any, ours).forward_train(clips)
    terms = create_criterion(name).double()(logits, aux, target)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-9, atol=1e-9)
    for key in terms:
        torch.testing.assert_close(terms[key], expected[key], rtol=1e-9, atol=1e-9, msg=key)
    if not training:
        torch.testing.assert_close(ours(clips), plain(padded), rtol=1e-9, atol=1e-9)
        return
    expected["loss"].backward()
    terms["loss"].backward()
    assert_same_entries(ours, {key: each.grad for key, each in ours.named_parameters()}, gradients_of(plain))
    assert_same_entries(ours, ours.state_dict(), plain.state_dict())
    if isinstance(plain, PlainProtoGCN):
        torch.testing.assert_close(cast(Any, ours).class_memory.memory, plain.cls_head.csc_loss.memory)


def gradients_of(plain: nn.Module) -> dict[str, Tensor | None]:
    return {key: each.grad for key, each in plain.named_parameters()}


def assert_same_entries(ours: nn.Module, own: Any, official: Any) -> None:
    """Entries of ours against those of the plain network that they hold, joined."""
    compared = 0
    for key, names in cast(Any, ours).official_entries().items():
        parts = [official[each] for each in names if official.get(each) is not None]
        if own.get(key) is None or len(parts) < len(names):
            continue
        expected = torch.cat(parts) if parts[0].ndim else parts[0]
        torch.testing.assert_close(own[key], expected, rtol=1e-9, atol=1e-9, msg=key)
        compared += 1
    assert compared > 40


def test_networks_of_the_catalogue_are_named() -> None:
    assert set(FRAMES) == set(CASES)


FOLDER = Path(__file__).parents[1] / "goldens" / "data"
PIPELINES: dict[str, Any] = json.loads((FOLDER / "pipelines.json").read_text())


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return dict(np.load(FOLDER / "pipelines.npz"))


@pytest.mark.parametrize("case", [case for case in PIPELINES if case.startswith("ntu_train/")])
def test_the_plain_pipeline_equals_the_released(case: str, arrays: dict[str, Any]) -> None:
    _, clip, stream, _ = case.split("/")
    drawn = PIPELINES[case]
    rng = np.random.RandomState(drawn["np_seed"])
    changes = {"flip": bool(drawn["flipped"]), "part": drawn["dropped_part"]}
    out = training_clip(arrays[f"ntu/{clip}/input"], stream, rng, clip_len=drawn["clip_len"], **changes)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, arrays[case], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stream", streams.STREAMS)
@pytest.mark.parametrize(("persons", "frames"), [(1, 12), (2, 30), (2, 75)])
def test_our_pipeline_equals_the_plain(stream: str, persons: int, frames: int) -> None:
    """Runs that start again, ordered choices and segments; the second person is there more often than the first."""
    rng = np.random.default_rng(frames)
    clip = rng.standard_normal((persons, frames, 25, 3)).astype(np.float16)
    clip[0, 3:5] = 0
    clip[-1, 7] = 0
    clip[:, :, 20] = 0
    pipeline: Any = build_pipeline(PipelineConfig(clip_len=20), "ntu25", stream, "train")
    prepared = pipeline.prepare(clip)
    for seed, part in enumerate((-1, 0, 3)):
        legacy = np.random.RandomState(seed)
        angles = legacy.uniform(-0.2, 0.2, 3)
        draw = replace(
            pipeline.draw_frames(prepared.keypoints.shape[1], cast(Any, legacy)),
            angles=angles,
            flip=seed == 1,
            part=part,
        )
        expected = training_clip(
            clip,
            stream,
            np.random.RandomState(seed),
            clip_len=20,
            flip=seed == 1,
            part=None if part < 0 else part,
        )
        np.testing.assert_allclose(pipeline.apply(prepared, draw), expected, rtol=1e-6, atol=1e-7)
