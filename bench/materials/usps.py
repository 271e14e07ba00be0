"""USPS, digits from envelopes (LeCun et al. 1989, https://doi.org/10.1162/neco.1989.1.4.541), from libsvm's files.

They are text packed by bzip2, one image a line: `label 1:value ... 256:value`, labels 1 to 10 for digits 0 to 9,
values in [-1, 1] with three decimals. torchvision's own reader ignores the numbers before the colons, so a
damaged line would shift a whole data set; scikit-learn's reads them. The values become torchvision's bytes:
255 * (value + 1) / 2, rounded down.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_svmlight_file
from torch import Tensor

from bench.materials.stored import DIGITS, Stored

SIDE = 16


def read_libsvm(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """One file -> images [N, 1, 16, 16] uint8 and labels [N] in 0 to 9."""
    (path,) = paths
    values, labels = load_svmlight_file(str(path), n_features=SIDE * SIDE, dtype=np.float32, zero_based=False)
    short = np.flatnonzero(np.diff(values.indptr) != SIDE * SIDE)
    if len(short):
        raise ValueError(f"image {short[0] + 1} has {values[short[0]].nnz} values")
    if not (np.abs(values.data) <= 1).all():  # so written that NaN fails
        raise ValueError("values outside [-1, 1]")
    if not (labels == np.floor(labels)).all():
        raise ValueError("labels that are no whole numbers")
    images = ((values.toarray() + 1) / 2 * 255).astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return torch.from_numpy(images), torch.from_numpy(labels).long() - 1


def _fetch(folder: Path) -> Path:
    from torchvision.datasets import USPS  # costs a second that other data sets need not pay
    from torchvision.datasets.utils import download_url

    for url, name, md5 in USPS.split_list.values():
        download_url(url, str(folder), name, md5)
    return folder


USPS = Stored(
    title="USPS",
    folder="",
    form="libsvm's text packed by bzip2",
    train=("usps.bz2",),
    test=("usps.t.bz2",),
    shape=(1, SIDE, SIDE),
    class_names=DIGITS,
    read=read_libsvm,
    fetch=_fetch,
)
