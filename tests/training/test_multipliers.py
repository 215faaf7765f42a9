"""Learning rates of groups: by part of the name, by depth, with their own weight decay; and what runs make of them."""

import itertools

import pytest
import torch
from tiny_runs import checkpoint, error_of, history, published_network, train, weights, write_recipe
from torch import nn

from protogcn.models import list_models
from protogcn.training.depth import layers_of, parameter_depths
from protogcn.training.optimizers import learning_rate_factor, make_optimizer
from protogcn.training.recipe import OptimizerConfig, ScheduleConfig


class Tower(nn.Module):
    """Stem, three stages and a head, named as a text and video network are."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(2, 2)
        self.stem = nn.Linear(2, 2)
        self.layer1, self.layer2, self.layer10 = (nn.Linear(2, 2) for _ in range(3))
        self.text_encoder = nn.ModuleDict({"proj": nn.Linear(2, 2)})
        self.logit_scale = nn.Parameter(torch.zeros(()))


def rates(config, module, depths=None):
    """Full name -> (learning rate, weight decay)."""
    optimizer = make_optimizer(config, module.named_parameters(), depths)
    of = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    return {name: of[id(p)] for name, p in module.named_parameters() if id(p) in of}


def test_the_longest_part_of_a_name_decides():
    config = OptimizerConfig(
        "adamw",
        0.5,
        0.2,
        multipliers={"text": 0.1, "text_encoder.proj": 0.01, "logit_scale": 0.25, "bias": 2.0},
        decay_multipliers={"text": 0.9, "logit_scale": 0},
    )
    found = rates(config, Tower())
    assert found["stem.weight"] == (0.5, 0.2) and found["stem.bias"] == (1.0, 0.2)
    assert found["text_encoder.proj.weight"] == pytest.approx((0.005, 0.18))
    assert found["text_encoder.proj.bias"] == pytest.approx((0.005, 0.18)) and found["logit_scale"] == (0.125, 0)
    assert len(found) == len(list(Tower().parameters()))


@pytest.mark.parametrize("order", [("stem", "weig"), ("weig", "stem")])
def test_of_equally_long_parts_the_first_in_the_alphabet_decides(order):
    config = OptimizerConfig(lr=1.0, multipliers={word: {"stem": 3.0, "weig": 5.0}[word] for word in order})
    found = rates(config, Tower())
    assert found["stem.weight"][0] == 3 and found["stem.bias"][0] == 3 and found["layer1.weight"][0] == 5


@pytest.mark.parametrize("key", ["multipliers", "decay_multipliers"])
def test_a_part_of_no_name_is_answered_with_near_ones(key):
    with pytest.raises(ValueError, match=rf"optimizer\.{key} 'text_encodr'; did you mean 'text_encoder'"):
        rates(OptimizerConfig(**{key: {"text_encodr": 0.1}}), Tower())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0}, "layer_decay must lie in"),
        ({"layer_decay": 1.1}, "layer_decay must lie in"),
        ({"multipliers": {"text": -1}}, "factors of 0 or more"),
        ({"decay_multipliers": {"text": float("nan")}}, "factors of 0 or more"),
        ({"multipliers": {"": 1}}, "parts of parameter names"),
        ({"betas": (0.9, 1.0)}, "betas must lie in"),
        ({"eps": 0}, "eps must be above 0"),
    ],
)
def test_factors_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)


def test_adamw_is_told_its_betas_and_eps():
    optimizer = make_optimizer(OptimizerConfig("adamw", betas=(0.9, 0.98), eps=1e-6), Tower().named_parameters())
    assert optimizer.defaults["betas"] == (0.9, 0.98) and optimizer.defaults["eps"] == 1e-6


def test_frozen_parameters_are_in_no_group_and_all_frozen_is_an_error():
    tower = Tower()
    tower.stem.requires_grad_(False)
    found = rates(OptimizerConfig(multipliers={"stem": 0.1}), tower)
    assert not {"stem.weight", "stem.bias"} & found.keys() and "layer1.bias" in found
    tower.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        rates(OptimizerConfig(), tower)


def test_rates_fall_from_the_head_to_the_stem():
    tower = Tower()
    depths = parameter_depths(tower)
    assert {name.split(".")[0]: depth for name, depth in depths.items()} == {
        "stem": 0,
        "layer1": 1,
        "layer2": 2,
        "layer10": 3,
        "classifier": 4,
        "text_encoder": 4,
        "logit_scale": 4,
    }
    found = rates(OptimizerConfig(lr=1.0, layer_decay=0.5, multipliers={"layer2": 0.1}), tower, depths)
    assert [found[f"{part}.weight"][0] for part in ("stem", "layer1", "layer10", "classifier")] == [
        1 / 16,
        1 / 8,
        0.5,
        1,
    ]
    assert found["layer2.weight"][0] == pytest.approx(0.025)


def test_a_network_says_its_stages_itself():
    class Own(Tower):
        def parts(self):
            return [[self.layer2, self.logit_scale], [self.stem]]

    depths = parameter_depths(Own())
    assert (depths["layer2.bias"], depths["logit_scale"], depths["stem.bias"], depths["layer1.bias"]) == (0, 0, 1, 2)


def test_stages_are_found_inside_a_backbone():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(3))
            self.embed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            self.resblocks = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            self.norm = nn.LayerNorm(2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.classifier = nn.ModuleList([nn.Linear(9, 9), nn.Linear(9, 9)])
            self.backbone = Transformer()
            self.logit_scale = nn.Parameter(torch.zeros(1))

    depths = parameter_depths(Model())
    assert depths["backbone.position"] == depths["backbone.embed.1.weight"] == 0
    assert [depths[f"backbone.resblocks.{i}.weight"] for i in (0, 1)] == [1, 2]
    assert depths["backbone.norm.weight"] == depths["classifier.0.weight"] == depths["logit_scale"] == 3


def test_a_network_without_stages_is_told_what_to_offer():
    with pytest.raises(ValueError, match=r"Linear has no numbered blocks.*parts\(\)"):
        parameter_depths(nn.Linear(2, 2))


@pytest.mark.parametrize("name", list_models())
def test_every_network_of_the_catalogue_has_a_depth(name):
    model = published_network(name)
    layers, depths = layers_of(model), parameter_depths(model)
    assert len(layers) >= 3 and set(depths.values()) == set(range(len(layers) + 1))
    assert all(depths[each] == len(layers) for each in depths if each.startswith("classifier"))


def test_a_rise_from_a_share_multiplies_the_schedule():
    """MMCV: the cosine of the whole run, times what rises linearly from the share."""
    config = ScheduleConfig(name="cosine", warmup_epochs=2, warmup_start=0.1)
    factor, plain = (learning_rate_factor(each, 100, 10) for each in (config, ScheduleConfig(name="cosine")))
    assert factor(0) == pytest.approx(0.1) and factor(10) == pytest.approx(plain(10) * 0.55)
    assert [factor(step) for step in range(20, 101)] == [plain(step) for step in range(20, 101)]
    steps = learning_rate_factor(
        ScheduleConfig(name="step", milestones=[1], warmup_epochs=2, warmup_start=0.5, gamma=0.1), 40, 10
    )
    assert [steps(step) for step in (0, 10, 20)] == pytest.approx([0.5, 0.075, 0.1])
    with pytest.raises(ValueError, match="warmup_start must lie in"):
        ScheduleConfig(warmup_start=1.5)


def test_a_run_moves_every_group_by_its_rate_and_prints_the_base_rate(tmp_path, tiny_store):
    sections = {
        "optimizer": {"lr": 0.05, "momentum": 0.0, "multipliers": {"classifier": 0.0, "blocks": 0.5}},
        "schedule": {"name": "step", "milestones": [1], "gamma": 0.1},
        "trainer": {"epochs": 2, "precision": "64-true"},
    }
    states = []
    for name, change in (("net", {}), ("still", {"lr": 0.0})):
        recipe = write_recipe(tmp_path, tiny_store, **{**sections, "optimizer": sections["optimizer"] | change})
        assert train(recipe, tmp_path, "--name", name) == 0
        states.append(weights(tmp_path / "tiny" / name / "j"))
    moved = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert "model.classifier.weight" not in moved and "model.input_norm.norm.weight" in moved
    assert any(name.startswith("model.blocks") for name in moved)
    folder = tmp_path / "tiny" / "net" / "j"
    assert [float(row["lr"]) for row in history(folder)] == pytest.approx([0.005, 0.005])
    groups = checkpoint(folder)["optimizer_states"][0]["param_groups"]
    assert sorted({group["lr"] for group in groups}) == pytest.approx([0, 0.0025, 0.005])
    assert all(later > earlier for earlier, later in itertools.pairwise(sorted({g["lr"] for g in groups})))


def test_a_wrong_part_is_one_clear_message(tmp_path, tiny_store, capsys):
    recipe = write_recipe(tmp_path, tiny_store, optimizer={"multipliers": {"clasifier": 0.1}})
    assert train(recipe, tmp_path) == 2
    assert "'clasifier'; did you mean 'classifier'" in error_of(capsys)
    assert train(recipe, tmp_path, "--optimizer.layer_decay=0") == 2
    assert "layer_decay must lie in (0, 1]" in error_of(capsys)


def test_what_bounds_a_parameter_runs_before_every_step(tmp_path, tiny_store, monkeypatch):
    from protogcn.models.protogcn import ProtoGCN

    seen = []
    monkeypatch.setattr(ProtoGCN, "before_step", lambda self: seen.append(self.training), raising=False)
    assert train(write_recipe(tmp_path, tiny_store, trainer={"epochs": 1, "batch_size": 10}), tmp_path) == 0
    assert seen == [True] * 3
