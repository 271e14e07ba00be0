"""What the tests share: the real MNIST, one thread so that figures repeat, and one finished run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from bench.materials.idx import FILES
from tests.harness import runs


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Where the real MNIST lies: DISTAL_DATA_ROOT, or data/ beside the tests; in CI its absence is a failure."""
    root = Path(os.environ.get("DISTAL_DATA_ROOT", Path(__file__).parents[1] / "data"))
    missing = [name for name in FILES if not (root / "MNIST" / "raw" / name).is_file()]
    if missing:
        reason = f"no MNIST under {root / 'MNIST' / 'raw'}: set DISTAL_DATA_ROOT"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return root


@pytest.fixture(scope="session")
def undefended_root(tmp_path_factory) -> Path:
    """A run root with one finished run, `runs.UNDEFENDED`; made once for all workers, to be copied, not written to."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undefended"
    with FileLock(f"{root}.lock"):
        if not list(root.glob("digits-undefended-*/certificate.json")):
            status, output = runs.run(*runs.UNDEFENDED, f"--run-root={root}")
            assert status == 1, output  # a quick budget never certifies
    return root


@pytest.fixture
def trained_root(undefended_root, tmp_path) -> Path:
    """A run root of the test's own, where the two undefended networks of digits need no training."""
    shutil.copytree(undefended_root / "cache", tmp_path / "runs" / "cache")
    return tmp_path / "runs"
