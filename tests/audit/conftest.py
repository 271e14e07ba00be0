"""Two finished runs in one root."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.harness import runs


@pytest.fixture(scope="session")
def root(undefended_root, tmp_path_factory) -> Path:
    return Path(shutil.copytree(undefended_root, tmp_path_factory.mktemp("audit") / "runs"))


@pytest.fixture(scope="session")
def undefended(root) -> Path:
    (folder,) = root.glob("digits-undefended-*")
    return folder


@pytest.fixture(scope="session")
def with_rounds(root) -> Path:
    """The smallest run that has everything."""
    status, output = runs.run(*runs.SMALL, "--defense=fakeclass_bare", "--attack=l1_sparse", f"--run-root={root}")
    assert status == 1, output  # a quick budget never certifies
    (folder,) = root.glob("digits-fakeclass_bare-*")
    return folder


@pytest.fixture
def folder(with_rounds, tmp_path) -> Path:
    """A copy of the run with rounds, to change."""
    return Path(shutil.copytree(with_rounds, tmp_path / "handed-in"))
