"""The pieces of a page that every section is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.arsenal.record import Header


def source(record: Header, revisions: Iterable[str]) -> str:
    """Command, seed and revisions."""
    return f"`{record.command}`, seed {record.seed}, revision {', '.join(sorted(set(revisions))) or record.revision}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what a cell holds can't end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def number(n: int | None) -> str:
    return "-" if n is None else str(n)
