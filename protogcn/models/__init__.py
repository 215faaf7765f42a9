"""Networks for skeleton clips (N, M, T, V, C): ``create_model("protogcn", skeleton="ntu25", num_classes=60)``."""

from protogcn.models import aagcn as _aagcn
from protogcn.models import ctrgcn as _ctrgcn
from protogcn.models import dgstgcn as _dgstgcn
from protogcn.models import infogcn as _infogcn
from protogcn.models import msg3d as _msg3d
from protogcn.models import posec3d as _posec3d
from protogcn.models import protogcn as _protogcn
from protogcn.models import skeletonclip as _skeletonclip
from protogcn.models import skeletonclip_pp as _skeletonclip_pp
from protogcn.models import stgcn as _stgcn
from protogcn.models.base import SkeletonClassifier
from protogcn.models.description import ModelDescription
from protogcn.models.layers.recompute import recomputed_activations
from protogcn.models.registry import (
    ModelInfo,
    create_criterion,
    create_model,
    import_models,
    list_models,
    model_info,
    register_model,
)
from protogcn.models.saved import load_model, save_model

__all__ = [
    "ModelDescription",
    "ModelInfo",
    "SkeletonClassifier",
    "create_criterion",
    "create_model",
    "import_models",
    "list_models",
    "load_model",
    "model_info",
    "recomputed_activations",
    "register_model",
    "save_model",
]

# Importing a model's file enters it into the catalogue.
_CATALOGUE = (_aagcn, _ctrgcn, _dgstgcn, _infogcn, _msg3d, _posec3d, _protogcn, _skeletonclip, _skeletonclip_pp, _stgcn)
