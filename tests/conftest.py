"""Fixtures every room of the tests shares."""

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


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
