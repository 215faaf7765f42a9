"""Normalisation of the input as one affine map for every person slot, joint and channel."""

import torch
from torch import Tensor, nn

from protogcn.inference.folding import constant, folds, norm_map, weights
from protogcn.models.base import InputNorm, PersonInputNorm, fill_persons
from protogcn.models.infogcn import ModeEmbedding


class FoldedInputNorm(nn.Module):
    """(N, M, T, V, C) -> (N * M', C, T, V).

    Args:
        norm: over (slot, joint, channel), the channels innermost.
        slots: person slots that are normalised by themselves, up to which clips are filled; None where all are alike.
    """

    def __init__(self, norm: nn.BatchNorm1d, slots: int | None) -> None:
        super().__init__()
        self.slots = slots
        scale, shift = norm_map(norm)
        assert norm.running_mean is not None
        constant(self, norm.running_mean, scale=scale.view(slots or 1, -1), shift=shift.view(slots or 1, -1))
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, clips: Tensor) -> Tensor:
        if self.slots is not None:
            clips = fill_persons(clips, self.slots)
        shape = (-1, 1, *clips.shape[3:])
        normed = torch.addcmul(self.shift.view(shape), clips, self.scale.view(shape))
        return normed.flatten(0, 1).permute(0, 3, 1, 2).contiguous()


@folds(InputNorm)
def _input_norm(unit: InputNorm) -> nn.Module:
    return FoldedInputNorm(unit.norm, None)


@folds(PersonInputNorm)
def _person_input_norm(unit: PersonInputNorm) -> nn.Module:
    return FoldedInputNorm(unit.norm, unit.num_persons)


class FoldedModeEmbedding(nn.Module):
    """:class:`protogcn.models.infogcn.ModeEmbedding`: bias, position and batch norm are one scale and one shift."""

    def __init__(self, unit: ModeEmbedding) -> None:
        super().__init__()
        joints, self.slots = len(unit.modes), unit.num_persons
        weight, bias = weights(unit.embedding)
        scale, shift = (value.view(self.slots, joints, -1) for value in norm_map(unit.norm))
        shift = shift + scale * (bias + unit.position.detach().double())
        constant(self, unit.position, modes=unit.modes, embedding=weight, scale=scale[:, None], shift=shift[:, None])
        self.modes: Tensor
        self.embedding: Tensor
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, clips: Tensor) -> Tensor:
        clips = fill_persons(clips, self.slots)
        device, dtype = clips.device.type, self.modes.dtype
        reduced = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        # Differences of neighbouring joints are small beside the joints: keep them in full precision.
        with torch.autocast(device, enabled=False):
            modes = clips.mT.to(dtype) @ self.modes.T
            embedded = torch.addcmul(self.shift, modes.mT @ self.embedding.T, self.scale)
        return embedded.to(reduced).flatten(0, 1).permute(0, 3, 1, 2)


@folds(ModeEmbedding)
def _mode_embedding(unit: ModeEmbedding) -> nn.Module:
    return FoldedModeEmbedding(unit)
