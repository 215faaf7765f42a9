"""The skeleton graphs that released networks were trained on, where they are not those of the catalogue."""

from graphs.layouts import get_skeleton
from graphs.skeleton import Skeleton


def pyskl_graph(skeleton: Skeleton) -> Skeleton:
    """The graph of PYSKL's networks for a layout: that of the layout, but for the hands of NTU RGB+D.

    PYSKL hangs both the tip and the thumb of a hand on the hand. ``ntu25`` hangs the tip on the thumb, as CTR-GCN and
    all lists of bones do, PYSKL's own included.
    """
    usual = get_skeleton("ntu25")
    same = (skeleton.joints, skeleton.edges) == (usual.joints, usual.edges)
    return get_skeleton("ntu25_pyskl") if same else skeleton
