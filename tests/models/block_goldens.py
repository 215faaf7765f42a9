"""Checks of networks that are a row of blocks against the reference numbers."""

from collections.abc import Callable
from types import TracebackType

import torch
from gcn_goldens import Golden, assert_matches, check_training
from torch import Tensor, nn

from protogcn.models import create_criterion, create_model
from protogcn.models.checkpoints import load_official
from protogcn.models.layers.blocks import BlockNetwork


class Watch:
    """Keeps what enters and leaves modules, as "<name> in" and "<name> out", while the context lasts."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.seen: dict[str, Tensor] = {}
        self._handles = [module.register_forward_hook(self._keep(name)) for name, module in modules.items()]

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen |= {f"{name} in": inputs[0], f"{name} out": output}

        return keep

    def __enter__(self) -> dict[str, Tensor]:
        return self.seen

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()


def build(golden: Golden, name: str) -> BlockNetwork:
    """The network of a case on the 25 joints of NTU as PYSKL joins them, with the prescribed weights, in float64."""
    model = create_model(
        name, skeleton="ntu25_pyskl", num_classes=golden.case["hyperparameters"]["num_classes"]
    ).double()
    assert isinstance(model, BlockNetwork)
    load_official(model, golden.state_dict())
    return model.eval()


def check_inference(golden: Golden, model: BlockNetwork, relative: float = 1e-9) -> None:
    """Compare logits, features and every listed stage."""
    expected = golden.case["outputs"]
    parts: dict[str, nn.Module] = {"backbone.data_bn": model.get_submodule("input_norm.norm")}
    for index, block in enumerate(model.typed_blocks()):
        name = f"backbone.gcn.{index}"
        parts |= {name: block, f"{name}.gcn": block.get_submodule("graph")}
        parts[f"{name}.tcn"] = block.get_submodule("temporal")
        if block.residual is not None:
            parts[f"{name}.residual"] = block.residual
    with torch.no_grad(), Watch(parts) as seen:
        logits = model(golden.clips())
    features = seen[f"backbone.gcn.{len(model.blocks) - 1} out"].unflatten(0, golden.case["input_shape"][:2])
    assert_matches(features, expected["features"], relative)
    assert_matches(model.forward_head(features, pre_logits=True), expected["pooled_feature"], relative)
    assert_matches(logits, expected["logits"], relative)
    stages = {name: values for name, values in expected.items() if name.startswith("stage:")}
    assert len(stages) > 10
    for name, values in stages.items():
        assert_matches(seen[f"{name.removeprefix('stage:')} out"], values, relative)


def check_cross_entropy_training(golden: Golden, model: BlockNetwork, name: str, mode: str) -> None:
    """Compare losses, gradients, running statistics and one optimiser step under plain cross entropy."""
    criterion = create_criterion(name)
    target = torch.tensor(golden.case["training"]["labels"])

    def step(module: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        assert isinstance(module, BlockNetwork)
        logits, aux = module.forward_train(golden.clips())
        return criterion(logits, aux, target), logits

    check_training(golden, model, mode, step, {"cross_entropy": "cross_entropy", "total": "loss"})
