"""Optimised networks equal the ones that they were made from."""

import copy
from typing import Any

import pytest
import torch
from models.small_models import random_batch, small_model
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from protogcn.inference import optimize, stages
from protogcn.models import SkeletonClassifier, list_models

every_model = pytest.mark.parametrize("name", list_models())


def trained(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> SkeletonClassifier:
    """A small network as training leaves it: nothing in its norms is as in a fresh one, and no gate is closed."""
    model = small_model(name, **changes)
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, _NormBase | nn.LayerNorm):
            # Weights of both signs: what is pooled must not be scaled by them beforehand.
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.weight.data *= torch.where(torch.rand(module.weight.shape, generator=generator) < 0.3, -1.0, 1.0)
            module.bias.data.normal_(0, 0.5, generator=generator)
        if isinstance(module, _NormBase):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    for key, parameter in model.named_parameters():
        if key.endswith(("alpha", "beta", "coefficients")):
            parameter.data.normal_(0, 0.5, generator=generator)
    return model.to(dtype).eval()


def crowd(model: SkeletonClassifier, persons: int, frames: int = 9) -> Tensor:
    """Clips in which both, one or the other, or none of the persons are absent."""
    clips = random_batch(model, 5, persons=persons, frames=frames, dtype=torch.float64)
    if clips.shape[1] == persons == 2:
        clips[1, 1], clips[2, 0], clips[3] = 0, 0, 0
    return clips


def assert_near(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-11)


@every_model
@pytest.mark.parametrize(("persons", "frames"), [(2, 9), (1, 5), (2, 1)])
def test_logits_are_those_of_the_original(name: str, persons: int, frames: int) -> None:
    model = trained(name, num_persons=2)
    fast = optimize(model)
    clips = crowd(model, persons, frames)
    kept = clips.clone()
    expected = model(clips)
    # The second call finds what absent persons give.
    for _ in range(2):
        assert_near(fast(clips), expected)
    for clip, logits in zip(clips, expected, strict=True):
        assert_near(fast(clip[None]), logits[None])
    assert torch.equal(clips, kept)
    assert fast.report.units
    assert fast.report.deviation < 1e-12
    assert not fast.report.notes


@every_model
def test_an_original_in_training_keeps_its_state_and_mode(name: str) -> None:
    model = trained(name).train()
    modes = [module.training for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    before = copy.deepcopy(model.state_dict())
    fast = optimize(model)
    clips = crowd(model, 2)
    found = fast(clips)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert_near(found, model.eval()(clips))
    # What happens to the original later does not reach the copy, which has no training mode.
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(fast.train()(clips), found)
    assert not any(value.requires_grad for value in fast.parameters())
    assert not any(module.training for module in fast.modules())


@every_model
def test_another_layout_and_one_person_slot(name: str) -> None:
    model = trained(name, skeleton="coco17", num_persons=1)
    clips = crowd(model, 1, frames=6)
    assert_near(optimize(model)(clips), model(clips))


@every_model
def test_pooled_features(name: str) -> None:
    model = trained(name)
    clips = crowd(model, 2)
    expected = model.forward_head(model.forward_features(clips), pre_logits=True)
    assert_near(optimize(model)(clips, pre_logits=True), expected)


@every_model
def test_reduced_precision(name: str) -> None:
    model = trained(name, torch.float32)
    clips = crowd(model, 2).float()
    expected = model(clips)
    fast = optimize(model, dtype=torch.bfloat16, tolerance=0.1)
    assert fast.report.dtype == torch.bfloat16
    logits = fast(clips)
    assert logits.dtype == torch.float32
    assert 0 < (logits - expected).abs().max() < 0.1 * expected.abs().max()
    # Autocast, as a training in mixed precision is tested.
    exact = optimize(model)
    with torch.autocast("cpu", torch.bfloat16):
        rough = exact(clips).float()
    assert 0 < (rough - expected).abs().max() < 0.1 * expected.abs().max()
    torch.testing.assert_close(exact(clips), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


class Doubled(type(small_model("stgcnpp"))):  # type: ignore[misc]
    """A network of somebody's own: other features than those of the network that it comes from."""

    def forward_features(self, clips: Tensor) -> Tensor:
        return 2 * super().forward_features(clips)


class Prying(nn.Module):
    """A network that reaches into a unit of the library."""

    def __init__(self) -> None:
        super().__init__()
        self.model = trained("stgcnpp")

    def forward(self, clips: Tensor) -> Tensor:
        first: Any = self.model.get_submodule("blocks.0")
        out: Tensor = first.graph.norm.weight.sum() + self.model(clips)
        return out


class Images(nn.Module):
    """A network of parts that the library does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8), nn.Dropout())

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.body(x).mean((2, 3))
        return pooled


def test_networks_of_ones_own() -> None:
    model = trained("stgcnpp")
    model.__class__ = Doubled
    clips = crowd(model, 2)
    fast = optimize(model)
    assert_near(fast(clips), model(clips))
    assert not fast.report.absent_persons and fast.report.units == {"GraphBlock": 3, "InputNorm": 1}

    prying = Prying()
    fast = optimize(prying, probe=clips[:2])
    assert_near(fast(clips), prying(clips))
    assert "AttributeError" in fast.report.notes[0] and not fast.report.units

    images = Images().double()
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    for _ in range(3):
        images(pictures)
    fast = optimize(images, probe=pictures)
    assert_near(fast(pictures), images.eval()(pictures))
    assert fast.report.units == {"Sequential": 1}
    with pytest.raises(ValueError, match="what Images takes is not known: give probe="):
        optimize(images)


def test_only_the_persons_that_are_there_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("protogcn", num_blocks=1, widen_at=(), downsample_at=())
    fast = optimize(model)
    block = fast.get_submodule("stage.model.blocks.0")
    rows: list[int] = []
    block.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    clips = crowd(model, 2, frames=7)
    fast(clips)
    # One absent person stands for all of them, and is remembered.
    assert rows == [1, 6]
    fast(clips)
    fast(torch.zeros_like(clips))
    fast(clips[:1])
    assert rows == [1, 6, 6, 2]
    assert optimize(model, absent_persons=False).report.absent_persons is False
    everybody = optimize(model, absent_persons=False)
    assert_near(everybody(clips), fast(clips))


@pytest.mark.parametrize("name", ["protogcn", "stgcnpp", "infogcn"])
def test_large_batches_go_through_a_few_persons_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(name, num_persons=2) if name == "infogcn" else small_model(name)
    model.eval()
    fast = optimize(model)
    # Three persons of 9 frames.
    monkeypatch.setattr(stages, "_MOST_BYTES", 3 * 9 * model.skeleton.num_joints * 4)
    rows: list[int] = []
    run = stages.Persons.body
    monkeypatch.setattr(stages.Persons, "body", lambda stage, x: rows.append(len(x)) or run(stage, x))
    fast.stage.run = fast.stage.body
    clips = random_batch(model, 5, persons=2)
    clips[1, 1] = 0
    with torch.no_grad():
        torch.testing.assert_close(fast(clips), model(clips), rtol=1e-4, atol=1e-5)
    assert sorted(rows, reverse=True)[:3] == [3, 3, 3] and sum(rows) >= 9
    rows.clear()
    monkeypatch.setattr(stages, "_MOST_BYTES", 1)
    with torch.no_grad():
        torch.testing.assert_close(fast(clips[:2]), model(clips[:2]), rtol=1e-4, atol=1e-5)
    assert rows == [1, 1, 1]


def test_the_report_says_what_was_done() -> None:
    report = optimize(trained("ctrgcn", torch.float32)).report
    text = str(report)
    assert report.units == {"GraphBlock": 3, "PersonInputNorm": 1}
    for word in ("CTRGCN", "float32", "3 GraphBlock", "left out", "compiled:        no", "at most 1e-05"):
        assert word in text
    assert 0 < report.deviation < 1e-5 and f"{report.deviation:.1e}" in text


def test_too_large_a_deviation_is_refused() -> None:
    model = trained("stgcn", torch.float32)
    with pytest.raises(ValueError, match=r"deviates by .* of the largest logit, and at most 1.0e-12 is allowed"):
        optimize(model, tolerance=1e-12)
    with pytest.raises(ValueError, match=r"dtype must be one of float64, float32, bfloat16, got torch.int8"):
        optimize(model, dtype=torch.int8)
    model.classifier.weight.data[0, 0] = float("nan")
    assert optimize(model).report.deviation < 1e-5


def test_inputs_are_refused_as_by_the_original() -> None:
    fast = optimize(trained("infogcn", torch.float32))
    with pytest.raises(ValueError, match="25 joints of ntu25"):
        fast(torch.zeros(1, 2, 4, 24, 3))
    with pytest.raises(ValueError, match="built for 2 persons at most and got 3"):
        fast(torch.zeros(1, 3, 4, 25, 3))


def test_another_precision_of_the_copy() -> None:
    model = trained("protogcn", torch.float32)
    clips = crowd(model, 2)
    fast = optimize(model, dtype=torch.float64)
    assert_near(fast(clips), copy.deepcopy(model).double()(clips))
    assert optimize(model.double(), dtype=torch.float32).report.tolerance == 1e-5


def test_a_head_of_class_names() -> None:
    options: dict[str, Any] = {
        "head": "clip",
        "class_names": ["sit", "run"],
        "text_encoder": "random:width=32,layers=1,heads=2",
    }
    model = trained("ctrgcn", num_classes=2, train_text=True, **options)
    clips = crowd(model, 2)
    expected = model(clips)
    assert_near(optimize(model)(clips), expected)


@pytest.mark.parametrize("name", ["protogcn", "infogcn", "posec3d_x3d_shallow"])
def test_compiled_for_any_number_of_persons(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend=backend))
    torch.compiler.reset()
    model = trained(name)
    clips = crowd(model, 2)
    fast = optimize(model, compile=True, probe=clips)
    assert fast.report.compiled and "compiled:        yes" in str(fast.report)
    for part in (clips, clips[:3], clips[:1], clips[1:2], clips[3:]):
        assert_near(fast(part), model(part))
    assert len(graphs) == 1


def test_without_a_compiler_the_network_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any, **options: Any) -> Any:
        def run(x: Tensor) -> Tensor:
            raise RuntimeError("No working C++ compiler found\nand more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    model = trained("stgcn")
    clips = crowd(model, 2)
    fast = optimize(model, compile=True)
    assert not fast.report.compiled
    assert "note: it runs without torch.compile" in str(fast.report)
    assert "(RuntimeError: No working C++ compiler found)" in str(fast.report)
    assert_near(fast(clips), model(clips))


@pytest.mark.parametrize("name", ["ctrgcn", "infogcn", "protogcn", "stgcnpp"])
def test_export(name: str) -> None:
    model = trained(name)
    fast = optimize(model, absent_persons=False)
    dynamic = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    exported = torch.export.export(fast, (crowd(model, 2),), dynamic_shapes={"inputs": dynamic})
    clips = crowd(model, 2, frames=16)[:3]
    assert_near(exported.module()(clips), model(clips))
