"""Networks small enough to test every property of every model of the catalogue."""

from typing import Any

import torch
from torch import Tensor, nn

from protogcn.models import SkeletonClassifier, create_model, model_info
from protogcn.models.volume import VolumeClassifier

CLASSES = 7
OPTIONS: dict[str, Any] = {
    "base_channels": 16,
    "num_topologies": 4,
    "num_prototypes": 8,
    "num_blocks": 3,
    "widen_at": (2,),
    "downsample_at": (2, 3),
    "num_scales": 3,
    "num_window_scales": 2,
    "windows": (3,),
    "stage_blocks": (1, 2, 1),
    "video_width": 48,
    "embed_dim": 32,
}
TEXT_OPTIONS: dict[str, Any] = {
    "text_encoder": "random:width=32,layers=1,heads=2",
    "train_text": False,
    "prompts": ("{}", "a person who does {}"),
}
VERBS = ("drink", "throw away", "sit down on", "put on", "wave at", "run around", "brush", "kick")
THINGS = ("water", "a chair", "a jacket", "somebody", "the ball", "a cup of tea", "one shoe", "it all")
# Height and width of volumes.
SIDE = 16


def small_model(name: str, seed: int = 0, **changes: Any) -> SkeletonClassifier:
    """A small network of the catalogue whose every branch counts: what starts at zero gets random values."""
    options = {key: value for key, value in OPTIONS.items() if key in model_info(name).options}
    options = {"num_classes": CLASSES, **options, **changes}
    torch.manual_seed(seed)
    model = create_model(name, **text_options(name, options["num_classes"]) | options)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def text_options(name: str, num_classes: int) -> dict[str, Any]:
    """What a network that compares clips with class names needs to be built: a name each, and a small text tower."""
    if not model_info(name).reads_names():
        return {}
    names = [f"{verb} {thing}" for thing in THINGS for verb in VERBS]
    return {"class_names": names[:num_classes], **TEXT_OPTIONS}


def takes_maps(name: str) -> bool:
    """Whether a network takes volumes (N, K, T, H, W) of heat maps, in which persons have no axis."""
    return model_info(name).takes == "heatmaps"


def has_person_slots(name: str) -> bool:
    """Whether a network normalises every person slot by itself, and so takes no more persons than it was built for."""
    model = small_model(name, num_persons=1)
    try:
        model(random_batch(model, 2, persons=2, frames=2))
    except ValueError as error:
        assert "built for 1 persons at most and got 2: build it with num_persons=2" in str(error)
        return True
    return False


def random_clips(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Clips (N, M, T, V, C) of noise."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def random_batch(
    model: SkeletonClassifier,
    samples: int,
    *,
    persons: int = 1,
    frames: int = 9,
    dtype: torch.dtype = torch.float32,
    seed: int = 1,
) -> Tensor:
    """What a network takes, of noise: clips (N, M, T, V, C), or volumes (N, K, T, H, W) whatever the persons."""
    if isinstance(model, VolumeClassifier):
        return random_clips(samples, model.in_channels, frames, SIDE, SIDE, dtype=dtype, seed=seed)
    return random_clips(samples, persons, frames, model.skeleton.num_joints, model.in_channels, dtype=dtype, seed=seed)
