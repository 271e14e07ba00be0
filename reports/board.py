"""The index's rows: grouped by data set and threat model, and by what differs in the seed alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bench.record import Certificate, VerdictName
from reports.machine import Summary
from reports.words import NOTHING, clipped, count, percent

WORST_FIRST = (VerdictName.FAIL, VerdictName.INCONCLUSIVE, VerdictName.NOT_APPLICABLE, VerdictName.PASS)
OPEN = (VerdictName.FAIL, VerdictName.INCONCLUSIVE)
MOST = 10**15  # larger numbers sort as this one
SENTENCES = 150_000  # characters that all sentences of an index may take
SENTENCE = (60, 300)  # a sentence is left out when it would be shorter, clipped when longer


@dataclass(frozen=True)
class Row:
    """One certificate of the leaderboard."""

    slug: str
    summary: Summary
    group: tuple  # what rows must share to be compared

    @property
    def settings(self) -> tuple:
        """What rows share that differ in their seed alone."""
        s = self.summary
        return (s.subject, s.network, s.scope, s.rules, s.attacks, tuple(s.budget.model_dump().items()))


def group_of(certificate: Certificate) -> tuple:
    """Data set and threat model."""
    threat = certificate.threat
    return (certificate.dataset, certificate.image_shape, threat.k, threat.p, certificate.class_names)


class Spread(NamedTuple):
    """Median, least and most of what is known, and how many of how many that is."""

    median: float
    low: float
    high: float
    known: int
    total: int


@dataclass(frozen=True)
class Family:
    """Certificates that differ in their seed alone, by seed; mostly one."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Summary:
        return self.rows[0].summary

    @cached_property
    def certified(self) -> int:
        return sum(row.summary.certified for row in self.rows)

    @cached_property
    def verified(self) -> int:
        return sum(row.summary.verified for row in self.rows)

    @property
    def seeds(self) -> str:
        """E.g. `3 seeds: 0, 1, 2`; runs that share a seed are told apart from seeds."""
        seeds = sorted({row.summary.seed for row in self.rows})
        listed = clipped(", ".join(map(count, seeds[:20])) + (", …" if len(seeds) > 20 else ""), 80)
        runs = "" if len(seeds) == len(self.rows) else f"{len(self.rows)} runs, "
        return f"{runs}{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}: {listed}"

    def tally(self, criterion: int) -> list[tuple[VerdictName, int]]:
        """How many seeds have each verdict, the worst first."""
        counted = Counter(row.summary.criteria[criterion].verdict for row in self.rows)
        return [(verdict, counted[verdict]) for verdict in WORST_FIRST if verdict in counted]

    @property
    def broken(self) -> list[tuple[VerdictName, list[int]]]:
        """The criteria that fail, then those that stay open, in some seed."""
        found = ((verdict, [i for i in range(11) if verdict in dict(self.tally(i))]) for verdict in OPEN)
        return [(verdict, numbers) for verdict, numbers in found if numbers]

    def spread(self, figure: str) -> Spread | None:
        """Over the seeds; none where no seed has the figure."""
        values = [value for row in self.rows if (value := getattr(row.summary, figure)) is not None]
        if not values:
            return None
        return Spread(_median(values), min(values), max(values), len(values), len(self.rows))

    @property
    def order(self) -> tuple:
        """Certified first, by today's rules before earlier ones; then those fooled least, and the most accurate."""
        fooled, accuracy = self.spread("fooled_share"), self.spread("accuracy")
        share = self.certified / len(self.rows)
        figures = (fooled.median if fooled else math.inf, -(accuracy.median if accuracy else 0))
        return (-share, bool(self.certified) and self.first.earlier, *figures, self.first.subject, self.rows[0].slug)

    @property
    def keys(self) -> str:
        """What the columns are sorted by, in their order; `-` where nothing is known."""
        budget = self.first.budget
        figures = ("fooled_share", "accuracy", "confident_accuracy", "proved_to", "fooled_from", "seconds")
        spreads = [self.spread(figure) for figure in figures]
        keys = [_key(spread.median) if spread else "-" for spread in spreads]
        return " ".join([_key(self.certified / len(self.rows)), *keys, _key(budget.images * budget.passes)])


def _key(value: float) -> str:
    return f"{min(max(value, -MOST), MOST):.6g}"


def _median(values: Sequence[float]) -> float:
    """As `statistics`, but whole numbers may lie beyond any float."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else statistics.median(values)


def boards(rows: Iterable[Row]) -> list[list[Family]]:
    """Families in order, one list for each data set and threat model."""
    ordered = sorted(rows, key=lambda row: (row.group, row.settings, row.summary.seed, row.slug))
    made = []
    for _, group in itertools.groupby(ordered, key=lambda row: row.group):
        families = [Family(tuple(alike)) for _, alike in itertools.groupby(group, key=lambda row: row.settings)]
        made.append(sorted(families, key=lambda family: family.order))
    return made


def broken(criteria: Iterable[Any]) -> list[Any]:
    """What keeps a model from its certificate: failures first, then what stayed open."""
    return sorted((one for one in criteria if one.verdict in OPEN), key=lambda one: OPEN.index(one.verdict))


def tips(rows: Sequence[Row], allowed: Callable[[Any], str]) -> dict:
    """What the index's script knows of each row beyond its cells, in the order of the rows."""
    limits: dict[tuple[tuple[str, str], ...], int] = {}
    length = _sentence_length(rows)
    made = []
    for row in rows:
        criteria = row.summary.criteria
        place = limits.setdefault(tuple((one.name, allowed(one)) for one in criteria), len(limits))
        figures = [_figures(criterion) for criterion in criteria]
        reasons = {one.id: clipped(one.reason, length) for one in broken(criteria)} if length else {}
        made.append([place, figures, reasons])
    return {"limits": list(limits), "rows": made}


def _figures(criterion: Any) -> list[str] | int:
    """Observed rate, bound and number, as text; 0 where nothing was measured."""
    if criterion.observed is None and criterion.bound is None and not criterion.n:
        return 0
    rates = (percent(rate, criterion.threshold) for rate in (criterion.observed, criterion.bound))
    return [*rates, count(criterion.n) if criterion.n else NOTHING]


def _sentence_length(rows: Sequence[Row]) -> int:
    """Characters that each sentence may take so that all fit."""
    total = sum(len(broken(row.summary.criteria)) for row in rows)
    shortest, longest = SENTENCE
    length = min(longest, SENTENCES // max(1, total))
    return length if length >= shortest else 0
