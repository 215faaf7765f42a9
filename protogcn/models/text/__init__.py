"""Class names as vectors: prompts, CLIP's tokeniser and text tower, sentence encoders."""

from protogcn.models.text.encoders import TextEncoder, create_text_encoder
from protogcn.models.text.prompts import PROMPTS, fill

__all__ = ["PROMPTS", "TextEncoder", "create_text_encoder", "fill"]
