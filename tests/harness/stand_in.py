"""What stands in for parts of a run where only one part is asked about."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any


class Store:
    """The JSON side of `bench.store.Store`, in memory."""

    folder = "here"

    def __init__(self):
        self.kept: dict[str, Any] = {}

    def working(self, name):
        return nullcontext()

    def has(self, name):
        return name in self.kept

    def save_json(self, name, value):
        self.kept[name] = value

    def load_json(self, name):
        return self.kept[name]
