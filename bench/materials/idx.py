"""MNIST and Fashion-MNIST, read from idx files and fetched by torchvision."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.materials.split import Source, Split, check_class_sizes, default_k
from bench.types import BadInputError

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
SIDE = 28
CLASSES = 10


def load_mnist(argument: str, root: Path, allow_download: bool) -> Source:
    """MNIST under ROOT/MNIST/raw; its k is the field's own 300.

    Raises:
        BadInputError: files missing, damaged, or not to be had.
    """
    from torchvision.datasets import MNIST  # costs a second that other data sets need not pay

    return _load(MNIST, tuple(str(digit) for digit in range(CLASSES)), 300, root, allow_download)


def load_fashion_mnist(argument: str, root: Path, allow_download: bool) -> Source:
    """Fashion-MNIST under ROOT/FashionMNIST/raw.

    Raises:
        BadInputError: files missing, damaged, or not to be had.
    """
    from torchvision.datasets import FashionMNIST

    return _load(FashionMNIST, tuple(FashionMNIST.classes), default_k(SIDE * SIDE), root, allow_download)


def _load(dataset: type[MNIST], names: tuple[str, ...], k: int, root: Path, allow_download: bool) -> Source:
    folder = root / dataset.__name__ / "raw"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing and not allow_download:
        raise BadInputError(
            f"{dataset.__name__} is not complete under {folder}: no {', '.join(missing)}; expected "
            "torchvision's unpacked idx files: put them there, name their root with --data-root, "
            "or fetch them with --download"
        )
    if missing:
        _download(dataset, root)
    train, test = (_read(dataset, root, train) for train in (True, False))
    check_class_sizes(train.labels, names)
    return Source(train, test, 255, names, k)


def _download(dataset: type[MNIST], root: Path) -> None:
    """Fetch into a folder beside, then move file by file, so that a broken download leaves nothing behind."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=root, prefix=".download-")
    except OSError as error:
        raise BadInputError(
            f"cannot write to the data root {root} ({error.strerror}); expected a writable folder: "
            "name one with --data-root"
        ) from error
    folder = root / dataset.__name__ / "raw"
    with scratch:
        try:
            fetched = Path(dataset(scratch.name, download=True).raw_folder)
            folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                os.replace(fetched / name, folder / name)
        except (OSError, RuntimeError, EOFError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise BadInputError(
                f"cannot download {dataset.__name__} ({reason}); expected network access: allow it, or put "
                f"{', '.join(FILES)} into {folder}"
            ) from error


def _read(dataset: type[MNIST], root: Path, train: bool) -> Split:
    """One part of the data set; damaged files fail in any of torchvision's own ways."""
    part = FILES[0:2] if train else FILES[2:4]
    try:
        found = dataset(str(root), train=train)
        return _checked(found.data, found.targets)
    except (OSError, ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:
        folder = root / dataset.__name__ / "raw"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(
            f"{part[0]} or {part[1]} under {folder} is damaged ({reason}); expected {SIDE}x{SIDE} images with "
            f"one label each: delete both and fetch them again with --download"
        ) from error


def _checked(images: Tensor, labels: Tensor) -> Split:
    if images.shape != (len(labels), SIDE, SIDE):
        raise ValueError(f"images {tuple(images.shape)} for {len(labels)} labels")
    if int(labels.max()) >= CLASSES:
        raise ValueError(f"label {int(labels.max())}, where {CLASSES - 1} is the last")
    return Split(images.float().unsqueeze(1) / 255, labels.to(torch.int64))
