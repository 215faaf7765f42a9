"""What a saved network says about itself: enough to build it again and to feed it as it was trained."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from graphs.messages import unknown
from graphs.skeleton import Skeleton
from graphs.streams import check_stream
from protogcn import __version__
from protogcn.models.options import check_counts

_KINDS: dict[str, tuple[Any, str]] = {
    "model": (str, "text"),
    "module": (str, "text"),
    "stream": (str, "text"),
    "benchmark": (str, "text"),
    "source": (str, "text"),
    "version": (str, "text"),
    "options": (Mapping, "a mapping"),
    "preprocessing": (Mapping, "a mapping"),
    "evaluation": (Mapping, "a mapping"),
    "metrics": (Mapping, "a mapping"),
    "class_names": (list | tuple, "a list of names"),
    "skeleton": (Skeleton, "a skeleton"),
}
# A file from outside must not make the building of its adjacency matrices fill the memory.
_MOST_JOINTS = 2048


@dataclass(frozen=True)
class ModelDescription:
    """How a network is built, and what it was trained on.

    Attributes:
        model: an entry of :func:`protogcn.models.list_models`.
        skeleton: layout of the clips it takes, as the network sees it.
        num_classes: size of the classifier.
        in_channels: C of the clips.
        num_persons: most persons of a clip.
        options: options of the model; those left out have their defaults.
        module: file or module that registers the model where it is none of this library.
        class_names: one per class, in the order of the logits; empty where they are not known.
        preprocessing: section ``pipeline`` of the recipe, as plain containers; empty where it is not known.
        evaluation: how its scores came about: test split, channels of the clips, precision, average over test clips.
        stream: ``j b k jm bm km``; empty where it is not known.
        benchmark: name of the data it was trained on.
        seed: of the training; None where it is not known.
        metrics: what it reached.
        source: the file it was converted from.
        version: the version of this library that wrote it.

    Raises:
        ValueError: a field has the wrong type or is out of range; the message names it.
    """

    model: str
    skeleton: Skeleton
    num_classes: int
    in_channels: int = 3
    num_persons: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    class_names: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    stream: str = ""
    benchmark: str = ""
    seed: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    version: str = __version__

    def __post_init__(self) -> None:
        for name, (kind, words) in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be {words}, got {_brief(value)}")
            if kind is Mapping:
                if not all(isinstance(key, str) for key in value):
                    raise ValueError(f"the keys of {name} must be text, got {_brief(list(value))}")
                object.__setattr__(self, name, plain(value))
        check_counts(num_classes=self.num_classes, in_channels=self.in_channels, num_persons=self.num_persons)
        names = tuple(self.class_names)
        object.__setattr__(self, "class_names", names)
        if not all(isinstance(name, str) and name for name in names) or len(names) not in (0, self.num_classes):
            raise ValueError(
                f"class_names must hold a name for each of the {self.num_classes} classes, or none; got {len(names)}: "
                f"{_brief(names)}"
            )
        if self.stream:
            check_stream(self.stream)
        if self.seed is not None and (not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0):
            raise ValueError(f"seed must be an integer of 0 or more, or none; got {_brief(self.seed)}")

    def for_classes(self, num_classes: int) -> "ModelDescription":
        """The same network with a fresh classifier: nothing that was said of the former classes remains."""
        return dataclasses.replace(self, num_classes=num_classes, class_names=(), metrics={}, benchmark="")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, which :meth:`from_dict` takes.

        Raises:
            ValueError: an option or another entry is no text, number, list or mapping; the message names it.
        """
        content: dict[str, Any] = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        content |= {"skeleton": self.skeleton.to_dict(), "class_names": list(self.class_names)}
        for name, value in content.items():
            entries = value.items() if isinstance(value, Mapping) else [("", value)]
            for key, entry in entries:
                if not is_plain(entry):
                    where = f"{name}.{key}" if key else name
                    raise ValueError(
                        f"{where} cannot be written into a file, which takes text, finite numbers, true, false, none, "
                        f"lists and mappings; got {_brief(entry)}"
                    )
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ModelDescription":
        """The description that :meth:`as_dict` wrote, every entry checked.

        Raises:
            ValueError: an entry is missing, unknown, of the wrong type or out of range; the message names it.
        """
        fields = {each.name: each for each in dataclasses.fields(cls)}
        for key in content:
            if key not in fields:
                raise ValueError(unknown("entry", key, fields))
        if missing := [key for key in ("model", "skeleton", "num_classes") if key not in content]:
            raise ValueError(f"the entry {missing[0]} is missing")
        layout = content["skeleton"]
        joints = layout.get("joints") if isinstance(layout, Mapping) else None
        if not isinstance(joints, Mapping) or len(joints) > _MOST_JOINTS:
            raise ValueError(f"skeleton must describe at most {_MOST_JOINTS} joints, got {_brief(layout)}")
        try:
            skeleton = Skeleton.from_dict(layout)
        except TypeError as error:
            raise ValueError(f"skeleton is no description of a layout: {error}") from error
        return cls(**{**content, "skeleton": skeleton})


def plain(value: Any) -> Any:
    """Numbers of NumPy as numbers, sequences as lists, all the way down; what is none of these stays what it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _brief(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
