"""Verdicts as text, for the terminal."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from bench.record import Certificate, CriterionRecord, VerdictName
from reports.standing import proof_line
from reports.words import MARKS, allowed, clean, one_line, percent

WIDTH = 100
HEADERS = ("id", "criterion", "verdict", "observed", "bound", "allowed", "n")
ALIGNMENT = ("right", "left", "left", "right", "right", "right", "right")


def verdict_table(certificate: Certificate) -> str:
    """The eleven verdicts as a table, what is proved, a sentence for each that did not pass; at most 100 columns."""
    table = tabulate(
        [_row(criterion) for criterion in certificate.criteria],
        headers=HEADERS,
        colalign=ALIGNMENT,
        disable_numparse=True,
    )
    return "\n".join([table, *_proof(certificate), *_sentences(certificate)])


def closing(certificate: Certificate) -> str:
    """What a run ends with: the table, and below it whether it is certified, in one line."""
    return f"{verdict_table(certificate)}\n\n{one_line(certificate.summary)}"


def _row(criterion: CriterionRecord) -> tuple[str, ...]:
    return (
        str(criterion.id),
        criterion.name,
        MARKS[criterion.verdict].word,
        percent(criterion.observed, criterion.threshold, nothing="-"),
        percent(criterion.bound, criterion.threshold, nothing="-"),
        allowed(criterion, ">=", "<=", nothing="-"),
        str(criterion.n),
    )


def _proof(certificate: Certificate) -> list[str]:
    """A blank line, then what is proved or why nothing is; nothing where no proof was attempted."""
    line = proof_line(certificate)
    return [] if line is None else ["", textwrap.fill(clean(line), WIDTH, subsequent_indent="  ")]


def _sentences(certificate: Certificate) -> list[str]:
    """A blank line, then one wrapped sentence per criterion that did not pass; nothing when all did."""
    lines = [
        textwrap.fill(
            f"{criterion.id} {criterion.name}, {MARKS[criterion.verdict].word}: {clean(criterion.reason)}",
            WIDTH,
            subsequent_indent="  ",
        )
        for criterion in certificate.criteria
        if criterion.verdict is not VerdictName.PASS
    ]
    return ["", *lines] if lines else []
