"""Checkpoints from outside: wrapped, damaged, hostile, or of another network."""

import argparse
import collections
import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gcn_goldens import Golden
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from small_models import text_options
from torch import Tensor, nn

from protogcn.models import SkeletonClassifier, create_model, list_models, save_model
from protogcn.models.checkpoints import UNSAVED, load_official, read_state_dict

CASE = "protogcn__ntu25_60c_T64_M2"
GOLDENS = Path(__file__).parent.parent / "goldens" / "gcn"
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """A state dict under the official names, single precision."""
    return {
        name: value if name.endswith("num_batches_tracked") else value.float()
        for name, value in Golden(GOLDENS / f"{CASE}.json").state_dict().items()
    }


def network(num_classes: int = 60, **options: Any) -> SkeletonClassifier:
    return create_model("protogcn", num_classes=num_classes, **options)


@pytest.fixture(scope="module")
def loaded(official: dict[str, Tensor]) -> SkeletonClassifier:
    """A network that holds the official weights."""
    model = network()
    load_official(model, official)
    return model


def assert_same(first: nn.Module, second: nn.Module) -> None:
    state = second.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first.state_dict().items() if key not in UNSAVED)


@pytest.mark.parametrize("name", list_models())
def test_official_names_cover_the_whole_state_once(name: str) -> None:
    options = text_options(name, 3)
    if options:
        # As long as the features, like the texts of the published networks, which have no map between the two.
        options["text_encoder"] = "random:width=32,layers=1,heads=2,embed_dim=512"
    model = create_model(name, num_classes=3, **options)
    try:
        entries = model.official_entries()
    except ValueError as error:
        assert "no official checkpoints" in str(error)
        return
    assert set(entries) | set(UNSAVED) >= set(model.state_dict())
    assert set(entries) <= set(model.state_dict())
    names = [each for names in entries.values() for each in names]
    assert len(set(names)) == len(names)


def test_every_official_number_arrives(official: dict[str, Tensor], loaded: SkeletonClassifier) -> None:
    state = loaded.state_dict()
    arrived = 0
    for own, names in loaded.official_entries().items():
        if state[own].ndim:
            assert torch.equal(state[own], torch.cat([official[name] for name in names])), own
        arrived += len(names)
    assert arrived == len(official)


WRAPPED = {
    "plain": lambda state: state,
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "runner": lambda state: {
        "meta": {"epoch": 150, "time": "today", "hook_msgs": {"best_score": np.float64(0.93)}, "seed": np.int64(3)},
        "state_dict": collections.OrderedDict(state),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
    },
    "parallel runner": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    "model": lambda state: {"model": state, "epoch": 3},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_wrappings_come_off(
    wrapping: str, legacy: bool, official: dict[str, Tensor], loaded: SkeletonClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    torch.save(WRAPPED[wrapping](official), path, _use_new_zipfile_serialization=not legacy)
    state = read_state_dict(path)
    assert set(state) == set(official)
    model = network()
    load_official(model, state)
    assert_same(model, loaded)


class ConfigDict(dict):  # type: ignore[type-arg]
    """Pickled as mmcv pickles a configuration: a mapping that is its own state."""

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self.items())

    def __getstate__(self) -> Any:
        return self


BESIDE: dict[str, Any] = {
    "a number": np.float32(0.9),
    "an array": np.arange(6.0).reshape(2, 3),
    "an array of numbers in a list": [np.arange(3), np.int64(2)],
    "arguments": argparse.Namespace(lr=0.1, device=[0, 1]),
    "a date": {"time": "Mon Jan 1", "hook_msgs": {"best_score": np.float64(0.9), "last_ckpt": "epoch_16.pth"}},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", BESIDE)
def test_what_lies_beside_the_weights_is_ignored(case: str, legacy: bool, tmp_path: Path) -> None:
    path, weights = tmp_path / "official.pth", {"first": torch.ones(5, 4), "second": torch.zeros(3)}
    torch.save({"meta": BESIDE[case], "state_dict": weights}, path, _use_new_zipfile_serialization=not legacy)
    state = read_state_dict(path)
    assert set(state) == set(weights)
    assert all(torch.equal(state[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["mmcv.utils.config", "mmengine.config.config"])
def test_a_configuration_of_mmcv_is_ignored(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [name.rsplit(".", depth)[0] for depth in (2, 1, 0)]
    for package in packages:
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    vars(sys.modules[name])["ConfigDict"] = ConfigDict
    monkeypatch.setattr(ConfigDict, "__module__", name)
    config = ConfigDict(model=ConfigDict(type="RecognizerGCN", backbone=ConfigDict(K=8)), lr=0.1)
    torch.save({"meta": {"config": config}, "state_dict": {"weight": torch.ones(2)}}, tmp_path / "official.pth")
    for package in packages:
        monkeypatch.delitem(sys.modules, package)
    assert set(read_state_dict(tmp_path / "official.pth")) == {"weight"}


def test_weights_without_wrapping_in_safetensors(tmp_path: Path) -> None:
    path, weights = tmp_path / "official.safetensors", {"module.a": torch.ones(3), "module.b": torch.zeros(2, 2)}
    save_file(weights, path)
    assert {name: value.shape for name, value in read_state_dict(path).items()} == {"a": (3,), "b": (2, 2)}
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"official.safetensors is no safetensors file, or a damaged one"):
        read_state_dict(path)
    save_model(network(3, base_channels=8, num_blocks=1, widen_at=(), downsample_at=()), path)
    with pytest.raises(ValueError, match="is a model of this library already: load_model"):
        read_state_dict(path)


class Hostile:
    """Runs a command when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_hostile_checkpoints_are_refused_and_not_run(legacy: bool, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "hostile.pth"
    content = {"state_dict": {"weight": torch.ones(2)}, "meta": Hostile(victim)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"hostile.pth asks for \w+\.system, .* can run code") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"hostile\.pth"):
        read_state_dict(path)
    assert not victim.exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ValueError, match=r"asks for torch\.nn\.modules\.linear\.Linear, which is no tensor"):
        read_state_dict(tmp_path / "module.pth")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01" * 400, b"<html>404</html>", b"PK\x03\x04 and no more", b"\x80\x02."]
)
def test_files_that_are_no_checkpoints(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model.pth is no PyTorch checkpoint, or a damaged one: download"):
        read_state_dict(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            read_state_dict(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {"epoch": 3}, {3: torch.ones(1)}, {"a": [1.0]}])
def test_checkpoints_without_a_state_dict(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty.pth: there is no state dict"):
        read_state_dict(tmp_path / "empty.pth")


def saved(legacy: bool) -> bytes:
    stream = io.BytesIO()
    content = {"state_dict": {"first": torch.ones(5, 4), "second": torch.zeros(3)}, "meta": {"score": np.float64(1)}}
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


SAVED = [saved(False), saved(True)]


@SETTINGS
@given(data=st.data())
def test_damage_never_ends_in_anything_but_a_state_dict_or_a_message(data: Any, tmp_path: Path) -> None:
    content = bytearray(data.draw(st.sampled_from(SAVED)))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 8, len(content))) :]
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    try:
        state = read_state_dict(path)
    except ValueError as error:
        assert "damaged.pth" in str(error)
    else:
        assert all(isinstance(value, Tensor) for value in state.values())


def test_a_download_cut_off_anywhere_is_told_from_a_whole_one(tmp_path: Path) -> None:
    path, whole = tmp_path / "cut.pth", saved(legacy=True)
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        # Cut inside a name, the file asks for something that does not exist.
        with pytest.raises(ValueError, match=r"cut\.pth (is no PyTorch checkpoint|asks for [\w.]+)"):
            read_state_dict(path)
    path.write_bytes(whole)
    assert set(read_state_dict(path)) == {"first", "second"}


def refused(model: nn.Module, state: Any, message: str) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_official(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 120}, r"cls_head.fc_cls.weight has shape \(60, 384\), the model needs \(120, 384\)"),
        ({"skeleton": "coco20"}, r"backbone.data_bn.weight has shape \(75,\), the model needs \(60,\)"),
        ({"num_prototypes": 100}, r"backbone.prn.query_matrix.weight has shape \(400, 384\)"),
        ({"base_channels": 48}, "and [0-9]+ more"),
        ({"num_blocks": 9}, "not known to this model: backbone.gcn.9"),
        ({"num_blocks": 11}, "missing: backbone.gcn.10"),
    ],
)
def test_checkpoints_of_another_network(options: dict[str, Any], message: str, official: dict[str, Tensor]) -> None:
    model = network(**options)
    refused(model, official, "nothing was loaded")
    refused(model, official, message)


@SETTINGS
@given(data=st.data())
def test_a_single_wrong_entry_stops_the_whole_load(
    data: Any, official: dict[str, Tensor], loaded: SkeletonClassifier
) -> None:
    name = data.draw(st.sampled_from(sorted(official)))
    state = {key: value + 1 for key, value in official.items()}
    match data.draw(st.sampled_from(["drop", "rename", "shape"])):
        case "drop":
            del state[name]
        case "rename":
            state[f"{name}x"] = state.pop(name)
        case _:
            shape = data.draw(
                st.lists(st.integers(0, 5), max_size=5).filter(lambda s: tuple(s) != official[name].shape)
            )
            state[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_official(loaded, state)
    assert torch.equal(loaded.state_dict()["classifier.bias"], official["cls_head.fc_cls.bias"])


def test_only_models_of_the_library_know_official_names(official: dict[str, Tensor]) -> None:
    refused(nn.Linear(2, 2), official, "Linear is no model of this library")
    refused(network(), {}, "there is no state dict")


def test_the_class_memory_is_ours_and_stays(official: dict[str, Tensor]) -> None:
    model = network()
    before = model.state_dict()["class_memory.memory"].clone()
    load_official(model, official)
    assert torch.equal(model.state_dict()["class_memory.memory"], before)
