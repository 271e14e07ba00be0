"""The data of a run: half A for the defense, half B kept from it, validation out of each, test data apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from bench.errors import BadInputError
from bench.materials.cifar import CIFAR10
from bench.materials.folder import load_folder
from bench.materials.idx import MNIST_KIN
from bench.materials.split import (
    TEST_FRACTION,
    TEST_STATE,
    VALIDATION_FRACTION,
    Source,
    Split,
    default_k,
    divide,
)
from bench.materials.usps import USPS
from bench.seeds import derive
from bench.types import ImageSpec

__all__ = ["DATASETS", "KNOWN", "Data", "Loader", "Split", "load"]


@dataclass(frozen=True)
class Data:
    """Everything a run may see, divided.

    Args:
        name: as given to `load`.
        spec: the facts of its images.
        a_train, a_val: half A, for the defense and the control.
        b_train, b_val: half B, for network B and the measuring judge.
        test: for the suites alone; the same under every seed.
        default_k: most lit pixels of a sparse image, unless the user says otherwise.
        fingerprint: sha256 over the spec and every tensor above.
    """

    name: str
    spec: ImageSpec
    a_train: Split
    a_val: Split
    b_train: Split
    b_val: Split
    test: Split
    default_k: int
    fingerprint: str


Loader = Callable[[str, Path, bool], Source]
"""(what follows the colon of the name, where data sets lie, may it download) -> the data set."""


def digits(argument: str, root: Path, allow_download: bool) -> Source:
    """scikit-learn's 8x8 digits, which come with it: 1,797 images on a grid of k/16."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    train, test = divide(Split(images, torch.from_numpy(bunch.target).long()), TEST_FRACTION, TEST_STATE)
    return Source(train, test, 16, tuple(str(digit) for digit in range(10)), default_k(64))


DATASETS: dict[str, Loader] = {
    "digits": digits,
    **{name: stored.load for name, stored in MNIST_KIN.items()},
    "usps": USPS.load,
    "cifar10": CIFAR10.load,
    "folder": load_folder,
}
KNOWN = ", ".join("folder:PATH" if name == "folder" else name for name in DATASETS)


def load(name: str, *, root: Path, seed: int, allow_download: bool) -> Data:
    """Load a data set by name and divide it.

    Args:
        name: a key of `DATASETS`; `folder:PATH` for one's own images.
        root: where downloaded data sets lie, as torchvision lays them out.
        seed: decides halves and validation; the test set stays.
        allow_download: fetch what is missing.

    Raises:
        BadInputError: no such data set, or one that cannot be read, fetched or divided.
    """
    key, _, argument = name.partition(":")
    if key not in DATASETS or (argument and key != "folder"):
        raise BadInputError(_unknown(name, key))
    source = DATASETS[key](argument, Path(root), allow_download)
    spec = ImageSpec(tuple(source.train.images.shape[1:]), source.levels, source.class_names)
    state = derive(seed, "halves")
    a, b = divide(source.train, 0.5, state)
    a_train, a_val = divide(a, VALIDATION_FRACTION, state)
    b_train, b_val = divide(b, VALIDATION_FRACTION, state)
    parts = (a_train, a_val, b_train, b_val, source.test)
    return Data(name, spec, *parts, source.default_k, _fingerprint(spec, parts))


def _unknown(name: str, key: str) -> str:
    close = get_close_matches(key, DATASETS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "give one of these with --dataset"
    return f"no data set {name!r}; expected one of {KNOWN}: {hint}"


def _fingerprint(spec: ImageSpec, parts: tuple[Split, ...]) -> str:
    digest = hashlib.sha256(repr(spec).encode())
    for part in parts:
        for tensor in (part.images, part.labels):
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
