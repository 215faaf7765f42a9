"""Fixtures every room of the tests shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_runs import write_recipe, write_tiny_store

TESTS = Path(__file__).parent
# The same examples in every run, so that one that fails is that of the change; HYPOTHESIS_PROFILE=default draws others.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of reference numbers that the tests compare against."""
    return TESTS / "goldens"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets and score files: PROTOGCN_DATA, or one beside the checkout; else skips."""
    folder = Path(os.environ.get("PROTOGCN_DATA") or TESTS.parent.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PROTOGCN_DATA to the folder that holds nw_ucla.npz and its kin")
    return folder


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """Folder of a store of 45 clips."""
    return write_tiny_store(tmp_path_factory.mktemp("store") / "tiny").path


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory, tiny_store):
    """A recipe that trains a tiny network on it."""
    return write_recipe(tmp_path_factory.mktemp("recipe"), tiny_store)
