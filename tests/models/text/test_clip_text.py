"""The text tower of CLIP against the official one, stage by stage."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gcn_goldens import Golden, assert_matches
from torch import Tensor, nn

from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.transformer import QuickGELU, ResidualAttentionBlock, Transformer

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"


def golden(name: str) -> tuple[Golden, ClipTextTransformer, Tensor]:
    case = Golden(GOLDENS / f"{name}.json")
    sizes = {key: value for key, value in case.case["hyperparameters"].items() if key != "activation"}
    tower = ClipTextTransformer(**sizes).double().eval()
    tower.load_state_dict(case.state_dict())
    return case, tower, torch.tensor(case.case["input_tokens"])


def small(**sizes: int) -> ClipTextTransformer:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"context_length": 12, "vocab_size": 50, "width": 32, "heads": 4, "layers": 2}
    return ClipTextTransformer(**defaults | sizes)


@pytest.mark.parametrize("name", ["clip_text__small_uniform", "clip_text__small_cliptokens"])
def test_every_stage_is_the_official_one(name: str) -> None:
    case, tower, tokens = golden(name)
    stages: dict[str, Tensor] = {}

    def keep(stage: str) -> None:
        tower.get_submodule(places[stage]).register_forward_hook(lambda _, __, out: stages.update({stage: out}))

    places = {f"resblock{i}": f"transformer.resblocks.{i}" for i in range(case.case["hyperparameters"]["layers"])}
    places["ln_final"] = "ln_final"
    for stage in places:
        keep(stage)
    tower.transformer.register_forward_pre_hook(lambda _, args: stages.update(embedded=args[0]))
    with torch.no_grad():
        stages["text_features"] = tower(tokens)
    assert set(stages) == set(case.case["outputs"])
    for stage, expected in case.case["outputs"].items():
        assert_matches(stages[stage], expected)


def test_the_other_activation_is_the_exact_gaussian() -> None:
    case, tower, tokens = golden("clip_text__small_uniform")
    sizes = {key: value for key, value in case.case["hyperparameters"].items() if key != "activation"}
    exact = ClipTextTransformer(**sizes, activation="gelu").double().eval()
    exact.load_state_dict(tower.state_dict())
    for module in list(tower.modules()):
        if isinstance(module, ResidualAttentionBlock):
            module.mlp.register_module("gelu", nn.GELU(approximate="none"))
    torch.testing.assert_close(exact(tokens), tower(tokens))
    assert torch.equal(QuickGELU()(torch.tensor([0.0])), torch.zeros(1))


def test_what_stands_after_the_end_mark_changes_nothing() -> None:
    tower = small().double()
    tokens = torch.randint(48, (3, 12))
    tokens[:, 5] = 49
    other = tokens.clone()
    other[:, 6:] = 3
    torch.testing.assert_close(tower(tokens), tower(other))
    torch.testing.assert_close(tower(tokens), tower(tokens[:, :6]))
    other[:, 2] = 7
    assert not torch.allclose(tower(tokens), tower(other))


def test_the_first_of_equal_end_marks_counts() -> None:
    tower = small().double()
    tokens = torch.full((1, 12), 4)
    tokens[0, [3, 8]] = 49
    torch.testing.assert_close(tower(tokens), tower(tokens[:, :4]))


def test_gradients_reach_every_weight() -> None:
    tower = small()
    tower(torch.randint(50, (4, 12))).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in tower.parameters())


@pytest.mark.parametrize("shape", [(2, 13), (12,), (1, 2, 3)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at most 12"):
        small()(torch.zeros(shape, dtype=torch.int64))


def test_sizes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="5 heads cannot share a width of 32"):
        small(heads=5)
    with pytest.raises(ValueError, match="did you mean 'gelu'"):
        ClipTextTransformer(vocab_size=50, activation="gelo")  # type: ignore[arg-type]


def test_without_the_causal_mask_positions_see_all_others() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 32)
    changed = x.clone()
    changed[:, -1] += 1
    for causal in (True, False):
        stack = Transformer(32, 2, 4, causal=causal)
        same = torch.allclose(stack(x)[:, 0], stack(changed)[:, 0])
        assert same is causal


def test_fresh_weights_have_the_spread_of_the_paper() -> None:
    torch.manual_seed(0)
    width, layers = 64, 8
    tower = ClipTextTransformer(context_length=80, vocab_size=900, width=width, heads=1, layers=layers, embed_dim=96)
    into_sum = width**-0.5 * (2 * layers) ** -0.5
    spreads = {
        "token_embedding.weight": 0.02,
        "positional_embedding": 0.01,
        "text_projection": width**-0.5,
        "transformer.resblocks.5.attn.in_proj_weight": width**-0.5,
        "transformer.resblocks.5.attn.out_proj.weight": into_sum,
        "transformer.resblocks.5.mlp.c_fc.weight": (2 * width) ** -0.5,
        "transformer.resblocks.5.mlp.c_proj.weight": into_sum,
    }
    state = tower.state_dict()
    for name, spread in spreads.items():
        assert state[name].std().item() == pytest.approx(spread, rel=0.05), name
    assert tower.token_embedding.weight.requires_grad
