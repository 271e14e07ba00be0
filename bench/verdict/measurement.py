"""What a suite measured, before any verdict: counts, means and findings. Stored as JSON in the run."""

from __future__ import annotations

from pydantic import Field

from bench.health import Finding
from bench.record import Count, JudgeControl, Record


class Counts(Record):
    """Successes of n, with means logged beside them and the six outcomes where images were generated."""

    successes: Count
    n: Count
    means: dict[str, float] = Field(default_factory=dict)
    outcomes: dict[str, Count] = Field(default_factory=dict)


class AttackCounts(Record):
    """One attack's part of a criterion."""

    total: Counts
    per_class: dict[str, Counts]
    healthy: bool | None = None
    required: bool = True
    not_applicable: str | None = None


class Measurement(Record):
    """One criterion's figures.

    `total` is the sample the verdict is about where it does not come from single attacks or measures:
    criteria 2 to 5 and 8. `per_attack` holds the parts of 0, 1, 6, 7 and 8; `measures` those of 9 and 10.
    """

    id: int
    total: Counts | None = None
    per_class: dict[str, Counts] = Field(default_factory=dict)
    per_attack: dict[str, AttackCounts] = Field(default_factory=dict)
    measures: dict[str, Counts] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    not_applicable: str | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    judge_controls: tuple[JudgeControl, ...] = ()
