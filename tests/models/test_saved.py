"""Saved models: built again bit by bit, described in full, refused with a reason when damaged or hostile."""

import copy
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_models import CLASSES, random_batch, random_clips, small_model
from torch import nn

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from protogcn import __version__
from protogcn.models import SkeletonClassifier, create_model, list_models, load_model, registry, save_model
from protogcn.models.description import ModelDescription
from protogcn.models.saved import read_description

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STICK = {"name": "stick", "joints": {"hip": None, "head": "hip", "left_hand": "head", "right_hand": "head"}}
FACTS: dict[str, Any] = {
    "class_names": ["walk", "wave", "clap", "sit", "kick", "夜", "a\x1b[31mb"],
    "preprocessing": {"protocol": "nw_ucla", "clip_len": 52, "p_interval": (0.5, 1.0), "align_spine": None},
    "evaluation": {"average": "logits"},
    "stream": "bm",
    "benchmark": "nw_ucla",
    "seed": 3,
    "metrics": {"top1": np.float64(0.5), "clips": np.int64(464)},
    "source": "official.pth",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_identical(first: SkeletonClassifier, second: SkeletonClassifier) -> None:
    """The same weights and the same numbers out of them, bit by bit, in evaluation and in training."""
    state = second.state_dict()
    assert first.state_dict().keys() == state.keys()
    for name, value in first.state_dict().items():
        assert value.dtype == state[name].dtype, name
        assert torch.equal(value, state[name]), name
    dtype = next(first.parameters()).dtype
    assert isinstance(dtype, torch.dtype)
    clips = random_batch(first, 3, persons=2, dtype=dtype)
    assert torch.equal(copy.deepcopy(first).eval()(clips), copy.deepcopy(second).eval()(clips))
    outputs = []
    for model in (first, second):
        torch.manual_seed(5)
        outputs.append(copy.deepcopy(model).train().forward_train(clips)[0])
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_loaded_model_computes_the_very_same(name: str, dtype: torch.dtype, path: Path) -> None:
    model = small_model(name).to(dtype)
    model.train().forward_train(random_batch(model, 3, persons=2, dtype=dtype))
    assert save_model(model, path) == path
    loaded = load_model(path)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert all(not module.training for module in loaded.modules())
    assert loaded.description == model.description
    assert_identical(model, loaded)


@pytest.mark.parametrize("convolution", ["GCNConv", "GATv2Conv(heads=2)", "GINConv"])
def test_convolutions_of_pytorch_geometric(convolution: str, path: Path) -> None:
    model = small_model("stgcn", spatial=f"pyg:{convolution}")
    save_model(model, path)
    assert_identical(model, load_model(path))


def test_state_that_only_training_needs_is_kept(path: Path) -> None:
    model = small_model("protogcn")
    memory = model.state_dict()["class_memory.memory"]
    memory.copy_(random_clips(*memory.shape))
    save_model(model, path)
    assert torch.equal(load_model(path).state_dict()["class_memory.memory"], memory)


@pytest.mark.parametrize("skeleton", [*list_skeletons(), Skeleton.from_dict(STICK)], ids=str)
def test_every_layout_comes_back_whole(skeleton: str | Skeleton, path: Path) -> None:
    model = create_model(
        "stgcn", skeleton=skeleton, num_classes=2, num_blocks=1, base_channels=4, widen_at=(), downsample_at=()
    )
    save_model(model, path)
    assert load_model(path).skeleton == get_skeleton(skeleton)


def test_what_is_known_of_a_model_travels_with_it(path: Path) -> None:
    model = small_model("protogcn", num_persons=4, in_channels=2)
    save_model(model, path, **FACTS)
    described = load_model(path).description
    assert described == read_description(path)
    assert described is not None
    assert described.model == "protogcn"
    assert (described.num_classes, described.in_channels, described.num_persons) == (CLASSES, 2, 4)
    assert described.options["num_prototypes"] == 8
    assert described.options["widen_at"] == [2]
    assert described.options["dropout"] == 0.0
    assert described.class_names == tuple(FACTS["class_names"])
    assert described.preprocessing == {**FACTS["preprocessing"], "p_interval": [0.5, 1.0]}
    assert described.metrics == {"top1": 0.5, "clips": 464}
    assert (described.stream, described.benchmark, described.seed) == ("bm", "nw_ucla", 3)
    assert (described.source, described.version) == ("official.pth", __version__)
    # The model in hand is left as it was.
    assert model.description is not None and model.description.class_names == ()


def test_saving_again_keeps_what_was_known(path: Path, tmp_path: Path) -> None:
    save_model(small_model("protogcn"), path, **FACTS)
    again = save_model(load_model(path), tmp_path / "again.safetensors", stream="j")
    first, second = read_description(path), read_description(again)
    assert second.stream == "j"
    assert second.class_names == first.class_names and second.preprocessing == first.preprocessing


@pytest.mark.parametrize("classes", [3, CLASSES])
def test_a_new_classifier_loses_the_names_of_the_old_classes(classes: int, path: Path, tmp_path: Path) -> None:
    save_model(small_model("protogcn"), path, **FACTS)
    model = load_model(path)
    model.reset_classifier(classes)
    again = load_model(save_model(model, tmp_path / "again.safetensors"))
    assert_identical(model, again)
    assert again.num_classes == classes
    assert again.description is not None
    assert again.description.num_classes == classes
    assert (again.description.class_names, again.description.metrics, again.description.benchmark) == ((), {}, "")
    assert again.description.preprocessing["clip_len"] == 52
    names = [f"action {index}" for index in range(classes)]
    save_model(model, path, class_names=names)
    assert read_description(path).class_names == tuple(names)


def test_the_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    model = small_model("protogcn")
    other = save_model(model, tmp_path / "other.safetensors", **FACTS)
    assert save_model(model, path, **FACTS).read_bytes() == other.read_bytes()


def test_loading_draws_no_random_numbers(path: Path) -> None:
    save_model(small_model("protogcn"), path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_model(path)
    assert torch.equal(torch.rand(3), expected)


def test_a_file_is_replaced_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("protogcn")
    save_model(model, path)
    before = path.read_bytes()

    def fail(tensors: Any, temporary: Path, *_: Any) -> None:
        temporary.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr("protogcn.models.model_file.save_file", fail)
    with pytest.raises(OSError, match="the disk is full"):
        save_model(model, path, stream="j")
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_loaded_model_survives_the_replacement_of_its_file(path: Path) -> None:
    model = small_model("protogcn")
    save_model(model, path)
    loaded = load_model(path)
    path.write_bytes(b"")
    assert_identical(model, loaded)


class Tied(SkeletonClassifier):
    """Two maps with the same weights, a counter, a switch, and a table that is no part of the state."""

    def __init__(self, skeleton: Skeleton, num_classes: int, in_channels: int, tie: bool) -> None:
        super().__init__(skeleton, num_classes, in_channels, num_features=in_channels)
        self.first, self.second = (nn.Linear(in_channels, in_channels) for _ in range(2))
        if tie:
            self.second.weight = self.first.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int32))
        self.register_buffer("used", torch.ones(3, dtype=torch.bool))
        self.register_buffer("table", torch.full((in_channels,), 0.1), persistent=False)

    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        mixed = self.second(self.first(clips).relu() + self.get_buffer("table"))
        return mixed.permute(0, 1, 4, 2, 3)


@pytest.fixture
def tied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))

    @registry.register_model("tied", paper="none")
    def build(skeleton: Skeleton, num_classes: int, in_channels: int = 3, *, tie: bool = True) -> Tied:
        """A toy."""
        return Tied(skeleton, num_classes, in_channels, tie)

    yield


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shared_weights_and_other_kinds_of_numbers(tied: None, tie: bool, dtype: torch.dtype, path: Path) -> None:
    model = create_model("tied", num_classes=4, tie=tie).to(dtype)
    model.get_buffer("seen").fill_(7)
    model.get_buffer("used")[1] = False
    if not tie:
        model.get_submodule("second").weight = model.get_submodule("first").weight
    save_model(model, path)
    assert len(load_file(path)) == len(model.state_dict()) - 1
    loaded = load_model(path)
    assert_identical(model, loaded)
    assert loaded.get_parameter("second.weight") is loaded.get_parameter("first.weight")


def test_views_of_one_memory_become_independent(tied: None, path: Path) -> None:
    model = create_model("tied", num_classes=4, tie=False)
    joint = torch.arange(18.0).reshape(3, 6)
    model.get_parameter("first.weight").data, model.get_parameter("second.weight").data = joint[:, :3], joint[:, 2:5]
    save_model(model, path)
    assert_identical(model, load_model(path))


REFUSED_TO_SAVE: dict[str, tuple[Callable[[SkeletonClassifier], Any], dict[str, Any], str]] = {
    "wrapped": (lambda model: nn.Sequential(model), {}, "Sequential does not say how it is built again"),
    "names": (lambda model: model, {"class_names": ["a"]}, "a name for each of the 7 classes.*got 1"),
    "stream": (lambda model: model, {"stream": "jb"}, "unknown stream 'jb'"),
    "seed": (lambda model: model, {"seed": -1}, "seed must be an integer of 0 or more"),
    "object": (lambda model: model, {"metrics": {"top1": {1, 2}}}, r"metrics.top1 cannot be written.*got \{1, 2\}"),
    "not a number": (lambda model: model, {"metrics": {"top1": float("nan")}}, "metrics.top1 cannot be written.*nan"),
}


@pytest.mark.parametrize("case", REFUSED_TO_SAVE)
def test_what_cannot_be_saved(case: str, path: Path) -> None:
    change, facts, message = REFUSED_TO_SAVE[case]
    with pytest.raises(ValueError, match=message):
        save_model(change(small_model("protogcn")), path, **facts)
    assert not path.exists()


def test_a_model_that_was_rebuilt_is_not_saved(path: Path) -> None:
    model = small_model("protogcn")
    model.classifier = nn.Linear(model.num_features, 12)
    with pytest.raises(ValueError, match=r"no longer what create_model\('protogcn'\) built \('classifier.weight' is"):
        save_model(model, path)
    model = small_model("protogcn")
    model.extra = nn.Linear(2, 2)  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"'extra\.bias' is not known"):
        save_model(model, path)


def test_other_suffixes_and_folders(tmp_path: Path) -> None:
    model = small_model("protogcn")
    with pytest.raises(ValueError, match=r"a file \*.safetensors, got .*model.pth"):
        save_model(model, tmp_path / "model.pth")
    assert save_model(model, tmp_path) == tmp_path / "model.safetensors"
    assert_identical(model, load_model(tmp_path))
    assert save_model(model, tmp_path / "new" / "folder" / "a.safetensors").is_file()


def test_folders_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no model .*absent"):
        load_model(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors; name a run folder"):
        load_model(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors, which a run writes.*protogcn test"):
        load_model(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in a file."""
    return save_model(small_model("protogcn"), tmp_path_factory.mktemp("saved") / "small.safetensors", **FACTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is loaded in no time."""
    model = small_model("stgcn", base_channels=2, num_blocks=1, widen_at=[], downsample_at=[], skeleton="kinect15")
    return save_model(model, tmp_path_factory.mktemp("saved") / "tiny.safetensors", **FACTS)


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["protogcn"])


def rewritten(path: Path, target: Path, header: Any) -> Path:
    """The weights of a file under another header."""
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(load_file(path), target, {"protogcn": text})
    return target


def refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert path.name in str(caught.value)


def described(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda header: {**header, "description": {**header["description"], **changes}}


def optioned(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda header: described(options={**header["description"]["options"], **changes})(header)


def without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda header: {
        **header,
        "description": {key: value for key, value in header["description"].items() if key not in keys},
    }


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no JSON": (lambda header: "{", "not readable as JSON"),
    "nested": (lambda header: "[" * 100_000, "not readable as JSON"),
    "a list": (lambda header: [], "must hold format, sha256, shared, description"),
    "a constant": (lambda header: json.dumps(header).replace("0.5", "NaN"), "NaN is no number of JSON"),
    "newer": (lambda header: {**header, "format": 2}, "has format 2.* reads 1: install the protogcn that wrote it"),
    "no format": (lambda header: {**header, "format": True}, "must hold format"),
    "no checksum": (lambda header: {key: header[key] for key in header if key != "sha256"}, "must hold format"),
    "another checksum": (lambda header: {**header, "sha256": "0" * 64}, "not those that were written"),
    "shared twice": (lambda header: {**header, "shared": {"classifier.bias": "x"}}, "is said to be 'x' again"),
    "shared badly": (lambda header: {**header, "shared": {"x": 3}}, "name what shares its weights"),
    "shared more": (lambda header: {**header, "shared": {"x": "classifier.bias"}}, "'x' is not known to it"),
    "unknown entry": (described(modle="x"), "unknown entry 'modle'; did you mean .*'model'"),
    "no model": (without("model"), "the entry model is missing"),
    "no skeleton": (without("skeleton"), "the entry skeleton is missing"),
    "model of numbers": (described(model=3), "model must be text, got 3"),
    "unknown model": (described(model="protogcm"), "unknown model 'protogcm'; did you mean 'protogcn'.*my_net.py"),
    "classes": (described(num_classes="7", class_names=[]), "num_classes must be a positive integer, got '7'"),
    "more classes": (
        described(num_classes=8, class_names=[]),
        r"'classifier.weight' is \(7, 32\) instead of \(8, 32\)",
    ),
    "true classes": (described(num_classes=True, class_names=[]), "num_classes must be a positive integer, got True"),
    "endless classes": (described(num_classes=10**12, class_names=[]), "far larger than its weights"),
    "channels": (described(in_channels=4), "not those of the network"),
    "persons": (described(num_persons=0), "num_persons must be a positive integer"),
    "names": (described(class_names=["a", "b"]), "a name for each of the 7 classes"),
    "names of numbers": (described(class_names=[1] * 7), "a name for each of the 7 classes"),
    "stream": (described(stream="jb"), "unknown stream 'jb'"),
    "seed": (described(seed="3"), "seed must be"),
    "metrics": (described(metrics=[1]), r"metrics must be a mapping, got \[1\]"),
    "options": (described(options=[1]), "options must be a mapping"),
    "unknown option": (optioned(num_prototype=3), "unknown option of protogcn 'num_prototype'; did you mean"),
    "option of a wrong type": (optioned(num_blocks="3"), "num_blocks must be an integer, got '3'"),
    "option that is taken": (optioned(skeleton="ntu25"), "cannot be loaded"),
    "option out of range": (optioned(dropout=2.0), "dropout must lie in"),
    "negative option": (optioned(num_prototypes=-1), "num_prototypes must be a positive integer"),
    "another width": (optioned(base_channels=32), "and [0-9]+ more"),
    "deep": (optioned(num_blocks=10**4, widen_at=[], downsample_at=[]), "far larger than its weights"),
    "wide": (optioned(base_channels=10**4, num_topologies=10**4), "far larger than its weights"),
    "endless depth": (optioned(num_blocks=10**9), "option num_blocks is far beyond"),
    "endless width": (optioned(base_channels=2**40), "option base_channels is far beyond"),
    "endless list": (optioned(widen_at=list(range(10**5))), "option widen_at is far beyond"),
    "endless widening": (
        optioned(num_blocks=100, widen_at=list(range(2, 101)), downsample_at=[]),
        "far larger than its weights|options build no network",
    ),
    "a skeleton by name": (described(skeleton="ntu25"), "skeleton must describe at most"),
    "a skeleton without joints": (described(skeleton={"name": "x"}), "skeleton must describe at most"),
    "a crowd of joints": (described(skeleton={"joints": {str(i): None for i in range(9000)}}), "at most 2048 joints"),
    "a circle": (described(skeleton={"joints": {"a": "b", "b": "a"}}), "runs in a circle"),
    "a parent of lists": (described(skeleton={"joints": {"a": [1]}}), "cannot be loaded"),
    "another skeleton": (described(skeleton=STICK), "not those of the network"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_descriptions(case: str, saved: Path, tmp_path: Path) -> None:
    change, message = HOSTILE[case]
    refused(rewritten(saved, tmp_path / "hostile.safetensors", change(header_of(saved))), message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@SETTINGS
@given(data=st.data())
def test_any_value_at_any_place_ends_in_a_model_or_a_message(data: Any, tiny: Path, tmp_path: Path) -> None:
    header = header_of(tiny)
    place: Any = header
    while True:
        key = data.draw(st.sampled_from(list(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    place[key] = data.draw(JSON)
    target = rewritten(tiny, tmp_path / "odd.safetensors", header)
    try:
        model = load_model(target)
    except ValueError as error:
        assert "odd.safetensors cannot be loaded" in str(error)
    else:
        assert all(torch.equal(value, load_file(tiny)[name]) for name, value in model.state_dict().items())


@SETTINGS
@given(data=st.data())
def test_damaged_bytes_end_in_the_same_model_or_a_message(data: Any, tiny: Path, tmp_path: Path) -> None:
    content = bytearray(tiny.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 9000) | st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    target = tmp_path / "damaged.safetensors"
    target.write_bytes(content)
    try:
        model = load_model(target)
    except ValueError as error:
        assert "damaged.safetensors cannot be loaded" in str(error)
    else:
        assert all(torch.equal(value, load_file(tiny)[name]) for name, value in model.state_dict().items())


def test_a_file_cut_off_anywhere_is_told_from_a_whole_one(saved: Path, tmp_path: Path) -> None:
    whole, target = saved.read_bytes(), tmp_path / "cut.safetensors"
    for length in [*range(12), *range(12, len(whole), len(whole) // 40), len(whole) - 1]:
        target.write_bytes(whole[:length])
        refused(target, "copy it again")


def test_files_that_are_no_models(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for content, message in (
        (b"<html>404 not found</html>", "no safetensors file"),
        (struct.pack("<Q", 1 << 40) + b"{}", "no safetensors file, or only the beginning"),
        (struct.pack("<Q", 1 << 25) + b"{" + bytes(1 << 25), "said to have 33,554,432 bytes"),
    ):
        path.write_bytes(content)
        refused(path, message)
    torch.save({"state_dict": {"a": torch.ones(1)}}, path)
    refused(path, "is a PyTorch checkpoint.*protogcn checkpoint convert")
    save_file({"weight": torch.ones(2)}, path)
    refused(path, "weights but no description")


@pytest.mark.parametrize("change", ["missing", "left over", "shape", "kind"])
def test_weights_that_do_not_fit_the_description(change: str, saved: Path, tmp_path: Path) -> None:
    from protogcn.models.model_file import checksum

    tensors = load_file(saved)
    match change:
        case "missing":
            del tensors["classifier.bias"]
        case "left over":
            tensors["more"] = torch.ones(2)
        case "shape":
            tensors["classifier.bias"] = torch.zeros(8)
        case _:
            tensors["classifier.bias"] = torch.zeros(CLASSES, dtype=torch.int64)
    words = {"missing": "is missing", "left over": "is not known", "shape": r"is \(8,\) instead of \(7,\)"}
    header = {**header_of(saved), "sha256": checksum(tensors)}
    target = tmp_path / "odd.safetensors"
    save_file(tensors, target, {"protogcn": json.dumps(header)})
    refused(target, words.get(change, r"'classifier.bias' is torch.int64 instead of torch.float32"))


MY_NET = '''
from pathlib import Path
from torch import Tensor, nn
from protogcn.models import SkeletonClassifier, register_model

Path(__file__).with_name("was run").touch()

class MyNet(SkeletonClassifier):
    def __init__(self, skeleton, num_classes, in_channels, width):
        super().__init__(skeleton, num_classes, in_channels, width)
        self.mix = nn.Linear(in_channels, width)

    def forward_features(self, clips: Tensor) -> Tensor:
        return self.mix(clips).relu().permute(0, 1, 4, 2, 3)

@register_model("my_net", paper="ours", )
def my_net(skeleton, num_classes: int, in_channels: int = 3, *, width: int = 64, activation=nn.ReLU):
    """A linear map of every joint."""
    return MyNet(skeleton, num_classes, in_channels, width)
'''


def test_a_model_of_ones_own_runs_only_when_asked_for(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    file = tmp_path / "my_net.py"
    file.write_text(MY_NET)
    registry.import_models(str(file))
    model = create_model("my_net", num_classes=4, width=8)
    save_model(model, path, module=str(file))
    assert_identical(model, load_model(path))

    del registry._BUILDERS["my_net"]
    (tmp_path / "was run").unlink()
    refused(path, r"'my_net' comes from a file of its author, '.*my_net.py'. .*load_model\(.*, module='.*my_net.py'\)")
    assert not (tmp_path / "was run").exists()
    assert read_description(path).module == str(file)
    with pytest.raises(FileNotFoundError, match=r"there is no file absent\.py"):
        load_model(path, module="absent.py")
    moved = file.rename(tmp_path / "renamed.py")
    assert_identical(model, load_model(path, module=str(moved)))
    assert (tmp_path / "was run").exists()


def test_options_that_no_file_can_hold(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    file = tmp_path / "my_own_net.py"
    file.write_text(MY_NET)
    registry.import_models(str(file))
    with pytest.raises(ValueError, match=r"options\.activation cannot be written.*nn.modules.activation.GELU"):
        save_model(create_model("my_net", num_classes=4, activation=nn.GELU), path)


def test_a_description_says_what_is_wrong_with_it() -> None:
    skeleton = get_skeleton("ntu25")
    assert ModelDescription("protogcn", skeleton, 60).options == {}
    with pytest.raises(ValueError, match="skeleton must be a skeleton, got 'ntu25'"):
        ModelDescription("protogcn", "ntu25", 60)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the keys of metrics must be text, got \[1\]"):
        ModelDescription("protogcn", skeleton, 60, metrics={1: 2})  # type: ignore[dict-item]
