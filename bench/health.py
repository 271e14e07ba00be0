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
    # Found by running the network and the attacks once more (`bench/harness/checks.py`, `anew.py`, `effort.py`).
    ZERO_GRADIENT = "zero_gradient"
    BLIND_REJECTION = "blind_rejection"
    CLIFF = "cliff"
    MISLEADING_GRADIENT = "misleading_gradient"
    RANDOMISED = "randomised"
    NOT_A_FUNCTION = "not_a_function"
    BATCH_DEPENDENT = "batch_dependent"
    NOT_LOGITS = "not_logits"
    QUANTISED_INPUT = "quantised_input"
    SATURATED = "saturated"
    LOSS_STUCK = "loss_stuck"
    STILL_RISING = "still_rising"
    BLACK_BOX_AHEAD = "black_box_ahead"
    GROWS_WITH_RESTARTS = "grows_with_restarts"
    GROWS_WITH_BUDGET = "grows_with_budget"


REMEDIES = {
    Cause.JUDGE_UNSOUND: "Mend the judge first, as each control says; nothing rests on it before.",
    Cause.ATTACK_UNHEALTHY: "Give the attack more passes (--budget full) or strengthen it.",
    Cause.ATTACK_MISSING: "Run without --attack, or add the missing one.",
    Cause.NOT_FINITE: "Look for an overflow in the network; its logits must be finite for every image in [0, 1].",
    Cause.BUDGET_TOO_SMALL: "Run with --budget standard or full.",
    Cause.NEVER_CONFIDENT: "Train the network until it is sure of real data; p means nothing before.",
    Cause.ZERO_GRADIENT: "Replace steps and detached parts by smooth ones that agree with them, for the attack's sake.",
    Cause.BLIND_REJECTION: "Let what turns an image away fall off with a slope, on all images that it turns away.",
    Cause.CLIFF: "Replace the step in the network by a slope, so that attacks can see from below what lies above.",
    Cause.MISLEADING_GRADIENT: "Let the backward pass be that of the forward pass; attacks go where it points.",
    Cause.RANDOMISED: "Make eval mode deterministic, with gradients and without, or attack the average over draws.",
    Cause.NOT_A_FUNCTION: "Let an answer rest on the image and the stored weights, not on what was asked before.",
    Cause.BATCH_DEPENDENT: "Normalise by statistics that training kept, not by those of the batch.",
    Cause.NOT_LOGITS: "Return logits or log-probabilities: what stands before the softmax.",
    Cause.QUANTISED_INPUT: "Attack a copy that passes gradients straight through the rounding of its input.",
    Cause.SATURATED: "Divide the logits by a constant, so that the softmax is not exactly 0 or 1 in float32.",
    Cause.LOSS_STUCK: "See why the attack gets nowhere: its gradients, its step length, where it starts.",
    Cause.STILL_RISING: "Give the attacks more passes (--budget full).",
    Cause.BLACK_BOX_AHEAD: "Look for masked gradients: what needs none should not do better.",
    Cause.GROWS_WITH_RESTARTS: "Give the attacks more restarts (--budget full).",
    Cause.GROWS_WITH_BUDGET: "Give the attacks more passes (--budget full).",
}


class Finding(Record):
    """One thing that keeps a criterion from being decided."""

    cause: Cause
    sentence: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.cause]
