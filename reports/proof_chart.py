"""Where the marks of the proof's figure stand: the bound from above, the best attack from below, over lit pixels.

The horizontal axis is the square root of k, which keeps 0 to 40 apart where the whole goes to hundreds. Both curves
are stairs: a bound at k holds for every smaller k, an image found at k counts for every larger one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.record import Certificate
from reports import standing
from reports.proof_labels import LETTER, ROW, Mark, arranged, labels
from reports.words import at_least, at_most, count

WIDTHS = {"wide": 704, "narrow": 328}  # px: a page's text column, and a phone's
APART = 27  # px: ticks never stand closer
ROOM = 60  # px: kept for the word "reached" beyond the pixels that reach p


class Tick(NamedTuple):
    """A labelled place of the horizontal axis."""

    x: float
    label: str


class Region(NamedTuple):
    """Where all images are proved, where fooling ones are known, and what is open between."""

    name: str
    left: float
    width: float
    stripes: str
    worded: bool  # wide enough for its name


class Point(NamedTuple):
    """One computed or measured value."""

    x: float
    y: float
    title: str
    hollow: bool = False  # says nothing: the control was not reached either


@dataclass(frozen=True)
class ProofChart:
    """The figure at one width; all places in px."""

    name: str
    width: int
    top: int
    level: float
    ticks: list[Tick]
    regions: list[Region]
    marks: list[Mark]
    linear: list[Point]
    interval: list[Point]
    best: list[Point]
    reached: Point | None
    linear_path: str
    interval_path: str
    best_path: str

    left = 46
    right = 14
    panel = 170  # height of the plot
    strip = 18  # height of the regions above it
    bottom = 46

    @property
    def height(self) -> int:
        return self.top + self.panel + self.bottom

    @property
    def end(self) -> int:
        return self.width - self.right

    @property
    def level_left(self) -> bool:
        """Whether p is written at the left end of its line: not where the cross stands there."""
        return self.reached is None or self.reached.x > self.left + 2 * ROOM


def proof_charts(certificate: Certificate) -> list[ProofChart]:
    """The figure for wide and narrow screens; none where nothing was proved, bounded or found."""
    proof, frontier = certificate.proof, certificate.frontier
    known = (certificate.proved_to, certificate.fooled_from)
    rows = (proof and proof.rows) or (frontier and frontier.rows)
    if not rows and known == (None, None):
        return []
    return [_Drawing(certificate, name, width).chart() for name, width in WIDTHS.items()]


class _Drawing:
    """The places of one figure."""

    def __init__(self, certificate: Certificate, name: str, width: int):
        self.certificate, self.name, self.width = certificate, name, width
        self.proof, self.frontier = certificate.proof, certificate.frontier
        self.bounds = sorted(self.proof.rows, key=lambda row: row.k) if self.proof else []
        self.found = sorted(self.frontier.rows, key=lambda row: row.k) if self.frontier else []
        self.plot = width - ProofChart.left - ProofChart.right
        self.labels = labels(certificate)
        self.limit = self._limit()
        self.top = ROW * len(self.labels) + ProofChart.strip + 18

    def chart(self) -> ProofChart:
        linear, interval = ([(row.k, getattr(row, way)) for row in self.bounds] for way in ("linear", "interval"))
        best = [(row.k, row.best_probability) for row in self.found]
        reached, least = self.certificate.fooled_from, standing.level(self.certificate)
        return ProofChart(
            name=self.name,
            width=self.width,
            top=self.top,
            level=self.y(least),
            ticks=self._ticks(),
            regions=list(self._regions()),
            marks=arranged(self.labels, self.x, width=self.width),
            linear=[self._point(k, rate, f"at most {at_most(rate)}") for k, rate in linear],
            interval=[self._point(k, rate, f"at most {at_most(rate)}") for k, rate in interval],
            best=[
                self._point(row.k, row.best_probability, at_least(row.best_probability), not row.carries)
                for row in self.found
            ],
            reached=None if reached is None else self._point(reached, least, f"at least {at_least(least)}"),
            linear_path=self._ceiling(linear),
            interval_path=self._ceiling(interval),
            best_path=self._floor(best + ([] if reached is None else [(reached, least)])),
        )

    def x(self, k: int) -> float:
        """Clamped before it is divided: a certificate may hold numbers beyond any float."""
        share = math.sqrt(min(max(k, 0), self.limit) / self.limit)
        return round(ProofChart.left + share * self.plot, 2)

    def y(self, rate: float) -> float:
        return round(self.top + ProofChart.panel * (1 - rate), 2)

    def _limit(self) -> int:
        """Where the axis ends: all that is known, and room for a word beyond what reaches p; never past the image."""
        threat, reached = self.certificate.threat, self.certificate.fooled_from or 0
        ks = [row.k for row in (*self.bounds, *self.found)] + [label.k for label in self.labels]
        beyond = reached * self.plot**2 // (self.plot - ROOM) ** 2 + 1
        return max(1, min(max(threat.k, beyond, *ks), threat.pixels))

    def _point(self, k: int, rate: float, what: str, hollow: bool = False) -> Point:
        return Point(self.x(k), self.y(rate), f"{standing.pixels(k)}: {what}", hollow)

    def _ceiling(self, rows: Sequence[tuple[int, float]]) -> str:
        """Stairs that rise right after each k: up to the next, only the next one's bound is known."""
        if not rows:
            return ""
        steps = [f"M{self.x(0)},{self.y(rows[0][1])}"]
        steps += [f"V{self.y(rate)}H{self.x(k)}" for k, rate in rows]
        return "".join(steps)

    def _floor(self, rows: Sequence[tuple[int, float]]) -> str:
        """Stairs that rise at each k to the best found so far, and stay until the axis ends."""
        best, steps = 0.0, []
        for k, rate in sorted(rows):
            best = max(best, rate)
            steps.append(f"H{self.x(k)}V{self.y(best)}" if steps else f"M{self.x(k)},{self.y(best)}")
        return "".join([*steps, f"H{self.x(self.limit)}"]) if steps else ""

    def _ticks(self) -> list[Tick]:
        """1, 2, 5, 10, ... as far as they keep their distance, and the last k for sure."""
        last = Tick(self.x(self.limit), count(self.limit))
        ticks = [Tick(self.x(0), "0")]
        for k in (digit * 10**power for power in range(len(str(self.limit))) for digit in (1, 2, 5)):
            x = self.x(k)
            if k < self.limit and x - ticks[-1].x >= APART and last.x - x >= APART:
                ticks.append(Tick(x, count(k)))
        return [*ticks, last]

    def _regions(self) -> Iterator[Region]:
        proved, reached = self.certificate.proved_to, self.certificate.fooled_from
        if proved is not None:
            yield self._region("proved", self.x(0), self.x(proved))
        first = 0 if proved is None else proved + 1
        beyond = self.limit + 1 if reached is None else reached
        if first < min(beyond, self.limit + 1):
            yield self._region("open", self.x(max(first - 1, 0)) + 3, self.x(beyond) - 3 * (reached is not None))
        if reached is not None:
            yield self._region("reached", self.x(reached), self.x(self.limit))

    def _region(self, name: str, left: float, right: float) -> Region:
        width = max(3.0, round(right - left, 2))  # a single k is a place, not a length
        stripes = ""
        if name == "reached":
            places = (left + step for step in range(4, int(width) - 10, 10))
            stripes = "".join(f"M{place:.1f},{ProofChart.strip}l10,-{ProofChart.strip}" for place in places)
        return Region(name, round(left, 2), width, stripes, width > LETTER * (len(name) + 1))
