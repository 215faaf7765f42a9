"""Build the pipeline of a recipe: preprocess, sample, augment, stream, batch (`build_pipeline`)."""

from pathlib import Path

from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton
from protogcn.data.ctrgcn_feeder import CtrGcnPipeline
from protogcn.data.heatmap_pipeline import HeatmapPipeline
from protogcn.data.nw_ucla_feeder import NwUclaPipeline
from protogcn.data.pipeline_base import Draw, Pipeline, Prepared
from protogcn.data.pipeline_config import PROTOCOLS, PipelineConfig
from protogcn.data.pyskl_pipelines import SampleFirstPipeline, SampleLastPipeline

__all__ = ["PROTOCOLS", "Draw", "Pipeline", "PipelineConfig", "Prepared", "build_pipeline"]

_CLASSES: dict[str, type[Pipeline]] = {
    "protogcn_3d": SampleLastPipeline,
    "protogcn_2d": SampleFirstPipeline,
    "pyskl_3d": SampleLastPipeline,
    "pyskl_2d": SampleLastPipeline,
    "ctrgcn": CtrGcnPipeline,
    "infogcn": CtrGcnPipeline,
    "nw_ucla": NwUclaPipeline,
    "heatmap": HeatmapPipeline,
}


def build_pipeline(
    config: PipelineConfig, skeleton: str | Path | Skeleton, stream: str, mode: str, channels: str = "xyz"
) -> Pipeline:
    """The pipeline from a stored clip to the input of a network.

    Args:
        config: the recipe.
        skeleton: layout of the network's joints, in any form that `get_skeleton` takes.
        stream: `j`, `b`, `k`, `jm`, `bm` or `km`; in the protocol heatmap `j` or `b`, joint and limb maps.
        mode: `train` (random), `val` (one fixed clip) or `test` (`config.test_clips` fixed clips).
        channels: what the clips hold: `xyz`, `xy` or `xys` (x, y, score).

    Returns:
        `pipeline(clip, rng)`, float32 of shape `pipeline.out_shape`: (num_clips, num_persons, clip_len, V, C), of
        which a network takes what `pipeline.network_input` makes on its device.

    Raises:
        ValueError: if an option is unknown, or protocol, channels and skeleton do not fit together.
    """
    return _CLASSES[config.protocol](config, get_skeleton(skeleton), stream, mode, channels)
