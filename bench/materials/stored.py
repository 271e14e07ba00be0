"""Published data sets that lie in files under the data root: found, fetched, read and checked in one way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tarfile import TarError

import torch
from torch import Tensor

from bench.errors import BadInputError
from bench.materials.split import Source, Split, check_class_sizes, default_k

Read = Callable[[Sequence[Path]], tuple[Tensor, Tensor]]
"""The files of one part -> its images [N, C, H, W] uint8, and its labels [N], any integers."""

Fetch = Callable[[Path], Path]
"""Downloads into an empty folder -> the folder where the files then lie."""

DIGITS = tuple(str(digit) for digit in range(10))
DAMAGED = (OSError, EOFError, ValueError, TypeError, LookupError, AssertionError, RuntimeError)  # libraries' ways


@dataclass(frozen=True)
class Stored:
    """What differs between one such data set and another; its own division into training and test is kept.

    Args:
        title: its name in messages.
        folder: where its files lie, under the data root.
        form: what these files are, for messages.
        train, test: names of the files of each part, as `read` takes them.
        shape: (channels, height, width) of an image.
        class_names: in label order.
        k: most lit pixels of a sparse image; 38% of the pixels, if None.
    """

    title: str
    folder: str
    form: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    read: Read
    fetch: Fetch
    k: int | None = None

    def load(self, argument: str, root: Path, allow_download: bool) -> Source:
        """Read it from under `root`; a `bench.materials.data.Loader`.

        Raises:
            BadInputError: files missing, damaged, or not to be had.
        """
        folder = root / self.folder
        missing = [name for name in (*self.train, *self.test) if not (folder / name).is_file()]
        if missing and not allow_download:
            raise BadInputError(
                f"{self.title} is not complete under {folder}: no {', '.join(missing)}; expected {self.form}: put "
                "them there, name their root with --data-root, or fetch them with --download"
            )
        if missing:
            self._download(root)
        train, test = (self._part(folder, names) for names in (self.train, self.test))
        check_class_sizes(train.labels, self.class_names)
        _, height, width = self.shape
        return Source(train, test, 255, self.class_names, self.k or default_k(height * width))

    def _download(self, root: Path) -> None:
        """Fetch into a folder beside, then move file by file, so that a broken download leaves nothing behind."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(dir=root, prefix=".download-")
        except OSError as error:
            raise BadInputError(
                f"cannot write to the data root {root} ({error.strerror}); expected a writable folder: "
                "name one with --data-root"
            ) from error
        folder, names = root / self.folder, (*self.train, *self.test)
        with scratch:
            try:
                fetched = self.fetch(Path(scratch.name))
                folder.mkdir(parents=True, exist_ok=True)
                for name in names:
                    os.replace(fetched / name, folder / name)
            except (*DAMAGED, HTTPException, TarError) as error:
                reason = _words(error)[-1]
                raise BadInputError(
                    f"cannot download {self.title} ({reason}); expected network access: allow it, or put "
                    f"{', '.join(names)} into {folder}"
                ) from error

    def _part(self, folder: Path, names: tuple[str, ...]) -> Split:
        try:
            images, labels = self.read([folder / name for name in names])
            self._check(images, labels)
        except DAMAGED as error:
            channels, height, width = self.shape
            raise BadInputError(
                f"{' or '.join(names)} under {folder} is damaged ({_words(error)[0]}); expected {self.form} with "
                f"{height}x{width} images of {channels} channel{'s' * (channels > 1)} and one label each: delete "
                "these files and fetch them again with --download"
            ) from error
        return Split(images.float().div_(255), labels.long())

    def _check(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape or not len(images):
            raise ValueError(f"images {tuple(images.shape)} of {images.dtype}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels {tuple(labels.shape)} for {len(images)} images")
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= len(self.class_names):
            raise ValueError(f"labels from {least} to {most}, where {len(self.class_names) - 1} is the last")


def _words(error: Exception) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
