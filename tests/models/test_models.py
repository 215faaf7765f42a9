"""What every model of the catalogue must do, whatever its paper."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import CLASSES, has_person_slots, random_batch, small_model, takes_maps, text_options
from torch import Tensor

from graphs.layouts import get_skeleton, list_skeletons
from protogcn.models import SkeletonClassifier, create_criterion, create_model, list_models, model_info
from protogcn.models.volume import VolumeClassifier

pytestmark = pytest.mark.parametrize("name", list_models())


def train_step(name: str, model: SkeletonClassifier, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
    logits, aux = model.forward_train(clips)
    terms = create_criterion(name)(logits.float(), aux, target)
    terms["loss"].backward()
    return terms


@pytest.mark.parametrize("persons", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 3, 9, 16])
def test_any_number_of_persons_and_frames(name: str, persons: int, frames: int) -> None:
    if takes_maps(name) and persons > 1:
        pytest.skip("the persons of a clip share its maps")
    model = small_model(name, num_persons=3)
    clips = random_batch(model, 2, persons=persons, frames=frames)
    for mode in (True, False):
        logits, _ = model.train(mode).forward_train(clips)
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()


@pytest.mark.parametrize("skeleton", list_skeletons())
def test_every_layout(name: str, skeleton: str) -> None:
    model = small_model(name, skeleton=skeleton)
    assert model.skeleton == get_skeleton(skeleton)
    clips = random_batch(model, 2, frames=5)
    terms = train_step(name, model, clips, torch.tensor([0, 1]))
    assert terms["loss"].isfinite()


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_any_number_of_channels(name: str, channels: int) -> None:
    model = small_model(name, in_channels=channels).eval()
    assert model.in_channels == channels
    assert model(random_batch(model, 1, persons=2, frames=5)).shape == (1, CLASSES)


def test_a_skeleton_of_ones_own_from_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "stick.yaml"
    path.write_text("name: stick\njoints: [foot, hip, head]\nedges: [[hip, head], [foot, hip]]\n")
    model = small_model(name, skeleton=path).eval()
    assert model.skeleton.num_joints == 3
    assert model(random_batch(model, 2, frames=4)).shape == (2, CLASSES)


def test_forward_is_head_of_features(name: str) -> None:
    model = small_model(name).double().eval()
    clips = random_batch(model, 2, persons=2, dtype=torch.float64)
    features = model.forward_features(clips)
    if takes_maps(name):
        samples, channels, frames, height, width = features.shape
        assert (samples, channels) == (2, model.num_features)
        assert height == width < clips.shape[-1]
    else:
        samples, persons, channels, frames, joints = features.shape
        assert (samples, persons, channels, joints) == (2, 2, model.num_features, model.skeleton.num_joints)
    assert frames <= 9
    pooled = model.forward_head(features, pre_logits=True)
    if type(model).forward_head is SkeletonClassifier.forward_head:
        torch.testing.assert_close(pooled, features.mean((1, 3, 4)))
    elif type(model).forward_head is VolumeClassifier.forward_head:
        torch.testing.assert_close(pooled, features.mean((2, 3, 4)))
    logits = model.forward_head(features)
    torch.testing.assert_close(logits, model.classifier(pooled))
    torch.testing.assert_close(model(clips), logits)
    torch.testing.assert_close(model.forward_train(clips)[0], logits)


def test_gradients_reach_every_parameter(name: str) -> None:
    model = small_model(name)
    terms = train_step(name, model, random_batch(model, 4, persons=2), torch.tensor([0, 1, 2, 3]))
    assert terms["loss"].isfinite()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.isfinite().all(), part
        assert parameter.ndim < 2 or parameter.grad.any(), part


def test_a_few_steps_learn_a_batch_by_heart(name: str) -> None:
    model = small_model(name, num_persons=1)
    clips, target = random_batch(model, 8, frames=8), torch.arange(8) % CLASSES
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    if model_info(name).reads_names():
        # A temperature that is learned at the rate of the weights lets similarities vanish.
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(train_step(name, model, clips, target)["cross_entropy"].item())
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_a_seed_decides_the_weights(name: str) -> None:
    first, second, other = small_model(name, 3), small_model(name, 3), small_model(name, 4)
    states = [model.state_dict() for model in (first, second, other)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


def test_inference_is_deterministic_and_leaves_the_model_alone(name: str) -> None:
    model = small_model(name).eval()
    before = copy.deepcopy(model.state_dict())
    clips = random_batch(model, 2, persons=2)
    kept = clips.clone()
    assert torch.equal(model(clips), model(clips))
    assert torch.equal(clips, kept)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_clip_scores_the_same_alone_and_in_a_batch(name: str) -> None:
    model = small_model(name).double().eval()
    clips = random_batch(model, 3, persons=2, dtype=torch.float64)
    alone = torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(model(clips), alone, rtol=1e-10, atol=1e-12)


def test_the_order_of_persons_does_not_matter(name: str) -> None:
    if has_person_slots(name):
        pytest.skip("every person slot is normalised by itself")
    if takes_maps(name):
        pytest.skip("the persons of a clip share its maps")
    model = small_model(name).double()
    clips = random_batch(model, 2, persons=3, dtype=torch.float64)
    for mode in (False, True):
        model.train(mode)
        torch.testing.assert_close(model(clips[:, [2, 0, 1]]), model(clips), rtol=1e-9, atol=1e-11)


def test_every_joint_and_frame_matters(name: str) -> None:
    model = small_model(name).double().eval()
    clips = random_batch(model, 1, frames=6, dtype=torch.float64).requires_grad_()
    model(clips)[0, 0].backward()
    assert clips.grad is not None
    # Of heat maps every map and frame, but not every pixel.
    inner = (-1, -2) if takes_maps(name) else -1
    assert (clips.grad.abs().sum(inner) > 0).all()


def from_state_dict(model: SkeletonClassifier) -> SkeletonClassifier:
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    copied = copy.deepcopy(model)
    for value in copied.state_dict().values():
        value.zero_()
    copied.load_state_dict(torch.load(stream, weights_only=True))
    return copied


COPIES: dict[str, Callable[[SkeletonClassifier], SkeletonClassifier]] = {
    "state dict": from_state_dict,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def test_copies_give_the_same_scores(name: str) -> None:
    model = small_model(name)
    clips = random_batch(model, 2, frames=5)
    train_step(name, model, clips, torch.tensor([0, 1]))
    expected = model.eval()(clips)
    for way, make in COPIES.items():
        copied = make(model)
        assert torch.equal(copied.eval()(clips), expected), way
        state = copied.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items()), way


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_reset_classifier(name: str, classes: int) -> None:
    model = small_model(name).double()
    if model_info(name).reads_names():
        with pytest.raises(ValueError, match=r"compares clips with the names of its classes.*model.set_classes"):
            model.reset_classifier(classes)
        return
    backbone = {
        key: value.clone() for key, value in model.state_dict().items() if not key.startswith(("class", "prior"))
    }
    model.reset_classifier(classes)
    assert model.num_classes == classes
    assert all(torch.equal(model.state_dict()[key], value) for key, value in backbone.items())
    assert all(value.dtype == torch.float64 for value in model.state_dict().values() if value.is_floating_point())
    clips = random_batch(model, 3, frames=5, dtype=torch.float64)
    logits, aux = model.forward_train(clips)
    assert logits.shape == (3, classes)
    loss = create_criterion(name)(logits, aux, torch.tensor([0, classes - 1, 0]))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert model.classifier.weight.grad is not None


@pytest.mark.parametrize("classes", [0, -1, 2.0, True, "3"])
def test_reset_classifier_refuses_what_is_no_count(name: str, classes: Any) -> None:
    with pytest.raises(ValueError, match="num_classes must be a positive integer, got"):
        small_model(name).reset_classifier(classes)


REFUSED: dict[str, tuple[Any, str]] = {
    "wrong joints": (torch.zeros(1, 1, 4, 24, 3), r"25 joints of ntu25.*got \(1, 1, 4, 24, 3\)"),
    "wrong channels": (torch.zeros(1, 1, 4, 25, 2), r"3 channels.*got \(1, 1, 4, 25, 2\)"),
    "one clip": (torch.zeros(1, 4, 25, 3), r"by clip\[None\]"),
    "other axis order": (torch.zeros(2, 3, 8, 25, 1), r"clips.permute\(0, 4, 2, 3, 1\)"),
    "several test clips": (torch.zeros(2, 10, 1, 4, 25, 3), r"got \(2, 10, 1, 4, 25, 3\)"),
    "no frames": (torch.zeros(1, 1, 0, 25, 3), r"got \(1, 1, 0, 25, 3\)"),
    "no samples": (torch.zeros(0, 1, 4, 25, 3), r"got \(0, 1, 4, 25, 3\)"),
    "integers": (torch.zeros(1, 1, 4, 25, 3, dtype=torch.int64), r"torch.int64: convert by clips.to\(torch.float32\)"),
    "doubles": (torch.zeros(1, 1, 4, 25, 3).double(), r"torch.float64: convert by clips.to\(torch.float32\)"),
    "numpy": (torch.zeros(1, 1, 4, 25, 3).numpy(), "got ndarray; torch.as_tensor"),
}
REFUSED_MAPS: dict[str, tuple[Any, str]] = {
    "wrong maps": (torch.zeros(1, 16, 4, 8, 8), r"17 maps.*got \(1, 16, 4, 8, 8\)"),
    "one volume": (torch.zeros(17, 4, 8, 8), r"by volume\[None\]"),
    "other axis order": (torch.zeros(2, 4, 17, 8, 8), r"volumes.transpose\(1, 2\)"),
    "key points": (torch.zeros(2, 1, 4, 17, 3), r"protogcn.data.heatmaps.render"),
    "several test clips": (torch.zeros(2, 10, 17, 4, 8, 8), r"got \(2, 10, 17, 4, 8, 8\)"),
    "no frames": (torch.zeros(1, 17, 0, 8, 8), r"got \(1, 17, 0, 8, 8\)"),
    "no samples": (torch.zeros(0, 17, 4, 8, 8), r"got \(0, 17, 4, 8, 8\)"),
    "integers": (torch.zeros(1, 17, 4, 8, 8, dtype=torch.uint8), r"torch.uint8: convert by clips.to\(torch.float32\)"),
    "doubles": (torch.zeros(1, 17, 4, 8, 8).double(), r"torch.float64: convert by clips.to\(torch.float32\)"),
    "numpy": (torch.zeros(1, 17, 4, 8, 8).numpy(), "got ndarray; torch.as_tensor"),
}


@pytest.mark.parametrize("case", list(dict.fromkeys([*REFUSED, *REFUSED_MAPS])))
def test_input_is_refused_with_what_was_expected(name: str, case: str) -> None:
    cases = REFUSED_MAPS if takes_maps(name) else REFUSED
    if case not in cases:
        pytest.skip("of the other kind of input")
    clips, message = cases[case]
    model = small_model(name)
    for way in (model, model.forward_train):
        with pytest.raises(ValueError, match=message):
            way(clips)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision(name: str, dtype: torch.dtype) -> None:
    model = small_model(name)
    clips, target = random_batch(model, 4), torch.tensor([0, 1, 2, 3])
    exact = copy.deepcopy(model).eval()(clips)
    with torch.autocast("cpu", dtype):
        terms = train_step(name, copy.deepcopy(model), clips, target)
        rough = model.eval()(clips)
        assert model(clips.to(dtype)).shape == exact.shape
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].isfinite()
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.05 * exact.abs().max().item())


def test_export(name: str) -> None:
    model = small_model(name).eval()
    fixed = has_person_slots(name) or takes_maps(name)
    free = (0, 2, 3, 4) if takes_maps(name) else (0, 2) if fixed else (0, 1, 2)
    dynamic = {dim: torch.export.Dim.AUTO for dim in free}
    exported = torch.export.export(model, (random_batch(model, 2, persons=2),), dynamic_shapes=(dynamic,))
    for samples, persons, frames in ((2, 2, 9), (5, 2 if fixed else 3, 16)):
        clips = random_batch(model, samples, persons=persons, frames=frames)
        torch.testing.assert_close(exported.module()(clips), model(clips))


def test_compile_in_one_graph(name: str) -> None:
    # What was compiled before, of other networks with the same units, counts against a limit otherwise.
    torch.compiler.reset()
    model = small_model(name)
    clips = random_batch(model, 2, frames=5)
    compiled = torch.compile(copy.deepcopy(model).eval(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), copy.deepcopy(model).eval()(clips))
    training = copy.deepcopy(model)
    # What training draws by chance comes from the global generator.
    torch.manual_seed(0)
    logits, _ = torch.compile(training.forward_train, backend="aot_eager", fullgraph=True)(clips)
    torch.manual_seed(0)
    torch.testing.assert_close(logits, model.forward_train(clips)[0])
    logits.sum().backward()
    assert any(parameter.grad is not None for parameter in training.classifier.parameters())


def test_published_size_builds_with_defaults(name: str) -> None:
    model = create_model(name, num_classes=60, **text_options(name, 60))
    assert sum(parameter.numel() for parameter in model.parameters()) > 100_000
