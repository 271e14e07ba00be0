"""Where the marks of a chart stand. Templates draw them, nothing here writes markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.record import AttackRow, ClassRow, Ratio, RoundRecord
from reports.words import NOTHING, OUTCOMES, count, decimals_for, figure, label, percent


class Segment(NamedTuple):
    """One outcome's part of a bar, in percent of its length."""

    name: str
    count: int
    start: float
    length: float


def stacked(outcomes: dict[str, int]) -> list[Segment]:
    """Outcomes as parts of one bar; an empty sample has no parts."""
    total = sum(outcomes.values())
    segments, start = [], 0.0
    for name in outcome_names([outcomes]):
        number = outcomes.get(name, 0)
        if number:
            length = 100 * number / total
            segments.append(Segment(name, number, round(start, 3), round(length, 3)))
            start += length
    return segments


def outcome_names(rows: Sequence[dict[str, int]]) -> list[str]:
    """Fooling, and what else there was in some row: of the six outcomes in order, then whatever else the rows name."""
    others = {name for row in rows for name in row} - OUTCOMES.keys()
    return [name for name in (*OUTCOMES, *sorted(others)) if name == "fooling" or any(row.get(name) for row in rows)]


def outcome_words(outcomes: dict[str, int]) -> str:
    """E.g. `12 fooling, 8 in distribution`: what there was, and only that."""
    found = [f"{count(outcomes[name])} {label(name)}" for name in outcome_names([outcomes]) if outcomes.get(name)]
    return ", ".join(found) or "no images"


class Column(NamedTuple):
    """One logged figure over all rows of a table."""

    name: str
    cells: list[str]


def mean_columns(rows: Sequence[ClassRow | AttackRow]) -> list[Column]:
    """The rows' means as columns, each with one number of decimals."""
    columns = []
    for name in dict.fromkeys(name for row in rows for name in row.means):
        values = [row.means.get(name) for row in rows]
        decimals = decimals_for(value for value in values if value is not None)
        columns.append(Column(name, [figure(value, decimals) for value in values]))
    return columns


def success(round_: RoundRecord) -> float | None:
    """How often the training attack fooled; absent where it was not run."""
    total = max(round_.attempted, sum(round_.outcomes.values()))
    return round_.outcomes.get("fooling", 0) / total if total else None


def class_table(rounds: Sequence[RoundRecord]) -> dict[str, list[Ratio | None]]:
    """The training attack's success: for each class, one cell for each round that logged classes."""
    logged = [{row.label: row.ratio for row in round_.per_class} for round_ in rounds if round_.per_class]
    labels = dict.fromkeys(name for by_class in logged for name in by_class)
    return {name: [by_class.get(name) for by_class in logged] for name in labels}


class Band(NamedTuple):
    """One round's share of the horizontal axis."""

    label: str
    left: float
    centre: float
    width: float
    selected: bool
    segments: list[Segment]


class Dot(NamedTuple):
    """One measured value."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class RoundsChart:
    """Two panels over the rounds: two rates as lines, the outcomes as stacked columns."""

    width: float
    bands: list[Band]
    accuracy: list[Dot]
    success: list[Dot]
    description: str

    left = 46
    top = 30
    panel = 120  # height of one panel
    gap = 44
    bottom = 34

    @property
    def second(self) -> int:
        """Where the lower panel starts."""
        return self.top + self.panel + self.gap

    @property
    def height(self) -> int:
        return self.second + self.panel + self.bottom

    @staticmethod
    def path(dots: Sequence[Dot]) -> str:
        return " ".join(f"{dot.x},{dot.y}" for dot in dots)


def rounds_chart(rounds: Sequence[RoundRecord]) -> RoundsChart | None:
    """The chart of a run's rounds; none without rounds."""
    if not rounds:
        return None
    step = min(64.0, max(9.0, 600 / len(rounds)))
    bands = [
        Band(
            band_label(rounds, number, math.ceil(30 / step)),
            round(RoundsChart.left + number * step + step * 0.14, 2),
            round(RoundsChart.left + (number + 0.5) * step, 2),
            round(step * 0.72, 2),
            round_.selected,
            stacked(round_.outcomes),
        )
        for number, round_ in enumerate(rounds)
    ]
    return RoundsChart(
        width=round(RoundsChart.left + step * len(rounds) + 12, 2),
        bands=bands,
        accuracy=_dots(bands, rounds, [round_.validation_accuracy for round_ in rounds]),
        success=_dots(bands, rounds, [success(round_) for round_ in rounds]),
        description=_describe(rounds),
    )


def band_label(rounds: Sequence[RoundRecord], number: int, every: int) -> str:
    """Every so many rounds one label, and the selected round's for sure; labels never stand closer."""
    near = rounds[max(0, number - every + 1) : number + every]
    shown = rounds[number].selected or (number % every == 0 and not any(round_.selected for round_ in near))
    return str(rounds[number].index)[:6] if shown else ""


def _dots(bands: list[Band], rounds: Sequence[RoundRecord], rates: list[float | None]) -> list[Dot]:
    return [
        Dot(
            band.centre,
            round(RoundsChart.top + RoundsChart.panel * (1 - rate), 2),
            f"round {count(round_.index)}: {percent(rate)}",
        )
        for band, round_, rate in zip(bands, rounds, rates, strict=True)
        if rate is not None
    ]


def _describe(rounds: Sequence[RoundRecord]) -> str:
    rates = [(round_.index, success(round_)) for round_ in rounds if success(round_) is not None]
    first, last = (rates[0], rates[-1]) if rates else ((0, None), (0, None))
    chosen = [count(round_.index) for round_ in rounds if round_.selected]
    return (
        f"Over {len(rounds)} rounds the training attack's success goes from {percent(first[1])} "
        f"(round {count(first[0])}) to {percent(last[1])} (round {count(last[0])}); validation accuracy from "
        f"{percent(rounds[0].validation_accuracy)} to {percent(rounds[-1].validation_accuracy)}. "
        f"Selected round: {', '.join(chosen) or NOTHING}."
    )
