"""Networks small enough to test every property of every model of the catalogue."""

from typing import Any

import torch
from torch import Tensor, nn

from protogcn.models import SkeletonClassifier, create_model, model_info

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
}


def small_model(name: str, seed: int = 0, **changes: Any) -> SkeletonClassifier:
    """A small network of the catalogue whose every branch counts: what starts at zero gets random values."""
    options = {key: value for key, value in OPTIONS.items() if key in model_info(name).options}
    torch.manual_seed(seed)
    model = create_model(name, **{"skeleton": "ntu25", "num_classes": CLASSES, **options, **changes})
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def has_person_slots(name: str) -> bool:
    """Whether a network normalises every person slot by itself, and so takes no more persons than it was built for."""
    try:
        small_model(name, num_persons=1)(random_clips(2, 2, 2, 25, 3))
    except ValueError as error:
        assert "built for 1 persons at most and got 2: build it with num_persons=2" in str(error)
        return True
    return False


def random_clips(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Clips (N, M, T, V, C) of noise."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
