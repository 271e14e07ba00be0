"""A record that is measured once and kept in the run's folder, whichever process asks first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from bench.store import Store

Kept = TypeVar("Kept", bound=BaseModel)


def once(store: Store, name: str, record: type[Kept], measure: Callable[[], Kept]) -> Kept:
    """The stored record `name`, measured and stored first where it is not there; raises what `measure` does."""
    with store.working(name):
        if not store.has(name):
            store.save_json(name, measure().model_dump(mode="json"))
        return record.model_validate(store.load_json(name))
