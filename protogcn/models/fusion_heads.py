"""Fusion over time, (N, T, C) -> (N, C): the five heads of ActionCLIP (Wang et al. 2021, section 3.3, figure 3).

They pool the frames of a video as well as those of a skeleton clip:
``create_fusion("transformer", model.num_features)(skeleton_frames(model.forward_features(clips)))``.
"""

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.messages import unknown
from protogcn.models.options import check_counts, check_options
from protogcn.models.text.transformer import Transformer

HEAD_WIDTH = 64
# The published head keeps CLIP's context length as the number of its positions.
POSITIONS = 77


class Fusion(nn.Module):
    """What the heads share: the features of all frames in, one vector per clip out.

    Attributes:
        width: C.
        OFFICIAL: own parameter, or prefix of parameters, -> its name in the official implementation.
    """

    OFFICIAL: ClassVar[dict[str, str]] = {}

    def __init__(self, width: int) -> None:
        super().__init__()
        check_counts(width=width)
        self.width = width

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames (N, T, width) to features of clips (N, width).

        Raises:
            ValueError: another shape, or a number of frames that the head cannot take.
        """
        if frames.ndim != 3 or frames.shape[2] != self.width or 0 in frames.shape:
            raise ValueError(
                f"the fusion over time takes features of shape (N clips, T frames, {self.width}); "
                f"got {tuple(frames.shape)}"
            )
        return self.fuse(frames)

    def fuse(self, frames: Tensor) -> Tensor:
        """:meth:`forward` of features that are known to fit."""
        raise TypeError(f"{type(self).__name__} must define fuse")


class MeanFusion(Fusion):
    """Mean over time; nothing to learn."""

    def fuse(self, frames: Tensor) -> Tensor:
        return frames.mean(1)


class ConvFusion(Fusion):
    """A depth-wise convolution over three frames, a residual, mean over time.

    It starts as a shift: the first quarter of the channels reads the frame before, the half in the middle the frame
    itself, the last quarter the frame after.

    Args:
        width: C.
        reinterpret: as released, the memory of (T, C) is read as (C, T), so that the convolution runs over
            neighbouring channels rather than frames; False convolves over time.
    """

    OFFICIAL: ClassVar[dict[str, str]] = {"shift": "shift"}

    def __init__(self, width: int, reinterpret: bool = True) -> None:
        super().__init__(width)
        self.reinterpret = reinterpret
        self.shift = nn.Conv1d(width, width, 3, padding=1, groups=width, bias=False)
        quarter, half = width // 4, width // 2
        with torch.no_grad():
            self.shift.weight.zero_()
            self.shift.weight[:quarter, 0, 0] = 1
            self.shift.weight[quarter : quarter + half, 0, 1] = 1
            self.shift.weight[quarter + half :, 0, 2] = 1

    def fuse(self, frames: Tensor) -> Tensor:
        samples, length, width = frames.shape
        series = frames.reshape(samples, width, length) if self.reinterpret else frames.transpose(1, 2)
        return (self.shift(series).transpose(1, 2) + frames).mean(1)


class LSTMFusion(Fusion):
    """One layer of LSTM as wide as its input, a residual, mean over time."""

    OFFICIAL: ClassVar[dict[str, str]] = {"lstm": "lstm_visual"}

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def fuse(self, frames: Tensor) -> Tensor:
        return (self.lstm(frames)[0] + frames).mean(1)


class TransformerFusion(Fusion):
    """CLIP's transformer over frames with learned positions, a residual around it, mean over time.

    Args:
        width: C.
        heads: of the attention; None for one per 64 channels.
        layers: blocks.
        positions: most frames that it can tell apart.
    """

    OFFICIAL: ClassVar[dict[str, str]] = {
        "positions": "frame_position_embeddings.weight",
        "transformer": "transformer",
    }

    def __init__(self, width: int, heads: int | None = None, layers: int = 6, positions: int = POSITIONS) -> None:
        super().__init__(width)
        heads = max(1, width // HEAD_WIDTH) if heads is None else heads
        _check_heads(width, heads)
        check_counts(layers=layers, positions=positions)
        self.positions = nn.Parameter(torch.empty(positions, width))
        # Published weights were trained with this epsilon, where CLIP's own blocks have 1e-5.
        self.transformer = Transformer(width, layers, heads, causal=False, norm_eps=1e-12)
        nn.init.normal_(self.positions, std=0.02)
        _start_linear(self)

    def fuse(self, frames: Tensor) -> Tensor:
        length, most = frames.shape[1], len(self.positions)
        if length > most:
            raise ValueError(
                f"the transformer over time was built for {most} frames at most and got {length}: build it with "
                f"positions={length}, or give it fewer frames"
            )
        return (self.transformer(frames + self.positions[:length]) + frames).mean(1)


class ClassTokenFusion(Fusion):
    """A learned token in front of the frames, learned positions, a post-norm transformer; the token comes out.

    There is neither a residual around it nor a mean over time.

    Args:
        width: C.
        frames: T, the only one it takes, as every frame has its own position.
        heads: of the attention.
        layers: of the encoder.
        hidden: width of the two-layer networks inside.
        dropout: in attention, inside the two-layer networks and after both.
    """

    OFFICIAL: ClassVar[dict[str, str]] = {
        "token": "transformer.cls_token",
        "positions": "transformer.pos_embed",
        "encoder": "transformer.transformer_enc",
    }

    def __init__(
        self, width: int, frames: int, heads: int = 8, layers: int = 6, hidden: int = 2048, dropout: float = 0.1
    ) -> None:
        super().__init__(width)
        _check_heads(width, heads)
        check_counts(frames=frames, layers=layers, hidden=hidden)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, frames + 1, width))
        layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout, functional.relu, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        for parameter in (self.token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)
        _start_linear(self)

    def fuse(self, frames: Tensor) -> Tensor:
        expected = self.positions.shape[1] - 1
        if frames.shape[1] != expected:
            raise ValueError(
                f"the fusion with a class token was built for {expected} frames and got {frames.shape[1]}: build it "
                f"with frames={frames.shape[1]}, or give it {expected}"
            )
        tokens = torch.cat([self.token.expand(len(frames), -1, -1), frames], 1)
        return self.encoder(tokens + self.positions)[:, 0]


def _check_heads(width: int, heads: int) -> None:
    check_counts(heads=heads)
    if width % heads:
        raise ValueError(f"the heads of the attention share the width evenly: {width} channels, {heads} heads")


def _start_linear(module: nn.Module) -> None:
    """First weights of the linear layers, as published; the packed projection of the attention has torch's own."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name, parameter in module.named_parameters():
        if name.endswith("in_proj_weight"):
            nn.init.xavier_uniform_(parameter)
        if name.endswith("in_proj_bias"):
            nn.init.zeros_(parameter)


_FUSIONS: dict[str, type[Fusion]] = {
    "mean": MeanFusion,
    "conv": ConvFusion,
    "lstm": LSTMFusion,
    "transformer": TransformerFusion,
    "transformer_class_token": ClassTokenFusion,
}
FUSIONS = tuple(_FUSIONS)
# The words of the official configurations.
PUBLISHED = dict(zip(("meanP", "Conv_1D", "LSTM", "Transf", "Transf_cls"), FUSIONS, strict=True))
COMMON = ("width", "heads", "frames")


def fusion_name(name: str) -> str:
    """The name of a fusion, one of :data:`FUSIONS`, for that name or the published word.

    Raises:
        ValueError: no such fusion; the message lists near matches.
    """
    name = PUBLISHED.get(name, name)
    if name not in _FUSIONS:
        raise ValueError(unknown("fusion over time", name, [*FUSIONS, *PUBLISHED], show_all=True))
    return name


def create_fusion(
    name: str, width: int, heads: int | None = None, *, frames: int | None = None, **options: Any
) -> Fusion:
    """Build a fusion over time.

    Args:
        name: one of :data:`FUSIONS`, or the published word (``meanP``, ``Conv_1D``, ``LSTM``, ``Transf``,
            ``Transf_cls``).
        width: C of the features.
        heads: of the attention, for the two with attention; None for their default.
        frames: T, which ``transformer_class_token`` needs; the others take any number, whatever is said here.
        **options: the other arguments of the head's class, for example ``layers=2``.

    Raises:
        ValueError: unknown name or option, or a value of the wrong type or out of range.
    """
    name = fusion_name(name)
    head = _FUSIONS[name]
    known = inspect.signature(head).parameters
    check_options(f"the fusion {name!r}", head, options, [word for word in known if word not in COMMON])
    if "frames" in known and frames is None:
        raise ValueError(f"the fusion {name!r} has a position for every frame: say how many there are by frames=")
    common = {word: value for word, value in (("heads", heads), ("frames", frames)) if word in known}
    return head(width, **{word: value for word, value in common.items() if value is not None}, **options)


def skeleton_frames(features: Tensor) -> Tensor:
    """Features of a network of skeletons (N, M, C, T, V), mean over persons and joints: (N, T, C)."""
    return features.mean((1, 4)).transpose(1, 2)


def volume_frames(features: Tensor) -> Tensor:
    """Features of a network of heat maps (N, C, T, H, W), mean over the maps: (N, T, C)."""
    return features.mean((3, 4)).transpose(1, 2)
