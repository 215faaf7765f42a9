"""NW-UCLA: the folder of json files that circulates with CTR-GCN and InfoGCN, a zip of it, or the packed arrays."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protogcn.data.npy_files import ZIP_ERRORS, read_npz
from protogcn.data.readers.source import ClipSource
from protogcn.data.store import Clip

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
_NAME = re.compile(r"a(\d\d)_s\d\d_e\d\d_v0([123])", re.ASCII)
_JOINTS = 20
_MAX_FILE = 64 << 20
_MAX_FILES = 100_000


def read_nw_ucla(path: str | Path) -> ClipSource:
    """Read NW-UCLA from a folder (searched for ``aAA_sSS_eEE_vVV.json``), a ``.zip`` of it or a packed ``.npz``.

    Clips are sorted by name; ``train`` holds views 1 and 2, ``test`` view 3 (Wang et al., CVPR 2014). The label follows
    from the action in the name and must agree with the one in the file.

    Raises:
        ValueError: no clip is found, or one is malformed; the message names it.
    """
    path = Path(path)
    clips: Iterator[Clip]
    if path.is_dir():
        files = {file.stem: file for file in _unique(list(path.rglob("*.json")), path)}
        names = sorted(files)
        clips = (_from_json(_read_file(files[name]), name, str(files[name])) for name in names)
    elif path.suffix.lower() == ".npz":
        names, clips = _packed(path)
    elif zipfile.is_zipfile(path):
        names, clips = _zipped(path)
    else:
        raise ValueError(
            f"{path} is not NW-UCLA data: expected the folder all_sqe of json files, a zip of it, or a packed .npz "
            "(a zip file that breaks off is not recognised either: copy it again)."
        )
    if not names:
        raise ValueError(f"{path} holds no file named like a01_s01_e01_v01.json.")
    views = {name: _parse(name, str(path))[1] for name in names}
    return ClipSource(
        clips=clips,
        channels="xyz",
        num_joints=_JOINTS,
        num_classes=len(ACTIONS),
        splits={
            "train": [name for name in names if views[name] in (1, 2)],
            "test": [name for name in names if views[name] == 3],
        },
        total=len(names),
    )


def _parse(name: str, where: str) -> tuple[int, int]:
    """Label and view from a clip name."""
    match = _NAME.fullmatch(name)
    if not match or int(match[1]) not in ACTIONS:
        raise ValueError(
            f"{where}: {name!r:.80} is not a clip name of NW-UCLA; expected aAA_sSS_eEE_vVV with action "
            f"{', '.join(map(str, ACTIONS))} and view 1 to 3."
        )
    return ACTIONS.index(int(match[1])), int(match[2])


def _unique(files: list[Path], folder: Path) -> Iterator[Path]:
    """Clip files of the folder; json files of other names and the shadow files of some archivers are passed over."""
    seen: dict[str, Path] = {}
    for file in sorted(files):
        if not _NAME.fullmatch(file.stem) or "__MACOSX" in file.parts:
            continue
        if file.stem in seen:
            raise ValueError(f"{folder} holds the clip {file.stem} twice: {seen[file.stem]} and {file}.")
        seen[file.stem] = file
        yield file


def _read_file(file: Path) -> bytes:
    if file.stat().st_size > _MAX_FILE:
        raise ValueError(f"{file} is larger than any clip of NW-UCLA ({file.stat().st_size:,} bytes).")
    return file.read_bytes()


def _zipped(path: Path) -> tuple[list[str], Iterator[Clip]]:
    """Nothing is extracted to the disk, so a path inside the archive cannot lead anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except ZIP_ERRORS as error:
        raise ValueError(f"{path} is not a complete zip file ({error}); copy it again.") from error
    if len(infos) > _MAX_FILES:
        raise ValueError(f"{path} holds {len(infos):,} files; NW-UCLA has 1,484.")
    members = {Path(info.filename): info for info in infos if info.filename.endswith(".json")}
    chosen = {file.stem: members[file] for file in _unique(list(members), path)}
    names = sorted(chosen)
    if large := next((info for info in chosen.values() if info.file_size > _MAX_FILE), None):
        raise ValueError(f"{path}: {large.filename} unpacks to {large.file_size:,} bytes, more than any clip has.")

    def clips() -> Iterator[Clip]:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                try:
                    content = archive.read(chosen[name])
                except ZIP_ERRORS as error:
                    raise ValueError(
                        f"{path}: {name}.json cannot be unpacked ({error}); copy the zip again."
                    ) from error
                yield _from_json(content, name, f"{name}.json in {path}")

    return names, clips()


def _from_json(content: bytes, name: str, where: str) -> Clip:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not readable as json ({error}); it may be truncated: copy it again.") from error
    if not isinstance(record, dict) or "skeletons" not in record:
        raise ValueError(f"{where}: expected file_name, skeletons (T x 20 x 3) and label.")
    if record.get("file_name", name) != name:
        raise ValueError(f"{where}: the file says it is the clip {record['file_name']!r:.80}.")
    try:
        frames = np.array(record["skeletons"], dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}: skeletons is not a regular array of numbers ({error}).") from error
    label, _ = _parse(name, where)
    if record.get("label", label + 1) != label + 1:
        raise ValueError(f"{where}: the name says label {label + 1}, the file says {record['label']!r:.80}.")
    return _clip(frames, label, name)


def _clip(frames: npt.NDArray[Any], label: int, name: str) -> Clip:
    if frames.ndim != 3 or frames.shape[1:] != (_JOINTS, 3):
        raise ValueError(f"Clip {name!r}: expected (frames, {_JOINTS} joints, 3); got shape {frames.shape}.")
    return Clip(frames[None], label, name)


def _packed(path: Path) -> tuple[list[str], Iterator[Clip]]:
    with path.open("rb") as file:
        arrays = read_npz(file, str(path), ("frames", "offsets", "labels", "names"))
    if missing := [key for key in ("frames", "offsets", "labels", "names") if key not in arrays]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is not the packed NW-UCLA file.")
    frames, offsets, labels = arrays["frames"], arrays["offsets"], arrays["labels"]
    names = arrays["names"].tolist()
    if (
        offsets.dtype.kind != "i"
        or labels.shape != (len(names),)
        or offsets.shape != (len(names) + 1,)
        or (np.diff(offsets) < 0).any()
        or offsets[0] != 0
        or offsets[-1] != len(frames)
    ):
        raise ValueError(f"{path}: offsets, labels, names and frames do not fit together.")
    order = sorted(range(len(names)), key=names.__getitem__)
    for i in order:
        if _parse(names[i], str(path))[0] != labels[i]:
            raise ValueError(f"{path}: the label of {names[i]!r} is {labels[i]}, its name says otherwise.")

    clips = (_clip(frames[offsets[i] : offsets[i + 1]], int(labels[i]), names[i]) for i in order)
    return [names[i] for i in order], clips
