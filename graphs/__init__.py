"""What a skeleton is: joints, trees, topologies, streams and augmentations, independent of any model or file format."""

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from graphs.streams import STREAMS

__all__ = ["STREAMS", "Skeleton", "get_skeleton", "list_skeletons"]
