"""Small data sets in the files that published ones come in."""

from __future__ import annotations

import bz2
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BadInputError
from bench.materials.cifar import CIFAR10
from bench.materials.data import Data, load
from bench.materials.idx import MNIST_KIN
from bench.materials.usps import USPS

SETS = {**MNIST_KIN, "usps": USPS, "cifar10": CIFAR10}
PARTS = ("a_train", "a_val", "b_train", "b_val", "test")
UBYTE, INT = 8, 12  # codes of idx files


@dataclass(frozen=True)
class Part:
    """What a made file holds: images [N, C, H, W] uint8 as they should be read, and labels [N]."""

    images: np.ndarray
    labels: np.ndarray


def made(shape: tuple[int, ...], count: int, seed: int) -> Part:
    labels = np.arange(count) % 10
    return Part(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8), labels)


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    kind = {UBYTE: ">u1", INT: ">i4"}[code]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.astype(kind).tobytes()


def plain(part: Part, names: tuple[str, ...]) -> dict[str, bytes]:
    return {names[0]: idx_bytes(part.images[:, 0], UBYTE), names[1]: idx_bytes(part.labels, UBYTE)}


def transposed(part: Part, names: tuple[str, ...]) -> dict[str, bytes]:
    return plain(Part(part.images.transpose(0, 1, 3, 2), part.labels), names)


def extended(part: Part, names: tuple[str, ...]) -> dict[str, bytes]:
    """Eight columns a label, as of hsf_4's first writer; the digit alone is the label."""
    rest = np.arange(len(part.labels))
    columns = [part.labels, 4 + 0 * rest, 2424 + rest, rest, 48 + part.labels, 340_000 + rest, 0 * rest, 0 * rest]
    return plain(part, names) | {names[1]: idx_bytes(np.stack(columns, axis=1), INT)}


def libsvm(part: Part, names: tuple[str, ...]) -> dict[str, bytes]:
    """Values of three decimals that become the bytes again."""
    lines = []
    for image, label in zip(part.images, part.labels, strict=True):
        values = np.minimum(np.ceil((image.ravel() / 255 * 2 - 1) * 1000 + 0.5) / 1000, 1)
        lines.append(f"{label + 1} " + " ".join(f"{i}:{value:g}" for i, value in enumerate(values, 1)))
    return {names[0]: bz2.compress("\n".join([*lines, ""]).encode())}


def records(part: Part, names: tuple[str, ...]) -> dict[str, bytes]:
    rows = np.concatenate([part.labels[:, None], part.images.reshape(len(part.labels), -1)], axis=1).astype(np.uint8)
    return {name: rows.tobytes() for name, rows in zip(names, np.array_split(rows, len(names)), strict=True)}


WRITERS = {"mnist": plain, "fashion_mnist": plain, "kmnist": plain, "qmnist": extended, "emnist": transposed,
           "usps": libsvm, "cifar10": records}  # fmt: skip


def written(root: Path, name: str, per_class: int = 20) -> tuple[Part, Part]:
    """A small data set in its real format under `root` -> its training and its test part."""
    facts = SETS[name]
    folder = root / facts.folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = made(facts.shape, 10 * per_class, 0), made(facts.shape, 70, 1)
    for part, names in zip(parts, (facts.train, facts.test), strict=True):
        for file, content in WRITERS[name](part, names).items():
            (folder / file).write_bytes(content)
    return parts


def load_at(name: str, root: Path, allow_download: bool = False) -> Data:
    return load(name, root=root, seed=0, allow_download=allow_download)


def refusal(name: str, root: Path, allow_download: bool = False) -> str:
    with pytest.raises(BadInputError) as caught:
        load_at(name, root, allow_download)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
    return str(caught.value)


def all_written(root: Path) -> Path:
    for name in SETS:
        written(root, name)
    return root
