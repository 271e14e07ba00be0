"""Two finished runs, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.audit.handed_in import finished


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def undefended(root) -> Path:
    return finished(root, "undefended")


@pytest.fixture(scope="session")
def with_rounds(root) -> Path:
    return finished(root, "fakeclass_bare")


@pytest.fixture
def folder(with_rounds, tmp_path) -> Path:
    """A copy of the run with rounds, to change."""
    return Path(shutil.copytree(with_rounds, tmp_path / "handed-in"))
