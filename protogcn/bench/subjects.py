"""What the rows about networks compute with: a network, its plain reading, and clips of noise."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from protogcn.bench import plain
from protogcn.bench.rows import Settings
from protogcn.models import (
    SkeletonClassifier,
    create_criterion,
    create_model,
    model_info,
    recomputed_activations,
)
from protogcn.models.checkpoints import load_official
from protogcn.training.compiling import compiled as compile_step
from protogcn.training.optimizers import make_optimizer
from protogcn.training.recipe import OptimizerConfig

CLASSES, FEW_CLASSES = 60, 5
_SAMPLES, _MIXED_SAMPLES, _FEW_SAMPLES = 8, 16, 2
# 3 of 16 clips is 18.75 %, the nearest to NTU RGB+D's 18 % in a batch of that size.
_TWO_OF_MIX = 3
_FRAMES = {"ctrgcn": 64, "infogcn": 64}
_MOST_FRAMES, _MAP_FRAMES, _MAP_SIDE = 100, 48, 56
_FEW_FRAMES = 6
_SMALL: dict[str, Any] = {
    "base_channels": 16,
    "num_prototypes": 8,
    "num_blocks": 3,
    "widen_at": (2, 3),
    "downsample_at": (2, 3),
    "num_scales": 3,
    "num_window_scales": 2,
    "windows": (3,),
    "stage_blocks": (1, 2, 1),
    "video_width": 48,
    "embed_dim": 32,
}
_SMALL_PLAIN: dict[str, Any] = {"base_channels": 16, "num_blocks": 3, "wider": (2, 3)}
_VERBS = ("drink", "throw away", "sit down on", "put on", "wave at", "run around", "brush", "kick")
_THINGS = ("water", "a chair", "a jacket", "somebody", "the ball", "a cup of tea", "one shoe", "it all")


@dataclass(frozen=True)
class Case:
    """One network on one kind of batch.

    Attributes:
        model: a name of the catalogue.
        mix: 18 % of the clips show two persons, as in NTU RGB+D, and the others one; else all show two.
        quick: a small network and a few short clips.
        device: where it runs.
        seed: of weights and clips.
        samples: N; 0 takes the usual.
        frames: T; 0 takes that of the published recipe.
    """

    model: str
    mix: bool = False
    quick: bool = False
    device: str = "cpu"
    seed: int = 0
    samples: int = 0
    frames: int = 0

    @classmethod
    def of(cls, model: str, settings: Settings, **changes: Any) -> "Case":
        """The case of a run of the suite."""
        return cls(model, quick=settings.quick, device=settings.device, seed=settings.seed, **changes)

    @property
    def takes_maps(self) -> bool:
        """Whether the network takes volumes of heat maps."""
        return model_info(self.model).takes == "heatmaps"

    @property
    def classes(self) -> int:
        """Size of the classifier."""
        return FEW_CLASSES if self.quick else CLASSES

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, M, T, V, C), or (N, K, T, H, W)."""
        usual = _FEW_SAMPLES if self.quick else _MIXED_SAMPLES if self.mix else _SAMPLES
        samples = self.samples or usual
        if self.takes_maps:
            side = 16 if self.quick else _MAP_SIDE
            return samples, 17, self.frames or (_FEW_FRAMES if self.quick else _MAP_FRAMES), side, side
        frames = self.frames or (_FEW_FRAMES if self.quick else _FRAMES.get(self.model, _MOST_FRAMES))
        return samples, 2, frames, 25, 3

    @property
    def what(self) -> str:
        """The sizes in words."""
        names = "NKTHW" if self.takes_maps else "NMTVC"
        sizes = " ".join(f"{name}={size}" for name, size in zip(names, self.shape, strict=True))
        two = self.two_person_clips
        return sizes if two is None else f"{sizes}, {two} of {self.shape[0]} clips with two persons"

    @property
    def two_person_clips(self) -> int | None:
        """How many clips of a mix show two persons."""
        return max(1, round(self.shape[0] * _TWO_OF_MIX / _MIXED_SAMPLES)) if self.mix else None

    def without_plain(self) -> str | None:
        """Why there is no plain reading to compare with, or None where there is one."""
        if self.model not in plain.NETWORKS:
            return f"{self.model} has no plain reading"
        return plain.missing()

    def clips(self) -> Tensor:
        """Clips or volumes of noise on the device; an absent person is all zeros."""
        generator = torch.Generator().manual_seed(self.seed)
        clips = torch.randn(self.shape, generator=generator)
        if self.mix:
            clips[self.two_person_clips :, 1] = 0
        return clips.to(self.device)

    def labels(self) -> Tensor:
        """A class for every clip."""
        return (torch.arange(self.shape[0]) % self.classes).to(self.device)

    def plain(self) -> nn.Module:
        """The plain reading, in training mode.

        Raises:
            FileNotFoundError: this is no checkout.
        """
        small = {}
        if self.quick:
            small = _SMALL_PLAIN | ({"num_prototypes": 8} if self.model == "protogcn" else {})
            small |= {"base_channels": 14} if self.model == "stgcnpp" else {}
        torch.manual_seed(self.seed)
        network: nn.Module = plain.references().plain_network(self.model, self.classes, **small)
        return network.to(self.device)

    def ours(self, *, like_plain: bool = True) -> SkeletonClassifier:
        """The network of the catalogue, in training mode, with the weights of the plain reading where there is one."""
        info = model_info(self.model)
        options = {key: value for key, value in _SMALL.items() if self.quick and key in info.options}
        if self.quick and self.model == "stgcnpp":
            options["base_channels"] = 14
        if info.reads_names():
            options |= self._texts()
        torch.manual_seed(self.seed)
        with warnings.catch_warnings():
            # Fresh text weights are warned of, and here they are meant.
            warnings.simplefilter("ignore", UserWarning)
            network = create_model(self.model, num_classes=self.classes, **options)
        if like_plain and self.without_plain() is None:
            load_official(network, {name: entry.cpu() for name, entry in self.plain().state_dict().items()})
        return network.to(self.device)

    def _texts(self) -> dict[str, Any]:
        names = [f"{verb} {thing}" for thing in _THINGS for verb in _VERBS][: self.classes]
        tower = "random:width=32,layers=1,heads=2" if self.quick else "random"
        return {"class_names": names, "text_encoder": tower, "train_text": False}


def step_of_plain(case: Case) -> Callable[[], Tensor]:
    """A training step of the plain reading; gives its loss."""
    network: Any = case.plain()
    clips, labels = case.clips(), case.labels()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> Tensor:
        optimizer.zero_grad()
        terms, _ = network.losses(clips, labels)
        terms["loss"].backward()
        optimizer.step()
        return terms["loss"].detach()

    return step


def step_of_ours(
    case: Case, *, compiled: bool = False, bf16: bool = False, recompute: bool = True, like_plain: bool = True
) -> Callable[[], Tensor]:
    """A training step of ours, as the training of a recipe does it; gives the loss."""
    network = case.ours(like_plain=like_plain)
    criterion = create_criterion(case.model).to(case.device)
    clips, labels = case.clips(), case.labels()
    config = OptimizerConfig(name="sgd", lr=1e-3, weight_decay=5e-4)
    optimizer = make_optimizer(config, network.named_parameters())
    forward: Callable[..., Any] = compile_step(network.forward_train) if compiled else network.forward_train

    def step() -> Tensor:
        optimizer.zero_grad()
        with (
            torch.autocast(case.device, torch.bfloat16, enabled=bf16),
            recomputed_activations(recompute and not compiled and case.device == "cpu"),
        ):
            logits, aux = forward(clips)
        loss: Tensor = criterion(logits.float(), aux, labels)["loss"]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
