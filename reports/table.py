"""Many certificates as tables in Markdown: a row a defense, its seeds side by side, and what each attack found."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tabulate import tabulate

from bench.record import Certificate, VerdictName
from reports.machine import confident_accuracy, fooled, test_accuracy
from reports.standing import not_reached
from reports.words import cell

HEADERS = (
    "defense", "network", "k", "seeds", "verdicts", "8: fooled", "borderline or worse, %", "accuracy, %",
    "confident, %", "proved to", "reached from",
)  # fmt: skip
WORDS = {VerdictName.FAIL: "fails", VerdictName.INCONCLUSIVE: "open", VerdictName.NOT_APPLICABLE: "n/a"}
TITLE = """# What the certificates say

Every row is pooled from its certificates alone, by `python -m reports table`. Of the criteria, those are named that do
not pass in all seeds; figures are in the order of the seeds, one where all are the same. Rows certified by earlier
rules are of before criterion 8 counted all that it counts today, and no pass of today.
"""
TRIED = """\
Targets fooled by each attack, of those that it was left with, all seeds. What an attack made on other networks or for
other classes counts for it where it fools this one, so that the sum may be more than is fooled:"""
Seeds = list[Certificate]


class Subject(NamedTuple):
    """What stands in one row: a defense, or the name of the weights, on a network, at a k, for so many rounds."""

    name: str
    network: str
    k: int
    rounds: int
    rules: int


class Section(NamedTuple):
    """What rows must share to be compared."""

    dataset: str
    pixels: int
    p: float
    budget: str
    images: int
    passes: int
    restarts: int
    attacks: tuple[str, ...]


def results_table(certificates: Iterable[Certificate]) -> str:
    """A page in Markdown: a section for each data set and budget; in it the defenses, those fooled least first.

    Args:
        certificates: any; those that differ in nothing but the seed share a row, in the order of their seeds.
    """
    sections: dict[Section, dict[Subject, Seeds]] = defaultdict(lambda: defaultdict(list))
    for c in sorted(certificates, key=lambda c: (c.dataset, c.budget.name, c.environment.seed)):
        sections[_section(c)][_subject(c)].append(c)
    return "\n".join([TITLE, *(_written(*section) for section in sections.items())])


def _section(c: Certificate) -> Section:
    threat, budget = c.threat, c.budget
    return Section(
        c.dataset, threat.pixels, threat.p, budget.name, budget.images, budget.passes, budget.restarts,
        tuple(sorted(c.attacks)),
    )  # fmt: skip


def _title(one: Section) -> str:
    return (
        f"{cell(one.dataset)} ({one.pixels} pixels), `{one.budget}`: {one.images:,} targets, {one.passes:,} passes, "
        f"{one.restarts} starts, {len(one.attacks)} attacks, p >= {one.p:g}"
    )


def _subject(c: Certificate) -> Subject:
    return Subject(c.subject, c.network, c.threat.k, c.budget.rounds, c.rules)


def _written(section: Section, rows: dict[Subject, Seeds]) -> str:
    def rank(row: tuple[Subject, Seeds]) -> tuple[float | Subject, ...]:
        who, seeds = row
        return -who.k, _mean(seeds, fooled, missing=math.inf), -_mean(seeds, test_accuracy, missing=0), who

    ordered = sorted(rows.items(), key=rank)
    rates = tabulate([_row(*row) for row in ordered], HEADERS, tablefmt="pipe", disable_numparse=True)
    attacks = list(dict.fromkeys(row.attack for _, seeds in ordered for c in seeds for row in c.criteria[8].per_attack))
    found = [[*_named(who), *(_found(seeds, attack) for attack in attacks)] for who, seeds in ordered]
    headers = [*HEADERS[:3], *(f"`{cell(attack)}`" for attack in attacks)]
    tried = tabulate(found, headers, tablefmt="pipe", disable_numparse=True)
    return f"## {_title(section)}\n\n{rates}\n\n{TRIED}\n\n{tried}\n"


def _named(who: Subject) -> tuple[str, ...]:
    return (f"`{cell(who.name)}`", f"`{cell(who.network)}`", str(who.k))


def _row(who: Subject, seeds: Seeds) -> tuple[str, ...]:
    return (
        *_named(who),
        ", ".join(str(c.environment.seed) for c in seeds),
        _verdicts(seeds),
        _each(seeds, lambda c: _whole(fooled(c), "-")),
        _each(seeds, lambda c: _percent(c.criteria[8].figures.get("borderline_or_fooling"))),
        _each(seeds, lambda c: _percent(test_accuracy(c))),
        _each(seeds, lambda c: _percent(confident_accuracy(c))),
        _each(seeds, lambda c: _whole(c.proved_to, "none")),
        _each(seeds, lambda c: _whole(c.fooled_from, not_reached(c))),
    )


def _verdicts(seeds: Seeds) -> str:
    """What does not pass, with the number of seeds where not all agree: "fails 8; open 10 (2 of 3)"."""
    said: dict[str, list[str]] = defaultdict(list)
    for criterion in range(11):
        verdicts = Counter(c.criteria[criterion].verdict for c in seeds)
        for verdict, word in WORDS.items():
            if verdicts[verdict]:
                said[word].append(f"{criterion}{_of(verdicts[verdict], len(seeds))}")
    certified = sum(c.certified for c in seeds)
    earlier = "" if not any(c.earlier for c in seeds) else " by earlier rules"
    parts = [f"**certified**{earlier}{_of(certified, len(seeds))}"] if certified else []
    parts += [f"{word} {', '.join(said[word])}" for word in WORDS.values() if word in said]
    return "; ".join(parts) or "all pass"


def _of(some: int, seeds: int) -> str:
    return "" if some == seeds else f" ({some} of {seeds})"


def _found(seeds: Seeds, attack: str) -> str:
    rows = [row.ratio for c in seeds for row in c.criteria[8].per_attack if row.attack == attack]
    n = sum(row.n for row in rows)
    return f"{sum(row.successes for row in rows):,} of {n:,}" if n else "-"


def _mean(seeds: Seeds, figure: Callable[[Certificate], float | None], missing: float) -> float:
    figures = [figure(c) for c in seeds]
    return sum(missing if value is None else value for value in figures) / len(seeds)


def _each(seeds: Seeds, figure: Callable[[Certificate], str]) -> str:
    """The seeds' figures in their order; one where all are the same."""
    figures = [figure(c) for c in seeds]
    return ", ".join(figures if len(set(figures)) > 1 else figures[:1])


def _whole(number: int | None, nothing: str) -> str:
    return nothing if number is None else str(number)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}"
