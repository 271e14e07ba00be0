"""The run directory: tensors with their hashes, JSON, metrics, locks. Every write is atomic.

A file is either whole and as it was written, or it is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from bench.errors import BadInputError, NonFiniteError
from bench.files import write_whole

LOCKS = "locks"  # the folder of them, inside a run's


class StoreError(Exception):
    """A stored file that is missing, damaged or not what it says; names the file and what to do."""


def write_atomic(path: Path, data: bytes) -> str:
    """Write a file whole or not at all -> its SHA-256.

    Raises:
        StoreError: the disk is full, or the file can't be written.
    """
    try:
        write_whole(path, data, mode=0o644)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}, nothing was written; make room for {len(data):,} bytes there, and the "
            "same command goes on from what is stored"
        ) from None
    return hashlib.sha256(data).hexdigest()


def to_json(value: Any) -> bytes:
    """Readable JSON; NaN and infinity are refused.

    Raises:
        NonFiniteError: a number that is not finite.
    """
    try:
        return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
    except ValueError as error:
        raise NonFiniteError(f"a figure to be stored is not finite: {error}") from None


def from_json(data: bytes) -> Any:
    """Parse JSON, refusing NaN and infinity."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not allowed")

    return json.loads(data, parse_constant=refuse)


class Store:
    """One folder of stored records.

    Args:
        folder: created when missing.

    Raises:
        BadInputError: the folder can't be written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BadInputError(
                f"run directory {folder}: {error.strerror}; expected a folder that can be written: "
                "name one with --run-root or --run-dir"
            ) from None
        self._locks: dict[str, FileLock] = {}

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other runs out of this folder.

        Raises:
            BadInputError: another run holds it.
        """
        lock = FileLock(self.folder / "run.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise BadInputError(
                f"run directory {self.folder}: another run holds it; wait for it, or name another with --run-root"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """One process makes what is called `name` at a time; the others wait and then find it made.

        Whoever holds one name may ask for another that the first is made of, and never the other way round.
        """
        with self._lock(name):
            yield

    def busy(self, name: str) -> bool:
        """Whether another process is at work on `name` just now."""
        lock = self._lock(name)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        return False

    def _lock(self, name: str) -> FileLock:
        if name not in self._locks:
            path = self.folder / LOCKS / f"{name}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._locks[name] = FileLock(path)
        return self._locks[name]

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        """A stored file counts once its hash is there too."""
        path = self.path(name)
        return path.exists() and (path.suffix == ".json" or _sidecar(path).exists())

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
        """Store tensors as safetensors, their SHA-256 beside them -> the hash.

        Raises:
            NonFiniteError: a tensor that is not finite.
        """
        for key, value in tensors.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise NonFiniteError(f"{name}: {key} is not finite and was not stored")
        # Cloned: a network may hold one tensor under two names, which safetensors refuses.
        whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        path = self.path(name)
        _sidecar(path).unlink(missing_ok=True)
        digest = write_atomic(path, save_safetensors(whole, dict(metadata or {})))
        write_atomic(_sidecar(path), f"{digest}  {path.name}\n".encode())
        return digest

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """Read tensors back, checked against their SHA-256.

        Raises:
            StoreError: missing, or a byte differs.
            NonFiniteError: a tensor that is not finite.
        """
        path = self.path(name)
        data = self._checked(path)
        tensors = load_safetensors(data)
        for key, value in tensors.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise NonFiniteError(f"{path}: {key} is not finite")
        return tensors

    def save_file(self, name: str, data: bytes) -> str:
        """Store a file (an image, say) -> its SHA-256."""
        return write_atomic(self.path(name), data)

    def save_json(self, name: str, value: Any) -> None:
        write_atomic(self.path(name), to_json(value))

    def load_json(self, name: str) -> Any:
        """Read JSON back.

        Raises:
            StoreError: missing, or no JSON.
        """
        try:
            return from_json(self.path(name).read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path(name)}: {error}; delete it, and the run makes it again") from None

    def clear(self, keep: tuple[str, ...]) -> None:
        """Delete what is stored, but for the named files at the top."""
        for path in self.folder.iterdir():
            if path.name in keep:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every stored tensor file, by its name relative to the folder."""
        found = sorted(self.folder.rglob("*.safetensors"))
        return {str(path.relative_to(self.folder)): hashlib.sha256(self._checked(path)).hexdigest() for path in found}

    def _checked(self, path: Path) -> bytes:
        try:
            data = path.read_bytes()
            expected = _sidecar(path).read_text().split()[0]
        except (OSError, IndexError) as error:
            raise StoreError(f"{path}: {error}; delete it, and the run makes it again") from None
        if hashlib.sha256(data).hexdigest() != expected:
            raise StoreError(f"{path}: its bytes do not match its SHA-256; delete it, and the run makes it again")
        return data


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
