"""Frozen stages and backbones: no weight and no statistic moves, whatever trains on top."""

import copy
import pickle

import pytest
import torch
from tiny_runs import NETWORK, checkpoint, error_of, published_network, tiny_recipe, train, weights, write_recipe
from torch import nn

from protogcn.models import create_model, list_models
from protogcn.training.averaging import average_statistics
from protogcn.training.depth import layers_of, parameter_depths
from protogcn.training.evaluate import build_model
from protogcn.training.freezing import freeze_backbone, freeze_stages, is_frozen
from protogcn.training.loaders import make_dataset, open_store
from protogcn.training.recipe import ModelConfig, parse_recipe


def small():
    options = {"num_blocks": 3, "base_channels": 8, "widen_at": (2,), "downsample_at": (2,)}
    return create_model("stgcnpp", skeleton="kinect15", num_classes=5, **options)


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def one_step(model):
    """One training step on noise; names of the entries of the state that moved."""
    before = states(model.train())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    torch.manual_seed(1)
    logits = model.forward_train(torch.randn(4, 1, 8, 15, 3))[0]
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("stages", [-1, 0, 1, 2, 3])
def test_the_stem_and_the_first_stages_stay(stages):
    model = small()
    freeze_stages(model, stages)
    moved = one_step(model)
    fixed = ["input_norm", *(f"blocks.{index}." for index in range(3))][: stages + 1]
    assert not [name for name in moved if name.startswith(tuple(fixed))] if fixed else moved
    for prefix in ("input_norm", "blocks.0.", "blocks.1.", "blocks.2.", "classifier"):
        assert any(name.startswith(prefix) for name in moved) == (prefix not in fixed), prefix
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_nothing_is_kept_for_the_backward_pass_of_frozen_stages():
    model = small()
    freeze_stages(model, 1)
    x = model.enter(torch.randn(1, 1, 8, 15, 3))
    assert not model.blocks[0](x).requires_grad and model(torch.randn(1, 1, 8, 15, 3)).requires_grad


def test_frozen_norms_stay_in_evaluation_whatever_train_says():
    model = small()
    freeze_stages(model, 0)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        each.eval()
        each.train()
        assert each.training and not each.input_norm.training and not each.input_norm.norm.training
        assert is_frozen(each.input_norm.norm) and not is_frozen(each.blocks[0])
        moved = one_step(each)
        assert not any(name.startswith("input_norm") for name in moved)
        assert any(name.startswith("blocks.0.") and name.endswith("running_mean") for name in moved)


def test_a_linear_probe_trains_the_classifier_alone():
    model = small()
    freeze_backbone(model)
    assert one_step(model) == {"classifier.weight", "classifier.bias"}
    assert model.dropout.training and model.classifier.training and not model.blocks.training


def test_a_linear_probe_of_texts_trains_projection_and_temperature():
    model = small()
    model.classifier = nn.Module()
    model.classifier.projection, model.classifier.tower = nn.Linear(16, 4), nn.BatchNorm1d(4)
    model.classifier.logit_scale = nn.Parameter(torch.zeros(()))
    freeze_backbone(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"classifier.projection.weight", "classifier.projection.bias", "classifier.logit_scale"}
    assert not model.train().classifier.tower.training


@pytest.mark.parametrize("name", list_models())
def test_every_network_of_the_catalogue_freezes(name):
    model = published_network(name)
    freeze_stages(model, 1)
    depths = parameter_depths(model)
    assert {each for each, p in model.named_parameters() if not p.requires_grad} == {
        each for each, depth in depths.items() if depth <= 1
    }
    assert any(depth <= 1 for depth in depths.values())
    with pytest.raises(ValueError, match=f"is more than the {len(layers_of(model)) - 1} stages"):
        freeze_stages(model, 99)


def test_averages_over_processes_leave_frozen_statistics_alone():
    class Strategy:
        world_size = 3

        def reduce(self, value, reduce_op):
            return value + 1

    model = small()
    freeze_stages(model, 1)
    before = states(model)
    average_statistics(model, Strategy())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith(("input_norm", "blocks.0.")) for name in moved)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_keeps_frozen_stages_bit_by_bit(tmp_path, tiny_store, ema):
    sections = {"model": {"options": NETWORK, "frozen_stages": 1}, "trainer": {"epochs": 2, "ema": ema}}
    recipe = write_recipe(tmp_path, tiny_store, **sections)
    assert train(recipe, tmp_path, "--name", "net") == 0
    state = weights(tmp_path / "tiny" / "net" / "j")
    parsed = parse_recipe(tiny_recipe(tiny_store, **sections), "test")
    model = build_model(parsed, make_dataset(parsed, open_store(parsed), "train"), 5)
    start = model.state_dict()
    moved = {name for name, value in start.items() if not torch.equal(value, state[f"model.{name}"])}
    assert not any(name.startswith(("input_norm", "blocks.0.")) for name in moved)
    assert any(name.startswith("blocks.1.") for name in moved) and "classifier.weight" in moved
    optimizer = checkpoint(tmp_path / "tiny" / "net" / "j")["optimizer_states"][0]
    trained = [name for name, _ in model.named_parameters() if not name.startswith(("input_norm", "blocks.0."))]
    assert len(optimizer["param_groups"][0]["params"]) == len(trained)


def test_more_stages_than_there_are_is_one_clear_message(tmp_path, tiny_store, capsys):
    recipe = write_recipe(tmp_path, tiny_store)
    assert train(recipe, tmp_path, "--model.frozen_stages=3") == 2
    assert "frozen_stages 3 is more than the 2 stages of ProtoGCN" in error_of(capsys)
    with pytest.raises(ValueError, match="must be -1 "):
        ModelConfig(frozen_stages=-2)
