"""The one page of all figures of the proof, Markdown, from the stored files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.arsenal.record import Header, read
from bench.figures.record import Curve, Growth, Tightness
from bench.figures.sections import curve_section, growth_section, tightness_section
from bench.files import write_whole

PAGE = "FIGURES.md"
FOLDER = "figures"
KINDS = {"curve": Curve, "tightness": Tightness, "growth": Growth}  # a file's name begins with its kind
SECTIONS = {Curve: curve_section, Tightness: tightness_section, Growth: growth_section}
TOP = """\
# Figures of the proof

This page is made by commands alone, from the files in `{folder}/`; edits are lost. `python -m bench.figures --help` \
explains them, and `README.md` what is proved.

{commands}

A claim that the figures do not bear out says no."""


def render(folder: Path) -> Path:
    """Write the page beside the folder of stored files -> where it is.

    Raises:
        RecordError: a file can't be read.
    """
    files = sorted((folder / FOLDER).glob("*.json"))
    records = [read(path, KINDS[kind]) for kind in KINDS for path in files if path.name.startswith(f"{kind}.")
               or path.name.startswith(f"{kind}-")]  # fmt: skip
    page = folder / PAGE
    write_whole(page, text(records).encode())
    return page


def text(records: Sequence[Header]) -> str:
    """The page; records come in its order."""
    commands = list(dict.fromkeys(command for record in records for command in commands_of(record)))
    block = "\n".join([*commands, "python -m bench.figures render"])
    parts = [TOP.format(folder=FOLDER, commands=f"```\n{block}\n```")]
    for record in records:
        parts += SECTIONS[type(record)](record)
    return "\n\n".join(parts) + "\n"


def commands_of(record: Header) -> list[str]:
    """The record's own, and those of networks that were measured by another."""
    more = [network.command for network in record.networks.values()] if isinstance(record, Tightness) else []
    return [record.command, *more]
