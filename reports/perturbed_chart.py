"""Where the marks of the perturbed images' figure stand: shares over strength, this model beside the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.record import Certificate, PerturbedRow, Ratio
from reports.words import percent

ADDED = {"control": "what fooled the control", "final": "what fooled this model"}
MEASURES = {  # the words of a title, of a description, and the fields of a row: this model's, the control's
    "turned": ("Turned by", "given the added image's class", ("turned", "control")),
    "kept": ("Kept despite", "still given their own class", ("kept", "control_kept")),
}
SIDE = 3.5  # px that the two networks' marks stand beside their strength, so that neither hides the other
APART = 27  # px: ticks never stand closer


class Point(NamedTuple):
    """One measured share with its bounds; all in px but the title."""

    x: float
    y: float
    high: float
    low: float
    title: str


class Tick(NamedTuple):
    """A labelled strength."""

    x: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One measure of one series of added images."""

    name: str
    title: str
    description: str
    ticks: list[Tick]
    model: list[Point]
    control: list[Point]

    width = 328
    left = 46
    right = 14
    top = 30
    panel = 150
    bottom = 46

    @property
    def height(self) -> int:
        return self.top + self.panel + self.bottom

    @property
    def end(self) -> int:
        return self.width - self.right

    @staticmethod
    def path(points: Sequence[Point]) -> str:
        return " ".join(f"{point.x},{point.y}" for point in points)


def perturbed_panels(certificate: Certificate) -> list[Panel]:
    """Two panels a series, what is turned and what is kept; none where nothing was measured."""
    rows = certificate.perturbed.rows if certificate.perturbed else ()
    by_series = {series: sorted((row for row in rows if row.series == series), key=_strength) for series in ADDED}
    return [_panel(series, measure, rows) for series, rows in by_series.items() if rows for measure in MEASURES]


def _strength(row: PerturbedRow) -> float:
    return row.strength


def _panel(series: str, measure: str, rows: list[PerturbedRow]) -> Panel:
    verb, meaning, (own, control) = MEASURES[measure]
    most = max(row.strength for row in rows) or 1.0
    reach = Panel.width - Panel.right - 2 * SIDE - Panel.left

    def x(strength: float) -> float:
        return Panel.left + reach * strength / most

    def points(part: str, aside: float) -> list[Point]:
        return [_point(x(row.strength) + aside, row.strength, getattr(row, part)) for row in rows]

    ticks = [Tick(round(x(0.0), 2), "0")]
    for row in rows:
        if x(row.strength) - ticks[-1].x >= APART:
            ticks.append(Tick(round(x(row.strength), 2), f"{row.strength:.3g}"))
    last = rows[-1]
    description = (
        f"Share of real test images {meaning}, at strength {last.strength:.3g}: this model "
        f"{percent(getattr(last, own).observed)}, undefended control {percent(getattr(last, control).observed)}."
    )
    title = f"{verb} {ADDED[series]}"
    return Panel(f"{series}-{measure}", title, description, ticks, points(own, -SIDE), points(control, SIDE))


def _point(x: float, strength: float, share: Ratio) -> Point:
    """A share that is absent, of no pairs, stands at the bottom and says so."""
    shares = (share.observed or 0.0, share.upper, share.lower)
    y, high, low = (round(Panel.top + Panel.panel * (1 - value), 2) for value in shares)
    bounds = f"{percent(share.lower)} to {percent(share.upper)}"
    return Point(round(x, 2), y, high, low, f"strength {strength:.3g}: {percent(share.observed)} ({bounds})")
