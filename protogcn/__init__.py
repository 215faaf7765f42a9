"""Recognise human actions from skeletons with graph networks."""

__version__ = "0.1.0"
