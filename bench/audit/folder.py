"""Taking in a stranger's folder: what belongs to a run is copied and hashed, links and what is too large refused."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.audit.difference import MISSING, Difference, RefusedError
from bench.store import write_atomic

MIB = 2**20
MAX_JSON = 16 * MIB
MAX_TENSORS = 512 * MIB
MAX_FOLDER = 8 * 1024 * MIB
MAX_FILES = 20_000
JSON = re.compile(
    r"config\.json|(frontier|proof|perturbed|transfer)\.json|measurements/\d\d\.json"
    r"|rounds/done\.json|rounds/\d{3,5}/round\.json"
)
TENSORS = re.compile(
    r"(control|network-b|checkpoint)\.safetensors|rounds/\d{3,5}/(network|train|heldout)\.safetensors"
    r"|generated/[\w.-]{1,200}/[\w.-]{1,250}\.safetensors"
)
RECOMPUTED = re.compile(r"(frontier|proof|perturbed|transfer)\.json|measurements/\d\d\.json")  # compared, never read


def take_in(folder: Path, copy: Path, hashes: Mapping[str, str]) -> Iterator[Difference]:
    """Copy a run's stored files into the new folder `copy`, each with a SHA-256 of our own beside it.

    What a run computes from them goes to `copy`/said, out of the way; anything else is left where it is.

    Args:
        hashes: what the certificate says of the tensor files.

    Yields:
        Files that the certificate names otherwise, or not at all, or that are missing.

    Raises:
        RefusedError: a symbolic link, something that is no regular file, or too much of it.
    """
    room, seen = MAX_FOLDER, set()
    for name, path in _files(folder):
        tensors = TENSORS.fullmatch(name)
        if not tensors and not JSON.fullmatch(name):
            continue
        data = _read(path, name, min(room, MAX_TENSORS if tensors else MAX_JSON))
        room -= len(data)
        digest = write_atomic(copy / ("said" if RECOMPUTED.fullmatch(name) else "") / name, data)
        if tensors:
            seen.add(name)
            write_atomic(copy / f"{name}.sha256", f"{digest}  {path.name}\n".encode())
            if hashes.get(name) != digest:
                yield Difference(f"hashes.{name}", hashes.get(name, MISSING), digest)
    for name in sorted(hashes.keys() - seen):
        yield Difference(f"hashes.{name}", hashes[name], "no such file")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file by its name relative to the folder, in order."""
    count = 0
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in (*folders, *sorted(files)):
            path = Path(where) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise RefusedError(relative, "a file of the run", "a symbolic link")
            if name in files:
                yield relative, path
        count += len(files)
        if count > MAX_FILES:
            raise RefusedError(".", "a run", f"more than {MAX_FILES} files")


def _read(path: Path, name: str, most: int) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise RefusedError(name, "a file of the run", "no regular file")
        data = file.read(most + 1) if facts.st_size <= most else b""
    if facts.st_size > most or len(data) > most:
        raise RefusedError(name, f"at most {most} bytes", f"{facts.st_size} bytes")
    return data
