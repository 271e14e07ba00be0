"""Many certificates as tables in Markdown: a row a defense, its seeds side by side, and what each attack found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tabulate import tabulate

from bench.record import Certificate, VerdictName
from reports.machine import confident_accuracy, test_accuracy
from reports.words import clean

HEADERS = (
    "defense", "network", "k", "seeds", "verdicts", "8: fooled", "borderline or worse, %", "accuracy, %",
    "confident, %", "proved to", "reached from",
)  # fmt: skip
WORDS = {VerdictName.FAIL: "fails", VerdictName.INCONCLUSIVE: "open", VerdictName.NOT_APPLICABLE: "n/a"}
TITLE = """# What the certificates say

Every row is pooled from its certificates alone, by `python -m reports table`. Of the criteria, those are named that do
not pass in all seeds; figures are in the order of the seeds, one where all are the same.
"""
TRIED = "Fooled by each attack, of the targets that it was left with, all seeds:"
Seeds = list[Certificate]


class Subject(NamedTuple):
    """What stands in one row: a defense, or the name of the weights, on a network, at a k."""

    name: str
    network: str
    k: int


def results_table(certificates: Iterable[Certificate]) -> str:
    """A page in Markdown: a section for each data set and budget; in it the defenses, those fooled least first.

    Args:
        certificates: any; those that differ in nothing but the seed share a row, in the order of their seeds.
    """
    sections: dict[str, dict[Subject, Seeds]] = defaultdict(lambda: defaultdict(list))
    for c in sorted(certificates, key=lambda c: (c.dataset, c.budget.name, c.environment.seed)):
        sections[_section(c)][_subject(c)].append(c)
    return "\n".join([TITLE, *(_written(title, rows) for title, rows in sections.items())])


def _section(c: Certificate) -> str:
    threat, budget = c.threat, c.budget
    return (
        f"{clean(c.dataset)} ({threat.pixels} pixels), `{budget.name}`: {budget.images:,} targets, "
        f"{budget.passes:,} passes, {len(c.attacks)} attacks"
    )


def _subject(c: Certificate) -> Subject:
    return Subject(clean(c.defense if c.checkpoint is None else c.checkpoint), clean(c.network), c.threat.k)


def _written(title: str, rows: dict[Subject, Seeds]) -> str:
    ordered = sorted(
        rows.items(), key=lambda row: (-row[0].k, _mean(row[1], _fooled), -_mean(row[1], test_accuracy), row[0])
    )
    rates = tabulate([_row(*row) for row in ordered], HEADERS, tablefmt="pipe", disable_numparse=True)
    attacks = list(dict.fromkeys(row.attack for _, seeds in ordered for c in seeds for row in c.criteria[8].per_attack))
    found = [[*_named(who), *(_found(seeds, attack) for attack in attacks)] for who, seeds in ordered]
    headers = [*HEADERS[:3], *(f"`{clean(attack)}`" for attack in attacks)]
    tried = tabulate(found, headers, tablefmt="pipe", disable_numparse=True)
    return f"## {title}\n\n{rates}\n\n{TRIED}\n\n{tried}\n"


def _named(who: Subject) -> tuple[str, ...]:
    return (f"`{who.name}`", f"`{who.network}`", str(who.k))


def _row(who: Subject, seeds: Seeds) -> tuple[str, ...]:
    return (
        *_named(who),
        ", ".join(str(c.environment.seed) for c in seeds),
        _verdicts(seeds),
        _each(seeds, lambda c: f"{_fooled(c):.0f}"),
        _each(seeds, lambda c: _percent(c.criteria[8].figures.get("borderline_or_fooling"))),
        _each(seeds, lambda c: _percent(test_accuracy(c))),
        _each(seeds, lambda c: _percent(confident_accuracy(c))),
        _each(seeds, lambda c: "none" if c.proved_to is None else str(c.proved_to)),
        _each(seeds, lambda c: "none" if c.fooled_from is None else str(c.fooled_from)),
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
    parts = [f"**certified**{_of(certified, len(seeds))}"] if certified else []
    parts += [f"{word} {', '.join(said[word])}" for word in WORDS.values() if word in said]
    return "; ".join(parts) or "all pass"


def _of(some: int, seeds: int) -> str:
    return "" if some == seeds else f" ({some} of {seeds})"


def _found(seeds: Seeds, attack: str) -> str:
    rows = [row.ratio for c in seeds for row in c.criteria[8].per_attack if row.attack == attack]
    n = sum(row.n for row in rows)
    return f"{sum(row.successes for row in rows):,} of {n:,}" if n else "-"


def _fooled(c: Certificate) -> float:
    final = c.criteria[8]
    return round((final.observed or 0) * final.n)


def _mean(seeds: Seeds, figure: Callable[[Certificate], float | None]) -> float:
    return sum(figure(c) or 0 for c in seeds) / len(seeds)


def _each(seeds: Seeds, figure: Callable[[Certificate], str]) -> str:
    """The seeds' figures in their order; one where all are the same."""
    figures = [figure(c) for c in seeds]
    return ", ".join(figures if len(set(figures)) > 1 else figures[:1])


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}"
