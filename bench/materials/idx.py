"""MNIST and its kin, read from idx files and fetched by torchvision.

Its classes download; they don't read, for they prefer a cached `processed/training.pt` to the files themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.materials.stored import DIGITS, Stored

SIDE = 28
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
QMNIST_FILES = tuple(
    f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")
)
EMNIST_FILES = tuple(
    f"emnist-digits-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")
)
QMNIST_COLUMNS = 8  # digit, series, writer, sample, class, and three that say where it stands in NIST's files


def read_idx(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """An image and a label file, [N, 28, 28] and [N], each with its magic number and its sizes in front."""
    images, labels = (_tensor(path) for path in paths)
    if labels.dtype != torch.uint8:
        raise ValueError(f"labels of {labels.dtype}")
    return images.unsqueeze(1), labels


def read_transposed(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """EMNIST's, which store an image column by column: turned to stand as MNIST's do."""
    images, labels = read_idx(paths)
    return images.transpose(2, 3).contiguous(), labels


def read_extended(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """QMNIST's, whose labels are [N, 8] int32 with the digit in front (https://arxiv.org/abs/1905.10498)."""
    images, labels = (_tensor(path) for path in paths)
    if labels.dtype != torch.int32 or labels.shape[1:] != (QMNIST_COLUMNS,):
        raise ValueError(f"labels {tuple(labels.shape)} of {labels.dtype}")
    return images.unsqueeze(1), labels[:, 0]


def _tensor(path: Path) -> Tensor:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor  # a second that other data sets need not pay

    return read_sn3_pascalvincent_tensor(str(path), strict=False)  # its `view` checks the sizes, and says how they err


def _fetch(dataset: str, options: dict[str, str], folder: Path) -> Path:
    import torchvision.datasets

    made = getattr(torchvision.datasets, dataset)
    parts = [made(folder, train=train, download=True, **options) for train in (True, False)]
    return Path(parts[0].raw_folder)


def _stored(dataset: str, class_names: tuple[str, ...], files=FILES, read=read_idx, k=None, **options: str) -> Stored:
    """A row of the table, by the name of torchvision's class."""
    return Stored(
        title=dataset,
        folder=f"{dataset}/raw",
        form="torchvision's unpacked idx files",
        train=files[:2],
        test=files[2:],
        shape=(1, SIDE, SIDE),
        class_names=class_names,
        read=read,
        fetch=partial(_fetch, dataset, options),
        k=k,
    )


GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

MNIST_KIN = {
    "mnist": _stored("MNIST", DIGITS, k=300),  # the field's own k
    "fashion_mnist": _stored("FashionMNIST", GARMENTS),
    "kmnist": _stored("KMNIST", KANA),
    "qmnist": _stored("QMNIST", DIGITS, QMNIST_FILES, read_extended),
    "emnist": _stored("EMNIST", DIGITS, EMNIST_FILES, read_transposed, split="digits"),
}
