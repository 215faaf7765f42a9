"""What a saved model says of its text encoder: enough to build its text head again without any text weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from graphs.messages import unknown
from protogcn.models.options import check_options
from protogcn.models.text.bert import Bert
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.encoders import TextEncoder

# Kind in a saved model -> what builds such a tower; files that name none are of CLIP's.
TOWERS: dict[str, type[nn.Module]] = {"clip": ClipTextTransformer, "bert": Bert}


@dataclass(frozen=True)
class TextFacts:
    """A text encoder as a file describes it; nothing named here is ever opened.

    Attributes:
        name: what it was created from, to tell the user.
        dim: length of its vectors.
        length: tokens of the longest prompt, where the tower was trained along; else 0.
        tower: sizes of that tower; empty where it was frozen, or where the name alone says what it is.
    """

    name: str
    dim: int
    length: int = 0
    tower: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.tower, Mapping):
            raise ValueError(f"the text encoder is described wrongly: {self!r:.200}")
        for word, value, least in (("dim", self.dim, 1), ("length", self.length, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100_000:
                raise ValueError(f"{word} of the text encoder must be a number of {least} or more, got {value!r:.80}")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, which :meth:`from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Any) -> "TextFacts":
        """The facts that :meth:`as_dict` wrote, every entry checked.

        Raises:
            ValueError: they are none.
        """
        fields = ("name", "dim", "length", "tower")
        if not isinstance(content, Mapping) or set(content) != set(fields):
            raise ValueError(f"text_encoder must be a mapping of {', '.join(fields)}, got {content!r:.200}")
        return cls(**content)

    def build_tower(self) -> nn.Module:
        """The tower, its weights not yet those of the file.

        Raises:
            ValueError: it is not described, or of sizes that do not go together.
        """
        if self.tower:
            sizes = dict(self.tower)
            kind = sizes.pop("kind", "clip")
            if kind not in TOWERS:
                raise ValueError(unknown("kind of text tower", str(kind), list(TOWERS), show_all=True))
            check_options("the text tower", TOWERS[kind], sizes)
            return TOWERS[kind](**sizes)
        if self.name != "minilm":
            raise ValueError(f"it does not describe the text tower of {self.name!r:.80}, which was trained along")
        from protogcn.models.text.encoders import create_text_encoder

        return create_text_encoder("minilm").tower


def facts_of(encoder: TextEncoder, length: int = 0) -> TextFacts:
    """What a file has to say of an encoder; with a length of tokens, of one whose tower is trained along.

    Raises:
        ValueError: the tower is to be trained, and no file could describe it.
    """
    tower = encoder.tower
    if not length:
        return TextFacts(encoder.name, encoder.dim)
    if isinstance(tower, Bert):
        return TextFacts(encoder.name, encoder.dim, length, {"kind": "bert", **tower.sizes()})
    if isinstance(tower, ClipTextTransformer):
        block: Any = tower.transformer.resblocks[0]
        sizes = {
            "context_length": tower.context_length,
            "vocab_size": tower.vocab_size,
            "width": tower.width,
            "heads": block.attn.heads,
            "layers": len(tower.transformer.resblocks),
            "embed_dim": tower.embed_dim,
            "activation": tower.activation,
            "norm_eps": block.ln_1.eps,
        }
        return TextFacts(encoder.name, encoder.dim, length, sizes)
    if encoder.name != "minilm":
        raise ValueError(
            f"the text encoder {encoder.name!r} cannot be trained along, since a saved model could not describe it: "
            "leave train_text out, or train CLIP's text tower, a BERT or 'minilm'"
        )
    return TextFacts(encoder.name, encoder.dim, length)
