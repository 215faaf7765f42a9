"""Official checkpoints tell which network they are of: all published ones, other sizes of them, and what is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gcn_goldens import Golden
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import random_clips
from torch import Tensor

from graphs.layouts import get_skeleton
from protogcn.models import SkeletonClassifier, create_model, list_models, load_model, save_model
from protogcn.models.checkpoints import load_official
from protogcn.models.families import build_official, detect
from protogcn.models.family_table import FAMILIES

TWICE = {"base_channels": 64, "num_blocks": 10, "widen_at": [5, 8], "downsample_at": [5, 8]}
# Case of the reference numbers -> model, its options, layouts that come into question.
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "protogcn__ntu25_60c_T64_M2": (
        "protogcn",
        {**TWICE, "base_channels": 96, "num_topologies": 8, "num_prototypes": 400},
        ("ntu25_pyskl",),
    ),
    "protogcn__coconew20_99c_T48_M2": (
        "protogcn",
        {**TWICE, "base_channels": 96, "num_topologies": 8, "num_prototypes": 100},
        ("coco20", "openpose20", "ucla20"),
    ),
    "ctrgcn_official__ntu25_60c_T64_M2": ("ctrgcn", TWICE, ("ntu25",)),
    "ctrgcn_pyskl__ntu25_60c_T64_M2": ("ctrgcn_pyskl", TWICE, ("ntu25_pyskl",)),
    "infogcn__ntu25_60c_k1_T64_M2": (
        "infogcn",
        {**TWICE, "num_blocks": 9, "widen_at": [4, 7], "downsample_at": [4, 7], "num_heads": 3},
        ("ntu25_infogcn",),
    ),
    "stgcn__ntu25_60c_T64_M2": (
        "stgcn",
        {**TWICE, "adaptive": "importance", "graph_residual": False},
        ("ntu25_pyskl",),
    ),
    "stgcnpp__ntu25_60c_T64_M2": ("stgcnpp", {**TWICE, "adaptive": "init", "graph_residual": True}, ("ntu25_pyskl",)),
    "aagcn__ntu25_60c_T64_M2": ("aagcn", TWICE, ("ntu25_pyskl",)),
    "msg3d__ntu25_60c_T32_M2": (
        "msg3d",
        {
            **{"base_channels": 96, "num_blocks": 3, "widen_at": [2, 3], "downsample_at": [2, 3]},
            **{"num_scales": 13, "num_window_scales": 6, "windows": [3, 5]},
        },
        ("ntu25_pyskl",),
    ),
    "dgstgcn__ntu25_60c_T64_M2": ("dgstgcn", {**TWICE, "num_topologies": 8}, ("ntu25_pyskl",)),
}
# Smaller and larger than published, of other clips.
VARIED: dict[str, dict[str, Any]] = {
    "small": {"base_channels": 16, "num_blocks": 4, "widen_at": [3], "downsample_at": [3]},
    "deep": {"base_channels": 16, "num_blocks": 6, "widen_at": [2, 6], "downsample_at": [2, 4, 6]},
    "flat": {"base_channels": 24, "num_blocks": 2, "widen_at": [], "downsample_at": []},
}
EXTRA: dict[str, dict[str, Any]] = {
    "protogcn": {"num_topologies": 4, "num_prototypes": 7},
    "dgstgcn": {"num_topologies": 4},
    "infogcn": {"num_heads": 2},
    "msg3d": {"num_scales": 3, "num_window_scales": 2, "windows": [3, 7, 5]},
}


def official(model: SkeletonClassifier) -> dict[str, Tensor]:
    """Entries of the official names and of shapes that make up those of a network of ours."""
    state: dict[str, Tensor] = {}
    own = model.state_dict()
    for key, names in model.official_entries().items():
        parts = [own[key]] * len(names)
        if own[key].ndim:
            # Unevenly shared parts come out otherwise than in a real checkpoint, but none of them tells the network.
            rows = own[key].shape[0]
            parts = list(
                own[key].split([rows - rows // len(names) * (len(names) - 1), *[rows // len(names)] * (len(names) - 1)])
            )
        state |= dict(zip(names, parts, strict=True))
    return state


@pytest.mark.parametrize("case", CASES)
def test_published_networks_are_told_apart(case: str) -> None:
    name, options, layouts = CASES[case]
    golden = Golden.load(case)
    found = detect(golden.state_dict())
    assert (found.model, found.options, found.layouts) == (name, options, layouts)
    words = golden.case["hyperparameters"]
    assert (found.num_classes, found.num_joints, found.in_channels) == (words["num_classes"], words["joints"], 3)
    assert found.num_persons == (2 if FAMILIES[name].by_person else None)
    assert detect(golden.state_dict(), name) == found
    assert found.describe().startswith(f"{name}: {words['num_classes']} classes, {words['joints']} joints, 3 channels")


def test_every_published_network_is_in_the_catalogue() -> None:
    assert set(FAMILIES) == {name for name, _, _ in CASES.values()}
    assert set(FAMILIES) <= set(list_models())


@pytest.mark.parametrize("case", CASES)
def test_published_weights_become_a_saved_model_of_the_published_numbers(case: str, tmp_path: Path) -> None:
    name, _, layouts = CASES[case]
    golden = Golden.load(case)
    extra: dict[str, Any] = {"k": golden.case["hyperparameters"]["k_bone_mode"]} if name == "infogcn" else {}
    built, found = build_official(golden.state_dict(), skeleton=layouts[0], **extra)
    assert not built.training
    model = load_model(save_model(built, tmp_path / "model.safetensors", source=f"{case}.pth"))
    assert model.description is not None
    assert model.description.model == name
    assert model.description.source == f"{case}.pth"
    assert model.description.skeleton == get_skeleton(layouts[0])
    assert all(model.description.options[key] == value for key, value in found.options.items())
    expected = golden.case["outputs"]["logits"]
    with torch.no_grad():
        logits = model.double()(golden.clips()[:1])
    first = np.reshape(expected["values"], expected["shape"])[:1]
    np.testing.assert_allclose(logits.numpy(), first, rtol=0, atol=1e-9 * expected["abs_mean"])


SMALL = [(name, variant) for name in FAMILIES for variant in VARIED]


@pytest.mark.parametrize(("name", "variant"), SMALL)
@pytest.mark.parametrize(("skeleton", "persons", "channels", "classes"), [("ntu25", 1, 2, 5), ("coco17", 3, 3, 11)])
def test_other_sizes(name: str, variant: str, skeleton: str, persons: int, channels: int, classes: int) -> None:
    options = {**VARIED[variant], **EXTRA.get(name, {})}
    shape: dict[str, Any] = {"num_classes": classes, "in_channels": channels, "num_persons": persons}
    model = create_model(name, skeleton=skeleton, **shape, **options)
    found = detect(official(model))
    assert (found.model, found.num_classes, found.in_channels) == (name, classes, channels)
    assert found.num_persons == (persons if FAMILIES[name].by_person else None)
    assert all(found.options[key] == value for key, value in options.items())
    assert found.num_joints == get_skeleton(skeleton).num_joints


NTU = ("ntu25", "ntu25_infogcn", "ntu25_pyskl")
FIXED = [name for name, family in FAMILIES.items() if family.fixed and family.fixed[0] == "backbone.A"]


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("skeleton", NTU)
def test_a_topology_among_the_weights_tells_the_layout(name: str, skeleton: str) -> None:
    case = next(case for case, (model, _, _) in CASES.items() if model == name)
    family, state = FAMILIES[name], Golden.load(case).state_dict()
    assert family.fixed is not None
    topologies = {each: get_skeleton(each).adjacency(family.fixed[1]) for each in NTU}
    state[family.fixed[0]] = torch.from_numpy(topologies[skeleton].squeeze().astype(np.float32))
    same = tuple(each for each in NTU if np.array_equal(topologies[each], topologies[skeleton]))
    assert detect(state).layouts == same
    built, _ = build_official(state, skeleton=skeleton)
    assert built.skeleton == get_skeleton(skeleton)
    other = "ntu25" if skeleton == "ntu25_pyskl" else "ntu25_pyskl"
    with pytest.raises(ValueError, match=f"that these weights hold is that of .*{skeleton}.*, not of {other}"):
        build_official(state, skeleton=other)


def test_the_topology_of_stgcn_tells_layouts_of_twenty_joints_apart() -> None:
    for skeleton in ("coco20", "ucla20", "utd20"):
        model = create_model("stgcn", skeleton=skeleton, num_classes=3, num_blocks=1, widen_at=(), downsample_at=())
        assert detect(official(model)).layouts == (skeleton,)
        state = {name: value for name, value in official(model).items() if not name.endswith("gcn.A")}
        assert detect(state).num_joints == 20
        assert len(detect(state).layouts) > 1


@pytest.fixture(scope="module")
def coco() -> dict[str, Tensor]:
    """ProtoGCN for twenty joints."""
    return Golden.load("protogcn__coconew20_99c_T48_M2").state_dict()


@pytest.fixture(scope="module")
def infogcn() -> dict[str, Tensor]:
    return Golden.load("infogcn__ntu25_60c_k1_T64_M2").state_dict()


def test_a_layout_in_doubt_is_asked_for(coco: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"20 joints .* coco20, openpose20, ucla20: say which by --skeleton <name>"):
        build_official(coco)
    with pytest.raises(ValueError, match="ntu25 has 25 joints, these weights are for 20"):
        build_official(coco, skeleton="ntu25")
    with pytest.raises(ValueError, match="unknown skeleton 'coco21'"):
        build_official(coco, skeleton="coco21")
    assert build_official(coco, skeleton="ucla20")[0].skeleton == get_skeleton("ucla20")


def test_a_layout_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "stick.yaml"
    path.write_text("name: stick\njoints: {hip: , head: hip, hand: head}\n")
    model = create_model("dgstgcn", skeleton=path, num_classes=3)
    with pytest.raises(ValueError, match=r"the 3 joints of this \w+ are of no layout that is known: say which"):
        build_official(official(model))
    built, _ = build_official(official(model), skeleton=path)
    assert built.skeleton.name == "stick"


def test_what_infogcn_does_not_tell(infogcn: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"do not tell which mode k .* give --k 1 for bones"):
        build_official(infogcn)
    clips = random_clips(1, 2, 6, 25, 3)
    first, second = (build_official(infogcn, k=k)[0] for k in (1, 8))
    assert first.description is not None and first.description.options["compat"] == "infogcn"
    assert not torch.equal(first(clips), second(clips))
    plain = build_official(infogcn, k=1, compat=None)[0]
    assert plain.description is not None and plain.description.options["compat"] is None


def test_options_that_are_given_count_more(coco: dict[str, Tensor]) -> None:
    built, _ = build_official(coco, skeleton="coco20", downsample_at=[5], dropout=0.25)
    assert built.description is not None
    assert built.description.options["downsample_at"] == [5]
    assert built.dropout.p == 0.25
    with pytest.raises(ValueError, match="unknown option of protogcn 'drop'"):
        build_official(coco, skeleton="coco20", drop=0.5)
    with pytest.raises(ValueError, match="nothing was loaded"):
        build_official(coco, skeleton="coco20", num_prototypes=50)


def test_states_of_no_published_network(coco: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"no published network .*protogcn.*: its entries are called layer\.weight"):
        detect({"layer.weight": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="a checkpoint of a training with this library"):
        detect({f"model.{name}": value for name, value in create_model("protogcn", num_classes=2).state_dict().items()})
    with pytest.raises(ValueError, match="unknown family of official checkpoints 'protogcm'; did you mean 'protogcn'"):
        detect(coco, "protogcm")
    with pytest.raises(ValueError, match=r"this looks like ctrgcn, but has no l1\.gcn1\.PA"):
        detect(coco, "ctrgcn")
    with pytest.raises(ValueError, match="there is no state dict"):
        detect({})


ALTERED = {
    "rows": ("backbone.data_bn.weight", (61,), "its input norm has 61 channels for 20 joints of 3"),
    "persons": ("backbone.data_bn.weight", (120,), "its input norm has 120 channels"),
    "axes": ("backbone.gcn.0.gcn.A", (8, 20), r"its backbone.gcn.0.gcn.A has shape \(8, 20\)"),
    "nothing": ("backbone.gcn.0.gcn.A", (8, 0, 0), r"its backbone.gcn.0.gcn.A has shape \(8, 0, 0\)"),
    "width": ("backbone.gcn.2.gcn.bn.weight", (100,), "block 3 goes from 96 to 100 channels"),
    "classes": ("cls_head.fc_cls.weight", (99,), r"its cls_head.fc_cls.weight has shape \(99,\)"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_shapes_that_contradict_each_other(case: str, coco: dict[str, Tensor]) -> None:
    entry, shape, message = ALTERED[case]
    with pytest.raises(ValueError, match=message):
        detect({**coco, entry: torch.zeros(shape)})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_ends_in_a_network_or_a_message(data: Any, coco: dict[str, Tensor]) -> None:
    state = dict(coco)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([name for name in sorted(state) if ".0." in name or "gcn" not in name]))
        if data.draw(st.booleans()):
            del state[name]
        else:
            state[name] = torch.zeros(data.draw(st.lists(st.integers(0, 130), max_size=4)))
    try:
        found = detect(state)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert found.model in ("protogcn", "dgstgcn")
        assert found.num_joints == 20


def test_a_detected_network_holds_every_weight(coco: dict[str, Tensor]) -> None:
    built, _ = build_official(coco, skeleton="coco20")
    by_hand = create_model("protogcn", skeleton="coco20", num_classes=99, num_prototypes=100)
    load_official(by_hand, coco)
    state = by_hand.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in built.state_dict().items() if name != "class_memory.memory"
    )
