"""Rows about networks: forward and training step of the whole catalogue, six streams, peak memory, a head of texts."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from graphs import streams
from graphs.layouts import get_skeleton
from protogcn.bench import plain
from protogcn.bench.alone import peak_in_child, seconds_in_child
from protogcn.bench.hardware import counted_work
from protogcn.bench.rows import Call, Row, Settings
from protogcn.bench.subjects import Case, step_of_ours, step_of_plain
from protogcn.data.pipeline import PipelineConfig
from protogcn.inference import FusedStreams, optimize
from protogcn.models import list_models, model_info

_MEMORY: dict[str, tuple[str, ...]] = {
    "forward": ("plain", "ours", "optimised", "bf16"),
    "train": ("plain", "ours", "kept", "bf16"),
}
_COUNTED = {"forward": ("plain", "ours", "optimised"), "train": ("plain", "ours")}
_HEAD_CLASSES, _HEAD_FEATURES, _HEAD_SAMPLES = 400, 512, 64


def models() -> list[str]:
    """The catalogue, with the networks that have plain readings first."""
    return [*plain.NETWORKS, *(name for name in list_models() if name not in plain.NETWORKS)]


def forward_rows(settings: Settings) -> Iterator[Row]:
    """Inference of one batch."""
    for case in _cases(settings):
        yield case_row(f"forward/{_label(case)}", case, settings, inference_ways(case), compare=True)


def train_rows(settings: Settings) -> Iterator[Row]:
    """A training step: gradients to none, forward, criterion, backward, SGD with momentum and decay."""
    for case in _cases(settings):
        yield case_row(f"train/{_label(case)}", case, settings, training_ways(case))


def memory_rows(settings: Settings) -> Iterator[Row]:
    """The most memory that one batch takes beyond the process with its network, each in a process of its own."""
    for case in _cases(settings):
        if case.mix or (settings.quick and case.model != models()[0]):
            continue
        for task, ways in _MEMORY.items():
            ways = ways[:2] if settings.quick else ways
            alternatives: dict[str, Callable[[], Call]]
            alternatives = {way: partial(_constant, partial(peak_in_child, case, task, way)) for way in ways}
            name = f"memory/{task}/{_label(case)}"
            yield case_row(name, case, settings, alternatives, quantity="megabytes", own_clock=True)


def process_rows(settings: Settings) -> Iterator[Row]:
    """A training step in a process of its own, as it is run by `protogcn train`, which keeps what tensors free."""
    for model in plain.NETWORKS[:1] if settings.quick else plain.NETWORKS:
        case = Case.of(model, settings)
        alternatives: dict[str, Callable[[], Call]]
        alternatives = {
            way: partial(_constant, partial(seconds_in_child, case, way)) for way in ("plain", "ours", "memory kept")
        }
        yield case_row(f"process/{model}", case, settings, alternatives, own_clock=True)


def operation_rows(settings: Settings) -> Iterator[Row]:
    """Operations of one batch: at equal speed of the arithmetic, their ratio is the most that less work can gain."""
    for case in _cases(settings):
        if case.mix or (settings.quick and case.model != models()[0]):
            continue
        ways = {"forward": inference_ways(case), "train": training_ways(case)}
        for task, names in _COUNTED.items():
            alternatives: dict[str, Callable[[], Call]]
            alternatives = {way: partial(_counted, ways[task][way]) for way in names}
            name = f"operations/{task}/{_label(case)}"
            yield case_row(name, case, settings, alternatives, quantity="operations", own_clock=True)


def six_stream_rows(settings: Settings) -> Iterator[Row]:
    """Six networks on the six streams of one decoded batch, scores added; the reference is one plain pass."""
    for model in plain.NETWORKS:
        case = Case.of(model, settings, mix=True)
        alternatives: dict[str, Callable[[], Call]] = {
            "one plain pass": partial(_inference, case, case.plain),
            "plain": partial(_six_plain, case),
            "ours": partial(_six, case),
            "stacked": partial(_stacked, case),
            "together": partial(_together, case),
            "together-bf16": partial(_together, case, bf16=True),
        }
        yield case_row(f"six/{model}", case, settings, alternatives, of_plain=("one plain pass", "plain"))


def text_rows(settings: Settings) -> Iterator[Row]:
    """The head that compares features with class names: with the texts kept, and with the texts read every time."""
    classes, samples = (5, 2) if settings.quick else (_HEAD_CLASSES, _HEAD_SAMPLES)
    yield Row(
        "text/head",
        f"N={samples}, {classes} classes, 16 templates, {_HEAD_FEATURES} features",
        {
            "texts read": partial(_text_head, settings, classes, samples, kept=False),
            "texts kept": partial(_text_head, settings, classes, samples, kept=True),
        },
        items=samples,
        unit="clips",
        compare=True,
    )


def inference_ways(case: Case) -> dict[str, Callable[[], Call]]:
    """Alternatives of a forward."""
    return {
        "plain": partial(_inference, case, case.plain),
        "ours": partial(_inference, case, case.ours),
        "optimised": partial(_inference, case, partial(optimised, case)),
        "compiled": partial(_inference, case, partial(optimised, case, compiled=True)),
        "bf16": partial(_inference, case, partial(optimised, case, bf16=True)),
        "bf16-compiled": partial(_inference, case, partial(optimised, case, compiled=True, bf16=True)),
    }


def training_ways(case: Case) -> dict[str, Callable[[], Call]]:
    """Alternatives of a training step."""
    return {
        "plain": partial(step_of_plain, case),
        "ours": partial(step_of_ours, case),
        "kept": partial(step_of_ours, case, recompute=False),
        "compiled": partial(step_of_ours, case, compiled=True),
        "bf16": partial(step_of_ours, case, bf16=True),
        "bf16-compiled": partial(step_of_ours, case, compiled=True, bf16=True),
    }


def optimised(case: Case, *, compiled: bool = False, bf16: bool = False) -> nn.Module:
    """Ours made fast for inference."""
    # A deviation is for the report, not for stopping the row: noise in unsettled weights can exceed what is allowed.
    return optimize(
        case.ours().eval(),
        dtype=torch.bfloat16 if bf16 else None,
        compile=compiled,
        tolerance=1.0,
        probe=case.clips(),
    )


def _constant(call: Call) -> Call:
    return call


def _counted(build: Callable[[], Call]) -> Call:
    operations = counted_work(build())["operations"]
    return lambda: operations


def _inference(case: Case, build: Callable[[], nn.Module]) -> Call:
    network, clips = build().eval(), case.clips()

    def infer() -> Tensor:
        with torch.inference_mode():
            return network(clips)

    return infer


def _six(case: Case) -> Call:
    networks, clips, skeleton = [case.ours().eval() for _ in streams.STREAMS], case.clips(), get_skeleton("ntu25")

    def infer() -> Tensor:
        with torch.inference_mode():
            total = torch.zeros((), device=clips.device)
            for stream, network in zip(streams.STREAMS, networks, strict=True):
                total = total + network(streams.compute(clips, stream, skeleton))
            return total

    return infer


def _stacked(case: Case) -> Call:
    networks, clips, skeleton = [case.ours().eval() for _ in streams.STREAMS], case.clips(), get_skeleton("ntu25")
    states = torch.func.stack_module_state(networks)

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], own: Tensor) -> Tensor:
        return torch.func.functional_call(networks[0], (parameters, buffers), (own,))

    def infer() -> Tensor:
        with torch.no_grad():
            own = torch.stack([streams.compute(clips, stream, skeleton) for stream in streams.STREAMS])
            return torch.vmap(one)(*states, own).sum(0)

    return infer


def _together(case: Case, *, bf16: bool = False) -> Call:
    config = PipelineConfig(clip_len=case.shape[2], test_clips=1)
    networks = {stream: case.ours().eval() for stream in streams.STREAMS}
    fused = FusedStreams(networks, config, dtype=torch.bfloat16 if bf16 else None)
    clips = case.clips()
    # A decoded clip holds every frame and the one behind it, from which motions follow.
    positions = torch.stack([clips, clips.roll(-1, 2)], 3)[:, None]

    def infer() -> Tensor:
        with torch.inference_mode():
            return fused(positions).fused

    return infer


def _six_plain(case: Case) -> Call:
    networks, clips = [case.plain().eval() for _ in streams.STREAMS], case.clips()
    feature = plain.part("pipeline_plain").skeleton_feature

    def infer() -> Tensor:
        # As in the release, every stream is decoded by itself, on the processor.
        decoded = clips.cpu().numpy()
        with torch.inference_mode():
            total = torch.zeros((), device=clips.device)
            for stream, network in zip(streams.STREAMS, networks, strict=True):
                own = torch.stack([torch.from_numpy(feature(clip, stream)) for clip in decoded])
                total = total + network(own.to(clips))
            return total

    return infer


def _text_head(settings: Settings, classes: int, samples: int, *, kept: bool) -> Call:
    import warnings

    from protogcn.models.clip_head import text_head

    names = [f"action {number} of {classes}" for number in range(classes)]
    width = 32 if settings.quick else 128
    torch.manual_seed(settings.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tower = f"random:width={width},layers=2,heads=2"
        head = text_head(_HEAD_FEATURES, classes, class_names=names, text_encoder=tower, projection=True)
    head = head.to(settings.device).eval()
    features = torch.randn(samples, _HEAD_FEATURES).to(settings.device)

    def classify() -> Tensor:
        with torch.inference_mode():
            if not kept:
                head.set_classes(names)
            return head(features)

    return classify


def _cases(settings: Settings) -> Iterator[Case]:
    for model in models():
        yield Case.of(model, settings)
        if model_info(model).takes == "clips" and model in plain.NETWORKS:
            yield Case.of(model, settings, mix=True)


def _label(case: Case) -> str:
    return f"{case.model}/mix" if case.mix else case.model


def case_row(
    name: str,
    case: Case,
    settings: Settings,
    alternatives: dict[str, Callable[[], Call]],
    of_plain: tuple[str, ...] = ("plain",),
    **options: Any,
) -> Row:
    """A row without the alternatives that cannot be here."""
    left_out: dict[str, str] = {}
    if reason := case.without_plain():
        left_out |= {each: reason for each in of_plain}
    if settings.quick:
        left_out |= {each: "--quick compiles nothing" for each in alternatives if each.endswith("compiled")}
    elif not (settings.device == "cuda" or shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")):
        left_out |= {each: "there is no C++ compiler" for each in alternatives if each.endswith("compiled")}
    kept = {each: build for each, build in alternatives.items() if each not in left_out}
    return Row(name, case.what, kept, items=case.shape[0], unit="clips", left_out=left_out, **options)
