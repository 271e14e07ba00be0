"""How an evaluation goes wrong: each cause has a name, a sentence and a remedy.

A finding never turns a failure into a pass; it only takes away that *failing* attacks are evidence.
"""

from __future__ import annotations

from enum import StrEnum

from bench.record import Record


class Cause(StrEnum):
    """Named causes for which a criterion can't be decided."""

    JUDGE_UNSOUND = "judge_unsound"
    ATTACK_UNHEALTHY = "attack_unhealthy"
    ATTACK_MISSING = "attack_missing"
    NOT_FINITE = "not_finite"
    BUDGET_TOO_SMALL = "budget_too_small"
    NEVER_CONFIDENT = "never_confident"


REMEDIES = {
    Cause.JUDGE_UNSOUND: "See its controls; give the judge more real data, or a detector that tells them apart.",
    Cause.ATTACK_UNHEALTHY: "Give the attack more passes (--budget full) or strengthen it.",
    Cause.ATTACK_MISSING: "Run without --attack, or add the missing one.",
    Cause.NOT_FINITE: "Look for an overflow in the network; its logits must be finite for every image in [0, 1].",
    Cause.BUDGET_TOO_SMALL: "Run with --budget standard or full.",
    Cause.NEVER_CONFIDENT: "Train the network until it is sure of real data; p means nothing before.",
}


class Finding(Record):
    """One thing that keeps a criterion from being decided."""

    cause: Cause
    sentence: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.cause]
