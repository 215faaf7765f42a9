"""A small network whose head compares clips with class names, and a small text tower for it."""

from typing import Any

import torch
from small_models import OPTIONS, random_batch
from torch import Tensor, nn

from protogcn.models import SkeletonClassifier, create_criterion, create_model, model_info
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.encoders import TextEncoder

NAMES = ["drink water", "throw", "sit down", "put on a jacket", "kick the ball"]
PROMPTS = ("{}", "a video of {}", "a person who does {}")
WORDS = sorted({word for text in (*NAMES, *PROMPTS, "jump run") for word in text.split()})


def tiny_encoder(name: str = "tiny", dim: int = 8) -> TextEncoder:
    """A text tower over a vocabulary of words, the same in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tower = ClipTextTransformer(12, len(WORDS) + 2, 16, 2, 1, dim)
        nn.init.normal_(tower.token_embedding.weight)

    def rows(texts: Any) -> Tensor:
        known = [[1 + WORDS.index(word) for word in text.split()] + [len(WORDS) + 1] for text in texts]
        return torch.tensor([row + [0] * (max(map(len, known)) - len(row)) for row in known])

    return TextEncoder(name, tower, dim, rows).eval()


def small(name: str = "stgcnpp", seed: int = 0, **changes: Any) -> SkeletonClassifier:
    """A small network with a text head."""
    options = {key: value for key, value in OPTIONS.items() if key in model_info(name).options}
    head = {"head": "clip", "class_names": NAMES, "text_encoder": tiny_encoder(), "prompts": PROMPTS}
    torch.manual_seed(seed)
    return create_model(name, **{"num_classes": len(NAMES), **options, **head, **changes})


def step(name: str, model: SkeletonClassifier, **loss: Any) -> dict[str, Tensor]:
    logits, aux = model.forward_train(random_batch(model, 4, persons=2))
    terms = create_criterion(name, head="clip", **loss)(logits, aux, torch.tensor([0, 1, 3, 1]))
    terms["loss"].backward()
    return terms
