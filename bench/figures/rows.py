"""Rows that are stored as soon as they are measured, and kept while nothing that decides them has changed."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from bench.arsenal.sources import sources
from bench.figures.record import Row
from bench.harness.provenance import digest

Kind = TypeVar("Kind", bound=Row)


def fill(
    rows: dict[str, Kind],
    planned: Iterable[str],
    kept: Mapping[str, Kind],
    key_of: Callable[[str], str],
    make: Callable[[str, str], Kind],
    save: Callable[[], None],
    title: str,
) -> None:
    """Put every planned row into `rows`: one that was kept, if its key still holds, else a new one, saved at once.

    Kept rows that were not planned stay, too, if their keys hold.

    Args:
        key_of: name -> the key that the row would have today.
        make: (name, key) -> the row.
        save: stores all that is measured so far.
    """
    rows.update({name: row for name, row in kept.items() if row.key == key_of(name)})
    with tqdm(list(planned), disable=None) as bar:
        for name in bar:
            bar.set_description_str(f"{title}, {name}")
            if name not in rows:
                rows[name] = make(name, key_of(name))
                save()
    save()


def made_of(*facts: object, modules: Iterable[str], alone: Iterable[str]) -> str:
    """Hash of all that decides a row.

    Args:
        facts: JSON values: settings, k, hashes of weights and data.
        modules: of bench and attacks; what they import counts too.
        alone: modules of which just the file counts.
    """
    code = [sources(*modules), *map(_file_of, alone)]
    return digest([*facts, code, torch.__version__, torch.get_num_threads()])


@cache
def _file_of(module: str) -> str:
    """Hash of a module's file, as it was when first asked for: what runs is no newer."""
    return hashlib.sha256(Path(importlib.util.find_spec(module).origin).read_bytes()).hexdigest()
