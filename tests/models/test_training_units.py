"""Units that train in less time or memory than torch's own: what they give, and their gradients, are the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import small_model
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from protogcn.models import create_criterion, list_models, model_info, recomputed_activations
from protogcn.models.layers.graph import refined_topology
from protogcn.models.layers.in_place import relu_of_sum, relu_over
from protogcn.models.layers.mean_joint import enter_branches, leave_branches
from protogcn.models.layers.norm import BatchNorm2d
from protogcn.models.layers.pointwise import PointwiseConv

NETWORKS = [name for name in list_models() if model_info(name).takes == "clips" and not model_info(name).reads_names()]


def features(*shape: int, dtype: torch.dtype = torch.float32, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) + shift).to(dtype)


def outcome(call: Callable[..., Tensor], x: Tensor, *parameters: Tensor) -> list[Tensor | None]:
    """Output, and the gradients of a weighted sum of it by the input and by the parameters."""
    x = x.detach().requires_grad_()
    out = call(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    gradients = torch.autograd.grad((out * weights).sum(), [x, *parameters], allow_unused=True)
    return [out.detach(), *gradients]


def assert_alike(got: list[Tensor | None], expected: list[Tensor | None], tolerance: float) -> None:
    for one, other in zip(got, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.dtype == other.dtype
            scale = other.float().abs().max().item()
            assert (one.float() - other.float()).abs().max().item() <= tolerance * max(scale, 1e-3)


@pytest.mark.parametrize("shift", [0.0, 3.0, -5.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("last", [False, True], ids=["rows", "channels last"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_batch_norm_is_that_of_torch(shift: float, dtype: torch.dtype, last: bool, recompute: bool) -> None:
    ours, theirs = BatchNorm2d(6).to(dtype), nn.BatchNorm2d(6).to(dtype)
    for norm in (ours, theirs):
        norm.weight.data = torch.linspace(-1, 2, 6, dtype=dtype)
        norm.bias.data = torch.linspace(1, -1, 6, dtype=dtype)
    x = features(3, 6, 7, 5, dtype=dtype, shift=shift)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    expected = outcome(theirs, x, *theirs.parameters())
    with recomputed_activations(recompute):
        got = outcome(ours, x, *ours.parameters())
    exact = {torch.float32: 3e-6 * max(1, abs(shift)), torch.float64: 1e-12 * max(1, abs(shift)), torch.bfloat16: 3e-2}
    # Far from zero what is left of bfloat16 is noise in both.
    if dtype != torch.bfloat16 or shift == 0:
        assert_alike(got, expected, exact[dtype])
    assert_alike(list(ours.buffers()), list(theirs.buffers()), 1e-2 if dtype == torch.bfloat16 else 1e-5)
    assert ours.num_batches_tracked == 1


def test_batch_norm_keeps_its_digits_far_from_zero() -> None:
    spread, shift = torch.tensor([1.0, 1e-2, 1.0]), torch.tensor([0.0, 50.0, 4e3])
    x = features(4, 3, 8, 5) * spread[:, None, None] + shift[:, None, None]
    norm = BatchNorm2d(3, momentum=1.0)
    norm(x)
    expected = x.double().transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(norm.running_var.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("change", ["eval", "momentum", "affine", "track"])
def test_batch_norm_of_other_kinds_is_torchs_own(change: str) -> None:
    options: dict[str, Any] = {"momentum": {"momentum": None}, "affine": {"affine": False}}.get(change, {})
    options |= {"track_running_stats": False} if change == "track" else {}
    ours, theirs = BatchNorm2d(4, **options), nn.BatchNorm2d(4, **options)
    x = features(2, 4, 3, 5, shift=1.0)
    if change == "eval":
        ours.eval(), theirs.eval()
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(one, other) for one, other in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_batch_norm_refuses_what_torch_refuses() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm2d(4)(features(1, 4, 1, 1))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 6, 7])
@pytest.mark.parametrize("reduced", [False, True], ids=["full", "autocast"])
def test_pointwise_convolution_is_that_of_torch(stride: int, frames: int, reduced: bool) -> None:
    conv = PointwiseConv(5, 8, stride)
    theirs = nn.Conv2d(5, 8, 1, stride=(stride, 1))
    theirs.load_state_dict(conv.state_dict())
    x = features(3, 5, frames, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        got, expected = outcome(conv, x, *conv.parameters()), outcome(theirs, x, *theirs.parameters())
    assert_alike(got, expected, 2e-2 if reduced else 1e-5)


def test_pointwise_convolution_computes_no_gradient_that_nobody_asked_for() -> None:
    conv = PointwiseConv(5, 8)
    conv.weight.requires_grad_(False)
    out = conv(features(2, 5, 3, 4))
    out.sum().backward()
    assert conv.weight.grad is None
    assert torch.equal(conv.bias.grad, torch.full((8,), 24.0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [4, 5])
def test_mean_joint(stride: int, frames: int) -> None:
    weight, bias = features(7, 5, 1, 1, dtype=torch.float64), features(7, dtype=torch.float64)
    coefficients = features(4, dtype=torch.float64)
    for parameter in (weight, bias, coefficients):
        parameter.requires_grad_()

    def ours(x: Tensor) -> Tensor:
        gated, last = enter_branches(x, weight, bias, 3, stride, training=True)
        return leave_branches(torch.cat([gated[:, :, ::stride], last], 1), coefficients, training=True)

    def plain(x: Tensor) -> Tensor:
        x = nn.functional.conv2d(torch.cat([x, x.mean(-1, keepdim=True)], -1), weight, bias)[:, :, ::stride]
        return x[..., :4] + x[..., 4:] * coefficients

    x = features(2, 5, frames, 4, dtype=torch.float64)
    parameters = weight, bias, coefficients
    assert_alike(outcome(ours, x, *parameters), outcome(plain, x, *parameters), 1e-12)
    assert torch.autograd.gradcheck(ours, x.requires_grad_(), fast_mode=True)


def test_refined_topology() -> None:
    shapes = (2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 5, 5), ()
    given = [torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *parts: refined_topology(*parts, training=True), given)
    assert torch.equal(refined_topology(*given, training=True), refined_topology(*given, training=False))


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputed_activations_change_no_gradient(name: str) -> None:
    found = []
    for recompute in (False, True):
        model = small_model(name).double().train()
        criterion = create_criterion(name).double()
        torch.manual_seed(0)
        with recomputed_activations(recompute):
            logits, aux = model.forward_train(features(2, 2, 9, 25, 3, dtype=torch.float64))
        loss = criterion(logits, aux, torch.tensor([1, 3]))["loss"]
        loss.backward()
        gradients = {key: each.grad for key, each in model.named_parameters()}
        found.append((loss.detach(), gradients, dict(model.named_buffers())))
    (kept, recomputed) = found
    assert torch.equal(kept[0], recomputed[0])
    largest = max(each.abs().max() for each in kept[1].values() if each is not None)
    for key, expected in kept[1].items():
        torch.testing.assert_close(recomputed[1][key], expected, rtol=1e-9, atol=1e-12 * float(largest), msg=key)
    for key, expected in kept[2].items():
        torch.testing.assert_close(recomputed[2][key], expected, rtol=1e-12, atol=0, msg=key)


def memories(model: nn.Module, recompute: bool) -> tuple[dict[str, StorageWeakRef], Tensor]:
    """Where every batch norm's output lay in a training pass, and the sum of the logits."""
    found: dict[str, StorageWeakRef] = {}
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.register_forward_hook(
                lambda _, __, out, name=name: found.update({name: StorageWeakRef(out.untyped_storage())})
            )
    with recomputed_activations(recompute):
        logits, _ = model.forward_train(features(2, 2, 9, 25, 3))
    return found, logits.sum()


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_recomputed_activations_are_not_kept(recompute: bool) -> None:
    found, total = memories(small_model("protogcn").train(), recompute)
    inside = [ref for name, ref in found.items() if name.endswith(("pre_norm", "entry_norm", "mix_norm"))]
    assert len(inside) == 9 and total.requires_grad
    assert all(ref.expired() == recompute for ref in inside)


def test_what_is_no_longer_needed_is_freed_as_the_gradient_goes_back() -> None:
    torch.manual_seed(0)
    first, second, third = PointwiseConv(3, 4), PointwiseConv(4, 4), PointwiseConv(4, 2)
    norms = BatchNorm2d(4), BatchNorm2d(4)
    alive: list[bool] = []
    with recomputed_activations():
        x = relu_over(norms[0](first(features(2, 3, 5, 4))), True)
        between = second(x)
        memory = StorageWeakRef(between.untyped_storage())
        out = third(relu_over(norms[1](between), True)).sum()
    del x, between
    first.weight.register_hook(lambda _: alive.append(not memory.expired()))
    assert not memory.expired()
    out.backward()
    assert alive == [False]


def test_a_second_backward_pass_gives_the_same() -> None:
    torch.manual_seed(0)
    conv, norm, after = PointwiseConv(3, 4), BatchNorm2d(4), PointwiseConv(4, 2)
    with recomputed_activations():
        out = after(relu_over(norm(conv(features(2, 3, 5, 4))), True)).square().sum()
    once = torch.autograd.grad(out, list(conv.parameters()), retain_graph=True)
    again = torch.autograd.grad(out, list(conv.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_residual_may_be_recomputed_too(keep: bool, dtype: torch.dtype) -> None:
    def run(recompute: bool) -> list[Tensor]:
        torch.manual_seed(0)
        convs = PointwiseConv(3, 4), PointwiseConv(3, 4), PointwiseConv(4, 2)
        norms = BatchNorm2d(4), BatchNorm2d(4)
        x = features(2, 3, 5, 4)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16), recomputed_activations(recompute):
            summed = relu_of_sum(norms[0](convs[0](x)), norms[1](convs[1](x)), True, keep=keep)
            out = convs[2](summed).float().square().sum()
        return list(torch.autograd.grad(out, [each.weight for each in convs]))

    assert_alike(list(run(True)), list(run(False)), 1e-2 if dtype == torch.bfloat16 else 1e-6)


@pytest.mark.parametrize("between", [Tensor.relu_, Tensor.relu, lambda x: x.mul_(2), lambda x: x[:, :2].relu_()])
def test_what_others_write_over_a_batch_norm_is_not_taken_for_it(between: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    norm = BatchNorm2d(4)
    x = features(2, 4, 3, 5)
    conv = PointwiseConv(between(norm(x)).shape[1], 2)
    found = []
    for recompute in (False, True):
        with recomputed_activations(recompute):
            out = conv(between(norm(x))).square().sum()
        found.append(torch.autograd.grad(out, [conv.weight, norm.weight]))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_is_read_before_it_is_written_over_keeps_its_value() -> None:
    torch.manual_seed(0)
    norm, before, after = BatchNorm2d(4), PointwiseConv(4, 2), PointwiseConv(4, 2)
    x = features(2, 4, 3, 5)
    found = []
    for recompute in (False, True):
        with recomputed_activations(recompute):
            normed = norm(x)
            # Without notes torch would refuse the gradient of what was written over.
            read = before(normed if recompute else normed.clone())
            out = read.square().sum() + after(relu_over(normed, True)).square().sum()
        found.append(torch.autograd.grad(out, [before.weight, after.weight, norm.weight]))
    assert_alike(list(found[1]), list(found[0]), 1e-6)


def test_within_no_gradients_nothing_is_noted() -> None:
    norm = BatchNorm2d(4)
    with recomputed_activations(), torch.no_grad():
        out = relu_over(norm(features(2, 4, 3, 5)), True)
    assert not out.requires_grad


def test_a_pass_inside_a_pass_keeps_its_own_notes() -> None:
    conv, norm = PointwiseConv(4, 2), BatchNorm2d(4)
    x = features(2, 4, 3, 5).requires_grad_()
    with recomputed_activations():
        outer = relu_over(norm(x), True)
        with recomputed_activations():
            inner = conv(relu_over(norm(x), True)).sum()
        out = conv(outer).sum() + inner
    (got,) = torch.autograd.grad(out, x)
    plain = conv(relu_over(norm(x), True)).sum() * 2
    torch.testing.assert_close(got, torch.autograd.grad(plain, x)[0])
