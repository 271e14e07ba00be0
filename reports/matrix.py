"""Each round's images on each round's network, as a table: its cells, thinned where there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.record import Certificate, Ratio, TransferMatrix, TransferRow
from reports.words import NOTHING, count, percent

MOST = 20  # rows and columns
LEVELS = 5  # shades


class Cell(NamedTuple):
    """One round's images on one network."""

    share: str
    fake: str
    level: int
    kind: str  # "made" on this network, first "taught" to it, or neither


class Row(NamedTuple):
    """One round's images."""

    index: int
    n: int
    taught: int
    cells: list[Cell]


class AttackCells(NamedTuple):
    """What one unused attack made on past networks, on this model."""

    attack: str
    cells: list[str]
    total: Ratio


class Matrix(NamedTuple):
    """What is shown of a certificate's matrix."""

    networks: list[int]
    rows: list[Row]
    past: list[int]
    attacks: list[AttackCells]
    selected: int | None
    thinned: str


def matrix(certificate: Certificate) -> Matrix | None:
    """The matrix with at most 20 rows and columns; none where no round has images."""
    held = certificate.transfer
    if held is None or not held.rows:
        return None
    selected = next((round_.index for round_ in certificate.rounds if round_.selected), None)
    columns, rows = _kept(held.networks, selected), _kept([row.index for row in held.rows], selected)
    past = _kept(held.past, None)
    return Matrix(
        networks=[held.networks[place] for place in columns],
        rows=[_row(held.rows[place], held.networks, columns) for place in rows],
        past=[held.past[place] for place in past],
        attacks=[
            AttackCells(row.attack, [_counts(row.detected[place], row.n[place]) for place in past], row.total)
            for row in held.attacks
        ],
        selected=selected,
        thinned=_thinned(held, len(rows), len(columns)),
    )


def _kept(rounds: Sequence[int], selected: int | None) -> list[int]:
    """At most 20 places, evenly spread, with the ends and that of the selected round."""
    total, steps = len(rounds), min(len(rounds), MOST)
    places = {round(step * (total - 1) / max(1, steps - 1)) for step in range(steps)}
    wanted = rounds.index(selected) if selected in rounds else None
    if wanted is not None and wanted not in places:
        places.remove(min(places - {0, total - 1}, key=lambda place: abs(place - wanted)))
        places.add(wanted)
    return sorted(places)


def _row(row: TransferRow, networks: Sequence[int], columns: Sequence[int]) -> Row:
    return Row(row.index, row.n, row.taught, [_cell(row, networks[place], place) for place in columns])


def _cell(row: TransferRow, network: int, place: int) -> Cell:
    share = row.detected[place] / row.n if row.n else None
    kind = {row.index - 1: "made", row.index: "taught"}.get(network, "")
    level = 0 if share is None else min(LEVELS - 1, int(share * LEVELS))
    return Cell(percent(share), f"{row.fake_probability[place]:.3f}", level, kind)


def _counts(detected: int, n: int) -> str:
    return f"{count(detected)} / {count(n)}" if n else NOTHING


def _thinned(held: TransferMatrix, rows: int, columns: int) -> str:
    if (rows, columns) == (len(held.rows), len(held.networks)):
        return ""
    return (
        f"Shown are {rows} of {count(len(held.rows))} rounds with images and {columns} of "
        f"{count(len(held.networks))} networks, evenly spread; the certificate has all."
    )
