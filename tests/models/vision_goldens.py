"""Reads the reference numbers of the video and text networks: weights and inputs by rule, expected tensors by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gcn_goldens import assert_matches, fill
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "goldens" / "vision"


class VisionGolden:
    """One reference case.

    Attributes:
        case: the content of the file, for what only one system has (labels, tokens, losses).
    """

    def __init__(self, path: Path) -> None:
        self.case: dict[str, Any] = json.loads(path.read_text())

    @classmethod
    def load(cls, case: str) -> "VisionGolden":
        """A case of tests/goldens/vision by name, ``<system>__<case>``."""
        return cls(FOLDER / f"{case}.json")

    @staticmethod
    def names(system: str) -> list[str]:
        """The cases of a system, for :meth:`load`."""
        found = sorted(path.stem for path in FOLDER.glob(f"{system}__*.json"))
        assert found, f"no reference numbers of {system}"
        return found

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What the official network was built with."""
        return self.case["hyperparameters"]

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Name -> shape, moments and listed values of an expected tensor."""
        return self.case["outputs"]

    def state(self) -> dict[str, Tensor]:
        """The official state dict that the weight rule prescribes, in float64, in official order."""
        return {
            name: torch.from_numpy(fill(name, tuple(shape), rule)).double()
            for name, shape, _, rule in self.case["state"]
        }

    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs in float64, in the official axis order; several are drawn one after another by one generator."""
        shapes = self.case["input_shape"]
        rng = np.random.default_rng(self.case["input_seed"])
        several = shapes if isinstance(shapes[0], list) else [shapes]
        return tuple(torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).double() for shape in several)

    def input(self) -> Tensor:
        """The only input in float64, in the official axis order."""
        (only,) = self.inputs()
        return only

    def assert_matches(self, name: str, tensor: Tensor, relative: float = 1e-9) -> None:
        """Compare a tensor with the expected one of that name: shape, moments and listed values."""
        assert_matches(tensor, self.outputs[name], relative, rounding=0)
