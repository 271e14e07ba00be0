"""What the parts of a defense are worth: variants side by side, from their certificates."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from bench.record import Certificate
from reports.machine import confident_accuracy, fooled, test_accuracy
from reports.words import MARKS, cell

HEADERS = ("change", "data set", "budget", "8: fooled", "borderline or worse", "10: accuracy", "confident", "8", "10")
TITLE = """# What the parts of the recipe are worth

One part of the defense left out at a time, measured as any other defense. Made by `python -m reports recipe RUNS`
from the certificates of `pytest suites/ --defense=defenses.recipe:NAME`.
"""


def recipe_table(certificates: Iterable[Certificate]) -> str:
    """A page in Markdown: one row a certificate, by data set, budget and name."""
    ordered = sorted(certificates, key=lambda c: (c.dataset, c.budget.name, c.subject, c.environment.seed))
    return f"{TITLE}\n{tabulate(map(_row, ordered), HEADERS, tablefmt='github', disable_numparse=True)}\n"


def _row(c: Certificate) -> tuple[str, ...]:
    final, real = c.criteria[8], c.criteria[10]
    fell = fooled(c)
    return (
        cell(c.subject.partition(":")[2].replace("_", " ") or c.subject),
        f"{cell(c.dataset)}, seed {c.environment.seed}",
        c.budget.name,
        "-" if fell is None else f"{fell} of {final.n}",
        _percent(final.figures.get("borderline_or_fooling")),
        _percent(test_accuracy(c)),
        _percent(confident_accuracy(c)),
        MARKS[final.verdict].word,
        MARKS[real.verdict].word,
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
