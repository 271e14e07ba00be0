"""Writing whole files or none. No torch here: pages and figures are written without it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes, *, flush: bool = True, mode: int | None = None) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the new, a failure leaves the old one.

    Args:
        flush: wait until the disk has it; what can be made again does without.
        mode: permissions, whatever the umask; None: as the umask says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
