"""The hash of all source that decides a figure, so that only what changed is measured again."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

OURS = ("attacks", "bench")


@cache
def sources(*modules: str) -> str:
    """SHA-256 over modules and every module of ours that they import, directly or not."""
    found = hashlib.sha256()
    for path in sorted(_closure(modules)):
        found.update(path.read_bytes())
    return found.hexdigest()


def _closure(modules: Iterable[str]) -> set[Path]:
    paths: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in paths:
            paths.add(path)
            waiting += _imports(path)
    return paths


def _file(module: str) -> Path | None:
    """Where a module of ours lies; None for others', and for what is no module."""
    if module.split(".")[0] not in OURS:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name inside a module, not a module of a package
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
