"""Reads the reference numbers of the official networks and fills models with the weights they prescribe."""

import copy
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protogcn.models import SkeletonClassifier


class Golden:
    """One reference case: official names and shapes, rules for weights and input, expected numbers."""

    def __init__(self, path: Path) -> None:
        self.case: dict[str, Any] = json.loads(path.read_text())

    @classmethod
    def load(cls, name: str) -> "Golden":
        """A case of tests/goldens/gcn by name."""
        return cls(Path(__file__).parent.parent / "goldens" / "gcn" / f"{name}.json")

    def state_dict(self) -> dict[str, Tensor]:
        """The official state dict that the weight rule prescribes, float64 holding float32 numbers.

        Entries that the reference computes from the skeleton are left out.
        """
        return {
            name: torch.from_numpy(fill(name, tuple(shape), rule)).double()
            for name, shape, _, rule in self.case["state"]
            if rule != "topology_kept"
        }

    def clips(self) -> Tensor:
        """Input (N, M, T, V, C) in float64."""
        rng = np.random.default_rng(self.case["input_seed"])
        clips = rng.standard_normal(self.case["input_shape"]).astype(np.float32)
        np.testing.assert_allclose(clips.flat[:5], self.case["input_check"]["first5_before_zeroing"], rtol=1e-6)
        if self.case["axis_order"].startswith("N (sample), C"):
            clips = clips.transpose(0, 4, 2, 3, 1).copy()
        clips[-1, 1] = 0
        return torch.from_numpy(clips).double()

    def class_memory(self, shape: tuple[int, ...]) -> Tensor:
        """The class memory that the contrastive loss starts from."""
        rng = np.random.default_rng(zlib.crc32(b"cls_head.csc_loss.avg_f"))
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).double()


def fill(name: str, shape: tuple[int, ...], rule: str) -> NDArray[np.float32]:
    """The numbers that a weight rule prescribes for an official entry."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    match rule:
        case "counter":
            return np.zeros(shape, np.float32)
        case "running_mean":
            value = 0.1 * rng.standard_normal(shape)
        case "running_var":
            value = rng.uniform(0.5, 1.5, shape)
        case "norm_weight":
            value = 1 + 0.1 * rng.standard_normal(shape)
        case "vector":
            value = 0.05 * rng.standard_normal(shape)
        case "topology_random":
            value = 0.04 + 0.02 * rng.standard_normal(shape)
        case "matrix":
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        case _:
            raise AssertionError(f"no rule {rule}")
    return np.asarray(value).astype(np.float32)


def assert_matches(actual: Tensor, expected: dict[str, Any], relative: float = 1e-9, *, rounding: float = 5e-9) -> None:
    """Compare a tensor with the listed values and moments, relative to the tensor's scale."""
    assert list(actual.shape) == expected["shape"]
    scale = max(expected["abs_mean"], 1e-300)
    flat = actual.detach().flatten()
    indices = expected.get("indices", range(flat.numel()))
    picked = flat[torch.as_tensor(list(indices))].numpy()
    # Listed values usually carry nine significant digits, moments eleven.
    listed = np.asarray(expected["values"])
    np.testing.assert_allclose(picked, listed, rtol=max(relative, rounding), atol=scale * max(relative, 1e-9))
    for word, value in (("mean", flat.mean()), ("abs_mean", flat.abs().mean()), ("std", flat.std(correction=0))):
        np.testing.assert_allclose(float(value), expected[word], rtol=0, atol=scale * max(relative, 1e-9), err_msg=word)


Step = Callable[[nn.Module], tuple[dict[str, Tensor], Tensor]]


def check_training(golden: Golden, built: SkeletonClassifier, mode: str, step: Step, names: dict[str, str]) -> None:
    """Compare losses, logits, gradients, running statistics and one optimiser step with the reference.

    Args:
        golden: the case.
        built: the network with the prescribed weights; left as it is.
        mode: ``"bn_batch"`` or ``"bn_frozen"``.
        step: gives the terms of the criterion and the logits of a training step of a network.
        names: reference's name of a loss term -> own name.
    """
    expected: dict[str, Any] = golden.case["training"][mode]
    model = copy.deepcopy(built).train()
    if mode == "bn_frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                module.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    terms, logits = step(model)
    assert set(names) == set(expected["loss_terms"])
    for reference, own in names.items():
        np.testing.assert_allclose(terms[own].item(), expected["loss_terms"][reference], rtol=1e-9, err_msg=own)
    assert_matches(logits, expected["logits"])
    terms["loss"].backward()
    _check_gradients(golden, model, expected)
    for name, statistics in expected.get("running_statistics_after_one_forward", {}).items():
        assert_matches(_official_piece(golden, model, name, model.state_dict()), statistics)
    if "after_one_sgd_step" in expected:
        optimizer.step()
        with torch.no_grad():
            terms, logits = step(model)
        after = expected["after_one_sgd_step"]
        for reference, own in names.items():
            np.testing.assert_allclose(terms[own].item(), after["loss_terms"][reference], rtol=1e-8, err_msg=own)
        assert_matches(logits, after["logits"], relative=1e-8)


def _check_gradients(golden: Golden, model: SkeletonClassifier, expected: dict[str, Any]) -> None:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    total = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
    np.testing.assert_allclose(total.item(), expected["gradient_l2_norm_over_all_parameters"], rtol=1e-8)
    for name, reference in expected["gradients"].items():
        piece = _official_piece(golden, model, name, gradients)
        norm = reference["l2_norm"]
        np.testing.assert_allclose(piece.norm().item(), norm, rtol=1e-8, atol=1e-12, err_msg=name)
        # A gradient that is zero by analysis lists no entries.
        first = reference.get("first4", np.zeros(4))
        np.testing.assert_allclose(
            piece.flatten()[:4].numpy(), first, rtol=2e-7, atol=max(1e-8 * norm, 1e-12), err_msg=name
        )


def _official_piece(golden: Golden, model: SkeletonClassifier, name: str, values: Mapping[str, Tensor]) -> Tensor:
    """The part of own values that belongs to an official entry."""
    sizes = {entry: shape[0] if shape else 1 for entry, shape, *_ in golden.case["state"]}
    own, names = next((own, names) for own, names in model.official_entries().items() if name in names)
    return values[own].split([sizes[each] for each in names])[names.index(name)] if len(names) > 1 else values[own]
