"""Starting from the weights of another training: what is taken, what is left, what is refused, what is remembered."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_runs import (
    NETWORK,
    Stopped,
    assert_same_weights,
    checkpoint,
    error_of,
    stop_before_epoch,
    tiny_recipe,
    train,
    weights,
    write_recipe,
)
from torch import nn

from protogcn.cli import main
from protogcn.data.synthetic import write_synthetic
from protogcn.models import create_model, save_model
from protogcn.training.initialise import initialise
from protogcn.training.recipe import parse_recipe
from protogcn.training.run_folder import read_config

STGCN = {"num_blocks": 3, "base_channels": 8, "widen_at": [2], "downsample_at": [2]}


def network(seed=0, name="stgcnpp", num_classes=5, skeleton="kinect15", options=STGCN, **more):
    torch.manual_seed(seed)
    return create_model(name, skeleton=skeleton, num_classes=num_classes, **options, **more)


def saved(tmp_path, model):
    return save_model(model, tmp_path / "trained.safetensors")


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_all_weights_of_the_same_network_are_taken(tmp_path):
    source, target = network(1), network(2)
    found = initialise(target, path := saved(tmp_path, source))
    assert_same_weights(target.state_dict(), source.state_dict())
    assert (found.taken, found.left, found.unused) == (len(source.state_dict()), (), ())
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.describe() == f"weights from {path} (sha256 {found.sha256[:12]}): {found.taken} tensors taken"


@pytest.mark.parametrize("name", ["stgcnpp", "protogcn", "infogcn"])
def test_what_knows_the_classes_starts_afresh_where_their_number_differs(tmp_path, name):
    options = NETWORK if name == "protogcn" else {**STGCN, **({"num_heads": 2} if name == "infogcn" else {})}
    source, target = (network(seed, name, classes, options=options) for seed, classes in ((1, 7), (2, 5)))
    before = state_of(target)
    found = initialise(target, saved(tmp_path, source))
    after, there = target.state_dict(), source.state_dict()
    assert set(found.left) == {key for key in before if before[key].shape != there[key].shape}
    assert {"classifier.weight", "classifier.bias"} <= set(found.left)
    for key, value in after.items():
        assert torch.equal(value, before[key] if key in found.left else there[key]), key
    assert "left as they were: " in found.describe() and "classifier.weight" in found.describe()


def test_an_official_checkpoint_is_taken_by_its_names(tmp_path):
    source, target = network(1, num_classes=9), network(2)
    entries = source.official_entries()
    state = {}
    for own, names in entries.items():
        value = source.state_dict()[own]
        sizes = [len(value) - len(names) + 1, *[1] * (len(names) - 1)] if value.ndim else []
        parts = value.split(sizes) if value.ndim else [value] * len(names)
        state |= {name: part.clone() for name, part in zip(names, parts, strict=True)}
    assert any(len(names) > 1 for names in entries.values())
    torch.save({"state_dict": state, "meta": {"epoch": 3}}, tmp_path / "official.pth")
    found = initialise(target, tmp_path / "official.pth")
    assert {name for name in found.left if name in entries} == {"classifier.weight", "classifier.bias"}
    for name in entries:
        if not name.startswith("classifier"):
            assert torch.equal(target.state_dict()[name], source.state_dict()[name]), name


def test_plain_state_dicts_are_taken_by_the_names_of_the_network(tmp_path):
    source = network(1)
    torch.save(source.state_dict(), tmp_path / "plain.pt")
    save_file(source.state_dict(), tmp_path / "plain.safetensors")
    for file in ("plain.pt", "plain.safetensors"):
        initialise(target := network(2), tmp_path / file)
        assert_same_weights(target.state_dict(), source.state_dict())


def test_a_head_of_texts_takes_the_backbone_and_keeps_its_vectors(tmp_path):
    class Texts(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.projection = nn.Linear(16, 4)
            self.register_buffer("embeddings", torch.full((2, 5, 4), value))

    path = saved(tmp_path, source := network(1))
    target = network(2)
    target.classifier = Texts(1.0)
    found = initialise(target, path)
    assert found.unused == ("classifier.bias", "classifier.weight")
    assert torch.equal(
        target.state_dict()["blocks.2.graph.norm.weight"], source.state_dict()["blocks.2.graph.norm.weight"]
    )
    other = network(3)
    other.classifier = Texts(2.0)
    torch.save(other.state_dict(), tmp_path / "texts.pt")
    assert "classifier.embeddings" in initialise(target, tmp_path / "texts.pt").left
    assert (target.classifier.embeddings == 1).all()
    assert torch.equal(target.classifier.projection.weight, other.classifier.projection.weight)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"options": {**STGCN, "num_blocks": 4}}, r"blocks\.3\.\S+ is not known to the network.*and \d+ more"),
        ({"options": {**STGCN, "num_blocks": 2}}, r"blocks\.2\.\S+ is missing"),
        ({"options": {**STGCN, "base_channels": 16}}, r"is \(16,\) there and \(8,\) here.*and \d+ more"),
        (
            {"skeleton": "coco17"},
            r"is \(\d+, 17, 17\) there and \(\d+, 15, 15\) here|input_norm\.norm\.weight is \(51,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_can_be_left(tmp_path, source, message):
    path = saved(tmp_path, network(1, **source))
    target = network(2)
    before = state_of(target)
    with pytest.raises(ValueError, match=message) as refused:
        initialise(target, path)
    assert "--init-partial" in str(refused.value) and len(str(refused.value)) < 1200
    assert_same_weights(target.state_dict(), before)
    found = initialise(target, path, partial=True)
    there = network(1, **source).state_dict()
    for name, value in target.state_dict().items():
        assert torch.equal(value, before[name] if name in found.left else there[name]), name
    assert found.taken and (found.left or found.unused)


def test_other_networks_and_broken_files_are_refused(tmp_path):
    target = network()
    saved(tmp_path, network(1))
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"nothing in .* fits the backbone of.* it holds encoder\.weight"):
        initialise(target, tmp_path / "other.pt", partial=True)
    with pytest.raises(FileNotFoundError, match="there are no weights"):
        initialise(target, tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match="holds no model"):
        initialise(target, tmp_path)
    (tmp_path / "text.ckpt").write_text("no weights")
    with pytest.raises(ValueError, match="no PyTorch checkpoint"):
        initialise(target, tmp_path / "text.ckpt")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "trained.safetensors").read_bytes()[:300])
    with pytest.raises(ValueError, match="safetensors file, or a damaged one"):
        initialise(target, tmp_path / "cut.safetensors")
    state = network(1).state_dict()
    state["blocks.0.graph.norm.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(ValueError, match=r"blocks\.0\.graph\.norm\.weight holds values that are no finite numbers"):
        initialise(target, tmp_path / "nan.pt")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"protocol": "linear"}, "the protocol linear starts from weights"),
        ({"protocol": "finetune"}, "the protocol finetune starts from weights"),
        ({"weights": "x", "protocol": "scratch"}, "the protocol scratch takes no weights"),
        ({"partial": True}, "init.partial is about the weights"),
        ({"protocol": "probe"}, "protocol"),
    ],
)
def test_protocols_that_contradict_the_weights_are_refused(init, message):
    with pytest.raises(ValueError, match=message):
        parse_recipe({"benchmark": "tiny", "init": init}, "test")


def test_the_protocol_follows_from_the_weights():
    def protocol(**init):
        return parse_recipe({"benchmark": "tiny", "init": init}, "test").init.way

    assert (protocol(), protocol(weights="x")) == ("scratch", "finetune")
    assert protocol(weights="x", protocol="linear") == "linear"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_store):
    """A run of another set of seven actions, from which weights are taken."""
    folder = tmp_path_factory.mktemp("trained")
    actions = ["walk", "wave", "clap", "sit down", "kick", "bow", "jump"]
    kinds = {"actions": actions, "subjects": 3, "views": (1,), "repetitions": 2, "frames": (10, 12), "seed": 1}
    store = write_synthetic(folder / "store", "kinect15", **kinds).path
    recipe = write_recipe(folder, store, trainer={"epochs": 1})
    assert train(recipe, folder, "--name", "first") == 0
    return folder / "tiny" / "first" / "j"


@pytest.mark.parametrize("file", ["", "model.safetensors", "checkpoints/last.ckpt"])
def test_a_linear_probe_moves_nothing_but_the_classifier(tmp_path, tiny_store, trained, file, capsys):
    recipe = write_recipe(tmp_path, tiny_store, optimizer={"lr": 0.5}, trainer={"ema": 0.9})
    assert train(recipe, tmp_path, "--name", "probe", "--init", trained / file, "--protocol", "linear") == 0
    assert "linear: weights from " in capsys.readouterr().out
    folder = tmp_path / "tiny" / "probe" / "j"
    before, after = weights(trained), weights(folder)
    shared = {name for name in before if not name.startswith("model.classifier") and name in after}
    moved = {name for name in shared if not torch.equal(before[name], after[name])}
    assert moved <= {"model.class_memory.memory"}
    assert read_config(folder).init.protocol == "linear"
    facts = json.loads((folder / "metrics.json").read_text())["init"]
    used = trained / (file or "model.safetensors")
    assert facts["sha256"] == hashlib.sha256(used.read_bytes()).hexdigest() and facts["weights"] == str(used)
    assert facts["protocol"] == "linear" and "classifier.weight" in facts["left"]
    told = checkpoint(folder)["optimizer_states"][0]["param_groups"]
    assert [len(group["params"]) for group in told] == [2]
    # Tested again, it still says where it began.
    assert main(["test", str(folder)]) == 0
    assert json.loads((folder / "metrics.json").read_text())["init"] == facts


def test_fine_tuning_starts_there_and_goes_on_after_a_cut_without_the_file(tmp_path, tiny_store, trained):
    source = tmp_path / "source.safetensors"
    source.write_bytes((trained / "model.safetensors").read_bytes())
    recipe = write_recipe(tmp_path, tiny_store, trainer={"epochs": 2})
    words = ("--init", source)
    assert train(recipe, tmp_path, "--name", "whole", *words) == 0
    with pytest.raises(Stopped), stop_before_epoch(2):
        train(recipe, tmp_path, "--name", "cut", *words)
    source.unlink()
    assert train(recipe, tmp_path, "--name", "cut", *words) == 0
    whole, cut = (tmp_path / "tiny" / name / "j" for name in ("whole", "cut"))
    assert_same_weights(weights(whole), weights(cut))
    first, second = (json.loads((folder / "metrics.json").read_text())["init"] for folder in (whole, cut))
    assert first == second and first["protocol"] == "finetune"
    moved = [name for name, value in weights(trained).items() if not torch.equal(value, weights(whole)[name])]
    assert any("blocks.0" in name for name in moved)


def test_a_run_of_zero_rate_holds_the_very_weights(tmp_path, tiny_store, trained):
    recipe = write_recipe(tmp_path, tiny_store, optimizer={"lr": 0.0}, trainer={"epochs": 1})
    word = str(trained).replace("/j", "/{stream}")
    assert train(recipe, tmp_path, "--name", "still", "--init", word) == 0
    before, after = weights(trained), weights(tmp_path / "tiny" / "still" / "j")
    names = [name for name, _ in _parameters(tiny_store) if not name.startswith("classifier")]
    assert names and all(torch.equal(before[f"model.{name}"], after[f"model.{name}"]) for name in names)


def _parameters(store):
    options = tiny_recipe(store)["model"]["options"]
    return create_model("protogcn", skeleton="kinect15", num_classes=5, **options).named_parameters()


def test_a_folder_of_another_protocol_is_left_alone(tmp_path, tiny_store, trained, capsys):
    recipe = write_recipe(tmp_path, tiny_store, trainer={"epochs": 1})
    assert train(recipe, tmp_path, "--init", trained) == 0
    capsys.readouterr()
    assert train(recipe, tmp_path, "--init", trained, "--protocol", "linear") == 2
    assert "init.protocol: None there, 'linear' now" in error_of(capsys)
    assert train(recipe, tmp_path, "--name", "no", "--init", tmp_path / "none.pth") == 2
    assert "there are no weights" in error_of(capsys)
    assert train(recipe, tmp_path, "--name", "no", "--protocol", "linear") == 2
    assert "name them by --init" in error_of(capsys)
