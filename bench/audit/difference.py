"""What is said and what is found: one difference, and how two JSON values are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-4  # absolute up to 1, relative beyond: what another machine's arithmetic may change in a figure
EXACT = ("p", "threshold")  # floats that are settings, not results
MISSING = "nothing"
LONGEST = 200  # characters of one side


@dataclass(frozen=True)
class Difference:
    """One thing that a folder says and that was found otherwise; `where` is a field, or a file and a field of it."""

    where: str
    said: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.said} is said, {self.found} was found"


class RefusedError(Exception):
    """A folder that can't be checked any further."""

    def __init__(self, where: str, said: object, found: object):
        self.difference = Difference(where, str(said), str(found))
        super().__init__(str(self.difference))


def close(said: float, found: float) -> bool:
    """Whether two figures are the same but for arithmetic."""
    try:
        return math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # an integer beyond any float
        return False


def differences(said: Any, found: Any, where: str) -> Iterator[Difference]:
    """Every place where two JSON values differ: floats by more than `TOLERANCE`, all else at all.

    Args:
        where: the path of the two, such as "criteria.8.observed".
    """
    if isinstance(said, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*found, *said]):
            yield from differences(said.get(key, ...), found.get(key, ...), f"{where}.{key}" if where else str(key))
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for place, pair in enumerate(zip(said, found, strict=True)):
            yield from differences(*pair, f"{where}.{place}")
    elif not _same(said, found, where.rpartition(".")[2]):
        yield Difference(where, _text(said), _text(found))


def _same(said: Any, found: Any, name: str) -> bool:
    numbers = [value for value in (said, found) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == 2 and any(isinstance(value, float) for value in numbers) and name not in EXACT:
        return close(said, found)
    return type(said) is type(found) and said == found


def _text(value: Any) -> str:
    if value is ...:
        return MISSING
    text = f"{len(value)} entries" if isinstance(value, (dict, list)) else repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
