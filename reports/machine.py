"""The leaderboard for machines: `data.json`, `table.csv` and the schema of both `data.json` and a certificate.

All three are safe to hand on: texts are clipped and without control characters, the JSON is ASCII and can stand
inside a page, no cell of the CSV starts a formula.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from pydantic import Field
from pydantic.json_schema import models_json_schema

from bench.record import BudgetRecord, Certificate, Count, CriterionRecord, Named, Rate, Record, VerdictName
from reports.words import clean, clipped, one_line

MAX_NAME = 240  # characters of a name
MAX_SENTENCE = 1000  # characters of a sentence
MAX_NAMES = 100  # attacks that are listed

FORMULA = re.compile(r"(?<![\w.)\]])[=+\-@\uff1d\uff0b\uff0d\uff20]")
COLUMNS = (
    "dataset", "k", "pixels", "p", "defense", "network", "checkpoint", "scope", "certified", "rules", "verified",
    "fooled", "score", "accuracy", "confident_accuracy", "proved_to", "fooled_from", "budget", "images", "passes",
    "restarts", "rounds", "seed", "seconds", "forward_passes", "backward_passes", "revision", "made_at",
    "human_raters", "page", "badge",
)  # fmt: skip


class Verdict(Record):
    """One of the eleven criteria, in short."""

    id: int
    name: str
    verdict: VerdictName
    observed: Rate | None
    bound: Rate | None = Field(description="one-sided 95% bound on the side that decides a pass")
    threshold: Rate | None
    direction: str = Field(description="at_least or at_most")
    n: Count
    reason: str


class Summary(Record, Named):
    """One certificate, in short."""

    page: str = Field(description="path of its page, relative to data.json")
    badge: str = Field(description="path of its badge, relative to data.json")
    dataset: str
    k: Count = Field(description="at most this many lit pixels count as sparse")
    pixels: Count = Field(description="pixels of one image")
    p: Rate = Field(description="nominal probability that a fooling image reaches")
    defense: str | None = Field(description="what trained it; absent for weights that were certified as they are")
    network: str
    checkpoint: str | None
    training_attacks: tuple[str, ...]
    attacks: tuple[str, ...]
    scope: str = Field(description="model or process")
    certified: bool
    rules: Count = Field(description="by which its criteria count")
    verified: bool = Field(description="whether whoever built this computed its figures again from its stored images")
    summary: str
    fooled: Count | None = Field(description="targets that some attack fooled the final network for")
    score: Rate | None = Field(description="harmonic selection score")
    accuracy: Rate | None = Field(description="on real test data")
    confident_accuracy: Rate | None = Field(description="share of real test data with the true class at 0.9 or more")
    proved_to: int | None = Field(description="no image with at most this many lit pixels reaches p")
    fooled_from: int | None = Field(description="fewest lit pixels with which anything reached p")
    human_raters: Count = Field(description="people who looked at its images without knowing which are real")
    searched: bool = Field(description="whether attacks looked for the fewest lit pixels")
    budget: BudgetRecord
    seed: int
    seconds: float
    forward_passes: Count
    backward_passes: Count
    revision: str
    made_at: str
    criteria: tuple[Verdict, ...]

    @property
    def fooled_share(self) -> float | None:
        """Of the targets, whose number follows from the budget."""
        return self.criteria[8].observed


class Refused(Record):
    """A certificate that is not shown."""

    file: str
    reason: str


class Table(Record):
    """`data.json`: what the leaderboard shows."""

    schema_version: int = 1
    certificates: tuple[Summary, ...]
    refused: tuple[Refused, ...]


def name(text: str) -> str:
    """A name from a certificate: one line, no control characters, clipped."""
    return clipped(one_line(text), MAX_NAME)


def sentence(text: str) -> str:
    """A sentence from a certificate, as `name` but longer."""
    return clipped(one_line(text), MAX_SENTENCE)


def summarise(certificate: Certificate, slug: str, verified: bool = False) -> Summary:
    """What the leaderboard keeps of a certificate."""
    c, threat, environment = certificate, certificate.threat, certificate.environment
    return Summary(
        page=f"certificates/{slug}.html",
        badge=f"badges/{slug}.svg",
        dataset=name(c.dataset),
        k=threat.k,
        pixels=threat.pixels,
        p=threat.p,
        defense=name(c.defense) if c.checkpoint is None else None,  # earlier ones name one all the same
        network=name(c.network),
        checkpoint=None if c.checkpoint is None else name(c.checkpoint),
        training_attacks=tuple(map(name, c.training_attacks[:MAX_NAMES])),
        attacks=tuple(map(name, c.attacks[:MAX_NAMES])),
        scope=c.scope,
        certified=c.certified,
        rules=c.rules,
        verified=verified,
        summary=sentence(c.summary),
        fooled=fooled(c),
        score=c.score,
        accuracy=test_accuracy(c),
        confident_accuracy=confident_accuracy(c),
        proved_to=c.proved_to,
        fooled_from=c.fooled_from,
        human_raters=len(c.human.raters) if c.human else 0,
        searched=c.frontier is not None,
        budget=c.budget,
        seed=environment.seed,
        seconds=c.cost.seconds,
        forward_passes=c.cost.forward_passes,
        backward_passes=c.cost.backward_passes,
        revision=name(environment.revision),
        made_at=name(environment.made_at),
        criteria=tuple(map(_verdict, c.criteria)),
    )


def _verdict(criterion: CriterionRecord) -> Verdict:
    shared = criterion.model_dump(include=Verdict.model_fields.keys())
    return Verdict(**shared | {"reason": sentence(criterion.reason)})


def test_accuracy(certificate: Certificate) -> float | None:
    """Accuracy on real test data; criterion 10 may be decided on another rate, and then logs this one."""
    last = certificate.criteria[10]
    logged = _logged_rate(last, "accuracy")
    return last.observed if logged is None else logged


def fooled(certificate: Certificate) -> int | None:
    """Targets that some attack fooled the final network for; absent where that was not measured."""
    final = certificate.criteria[8]
    return None if final.observed is None else round(final.observed * final.n)


def confident_accuracy(certificate: Certificate) -> float | None:
    """Share of real test data whose true class gets at least 0.9, where it was logged."""
    return _logged_rate(certificate.criteria[10], "confident_accuracy")


def _logged_rate(criterion: CriterionRecord, figure: str) -> float | None:
    value = criterion.figures.get(figure)
    return value if value is not None and 0 <= value <= 1 else None


def inert_json(value: Any) -> str:
    """JSON in ASCII that may stand inside a script element: no `<`, `>`, `&`, no line separators."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def as_json(table: Table) -> str:
    return inert_json(table.model_dump(mode="json")) + "\n"


def schema() -> str:
    """JSON schema of `data.json`; a certificate's own is its `$defs/Certificate`."""
    _, shared = models_json_schema([(Table, "serialization"), (Certificate, "validation")])
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Distal's leaderboard (data.json); a certificate.json follows $defs/Certificate",
        "$ref": "#/$defs/Table",
    }
    return json.dumps(root | shared, indent=1, sort_keys=True) + "\n"


def as_csv(table: Table) -> str:
    """One line a certificate, every text quoted; criteria as `c0` to `c10`."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"c{number}" for number in range(11))])
    for row in table.certificates:
        budget = row.budget.model_dump()
        flat = row.model_dump(mode="json") | budget | {"budget": budget["name"]}
        verdicts = [criterion.verdict.value for criterion in row.criteria]
        writer.writerow([_cell(flat[column]) for column in COLUMNS] + verdicts)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula, whatever separates its cells; numbers as they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return FORMULA.sub(lambda sign: "'" + sign[0], clean(value)) if isinstance(value, str) else value
