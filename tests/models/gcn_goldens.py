"""Reads the reference numbers of the official networks and fills models with the weights they prescribe."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Golden:
    """One reference case: official names and shapes, rules for weights and input, expected numbers."""

    def __init__(self, path: Path) -> None:
        self.case: dict[str, Any] = json.loads(path.read_text())

    def state_dict(self) -> dict[str, Tensor]:
        """The official state dict that the weight rule prescribes, float64 holding float32 numbers."""
        return {
            name: torch.from_numpy(_fill(name, tuple(shape), rule)).double()
            for name, shape, _, rule in self.case["state"]
        }

    def clips(self) -> Tensor:
        """Input (N, M, T, V, C) in float64."""
        rng = np.random.default_rng(self.case["input_seed"])
        clips = rng.standard_normal(self.case["input_shape"]).astype(np.float32)
        np.testing.assert_allclose(clips.flat[:5], self.case["input_check"]["first5_before_zeroing"], rtol=1e-6)
        clips[-1, 1] = 0
        return torch.from_numpy(clips).double()

    def class_memory(self, shape: tuple[int, ...]) -> Tensor:
        """The class memory that the contrastive loss starts from."""
        rng = np.random.default_rng(zlib.crc32(b"cls_head.csc_loss.avg_f"))
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).double()


def _fill(name: str, shape: tuple[int, ...], rule: str) -> NDArray[np.float32]:
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


def assert_matches(actual: Tensor, expected: dict[str, Any], relative: float = 1e-9) -> None:
    """Compare a tensor with the listed values and moments, relative to the tensor's scale."""
    assert list(actual.shape) == expected["shape"]
    scale = max(expected["abs_mean"], 1e-300)
    flat = actual.detach().flatten()
    indices = expected.get("indices", range(flat.numel()))
    picked = flat[torch.as_tensor(list(indices))].numpy()
    # Listed values carry nine significant digits, moments eleven.
    listed = np.asarray(expected["values"])
    np.testing.assert_allclose(picked, listed, rtol=max(relative, 5e-9), atol=scale * max(relative, 1e-9))
    for word, value in (("mean", flat.mean()), ("abs_mean", flat.abs().mean()), ("std", flat.std(correction=0))):
        np.testing.assert_allclose(float(value), expected[word], rtol=0, atol=scale * max(relative, 1e-9), err_msg=word)
