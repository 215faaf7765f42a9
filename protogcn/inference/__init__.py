"""Trained networks made fast: ``optimize`` for one, ``load_streams`` and ``FusedStreams`` for several streams."""

from protogcn.inference.check import Report
from protogcn.inference.optimize import OptimizedModel, optimize
from protogcn.inference.saved_streams import load_streams
from protogcn.inference.streams import FusedStreams, StreamScores

__all__ = ["FusedStreams", "OptimizedModel", "Report", "StreamScores", "load_streams", "optimize"]
