"""The plain readings of the papers, which the tests of a checkout keep as oracles; an installed package has none."""

import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from protogcn.bench.machine import PACKAGE

NAME = "protogcn_plain_references"
FOLDER = PACKAGE.parent / "tests" / "reference"
NETWORKS = ("protogcn", "ctrgcn", "infogcn", "stgcnpp")


def missing(folder: Path = FOLDER) -> str | None:
    """Why the plain references cannot be compared with, or None where they are there."""
    if (folder / "__init__.py").is_file():
        return None
    return f"the plain references are in a checkout only, under tests/reference; there is no folder {folder}"


@lru_cache(maxsize=1)
def references(folder: Path = FOLDER) -> ModuleType:
    """The package of the plain networks: ``plain_network(name)``, ``FRAMES``.

    Raises:
        FileNotFoundError: this is no checkout.
    """
    if reason := missing(folder):
        raise FileNotFoundError(reason)
    # Under a name of its own: the tests import the same files under theirs.
    file, inside = folder / "__init__.py", [str(folder)]
    spec = importlib.util.spec_from_file_location(NAME, file, submodule_search_locations=inside)
    assert spec is not None and spec.loader is not None
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(name: str) -> ModuleType:
    """A module of the plain references, such as ``pipeline_plain``.

    Raises:
        FileNotFoundError: this is no checkout.
    """
    return importlib.import_module(f"{references().__name__}.{name}")
