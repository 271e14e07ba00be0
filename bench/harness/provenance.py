"""What figures come from: hashes of settings and code, the revision, and the versions of packages."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
import json
import platform
import site
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.task import Defense

ROOT = Path(__file__).resolve().parents[2]
CODE = ("bench", "attacks", "defenses", "suites")


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 over the code that decides figures; a change of it makes a new run."""
    found = hashlib.sha256()
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            found.update(str(path.relative_to(ROOT)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def source_hash(thing: Any) -> str:
    """SHA-256 of the code a user's attack, network or defense is written in; empty where there is none.

    Of a module of a package that is the whole package, else its file and the modules beside it that it imports.
    """
    while isinstance(thing, (partial, Defense)):
        thing = thing.func if isinstance(thing, partial) else thing.train
    if not inspect.isroutine(thing) and not inspect.isclass(thing):
        thing = type(thing)
    try:
        file = Path(inspect.getsourcefile(thing) or "").resolve(strict=True)
        found = hashlib.sha256()
        for path in sorted(_package(file) or _beside(file)):
            found.update(path.read_bytes())
        return found.hexdigest()
    except (TypeError, OSError):
        return ""


def _package(file: Path) -> list[Path] | None:
    """All modules of the outermost package that a file belongs to, if any."""
    top = file.parent
    if not (top / "__init__.py").is_file():
        return None
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    return list(top.rglob("*.py"))


def _beside(file: Path) -> set[Path]:
    """A file, and what it imports from its own folder or another of the user's, with all that this imports."""
    found, open_, folders = set(), [file], (file.parent, *_own_folders())
    while open_:
        path = open_.pop()
        if path in found:
            continue
        found.add(path)
        for folder, name in _imported(path):
            for place in (folder,) if folder else folders:
                module = place.joinpath(*name.split("."))
                for source in filter(Path.is_file, (module / "__init__.py", module.with_suffix(".py"))):
                    if inside := _package(source):
                        found.update(inside)
                    else:
                        open_.append(source)
    return found


def _own_folders() -> list[Path]:
    """Where Python looks for modules, but for what is installed and for Distal itself."""
    elsewhere = [Path(folder).resolve() for folder in (sys.prefix, sys.base_prefix, site.getusersitepackages())]
    folders = [Path(folder).resolve() for folder in sys.path]
    return [
        folder for folder in folders if folder != ROOT and not any(folder.is_relative_to(other) for other in elsewhere)
    ]


def _imported(path: Path) -> set[tuple[Path | None, str]]:
    """What a file may import, wherever in it, but for Distal's own: (the folder it is relative to, its name)."""
    names: set[tuple[Path | None, str]] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {(None, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1] if node.level else None
            within = [node.module] if node.module else []
            names |= {(folder, ".".join([*within, alias.name])) for alias in node.names}
            names |= {(folder, name) for name in within}
    # Distal's own are in `code_hash`.
    return {(folder, name) for folder, name in names if folder or name.partition(".")[0] not in CODE}


def revision() -> str:
    """The code's git commit, with '+changes' for a dirty tree; 'unknown' outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def packages() -> dict[str, str]:
    """Versions of what computes the figures."""
    names = ("distal", "numpy", "scikit-learn", "scipy", "torch", "torchvision")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
