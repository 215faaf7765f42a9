"""One tiny store for all tests of this room."""

import pytest
from tiny_runs import write_recipe, write_tiny_store


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """Folder of a store of 45 clips."""
    return write_tiny_store(tmp_path_factory.mktemp("store") / "tiny").path


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory, tiny_store):
    """A recipe that trains a tiny network on it."""
    return write_recipe(tmp_path_factory.mktemp("recipe"), tiny_store)
