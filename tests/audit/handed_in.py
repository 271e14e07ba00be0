"""A stranger's folder, changed so that every hash still fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor


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
