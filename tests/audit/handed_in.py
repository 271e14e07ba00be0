"""A stranger's folder: made as a user makes it, and changed so that every hash still fits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]


def finished(root: Path, defense: str) -> Path:
    """The smallest run of the suites that has everything -> its folder; runs in one root share their control."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    asked = (f"--defense={defense}", "--budget=quick", "--max-rounds=2", "--network=mlp", "--attack=l1_sparse")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", ROOT / "suites", "-q", "-p", "no:cacheprovider", f"--run-root={root}", *asked],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout  # a quick budget never certifies
    (folder,) = root.glob(f"digits-{defense}-*")
    return folder


def change_json(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change one JSON file in place."""
    path = folder / name
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def change_certificate(folder: Path, **fields: object) -> None:
    change_json(folder, "certificate.json", lambda data: data.update(fields))


def change_tensors(folder: Path, name: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change stored tensors in place, and say the new hash wherever the old one stood."""
    path = folder / name
    tensors = load(path.read_bytes())
    change(tensors)
    rewrite(folder, name, save({key: value.contiguous() for key, value in tensors.items()}))


def rewrite(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    change_json(folder, "certificate.json", lambda certificate: certificate["hashes"].update({name: digest}))


def blank(index: int) -> Callable[[dict[str, Tensor]], None]:
    """Put out every light of one image; what is said of it stays."""

    def change(tensors: dict[str, Tensor]) -> None:
        tensors["images"][index] = 0

    return change


def shifted(tensors: dict[str, Tensor]) -> None:
    """Another network: every weight and bias a little larger."""
    for value in tensors.values():
        value += torch.full_like(value, 0.02)
