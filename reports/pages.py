"""What the templates are filled with: certificate, badge, index. One inline script a page, allowed by its hash."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.record import Certificate
from reports import (
    board,
    charts,
    inspect_words,
    machine,
    matrix,
    perturbed_chart,
    proof_chart,
    standing,
    transfer,
    words,
)
from reports.entry import Entry, Picture, safe_name
from reports.ledger import Verification

HERE = Path(__file__).parent
GENERATOR = '<meta name="generator" content="Distal">'
BADGE = "<!-- generator: Distal -->"
INDEX_SCRIPTS = ("tips.js", "compare.js", "board.js")
CERTIFICATE_SCRIPTS = ("viewer.js", "player.js", "copy.js")
SHEET_COLUMNS = 10  # images a row of a contact sheet, as bench/sheets.py lays them
BADGE_LETTER = 6.6  # px: a wide estimate of a letter


@functools.cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for write in (
        words.allowed,
        words.breakable,
        words.compact,
        words.count,
        words.duration,
        words.figure,
        words.label,
        words.lone,
        words.moment,
        words.percent,
    ):
        made.filters[write.__name__] = write
    for place in (
        board.broken,
        charts.class_table,
        charts.mean_columns,
        charts.outcome_names,
        charts.outcome_words,
        charts.stacked,
        charts.success,
        inspect_words.people_sentence,
        standing.between,
        standing.reached_sentence,
        standing.level,
        standing.not_reached,
        standing.proof_values,
        standing.proved_sentence,
    ):
        made.globals[place.__name__] = place
    made.globals.update(
        criteria=words.CRITERIA,
        generator=GENERATOR,
        marks=words.MARKS,
        nothing=words.NOTHING,
        outcomes=words.OUTCOMES,
        sheet_columns=SHEET_COLUMNS,
    )
    return made


@functools.cache
def script(names: tuple[str, ...]) -> dict[str, Markup]:
    """The scripts as one, and what the page's policy calls it."""
    source = "".join((HERE / "static" / name).read_text("utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return {"script": Markup(source), "script_hash": Markup(f"sha256-{digest}")}


class Pictures(NamedTuple):
    """The contact sheets that a page holds: of the end, of rounds, of the same targets over the rounds."""

    sheets: Sequence[Picture]
    rounds: dict[int, Picture]
    evolution: dict[int, Picture]

    @property
    def total(self) -> int:
        return sum(map(len, self))


def certificate_page(entry: Entry, pictures: Pictures, slug: str, verification: Verification | None) -> str:
    """The page of one certificate, with these of its pictures, and the check that it passed, if any."""
    certificate = entry.certificate
    recorded = Pictures(entry.sheets, entry.round_sheets, entry.evolution)
    return (
        environment()
        .get_template("certificate.html")
        .render(
            c=certificate,
            badge=f"../badges/{slug}.svg",
            broken_criteria=board.broken(certificate.criteria),
            chart=charts.rounds_chart(certificate.rounds),
            proof_charts=proof_chart.proof_charts(certificate),
            matrix=matrix.matrix(certificate),
            perturbed_panels=perturbed_chart.perturbed_panels(certificate),
            transfer=transfer.transfer(certificate),
            round_sheets=pictures.rounds,
            sheets=pictures.sheets,
            evolution=pictures.evolution,
            recorded=recorded.total,
            left_out=recorded.total - pictures.total,
            test_accuracy=machine.test_accuracy(certificate),
            confident_accuracy=machine.confident_accuracy(certificate),
            verification=verification,
            **script(CERTIFICATE_SCRIPTS),
        )
    )


def badge(certificate: Certificate) -> str:
    """An SVG that says whether the model is certified: words of ours, and the data set in plain letters."""
    threat = certificate.threat
    answer = f"{certificate.answer} ({certificate.scope}, k {threat.k}, p {threat.p:g})"
    subject = f"Distal · {safe_name(certificate.dataset)[:24]}"
    left, right = (round(len(text) * BADGE_LETTER + 14) for text in (subject, f"✓ {answer}"))
    return (
        environment()
        .get_template("badge.svg")
        .render(answer=answer, certified=certificate.certified, subject=subject, left=left, right=right, marker=BADGE)
    )


def index_page(rows: Iterable[board.Row], refusals: Sequence[machine.Refused]) -> str:
    """The leaderboard: a plain table each, and what its script adds to it."""
    groups = board.boards(rows)
    ordered = [row for families in groups for family in families for row in family.rows]
    data = Markup(machine.inert_json(board.tips(ordered, words.allowed)))
    return (
        environment()
        .get_template("index.html")
        .render(groups=groups, refusals=refusals, data=data, total=len(ordered), **script(INDEX_SCRIPTS))
    )
