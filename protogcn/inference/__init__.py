"""Trained networks made fast: ``optimize(model)`` gives a copy with the same results in less time."""

from protogcn.inference.check import Report
from protogcn.inference.optimize import OptimizedModel, optimize

__all__ = ["OptimizedModel", "Report", "optimize"]
