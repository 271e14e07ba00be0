"""What the harness's own tests share: the real MNIST, and one thread so that figures repeat."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from bench.materials.idx import FILES


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
