"""What a user may say about reading a data set, beside where it is."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import Any


@dataclass(frozen=True)
class ReadOptions:
    """Options of single formats; None leaves what the format's reader has as default.

    Attributes:
        denoise: raw NTU RGB+D: the route from bodies to persons, ``"pyskl"`` (default) or ``"ctrgcn"``.
        missing: raw NTU RGB+D: file of the clip names to leave out.
        align: raw NTU RGB+D by the route ctrgcn, and CTR-GCN's npz: align every person as InfoGCN does.
        workers: raw NTU RGB+D: processes; default one per processor.
        kpfiles: Kinetics-400: folder of the kpfiles that its list refers to.
        valid_ratio: Kinetics-400: least share of frames with a box of ``box_threshold``; 0 keeps all, as published.
        box_threshold: Kinetics-400: least score of a box where ``valid_ratio`` is above 0.
        image_size: own poses: ``"<width>x<height>"`` of the videos, in pixels, where the files do not say it.
        max_persons: own poses: the most persons of a clip; default 5.
    """

    denoise: str | None = None
    missing: str | Path | None = None
    align: bool | None = None
    workers: int | None = None
    kpfiles: str | Path | None = None
    valid_ratio: float | None = None
    box_threshold: float | None = None
    image_size: str | None = None
    max_persons: int | None = None

    def image_shape(self) -> tuple[int, int] | None:
        """(height, width) of ``image_size``.

        Raises:
            ValueError: it is not written as ``1280x720``.
        """
        if self.image_size is None:
            return None
        match = re.fullmatch(r"(\d{1,5})\s*[xX*,]\s*(\d{1,5})", self.image_size.strip(), re.ASCII)
        if not match or not int(match[1]) or not int(match[2]):
            raise ValueError(f"--image-size is written <width>x<height>, such as 1280x720; got {self.image_size!r}.")
        return int(match[2]), int(match[1])

    def given(self) -> dict[str, Any]:
        """The options that were said, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False)}

    def words(self) -> str:
        """As they are typed, without those that do not change the clips."""
        said = {name: value for name, value in self.given().items() if name != "workers"}
        return " ".join(
            _flag(name) if value is True else f"{_flag(name)} {quote(str(value))}" for name, value in said.items()
        )

    def allow(self, names: tuple[str, ...], what: str) -> None:
        """Refuse what ``what`` has no use for, rather than to ignore it.

        Raises:
            ValueError: an option that is not among ``names`` was given.
        """
        if useless := [name for name in self.given() if name not in names]:
            takes = f"it takes {', '.join(map(_flag, names))}" if names else "leave it out"
            raise ValueError(f"{_flag(useless[0])} means nothing for {what}; {takes}.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


NO_OPTIONS = ReadOptions()
