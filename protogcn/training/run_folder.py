"""The folder of a run: where it lies, what it says about itself, and whether it is finished."""

import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from graphs.messages import unknown
from protogcn.data.benchmarks import get_benchmark, list_benchmarks
from protogcn.training.recipe import Recipe, parse_recipe, read_yaml

CONFIG = "config.yaml"
METRICS = "metrics.json"
SCORES = "scores_test.npz"
HISTORY = "metrics.csv"
CHECKPOINTS = "checkpoints"
START = "init.json"


def run_folder(root: str | Path, recipe: Recipe, name: str | None = None) -> Path:
    """``<root>/<benchmark>/<model>/<stream>[-f<fold>][-s<seed>]``.

    Benchmarks of one pair of splits have no fold, and seed 0 has no suffix. The name is the recipe's, where it has one,
    instead of the model's; ``name`` replaces both.

    Raises:
        ValueError: ``name`` is no plain name.
    """
    if name is not None and (not name or "/" in name or name.startswith(".")):
        raise ValueError(f"--name names a folder and must be a plain name, got {name!r}")
    suffix = f"-f{recipe.data.fold}" if count_folds(recipe) > 1 else ""
    suffix += f"-s{recipe.seed}" if recipe.seed else ""
    return Path(root) / recipe.benchmark / (name or recipe.name or recipe.model.name) / f"{recipe.stream}{suffix}"


def count_folds(recipe: Recipe) -> int:
    """Pairs of splits over which the recipe's benchmark averages; 1 for own data and for splits that are named."""
    named = recipe.data.train or recipe.data.test
    if named or recipe.benchmark not in list_benchmarks():
        return 1
    return len(get_benchmark(recipe.benchmark).splits)


def is_finished(folder: Path) -> bool:
    """Whether the run has been trained and tested."""
    return (folder / METRICS).is_file() and (folder / SCORES).is_file()


def write_config(folder: Path, recipe: Recipe) -> None:
    """Write the resolved recipe into a new run folder, or check that the folder holds the same recipe.

    Raises:
        ValueError: another recipe has begun there; the message names what differs.
    """
    path = folder / CONFIG
    # A recipe that failed before its first epoch has left nothing worth guarding.
    begun = is_finished(folder) or any((folder / CHECKPOINTS).glob("*.ckpt"))
    if path.is_file() and begun:
        before, now = _flat(read_config(folder).as_dict()), _flat(recipe.as_dict())
        # How many processes load the clips changes no number.
        differs = [
            f"{key}: {before.get(key)!r} there, {now.get(key)!r} now"
            for key in sorted(before | now)
            if before.get(key) != now.get(key) and key not in ("data.workers", "trainer.tensorboard")
        ]
        if differs:
            raise ValueError(
                f"{folder} holds a run of another recipe ({'; '.join(differs[:4])}). Continue it with its own recipe, "
                "give this one a name of its own with --name <name>, or start over with --fresh"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True))


def read_config(folder: str | Path) -> Recipe:
    """The recipe of a run folder.

    Raises:
        FileNotFoundError: the folder is no run folder.
        ValueError: its config is damaged.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        around = sorted(found.parent.as_posix() for found in Path(folder).parent.glob(f"*/{CONFIG}"))
        hint = f" Beside it there are: {', '.join(around[:8])}." if around else " Train one with `protogcn train`."
        raise FileNotFoundError(f"{folder} is no run folder: it has no {CONFIG}.{hint}")
    return parse_recipe(read_yaml(path), path)


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The results of a run; None where there are none yet.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / METRICS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; remove it and write it anew with `protogcn test {folder}`")
    return content


def write_start(folder: Path, start: dict[str, Any] | None) -> None:
    """Note where the first weights of a run came from, for its results and for whoever continues it; None: drawn."""
    if start is None:
        (folder / START).unlink(missing_ok=True)
    else:
        write_json(folder / START, start)


def read_start(folder: Path) -> dict[str, Any]:
    """Where the first weights of a run came from, as the entry ``init`` of its results; nothing for a run from scratch.

    Raises:
        ValueError: the note is damaged.
    """
    path = folder / START
    if not path.is_file():
        return {}
    try:
        return {"init": json.loads(path.read_text(encoding="utf-8"))}
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it, and the results will not say where it began"
        ) from error


def checkpoint_path(folder: Path, which: str) -> Path:
    """``last`` or ``best`` checkpoint of a run.

    Raises:
        FileNotFoundError: it has not been written; the message lists what there is.
    """
    path = folder / CHECKPOINTS / f"{which}.ckpt"
    if not path.is_file():
        there = [found.stem for found in (folder / CHECKPOINTS).glob("*.ckpt")]
        known = unknown("checkpoint", which, there, show_all=True) if there else "none has been written yet"
        raise FileNotFoundError(f"{folder}: {known}")
    return path


def facts(devices: str) -> dict[str, Any]:
    """What a result depends on besides the recipe: versions, git state, machine, command."""
    return {
        "versions": {name: metadata.version(name) for name in ("protogcn", "torch", "pytorch-lightning", "numpy")}
        | {"python": platform.python_version()},
        "git": _git_state(),
        "hardware": {"devices": devices, "cpu": _cpu_name(), "cores": os.cpu_count()},
        "command": shlex.join(["protogcn", *sys.argv[1:]]),
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the whole file or the one before."""
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _git_state() -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        here = Path(__file__).parent
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed package may lie inside somebody else's repository.
    if ask("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return {"commit": ask("rev-parse", "HEAD"), "modified": bool(ask("status", "--porcelain", "--untracked-files=no"))}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
