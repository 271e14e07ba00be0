"""Labelled vertical lines of the proof's figure, each label on a row of its own: they may stand at neighbouring k."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.record import Certificate
from reports.words import count

LETTER = 7.2  # px: a wide estimate of a letter
ROW = 17  # px: a row of labels
GAP = 5  # px: between a line and its label


class Label(NamedTuple):
    """What to write at k, and whether its end or its start should touch the line."""

    name: str
    k: int
    text: str
    side: str


class Mark(NamedTuple):
    """A label in its place; all in px."""

    name: str
    text: str
    x: float
    text_x: float
    anchor: str
    line_top: float
    baseline: float


def labels(certificate: Certificate) -> list[Label]:
    """What the figure marks: up to where proved, from where p is reached, the sparsest real training image."""
    proved, reached, proof = certificate.proved_to, certificate.fooled_from, certificate.proof
    known = []
    if proved is not None:
        known.append(Label("proved", proved, f"proved up to {count(proved)}", "end"))
    if reached is not None:
        known.append(Label("reached", reached, f"reached from {count(reached)}", "start"))
    if proof is not None:
        known.append(Label("sparsest", proof.sparsest_real, f"sparsest real: {count(proof.sparsest_real)}", "end"))
    return known


def arranged(wanted: list[Label], place: Callable[[int], float], width: float) -> list[Mark]:
    """Labels on the side that has room, on rows so that a line starts below the texts that lie across it."""
    sided = [(place(label.k), _side(label, place(label.k), width), label) for label in wanted]
    ends = sorted((item for item in sided if item[1] == "end"), key=lambda item: -item[0])
    starts = sorted((item for item in sided if item[1] == "start"), key=lambda item: item[0])
    return [
        Mark(
            label.name,
            label.text,
            x,
            round(x + (GAP if side == "start" else -GAP), 2),
            side,
            line_top=ROW * row + 4,
            baseline=ROW * row + 13,
        )
        for row, (x, side, label) in enumerate(ends + starts)
    ]


def _side(label: Label, x: float, width: float) -> str:
    """As wished where the text fits, else where there is more room."""
    room = {"end": x, "start": width - x}
    other = "start" if label.side == "end" else "end"
    fits = room[label.side] >= LETTER * len(label.text) + GAP
    return label.side if fits or room[label.side] >= room[other] else other
