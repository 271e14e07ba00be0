"""CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html), from its binary version.

torchvision reads the version for Python, which is pickled: a file that may run anything when it is opened. The
binary version holds the same images in the same order, as records of one byte for the label and 3,072 for the
pixels, first all red ones row by row, then green, then blue.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.materials.stored import Stored

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as its page gives it
FOLDER = "cifar-10-batches-bin"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


def read_records(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Batches, one after the other -> images [N, 3, 32, 32] uint8 and labels [N]."""
    records = torch.from_numpy(np.concatenate([_records(path) for path in paths]))
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0]


def _records(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8)
    if not len(data) or len(data) % RECORD:
        raise ValueError(f"{path.name} has {len(data)} bytes, which are no records of {RECORD}")
    return data.reshape(-1, RECORD)


def _fetch(folder: Path) -> Path:
    from torchvision.datasets.utils import download_url  # costs a second that other data sets need not pay

    name = Path(URL).name
    download_url(URL, str(folder), name, MD5)
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / FOLDER


CIFAR10 = Stored(
    title="CIFAR10",
    folder=FOLDER,
    form="its binary version (the one for Python is pickled, and never opened)",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test=("test_batch.bin",),
    shape=SHAPE,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    read=read_records,
    fetch=_fetch,
)
