"""The eleven criteria: a measurement and what is allowed -> a verdict with one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.consistency import NAMES, REAL, REQUIRED_ATTACKS
from bench.record import AttackRow, ClassRow, CriterionRecord, Ratio, VerdictName
from bench.thresholds import Thresholds
from bench.verdict.measurement import AttackCounts, Counts, Measurement
from bench.verdict.stats import Direction, holm_failures, meets, misses, ratio

PASS, FAIL = VerdictName.PASS, VerdictName.FAIL
INCONCLUSIVE, NOT_APPLICABLE = VerdictName.INCONCLUSIVE, VerdictName.NOT_APPLICABLE
WORST_FIRST = (FAIL, INCONCLUSIVE, PASS, NOT_APPLICABLE)
MODEL_SCOPE = (0, 1, 6, 7, 8, 9, 10)
PROCESS_SCOPE = tuple(range(11))


@dataclass(frozen=True)
class Criterion:
    """What one criterion asks, in words; `observed` completes "N of M ..."; `on_fail`, `on_open` say what to do."""

    id: int
    observed: str
    on_fail: str
    direction: Direction = "at_least"
    on_open: str = "too few images to tell; a larger --budget, where there is one, makes more"

    @property
    def name(self) -> str:
        return NAMES[self.id]


BELOW = "less than asked, though too few images to be sure of it"
RETRAIN = "train more rounds, or replay more of the past"
LEARN = "train longer, or weigh real data more"
NO_MORE = f"too few images to tell, and the data set has no more: {LEARN}"
CRITERIA = (
    Criterion(
        0,
        "targets reached on the undefended control with a confident, sparse image",
        "the attack is too weak to judge by: raise its passes or mend it",
    ),
    Criterion(
        1,
        "confident, sparse images of the control rejected by the judge at its strict threshold",
        "look at the contact sheet: either the attack draws real data or the judge errs",
    ),
    Criterion(2, "of the newest training images detected", "train the round longer"),
    Criterion(3, "of the past rounds' training images detected", RETRAIN),
    Criterion(4, "of the harness's own images for the newest round detected", "make more training images"),
    Criterion(5, "of the harness's own images for past rounds detected", RETRAIN),
    Criterion(6, "of the same process's images on network B detected", "train against more than one network"),
    Criterion(
        7,
        "of the images of an attack that training did not use detected",
        "widen the training attack: other starts, masks and penalties",
    ),
    Criterion(
        8,
        "targets (class and seed) fooled by some attack of the ensemble",
        "look at the contact sheet, and train against the attack that found them",
        "at_most",
    ),
    Criterion(9, "of real training images right", LEARN, on_open=NO_MORE),
    Criterion(10, "of real test images right", LEARN, on_open=NO_MORE),
)


@dataclass(frozen=True)
class _Decided:
    """One rate with its verdict and the sentence that says why."""

    verdict: VerdictName
    rate: Ratio
    threshold: float
    reason: str

    def severity(self) -> tuple[int, float]:
        """Sorts the worst first: by verdict, then by the rate."""
        return WORST_FIRST.index(self.verdict), self.rate.observed if self.rate.observed is not None else 0.0


def decide(measurement: Measurement, thresholds: Thresholds) -> CriterionRecord:
    """The verdict of one criterion.

    Args:
        measurement: what the suite measured.
        thresholds: what is allowed.

    Returns:
        The record with its verdict, figures and sentence. A finding takes a pass away, never a fail.
    """
    criterion = CRITERIA[measurement.id]
    rows = attack_rows(measurement, thresholds)
    decided = _decide(criterion, measurement, thresholds)
    asked = thresholds.real.accuracy if criterion.id in REAL else decided.threshold  # their rows are of accuracy
    classes = _class_rows(measurement.per_class, asked, criterion.direction)
    verdict, reason = decided.verdict, decided.reason
    failing = [row.label for row in classes if row.fails]
    if failing and verdict in (PASS, INCONCLUSIVE):
        verdict = FAIL
        reason = f"{reason} Class {', '.join(failing)} misses {percent(asked)} on its own (Holm): {criterion.on_fail}."
    if known := measurement.figures.get("known_fooling"):
        fool = "1 image fools" if known == 1 else f"{known:.0f} images fool"
        reason = (
            f"{reason} Of what the run made on other networks, for other classes or of real images, {fool} this one."
        )
    if measurement.findings and verdict == PASS:
        verdict = INCONCLUSIVE
    if measurement.findings and verdict == INCONCLUSIVE:
        told = [f.sentence for f in measurement.findings] + [f.remedy for f in measurement.findings]
        reason = " ".join([reason, *dict.fromkeys(told)])  # many findings may have one remedy
    if measurement.not_applicable:
        verdict, reason = NOT_APPLICABLE, measurement.not_applicable
    applicable = verdict != NOT_APPLICABLE
    bound = decided.rate.lower if criterion.direction == "at_least" else decided.rate.upper
    return CriterionRecord(
        id=criterion.id,
        name=criterion.name,
        verdict=verdict,
        observed=decided.rate.observed if applicable else None,
        bound=bound if applicable and decided.rate.n else None,
        threshold=decided.threshold,
        direction=criterion.direction,
        n=decided.rate.n,
        reason=reason,
        per_class=classes,
        per_attack=tuple(rows.values()),
        figures=measurement.figures,
    )


def attack_rows(measurement: Measurement, thresholds: Thresholds) -> dict[str, AttackRow]:
    """A verdict for each attack of a criterion."""
    criterion = CRITERIA[measurement.id]
    return {name: _attack_row(criterion, name, counts, thresholds) for name, counts in measurement.per_attack.items()}


def _decide(criterion: Criterion, measurement: Measurement, thresholds: Thresholds) -> _Decided:
    if measurement.measures:
        parts = [
            _rate(criterion, counts, getattr(thresholds.real, name), f"{name.replace('_', ' ')}: ")
            for name, counts in measurement.measures.items()
        ]
        return min(parts, key=_Decided.severity)
    if criterion.id in REAL:
        return _rate(criterion, Counts(successes=0, n=0), thresholds.real.accuracy)
    threshold = thresholds.rates[criterion.id]
    if measurement.total is not None:
        return _rate(criterion, measurement.total, threshold)
    parts = [
        decided
        for name, counts in measurement.per_attack.items()
        if not counts.not_applicable
        for decided in [_attack_rate(criterion, name, counts, threshold)]
        if counts.required or (decided.verdict == FAIL and criterion.id in (6, 7))
    ]
    if not parts and any(not counts.not_applicable for counts in measurement.per_attack.values()):
        reason = f"No attack that decides this was asked for; run without --attack, or add {REQUIRED_ATTACKS[0]}."
        return _Decided(INCONCLUSIVE, ratio(0, 0), threshold, reason)
    return min(parts, key=_Decided.severity, default=_rate(criterion, Counts(successes=0, n=0), threshold))


def _rate(criterion: Criterion, counts: Counts, threshold: float, prefix: str = "") -> _Decided:
    rate = ratio(counts.successes, counts.n)
    at_least = criterion.direction == "at_least"
    if rate.n == 0:
        reason = f"{prefix}There was nothing to measure: 0 {criterion.observed}; run more rounds or a larger budget."
        return _Decided(INCONCLUSIVE, rate, threshold, reason)
    verdict = INCONCLUSIVE
    if misses(rate, threshold, criterion.direction) or (not at_least and rate.successes):
        verdict = FAIL
    elif meets(rate, threshold, criterion.direction):
        verdict = PASS
    # A pass is told by the bound that meets the threshold, a failure by the one that misses it.
    bound, side = (rate.upper, "at most") if at_least == (verdict == FAIL) else (rate.lower, "at least")
    allowed = f"at least {percent(threshold)} asked" if at_least else f"none and at most {percent(threshold)} allowed"
    share = rate.successes / rate.n
    on_open = f"{BELOW}: {criterion.on_fail}" if at_least and share < threshold else criterion.on_open
    todo = {PASS: "", FAIL: f": {criterion.on_fail}", INCONCLUSIVE: f": {on_open}"}
    reason = (
        f"{prefix}{rate.successes} of {rate.n} {criterion.observed}, {percent(share)} "
        f"({side} {percent(bound)} with 95% confidence), {allowed}{todo[verdict]}."
    )
    return _Decided(verdict, rate, threshold, reason)


def _attack_rate(criterion: Criterion, name: str, counts: AttackCounts, threshold: float) -> _Decided:
    decided = _rate(criterion, counts.total, threshold, f"{name}: ")
    if counts.healthy is False and decided.verdict == PASS:
        reason = (
            f"{decided.reason} But {name} does not reach 95% of its targets on the undefended control at this budget, "
            "so its failing proves nothing: give it more passes."
        )
        return _Decided(INCONCLUSIVE, decided.rate, threshold, reason)
    return decided


def _attack_row(criterion: Criterion, name: str, counts: AttackCounts, thresholds: Thresholds) -> AttackRow:
    decided = _attack_rate(criterion, name, counts, thresholds.rates[criterion.id])
    return AttackRow(
        attack=name,
        verdict=NOT_APPLICABLE if counts.not_applicable else decided.verdict,
        reason=counts.not_applicable or decided.reason,
        ratio=decided.rate,
        outcomes=counts.total.outcomes,
        healthy=counts.healthy,
        means=counts.total.means,
    )


def _class_rows(per_class: Mapping[str, Counts], threshold: float, direction: Direction) -> tuple[ClassRow, ...]:
    rates = [ratio(counts.successes, counts.n) for counts in per_class.values()]
    failures = holm_failures(rates, threshold, direction)
    return tuple(
        ClassRow(label=label, ratio=rate, means=counts.means, fails=fails)
        for (label, counts), rate, fails in zip(per_class.items(), rates, failures, strict=True)
    )


def percent(rate: float) -> str:
    """A rate in words, to two digits, and never rounded to a whole it is not: 0.99999 -> '99.999%'."""
    for digits in (2, 3, 4):
        text = f"{100 * rate:.{digits}f}"
        if 0 < rate < 1 and float(text) in (0.0, 100.0):
            continue
        return f"{float(text):g}%"
    return f"{100 * rate:.6g}%"
