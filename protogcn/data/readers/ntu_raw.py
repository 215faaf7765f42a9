"""Raw NTU RGB+D: folders or zip files of ``.skeleton`` text, denoised into clips by either public route."""

import functools
import os
import re
import zipfile
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.messages import unknown
from protogcn.data.alignment import align_persons
from protogcn.data.denoise import NoUsableBody, denoise_ctrgcn, denoise_pyskl, translate_ctrgcn
from protogcn.data.npy_files import ZIP_ERRORS
from protogcn.data.parallel import ordered_map
from protogcn.data.readers.ntu_skeleton import JOINTS, LARGEST_FILE, ClipName, Recording, parse_name, parse_skeleton
from protogcn.data.readers.source import ClipSource, count_reasons
from protogcn.data.store import Clip

ROUTES = ("pyskl", "ctrgcn")
SUFFIX = ".skeleton"
_MOST_FILES = 1_000_000
_NTU60_PERFORMERS = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_NTU120_PERFORMERS = (
    *_NTU60_PERFORMERS,
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94),
    *(95, 97, 98, 100, 103),
)
_TRAIN_CAMERAS = (2, 3)
_LISTED = re.compile(r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}", re.ASCII)


@dataclass(frozen=True)
class _Job:
    """One file to convert: its path, or its name within an archive."""

    name: str
    file: str
    archive: str | None
    route: str
    copy_single: bool
    align: bool


def read_ntu_raw(
    path: str | Path,
    *,
    num_classes: int,
    denoise: str = "pyskl",
    missing: str | Path | None = None,
    align: bool = False,
    workers: int | None = None,
) -> ClipSource:
    """Read the ``.skeleton`` files of NTU RGB+D 60 or 120 from a folder (searched to any depth) or a zip file.

    A folder without such files may hold zip files of them, such as the two of NTU RGB+D 120. Clips come in the order of
    their names, with the splits of both protocols: by performer (``xsub_train``, ``xsub_val``) and by camera
    (``xview_*``, 60 classes) or setup (``xset_*``, 120 classes).

    ``denoise="pyskl"`` gives what the PYSKL annotation file holds: float16, camera coordinates.
    ``denoise="ctrgcn"`` gives what CTR-GCN's npz holds: float32, the origin in the first person's spine; with 120
    classes a second person equal to the first where there is only one, as published, while with 60 there is none.

    A file is left out, with the reason in ``dropped``, if it is on the list ``missing``, is damaged, shows an action
    that the benchmark does not have, or shows nobody whom the route keeps. Where the released code would break off (no
    body, all too brief, by the route pyskl all noisy, nothing but zeros) the clip is left out likewise; by the route
    ctrgcn the last body always stays.

    Args:
        path: folder or zip file.
        num_classes: 60 or 120.
        denoise: ``"pyskl"`` or ``"ctrgcn"``.
        missing: text file of clip names to leave out: the 302 (NTU RGB+D 60) or 535 without usable bodies. Without it,
            those are left out that really show nobody.
        align: turn every person as InfoGCN does (only by the route ctrgcn).
        workers: processes; default one per processor.

    Raises:
        ValueError: no ``.skeleton`` file, a clip twice, or options that do not fit together; when read, no usable clip.
    """
    path = Path(path)
    if denoise not in ROUTES:
        raise ValueError(unknown("denoising route", denoise, ROUTES, show_all=True))
    if align and denoise != "ctrgcn":
        raise ValueError(
            "Aligned clips are made of those of CTR-GCN: choose the route ctrgcn (--denoise ctrgcn --align)."
        )
    files = _list_files(path)
    listed = _missing_names(Path(missing)) if missing is not None else frozenset()
    dropped: dict[str, str] = {}
    jobs = []
    for name, (file, archive) in sorted(files.items()):
        parts = parse_name(name)
        if parts is None:
            dropped[name] = "its name is not that of a clip, such as S001C002P003R002A013"
        elif name in listed:
            dropped[name] = "on the list of missing skeletons"
        elif not 1 <= parts.action <= num_classes:
            dropped[name] = f"not an action of the {num_classes} classes"
        else:
            jobs.append(_Job(name, file, archive, denoise, num_classes == 120, align))
    second = "xview" if num_classes == 60 else "xset"
    splits: dict[str, list[str]] = {f"{kind}_{part}": [] for kind in ("xsub", second) for part in ("train", "val")}
    notes = {"prepared": f"raw files, route {denoise}" + (", aligned" if align else "")}

    def clips() -> Iterator[Clip]:
        kept = 0
        try:
            for job, result in zip(jobs, ordered_map(_convert, jobs, workers), strict=True):
                if isinstance(result, str):
                    dropped[job.name] = result
                    continue
                parts = parse_name(job.name)
                assert parts is not None
                for split in _splits_of(parts, num_classes):
                    splits[split].append(job.name)
                kept += 1
                yield Clip(result, parts.action - 1, job.name)
        finally:
            _open_archive.cache_clear()
        if not kept:
            name, reason = next(iter(dropped.items()))
            raise ValueError(f"{path}: none of its {len(files)} files gives a clip; the first, {name}: {reason}.")
        if dropped:
            notes["left_out"] = count_reasons(dropped)

    return ClipSource(
        clips=clips(),
        channels="xyz",
        num_joints=JOINTS,
        num_classes=num_classes,
        splits=splits,
        notes=notes,
        dropped=dropped,
        total=len(jobs),
        dtype="float16" if denoise == "pyskl" else "float32",
    )


def holds_skeletons(path: Path) -> bool:
    """Whether a folder or zip file is one of raw NTU RGB+D; a folder is told by the first file of a known kind."""
    if path.is_dir():
        for _, _, names in os.walk(path):
            for name in names:
                if name.lower().endswith((SUFFIX, ".zip")):
                    return True
        return False
    return path.suffix.lower() == ".zip"


def to_clip(
    recording: Recording, route: str = "pyskl", *, copy_single: bool = False, align: bool = False
) -> npt.NDArray[Any]:
    """The clip (M, T, 25, 3) of one recording, as :func:`read_ntu_raw` stores it.

    Args:
        route: ``"pyskl"`` or ``"ctrgcn"``.
        copy_single: let a person who is alone be both persons (ctrgcn, NTU RGB+D 120).
        align: align every person (ctrgcn).

    Raises:
        NoUsableBody: nobody is left.
    """
    if route == "pyskl":
        return denoise_pyskl(recording)
    clip = translate_ctrgcn(denoise_ctrgcn(recording))
    if copy_single and len(clip) == 1:
        clip = np.concatenate([clip, clip])
    if align:
        clip = align_persons(clip)
        if np.isnan(clip).any():
            raise NoUsableBody("alignment is undefined for the first frame of a person")
    return clip if clip[1:].any() else clip[:1]


def _convert(job: _Job) -> npt.NDArray[Any] | str:
    """The clip of one file, or why there is none."""
    try:
        recording = parse_skeleton(_content(job), "the file")
        clip = to_clip(recording, job.route, copy_single=job.copy_single, align=job.align)
    except NoUsableBody as error:
        return str(error)
    except (ValueError, *ZIP_ERRORS) as error:
        return f"damaged: {error}"
    return "damaged: a coordinate is beyond float16" if np.isinf(clip).any() else clip


def _content(job: _Job) -> bytes:
    if job.archive is None:
        with open(job.file, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    else:
        archive = _open_archive(job.archive)
        with archive.open(job.file) as member:
            content = member.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE:,} bytes, more than any recording")
    return content


@functools.lru_cache(maxsize=8)
def _open_archive(path: str) -> zipfile.ZipFile:
    """Kept open by each process: finding one file in an archive of 100,000 takes a second."""
    return zipfile.ZipFile(path)


def _list_files(path: Path) -> dict[str, tuple[str, str | None]]:
    """Clip name -> (file, archive or None)."""
    if path.is_dir():
        every = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        found: list[tuple[str, str | None]] = [(str(file), None) for file in every if file.suffix.lower() == SUFFIX]
        if not found:
            found = [member for file in every if file.suffix.lower() == ".zip" for member in _members(file)]
    else:
        found = _members(path)
    files: dict[str, tuple[str, str | None]] = {}
    for file, archive in found:
        name = PurePosixPath(file).stem if archive else Path(file).stem
        # Some archivers leave a shadow of each file beside it.
        if name.startswith("._"):
            continue
        if name in files:
            places = " and ".join(f"{inside} in {zipped or path}" for inside, zipped in (files[name], (file, archive)))
            raise ValueError(f"{path} holds the clip {name} twice: {places}.")
        files[name] = file, archive
    if not files:
        raise ValueError(
            f"{path} holds no {SUFFIX} file; expected the raw skeletons of NTU RGB+D, a folder of them or a zip."
        )
    return files


def _members(path: Path) -> list[tuple[str, str | None]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS as error:
        raise ValueError(f"{path} is not a complete zip file ({error}); copy it again.") from error
    if len(names) > _MOST_FILES:
        raise ValueError(f"{path} holds {len(names):,} files; NTU RGB+D 120 has 114,480.")
    return [(name, str(path)) for name in names if name.lower().endswith(SUFFIX)]


def _missing_names(path: Path) -> Set[str]:
    """The clip names in a text file; its other words are passed over, as published lists begin with some."""
    names = set(_LISTED.findall(path.read_bytes().decode("latin1")))
    if not names:
        raise ValueError(f"{path} lists no clip; expected names such as S001C002P005R002A008, one per line.")
    return names


def _splits_of(parts: ClipName, num_classes: int) -> tuple[str, str]:
    performers = _NTU60_PERFORMERS if num_classes == 60 else _NTU120_PERFORMERS
    subject = "xsub_train" if parts.performer in performers else "xsub_val"
    if num_classes == 60:
        return subject, "xview_train" if parts.camera in _TRAIN_CAMERAS else "xview_val"
    return subject, "xset_val" if parts.setup % 2 else "xset_train"
