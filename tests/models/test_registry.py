"""The catalogue: what it lists, builds and refuses, and how a model of one's own enters it."""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import text_options
from torch import Tensor, nn

from graphs.skeleton import Skeleton
from protogcn.models import (
    ModelInfo,
    SkeletonClassifier,
    create_criterion,
    create_model,
    import_models,
    list_models,
    model_info,
    register_model,
    registry,
)
from protogcn.models.losses import ClassContrastiveCriterion, CrossEntropy


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A catalogue that may be written into."""
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    yield


class Pooling(SkeletonClassifier):
    """A linear classifier of the mean pose."""

    def forward_features(self, clips: Tensor) -> Tensor:
        self.check_input(clips)
        return clips.permute(0, 1, 4, 2, 3)


def test_the_catalogue_lists_by_pattern() -> None:
    assert "protogcn" in list_models()
    assert list_models() == sorted(list_models())
    assert list_models("proto*") == ["protogcn"]
    assert list_models("*vision*") == []


@pytest.mark.parametrize("name", list_models())
def test_every_entry_describes_itself(name: str) -> None:
    info = model_info(name)
    assert isinstance(info, ModelInfo)
    assert info.name == name
    assert info.summary.endswith(".")
    assert info.paper
    builder = registry._BUILDERS[name][0]
    documentation = inspect.getdoc(builder) or ""
    for option in info.options:
        assert f"\n    {option}: " in documentation, f"the docstring of {name} does not explain {option}"
        assert inspect.signature(builder).parameters[option].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", list_models())
def test_defaults_pass_their_own_checks(name: str) -> None:
    model = create_model(name, num_classes=2, **model_info(name).options | text_options(name, 2))
    assert isinstance(model, SkeletonClassifier)
    defaults = {key: each.default for key, each in inspect.signature(model_info(name).criterion).parameters.items()}
    assert isinstance(create_criterion(name, **defaults), nn.Module)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("protogcm", "unknown model 'protogcm'; did you mean 'protogcn'"),
        ("ProtoGCN", "did you mean 'protogcn'"),
        ("resnet50", "unknown model 'resnet50'.*known: .*protogcn"),
        (7, "unknown model 7"),
    ],
)
def test_unknown_models_are_answered_with_near_ones(name: Any, message: str) -> None:
    for function in (model_info, create_criterion, lambda wrong: create_model(wrong, num_classes=2)):
        with pytest.raises(ValueError, match=message):
            function(name)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"base_chanels": 96}, "unknown option of protogcn 'base_chanels'; did you mean 'base_channels'"),
    ({"heads": 3}, "unknown option of protogcn 'heads'.*known: base_channels, num_topologies"),
    ({"num_classes": 0}, "num_classes must be a positive integer, got 0"),
    ({"num_classes": True}, "num_classes must be a positive integer, got True"),
    ({"num_classes": 2.0}, "num_classes must be a positive integer, got 2.0"),
    ({"in_channels": 0}, "in_channels must be a positive integer, got 0"),
    ({"in_channels": "xyz"}, "in_channels must be a positive integer, got 'xyz'"),
    ({"base_channels": 100}, r"base_channels must be a multiple of num_topologies \(8\).*got 100"),
    ({"base_channels": 4, "num_topologies": 2}, "base_channels must be .* at least 6.*got 4"),
    ({"base_channels": 0}, "base_channels must be .*got 0"),
    ({"base_channels": -16}, "base_channels must be .*got -16"),
    ({"base_channels": "96"}, "base_channels must be an integer, got '96'"),
    ({"base_channels": 96.0}, "base_channels must be an integer, got 96.0"),
    ({"num_topologies": 0}, "num_topologies must be a positive integer, got 0"),
    ({"num_prototypes": 0}, "num_prototypes must be a positive integer, got 0"),
    ({"num_prototypes": -4}, "num_prototypes must be a positive integer, got -4"),
    ({"num_prototypes": None}, "num_prototypes must be an integer, got None"),
    ({"num_blocks": 0}, "num_blocks must be a positive integer, got 0"),
    ({"num_blocks": 7}, r"widen_at .* of 2 to 7 \(num_blocks\); got \[5, 8\]"),
    ({"widen_at": [1]}, r"widen_at .* of 2 to 10 \(num_blocks\); got \[1\]"),
    ({"widen_at": [5, 5]}, r"widen_at names different blocks.*got \[5, 5\]"),
    ({"widen_at": 5}, "widen_at must be a list, each item an integer, got 5"),
    ({"widen_at": "58"}, "widen_at must be a list, each item an integer, got '58'"),
    ({"downsample_at": [2, 11]}, r"downsample_at .* of 2 to 10 .*got \[2, 11\]"),
    ({"downsample_at": [2.5]}, r"downsample_at must be a list, each item an integer, got \[2.5\]"),
    ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
    ({"dropout": -0.1}, r"dropout must lie in \[0, 1\), got -0.1"),
    ({"dropout": float("nan")}, "dropout must be a finite number, got nan"),
    ({"dropout": "some"}, "dropout must be a finite number, got 'some'"),
    ({"skeleton": "ntu26"}, "unknown skeleton 'ntu26'; did you mean 'ntu25'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=lambda case: str(case)[:40])
def test_wrong_values_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("protogcn", **{"num_classes": 3, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contrastiv_weight": 0.2}, "unknown option of the loss of protogcn .*did you mean 'contrastive_weight'"),
        ({"contrastive_weight": -0.1}, "contrastive_weight must be at least 0, got -0.1"),
        ({"contrastive_weight": "0.2"}, "contrastive_weight must be a finite number, got '0.2'"),
        ({"contrastive_weight": float("inf")}, "contrastive_weight must be a finite number, got inf"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"momentum": 1.5}, r"momentum must lie in \[0, 1\], got 1.5"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
        ({"label_smoothing": True}, "label_smoothing must be a finite number, got True"),
    ],
)
def test_wrong_loss_options_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_criterion("protogcn", **wrong)


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-2, 12), max_size=3),
)


@given(option=st.sampled_from(sorted(model_info("protogcn").options)), value=junk)
def test_any_value_builds_a_model_or_is_refused_by_name(option: str, value: Any) -> None:
    small: dict[str, Any] = {"base_channels": 8, "num_topologies": 2, "num_prototypes": 2, "num_blocks": 2}
    stages: dict[str, Any] = {"widen_at": (), "downsample_at": (2,)}
    # A network of many blocks or channels is no wrong value, but slow to build.
    if option == "num_blocks" and isinstance(value, int) and value > 4:
        value = 4
    try:
        create_model("protogcn", skeleton="kinect15", num_classes=2, **{**small, **stages, option: value})
    except ValueError as error:
        named = {"num_topologies": "base_channels", "num_blocks": "downsample_at"}
        assert option in str(error) or named.get(option, option) in str(error)


def test_a_model_of_ones_own(catalogue: None) -> None:
    @register_model("pooling", paper="none")
    def pooling(
        skeleton: Skeleton,
        num_classes: int,
        in_channels: int = 3,
        *,
        dropout: float = 0.0,
        kind: Literal["mean", "max"] = "mean",
        label: str | None = None,
        steps: Sequence[int] = (),
        plain=None,
    ) -> Pooling:
        """Mean pose.

        And more.
        """
        return Pooling(skeleton, num_classes, in_channels, num_features=in_channels, dropout=dropout)

    assert "pooling" in list_models("pool*")
    info = model_info("pooling")
    assert (info.summary, info.criterion) == ("Mean pose.", CrossEntropy)
    assert list(info.options) == ["dropout", "kind", "label", "steps", "plain"]
    model = create_model("pooling", skeleton="coco17", num_classes=4, in_channels=2, dropout=0.5, plain=object())
    clips = torch.ones(3, 1, 5, 17, 2)
    logits, aux = model.forward_train(clips)
    terms = create_criterion("pooling", label_smoothing=0.1)(logits, aux, torch.tensor([0, 1, 2]))
    assert logits.shape == (3, 4)
    assert set(terms) == {"loss", "cross_entropy"}
    with pytest.raises(ValueError, match="Pooling has no official checkpoints"):
        model.official_entries()
    for wrong, message in (
        ({"kind": "median"}, "kind must be 'mean' or 'max', got 'median'"),
        ({"label": 3}, "label must be text or none, got 3"),
        ({"steps": [1, "2"]}, "steps must be a list, each item an integer"),
        ({"dropout": 2}, r"dropout must lie in \[0, 1\), got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            create_model("pooling", num_classes=4, **wrong)
    with pytest.raises(ValueError, match="'pooling' is registered already"):
        register_model("pooling", paper="none")(pooling)


def test_registering_refuses_builders_that_cannot_serve(catalogue: None) -> None:
    with pytest.raises(ValueError, match="must take skeleton, in_channels"):
        register_model("bare", paper="none")(lambda num_classes: None)
    with pytest.raises(ValueError, match="must give every option a default; width has none"):
        register_model("bare", paper="none")(lambda skeleton, num_classes, in_channels, width: None)
    assert "bare" not in list_models()


MODULE = '''
from protogcn.models import SkeletonClassifier, register_model


class Tiny(SkeletonClassifier):
    def forward_features(self, clips):
        return clips.permute(0, 1, 4, 2, 3)


@register_model("tiny", paper="none")
def tiny(skeleton, num_classes, in_channels=3):
    """Mean pose."""
    return Tiny(skeleton, num_classes, in_channels, in_channels)
'''


def test_models_are_imported_from_a_file_once(catalogue: None, tmp_path: Path) -> None:
    path = tmp_path / "my_models.py"
    path.write_text(MODULE)
    import_models(str(path))
    import_models(str(path))
    assert create_model("tiny", num_classes=2)(torch.zeros(1, 1, 2, 25, 3)).shape == (1, 2)


def test_imports_that_fail_say_why(catalogue: None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_models(str(tmp_path / "absent.py"))
    with pytest.raises(ValueError, match=r"no_such_package.* cannot be imported: No module named"):
        import_models("no_such_package.models")
    broken = tmp_path / "broken.py"
    broken.write_text("def model(:\n")
    with pytest.raises(ValueError, match=r"broken.py cannot be imported: "):
        import_models(str(broken))


def test_protogcn_trains_with_its_contrastive_loss() -> None:
    assert model_info("protogcn").criterion is ClassContrastiveCriterion


def test_a_file_that_failed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "half_done.py"
    file.write_text("1 / 0\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            import_models(str(file))
