"""How the blocks of a network widen and slow down along its depth."""

from collections.abc import Sequence
from typing import NamedTuple

from protogcn.models.options import check_counts


class Stage(NamedTuple):
    """Channels in and out of one block and its stride along time."""

    in_channels: int
    out_channels: int
    stride: int


def plan_stages(
    in_channels: int, base_channels: int, num_blocks: int, widen_at: Sequence[int], downsample_at: Sequence[int]
) -> list[Stage]:
    """The blocks of a network.

    Args:
        in_channels: channels that the first block gets.
        base_channels: channels that it gives.
        num_blocks: depth; blocks are counted from 1.
        widen_at: blocks that double the channels.
        downsample_at: blocks that halve the frame rate.

    Raises:
        ValueError: a count is no positive integer, or a place is no block after the first, or named twice.
    """
    check_counts(base_channels=base_channels, num_blocks=num_blocks)
    for word, places in (("widen_at", widen_at), ("downsample_at", downsample_at)):
        if len(set(places)) < len(places) or not all(2 <= place <= num_blocks for place in places):
            raise ValueError(
                f"{word} names different blocks, counted from 1, of 2 to {num_blocks} (num_blocks); got {list(places)}"
            )
    widths = [base_channels * 2 ** sum(index >= at for at in widen_at) for index in range(1, num_blocks + 1)]
    return [
        Stage(before, width, 2 if index in downsample_at else 1)
        for index, (before, width) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True), start=1)
    ]
