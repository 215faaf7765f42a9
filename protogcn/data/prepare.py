"""Converting a data set or own clips into a store, and saying in words what a store holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from protogcn.data import store_files
from protogcn.data.benchmarks import Benchmark, get_benchmark
from protogcn.data.readers.ctr_npz import is_ctr_npz, read_ctr_npz
from protogcn.data.readers.folder import holds_arrays, read_folder
from protogcn.data.readers.kpfiles import read_kpfiles
from protogcn.data.readers.ntu_raw import holds_skeletons, read_ntu_raw
from protogcn.data.readers.nw_ucla import read_nw_ucla
from protogcn.data.readers.options import NO_OPTIONS, ReadOptions
from protogcn.data.readers.packed import read_packed
from protogcn.data.readers.packed_rules import NO_RULES
from protogcn.data.readers.poses import holds_poses, read_poses, walk_poses
from protogcn.data.readers.pyskl import read_pyskl
from protogcn.data.readers.source import ClipSource
from protogcn.data.readers.table import read_table
from protogcn.data.store import Clip, ClipStore, write_store

OWN = "own"
_MOST_SPLITS = 12


@dataclass(frozen=True)
class _Request:
    """What the readers need to know beside the source."""

    benchmark: Benchmark | None
    skeleton: Skeleton
    class_names: tuple[str, ...] | None
    options: ReadOptions

    @property
    def channels(self) -> str | None:
        return self.benchmark.channels if self.benchmark else None


def prepare(
    benchmark: str | Benchmark | None,
    source: str | Path,
    store_path: str | Path,
    *,
    skeleton: str | Path | Skeleton | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    overwrite: bool = False,
    options: ReadOptions = NO_OPTIONS,
) -> ClipStore:
    """Convert ``source`` into a clip store.

    The format is told by the benchmark and the suffix: ``.pkl`` PYSKL annotations, ``.npz`` packed arrays, ``.csv``
    table, folder of ``.npy``/``.npz`` clips, folder of ``.json`` or ``.csv`` poses (OpenPose, MediaPipe, COCO,
    Kinetics-Skeleton); NW-UCLA also as folder of json files or ``.zip``; NTU RGB+D also as folder
    or ``.zip`` of ``.skeleton`` files and as ``.npz`` of CTR-GCN. See docs/own_data.md.

    Clips that a reader leaves out are listed with the reason in ``dropped.csv`` in the store.

    Args:
        benchmark: a name of the catalogue, or None or ``"own"`` for own clips.
        source: file or folder.
        store_path: the folder to make.
        skeleton: layout of the joints; required for own clips, default: that of the benchmark.
        class_names: names in label order, or a text file with one name per line; default: those of the benchmark, or
            those found in the source.
        overwrite: replace a store that is already there.
        options: what only some formats need to know.

    Returns:
        The new store, opened.

    Raises:
        ValueError: the source is not in a format that is known, or a clip is malformed.
        FileNotFoundError: there is no ``source``.
        FileExistsError: ``store_path`` is taken.
    """
    known = None if benchmark is None or benchmark == OWN else get_benchmark(benchmark)
    source, store_path = Path(source), Path(store_path)
    if not source.exists():
        expected = f"; expected {known.source}" if known else ""
        raise FileNotFoundError(f"There is nothing at {source}{expected}.")
    store_files.check_replaceable(store_path, overwrite)
    if skeleton is None and known is None:
        raise ValueError(
            "Own clips need the layout of their joints: skeleton='coco17' (--skeleton coco17), a YAML file, or one of "
            f"{', '.join(list_skeletons())}."
        )
    layout = get_skeleton(skeleton if skeleton is not None else known.skeleton)  # type: ignore[union-attr]
    names = _class_names(class_names) or (known.class_names if known else None)
    request = _Request(known, layout, names, options)
    clips = _read(source, request)
    _check_joints(clips, layout, source)
    if known:
        _check_benchmark(clips, known, source)
    if options.words():
        clips.notes["options"] = options.words()
    count = known.num_classes if known else clips.num_classes
    store = write_store(
        store_path,
        _with_progress(clips.clips, clips.total),
        skeleton=layout,
        class_names=names or clips.class_names or count,
        splits=clips.splits,
        channels=clips.channels,
        overwrite=overwrite,
        dtype=clips.dtype,
        benchmark=known.name if known else OWN,
        source=str(source),
        notes=clips.notes,
    )
    store_files.write_dropped(store_path, clips.dropped | dict.fromkeys(store.meta["dropped"], "every joint is zero"))
    return store


def describe(store: ClipStore) -> str:
    """A summary of a store in plain text, a few lines."""
    lengths, persons, meta = store.lengths, store.persons, store.meta
    joints = store.skeleton.num_joints
    megabytes = meta["rows"] * joints * len(store.channels) * store.dtype.itemsize / 1e6
    splits = [f"{name} {len(rows):,}" for name, rows in store.splits.items()]
    counts = np.bincount(store.labels, minlength=store.num_classes)
    per_class = f"{counts.min():,} to {counts.max():,} clips each"
    if empty := int((counts == 0).sum()):
        per_class += f", {empty} without any"
    lines = [
        f"{store.path}: {len(store):,} clips of {store.num_classes} classes",
        f"  from      {', '.join(filter(None, (meta.get('benchmark'), meta.get('source')))) or 'unknown'}",
        f"  joints    {store.skeleton.name}, {joints} joints, {store.channels}, {store.dtype.name}",
        f"  frames    {lengths.min():,} to {lengths.max():,} per clip, median {np.median(lengths):g}, "
        f"{lengths.sum():,} in all",
        f"  persons   {persons.min()} to {persons.max()} per clip",
        f"  splits    {_some(splits, _MOST_SPLITS) or 'none'}",
        f"  classes   {per_class}",
        f"  size      {megabytes:,.1f} MB",
    ]
    if dropped := meta.get("dropped"):
        lines.append(f"  dropped   clips with every joint zero: {len(dropped)} ({_some(dropped)})")
    if repaired := meta.get("repaired"):
        lines.append(
            f"  repaired  joints that were NaN, now missing (zero): {sum(repaired.values()):,} "
            f"in {len(repaired)} of the clips ({_some(repaired)})"
        )
    for what, note in (meta.get("notes") or {}).items():
        shown = f"{len(note)}: {_some(note)}" if isinstance(note, list) else note
        lines.append(f"  note      {what.replace('_', ' ')}: {shown}")
    return "\n".join(lines)


def _read(source: Path, request: _Request) -> ClipSource:
    known, names = request.benchmark, request.class_names
    suffix = source.suffix.lower()
    if (special := _read_special(source, suffix, known, request.options)) is not None:
        return special
    if known is None and (poses := _read_poses(source, request)) is not None:
        return poses
    request.options.allow((), str(source))
    if known and known.reader == "nw_ucla":
        return read_nw_ucla(source)
    if source.is_dir():
        return read_folder(source, class_names=names, channels=request.channels)
    if suffix in (".pkl", ".pickle"):
        return read_pyskl(source)
    if suffix in (".csv", ".tsv"):
        return read_table(source, request.skeleton, class_names=names)
    if suffix == ".npz":
        rules = known.packed if known else NO_RULES
        return read_packed(source, class_names=names, channels=request.channels, rules=rules)
    raise ValueError(
        f"{source} is of no format that is read; expected "
        + (known.source if known else "an .npz file, a .csv table, a .pkl of PYSKL annotations")
        + ", or a folder of .npy or .npz clips or of .json poses (docs/own_data.md)."
    )


def _read_special(source: Path, suffix: str, known: Benchmark | None, options: ReadOptions) -> ClipSource | None:
    """The formats that options belong to, or None."""
    if known and known.name.startswith("ntu") and holds_skeletons(source):
        options.allow(("denoise", "missing", "align", "workers"), f"the raw skeletons in {source}")
        return read_ntu_raw(
            source,
            num_classes=known.num_classes,
            denoise=options.denoise or "pyskl",
            missing=options.missing,
            align=bool(options.align),
            workers=options.workers,
        )
    if suffix == ".npz" and is_ctr_npz(source):
        options.allow(("align",), f"{source}, a file of CTR-GCN")
        if known is None:
            return read_ctr_npz(source, align=bool(options.align))
        return read_ctr_npz(source, splits=known.splits[0], num_classes=known.num_classes, align=bool(options.align))
    if suffix in (".pkl", ".pickle") and options.kpfiles is not None:
        options.allow(("kpfiles", "valid_ratio", "box_threshold"), f"{source}, a list of kpfiles")
        return read_kpfiles(
            source,
            options.kpfiles,
            valid_ratio=options.valid_ratio or 0.0,
            box_threshold=0.5 if options.box_threshold is None else options.box_threshold,
        )
    return None


def _read_poses(source: Path, request: _Request) -> ClipSource | None:
    """Own clips as pose estimators write them, or None."""
    if not holds_poses(source):
        return None
    if source.is_dir() and holds_arrays(source):
        if pose := next((file for file in walk_poses(source) if file.parent != source), None):
            raise ValueError(f"{source} holds arrays (.npy, .npz) and {pose}; convert arrays and poses one by one.")
        return None
    request.options.allow(("image_size", "max_persons"), f"the poses in {source}")
    return read_poses(
        source,
        request.skeleton,
        class_names=request.class_names,
        image_shape=request.options.image_shape(),
        max_persons=request.options.max_persons,
    )


def _check_joints(clips: ClipSource, layout: Skeleton, source: Path) -> None:
    if clips.num_joints in (None, layout.num_joints):
        return
    same = [name for name in list_skeletons() if get_skeleton(name).num_joints == clips.num_joints]
    hint = f"layouts with as many: {', '.join(same)}, as --skeleton {same[0]}" if same else "describe it in a YAML file"
    raise ValueError(
        f"{source} has {clips.num_joints} joints per person, but the layout {layout.name} has "
        f"{layout.num_joints}; {hint}."
    )


def _check_benchmark(clips: ClipSource, known: Benchmark, source: Path) -> None:
    if clips.num_classes > known.num_classes:
        raise ValueError(
            f"{source} has labels up to {clips.num_classes - 1}, but {known.name} has {known.num_classes} classes."
        )
    held_out = known.splits[0][1]
    if set(clips.splits) == {"train", "val", "test"} - {held_out} and known.splits == (("train", held_out),):
        # Which of the two words a file uses for the clips held out says nothing.
        clips.splits = {name if name == "train" else held_out: rows for name, rows in clips.splits.items()}
    if clips.splits and not any(set(pair) <= set(clips.splits) for pair in known.splits):
        train, test = known.splits[0]
        raise ValueError(
            f"{source} has the splits {', '.join(clips.splits)}, but {known.name} needs {train} and {test}; "
            "is it the file of another benchmark?"
        )


def _class_names(names: Sequence[str] | str | Path | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str | Path):
        try:
            lines = Path(names).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{names} is not a text file in UTF-8: expected one class name per line.") from error
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise ValueError("the file of class names is empty: expected one class name per line")
    return tuple(names)


def _with_progress(clips: Iterable[Clip], total: int | None) -> Iterable[Clip]:
    """A bar on a terminal, silence elsewhere."""
    from tqdm import tqdm

    return tqdm(clips, total=total, unit="clip", desc="convert", disable=None, leave=False)


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f", ... ({len(listed)} in all)" if len(listed) > most else "")
