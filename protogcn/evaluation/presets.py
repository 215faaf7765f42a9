"""Published ways to fuse streams."""

from collections.abc import Sequence
from dataclasses import dataclass

from protogcn.evaluation.scores import KINDS, check_choice

__all__ = ["PRESETS", "RULES", "Preset", "get_preset", "preset_of"]

RULES = KINDS


@dataclass(frozen=True)
class Preset:
    """Published way to fuse: the weight of position streams (j, b, k), of motion streams (jm, bm, km), and the rule."""

    position: float
    motion: float
    rule: str
    source: str

    def weights(self, streams: Sequence[str]) -> tuple[float, ...]:
        """Weight of each stream; a second seed such as "j-s1" weighs like its stream."""
        return tuple(self.motion if stream.split("-")[0].endswith("m") else self.position for stream in streams)


PRESETS = {
    "protogcn": Preset(2, 1, "probabilities", "J:B:K:JM:BM:KM = 2:2:2:1:1:1, J:B:JM:BM = 2:2:1:1, J:B = 1:1"),
    "pyskl": Preset(2, 1, "probabilities", "J:B:JM:BM = 2:2:1:1, J:B = 1:1"),
    "ctrgcn": Preset(0.6, 0.4, "logits", "J:B:JM:BM = 0.6:0.6:0.4:0.4, J:B = 1:1"),
    "infogcn": Preset(1.5, 1.0, "logits", "position 1.5, motion 1.0"),
    "equal": Preset(1, 1, "probabilities", "all streams alike"),
}


def get_preset(name: str) -> Preset:
    """Preset by name.

    Raises:
        ValueError: unknown name; the message lists all.
    """
    check_choice(name, tuple(PRESETS), "preset")
    return PRESETS[name]


def preset_of(model: str) -> Preset:
    """How the authors of a model fuse; models without a preset of their own fuse as ProtoGCN and PYSKL do."""
    return PRESETS.get(model, PRESETS["protogcn"])
