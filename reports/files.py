"""Writing whole files or none."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str, *, flush: bool = True) -> None:
    """Write `text` beside `path`, then rename: a reader sees the old file or the new.

    `flush` waits until the disk has it; what a build can write again does without.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
