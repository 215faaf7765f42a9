"""``protogcn demo``: from nothing to the table of six fused streams, by the verbs that a user would type.

What is finished is kept, so a demo that was cut off goes on, and a second one takes seconds.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from protogcn.data.store import ClipStore
from protogcn.evaluation.stream_table import STREAMS, OwnBenchmark, StreamTable
from protogcn.training.history import duration

if TYPE_CHECKING:
    from protogcn.training.recipe import Recipe

SYNTHETIC = OwnBenchmark("synthetic", "Synthetic humans, cross-subject")

RECIPE = "configs/synthetic/protogcn.yaml"
SUBJECTS, REPETITIONS, NOISE = 30, 1, 0.4
SHOWN_ACTION, SHOWN_VIEW = "kick", 2


def run_demo(out: Path, seed: int) -> int:
    """Record synthetic clips, draw one, train six streams of a small ProtoGCN, fuse them; say the command of each step.

    Args:
        out: folder to write; what is finished in it is kept.
        seed: of clips and training; another seed than 0 gets a folder of its own in `out`.

    Returns:
        0.

    Raises:
        ValueError: a training failed, or the folder holds something else.
        OSError: the folder cannot be written.
    """
    started = time.perf_counter()
    # Clips of two seeds have the same names, so their scores must never come together.
    folder = out / f"seed{seed}" if seed else out
    runs = folder / "runs"
    print("Six streams of ProtoGCN on synthetic clips, small enough for two CPU cores and a few minutes.")
    store = _record(folder / "data", seed)
    pictures = _draw(store, folder)
    _train(store.path, runs, seed)
    table, written = _tabulate(runs / SYNTHETIC.name / "protogcn", folder, seed)
    _close(table, pictures | written, store.path, runs, seed, time.perf_counter() - started)
    return 0


def _say(number: int, title: str, *lines: str) -> None:
    print(f"\n[{number}/4] {title}", *(f"      {line}" for line in lines), "", sep="\n", flush=True)


def _command(*words: str | Path) -> str:
    return "$ " + shlex.join(map(str, words))


def _record(path: Path, seed: int) -> ClipStore:
    from protogcn.data.prepare import describe
    from protogcn.data.synthetic import write_synthetic

    options = {"subjects": SUBJECTS, "repetitions": REPETITIONS, "noise": NOISE, "seed": seed}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    _say(1, "Record clips of synthetic people", _command("protogcn", "data", "synthetic", path, *words))
    if (path / "store.json").is_file():
        store = ClipStore.open(path)
        subjects = {clip_id[8:12] for clip_id in store.ids}
        if store.meta.get("source") != f"procedural human, seed {seed}" or len(subjects) != SUBJECTS:
            raise ValueError(f"{path} holds other clips than those of the demo; give another folder with --out")
        print(f"{path} is there already")
    else:
        store = write_synthetic(path, subjects=SUBJECTS, repetitions=REPETITIONS, noise=NOISE, seed=seed)
        print(describe(store))
    return store


def _draw(store: ClipStore, folder: Path) -> dict[Path, str]:
    from graphs.draw import animate_clip, draw_streams
    from protogcn.data.synthetic import view_of

    # By somebody the networks will not have seen, from the side, where a movement to the front shows.
    shown = [i for i in store.split("xsub_test").tolist() if store.class_names[store.labels[i]] == SHOWN_ACTION]
    index = next((i for i in shown if view_of(store.ids[i]) == SHOWN_VIEW), shown[0])
    clip, skeleton = store[index].keypoints, store.skeleton
    frames = [round((clip.shape[1] - 1) * step / 7) for step in range(1, 7)]
    streams, animation = folder / "streams.png", folder / "clip.gif"
    _say(
        2,
        f"Draw one of them, a {SHOWN_ACTION}",
        f'>>> clip = ClipStore.open("{store.path}")[{index}].keypoints',
        f'>>> draw_streams(clip, "{skeleton.name}", {frames}).savefig("{streams}")',
        f'>>> animate_clip(clip, "{skeleton.name}", path="{animation}", title="{SHOWN_ACTION}")',
    )
    _write(streams, lambda path: draw_streams(clip, skeleton, frames).savefig(path))
    _write(animation, lambda path: animate_clip(clip, skeleton, path=path, title=SHOWN_ACTION))
    return {streams: "all six streams of one clip", animation: "the clip, moving"}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    if path.is_file():
        print(f"{path} is there already")
        return
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"wrote {path}", flush=True)


def _train(store: Path, runs: Path, seed: int) -> None:
    from protogcn.training.recipe import load_recipe
    from protogcn.training.run_folder import is_finished, run_folder

    # Small networks leave most cores idle, so streams train side by side instead of one on all cores.
    cores = _cores()
    words = [RECIPE, f"--data.store={store}", "--runs", str(runs), "--accelerator", "cpu"]
    words += ["--seed", str(seed)] if seed else []
    folders = {}
    for stream in STREAMS:
        recipe = load_recipe(RECIPE, stream, [f"--data.store={store}", f"--seed={seed}"])
        folders[stream] = run_folder(runs, recipe)
        _check_same(folders[stream], recipe)
    pending = [stream for stream in STREAMS if not is_finished(folders[stream])]
    beside = min(cores, len(pending))
    how = f"here {beside} at a time, each a process of its own" if beside > 1 else "one after the other"
    _say(
        3,
        "Train and test the six streams" + (f", {how}" if pending else ""),
        _command("protogcn", "train", *words, "--streams", ",".join(STREAMS)),
    )
    for stream in STREAMS:
        if stream not in pending:
            print(f"stream {stream}: {folders[stream]} is finished", flush=True)
    if not pending:
        return
    stop = threading.Event()

    def train(stream: str) -> bool:
        if not stop.is_set() and _train_stream(stream, words, cores // beside):
            stop.set()
            return False
        return True

    with ThreadPoolExecutor(beside) as pool:
        jobs = {stream: pool.submit(train, stream) for stream in pending}
        try:
            failed = [stream for stream, job in jobs.items() if not job.result()]
        finally:
            stop.set()
    if failed:
        raise ValueError(
            f"the training of {', '.join(failed)} failed; its message is above. The demo goes on from there when it is "
            "started again"
        )


def _check_same(folder: Path, recipe: Recipe) -> None:
    from protogcn.training.run_folder import CONFIG, read_config

    # The same folder has another name from another working directory.
    if (folder / CONFIG).is_file() and dataclasses.replace(read_config(folder), data=recipe.data) != recipe:
        raise ValueError(
            f"{folder} was trained by another recipe than {RECIPE} is now; remove {folder.parents[2]} to train "
            "anew, or give another folder with --out"
        )


def _train_stream(stream: str, words: Sequence[str], threads: int) -> int:
    command = [sys.executable, "-u", "-m", "protogcn.cli", "train", *words, "--stream", stream]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                # One write per line: several threads print.
                print(f"{stream:<3} {line.rstrip()}\n", end="", flush=True)
    return process.returncode


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _tabulate(runs: Path, folder: Path, seed: int) -> tuple[StreamTable, dict[Path, str]]:
    from protogcn.evaluation.plots import plot_confusion, plot_table
    from protogcn.evaluation.report import write_csv
    from protogcn.evaluation.stream_table import read_table

    csv, plot, confusion = (folder / name for name in ("table.csv", "table.png", "confusion.png"))
    chosen = ["--seed", str(seed)] if seed else []
    script = ["python", "-m", "protogcn.ensembles.synthetic_ensemble"]
    names = ",".join(f"{stream}-s{seed}" if seed else stream for stream in STREAMS)
    scores = f"{shlex.quote(str(runs))}/{{{names}}}/scores_test.npz"
    _say(
        4,
        "Fuse them",
        _command(*script, "--runs", runs, *chosen, "--csv", csv, "--plot", plot),
        f"$ protogcn ensemble {scores} --preset protogcn --confusion {shlex.quote(str(confusion))}",
    )
    table = read_table(SYNTHETIC, runs, seed=seed, second_seed=seed)
    fused = table.rows[-1].fusion if table.rows else None
    if fused is None or len(fused.names) < len(STREAMS):
        raise ValueError(f"not all six streams can be fused: {'; '.join(table.problems) or f'some are not in {runs}'}")
    print(table)
    write_csv(table.rows, csv)
    plot_table(table.rows, plot, f"{SYNTHETIC.title}: protogcn")
    title = f"Six streams fused: {100 * fused.metrics.top1:.2f} % top-1"
    plot_confusion(fused.metrics.confusion, confusion, fused.scores.class_names, title)
    return table, {csv: "the table as CSV", plot: "the table as a plot", confusion: "what the fusion takes for what"}


def _close(table: StreamTable, written: dict[Path, str], store: Path, runs: Path, seed: int, seconds: float) -> None:
    fusion = table.rows[-1].fusion
    assert fusion is not None
    best = table.rows[fusion.best]
    streams = runs / SYNTHETIC.name / "protogcn"
    second = ["--streams", "j,b,k", "--seed", str(seed + 1)]
    contents = written | {streams: "curves, confusion matrix, scores and weights of each stream"}
    width = max(len(str(path)) for path in contents)
    print(
        f"\nSix streams fused: {100 * fusion.metrics.top1:.2f} % top-1, "
        f"{100 * fusion.gain:+.2f} points over {best.name}, the best single stream. Done in {duration(seconds)}.",
        *(f"  {path!s:<{width}}  {content}" for path, content in contents.items()),
        "\nTo try next:",
        "  second seeds beside motion streams, a minute or two each; then the command for the table again:",
        f"    {_command('protogcn', 'train', RECIPE, f'--data.store={store}', '--runs', runs, *second)}",
        "  your own clips or a public benchmark: README.md and docs/own_data.md; protogcn benchmarks lists them",
        "  other networks: protogcn models; other skeletons: protogcn skeletons",
        sep="\n",
    )
