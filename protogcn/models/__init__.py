"""Networks for skeleton clips (N, M, T, V, C): ``create_model("protogcn", skeleton="ntu25", num_classes=60)``."""

from protogcn.models import ctrgcn as _ctrgcn
from protogcn.models import protogcn as _protogcn
from protogcn.models import stgcn as _stgcn
from protogcn.models.base import SkeletonClassifier
from protogcn.models.registry import (
    ModelInfo,
    create_criterion,
    create_model,
    import_models,
    list_models,
    model_info,
    register_model,
)

__all__ = [
    "ModelInfo",
    "SkeletonClassifier",
    "create_criterion",
    "create_model",
    "import_models",
    "list_models",
    "model_info",
    "register_model",
]

# Importing a model's file enters it into the catalogue.
_CATALOGUE = (_ctrgcn, _protogcn, _stgcn)
