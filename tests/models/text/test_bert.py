"""Our BERT against that of the transformers library, alone and with clips, and what it refuses."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protogcn.models.text.bert import Bert

SIZES: dict[str, Any] = {"vocab_size": 50, "width": 32, "layers": 3, "heads": 4, "inner_width": 56, "positions": 16}
TOKENS = torch.tensor([[7, 3, 9, 21, 8], [7, 30, 8, 0, 0], [7, 8, 0, 0, 0]])
USED = TOKENS != 0


def settings(**others: Any) -> dict[str, Any]:
    return {
        "vocab_size": SIZES["vocab_size"],
        "hidden_size": SIZES["width"],
        "num_hidden_layers": SIZES["layers"],
        "num_attention_heads": SIZES["heads"],
        "intermediate_size": SIZES["inner_width"],
        "max_position_embeddings": SIZES["positions"],
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        **others,
    }


def shaken(module: nn.Module) -> nn.Module:
    """With every weight of its own, norms and biases too, in double precision."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_texts_alone_are_read_as_by_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'protogcn[text]'")
    reference = shaken(transformers.BertModel(transformers.BertConfig(**settings()), add_pooling_layer=False))
    state, places = reference.state_dict(), "embeddings.position_embeddings.weight"
    # One sentence has the first type everywhere.
    state[places] = state[places] + state.pop("embeddings.token_type_embeddings.weight")[0]
    bert = Bert(**SIZES).double().eval()
    bert.load_state_dict(state)
    with torch.no_grad():
        expected = reference(input_ids=TOKENS, attention_mask=USED.long()).last_hidden_state
        assert_near(bert.hidden(TOKENS)[USED], expected[USED])
        assert_near(bert(TOKENS), expected[:, 0])


def test_texts_are_read_with_clips_as_by_blip() -> None:
    blip = pytest.importorskip("transformers.models.blip.modeling_blip_text", reason="pip install 'protogcn[text]'")
    from transformers import BlipTextConfig

    # Its layers have cross-attention where they decode; that they look to both sides is said when they run.
    config = BlipTextConfig(**settings(encoder_hidden_size=24, is_decoder=True, bos_token_id=1, sep_token_id=2))
    reference = shaken(blip.BlipTextModel(config, add_pooling_layer=False))
    bert = Bert(**SIZES, clip_width=24).double().eval()
    bert.load_state_dict(reference.state_dict())
    frames = torch.randn(3, 7, 24, dtype=torch.float64)
    marked = TOKENS.clone()
    marked[:, 0] = SIZES["vocab_size"] - 1
    with torch.no_grad():
        alone = reference(input_ids=TOKENS, attention_mask=USED.long(), is_decoder=False).last_hidden_state
        together = reference(
            input_ids=marked, attention_mask=USED.long(), encoder_hidden_states=frames, is_decoder=False
        ).last_hidden_state
        assert_near(bert.hidden(TOKENS)[USED], alone[USED])
        assert_near(bert.hidden(marked, frames)[USED], together[USED])
        assert_near(bert.read_with(TOKENS, frames), together[:, 0])
        assert not torch.allclose(together[:, 0], alone[:, 0])


def test_the_published_size_and_names() -> None:
    with torch.device("meta"):
        bert = Bert()
        assert sum(each.numel() for each in bert.parameters()) == 108_891_648
        alone = set(bert.state_dict())
        bert.add_cross_attention(768)
    assert set(bert.state_dict()) - alone == set(Bert.cross_attention_names(12))
    assert {re.sub(r"\d+", "0", name) for name in alone} >= {
        "embeddings.word_embeddings.weight",
        "embeddings.LayerNorm.bias",
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.0.attention.output.LayerNorm.weight",
        "encoder.layer.0.intermediate.dense.bias",
        "encoder.layer.0.output.dense.weight",
    }
    assert bert.state_dict()["embeddings.word_embeddings.weight"].shape == (30524, 768)
    assert Bert(**SIZES, clip_width=24).sizes() == {**SIZES, "clip_width": 24, "dropout": 0.1, "norm_eps": 1e-12}


def test_fresh_weights_follow_the_seed_and_learn_with_dropout() -> None:
    torch.manual_seed(0)
    first = Bert(**SIZES, clip_width=8)
    torch.manual_seed(0)
    second = Bert(**SIZES, clip_width=8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.embeddings.word_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(first(TOKENS), first(TOKENS))
    first.read_with(TOKENS, torch.randn(3, 2, 8)).square().sum().backward()
    assert all(each.grad is not None for each in first.parameters())
    assert torch.equal(second.eval()(TOKENS), second(TOKENS))


def test_padding_changes_nothing() -> None:
    bert = Bert(**SIZES).double().eval()
    assert_near(bert(TOKENS)[1:2], bert(TOKENS[1:2, :3]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "5 heads cannot share a width of 32"),
        ({"layers": 0}, "layers must be a positive integer, got 0"),
        ({"clip_width": 0}, "clip_width must be a positive integer"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bert(**SIZES | changes)


def test_what_it_cannot_read_is_refused() -> None:
    bert = Bert(**SIZES)
    with pytest.raises(ValueError, match=r"tokens have shape \(1, 17\); this BERT takes \(N, at most 16\)"):
        bert(torch.ones(1, 17, dtype=torch.int64))
    with pytest.raises(ValueError, match="reads texts alone"):
        bert.read_with(TOKENS, torch.zeros(3, 2, 8))
    bert.add_cross_attention(8)
    with pytest.raises(ValueError, match="reads clips of 8 channels already"):
        bert.add_cross_attention(9)
