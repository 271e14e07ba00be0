"""The one page of all figures, Markdown, from the stored files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.arsenal.record import Header, Strength, Success, Tiny, read
from bench.arsenal.sections import strength_section, success_section, tiny_section
from bench.files import write_whole

PAGE = "STRENGTH.md"
FOLDER = "strength"
KINDS = {"strength": Strength, "tiny": Tiny, "success": Success}  # a file's name begins with its kind
SECTIONS = {Strength: strength_section, Tiny: tiny_section, Success: success_section}
TOP = """\
# How strong the attacks are

This page is made by commands alone, from the files in `{folder}/`; edits are lost. `python -m bench.arsenal --help` \
explains them.

{commands}

Figures come first that do not depend on the machine; seconds come last, and were taken on whatever machine ran the \
command. A claim that the figures do not bear out says no."""


def render(folder: Path) -> Path:
    """Write the page beside the folder of stored files -> where it is.

    Raises:
        RecordError: a file can't be read.
    """
    files = sorted((folder / FOLDER).glob("*.json"))
    records = [read(path, KINDS[kind]) for kind in KINDS for path in files if path.name.startswith(kind)]
    page = folder / PAGE
    write_whole(page, text(records).encode())
    return page


def text(records: Sequence[Header]) -> str:
    """The page; records come in its order."""
    commands = [record.command for record in records] + ["python -m bench.arsenal render"]
    parts = [TOP.format(folder=FOLDER, commands="```\n" + "\n".join(commands) + "\n```")]
    for record in records:
        parts += SECTIONS[type(record)](record)
    return "\n\n".join(parts) + "\n"
