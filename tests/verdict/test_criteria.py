import pytest

from bench.health import Cause, Finding
from bench.thresholds import RealThresholds, Thresholds
from bench.verdict.criteria import BELOW, CRITERIA, PROCESS_SCOPE, decide, percent
from bench.verdict.measurement import AttackCounts, Counts, Measurement

ALLOWED = Thresholds(
    rates={0: 0.95, 1: 0.95, 2: 0.95, 3: 0.9, 4: 0.9, 5: 0.9, 6: 0.9, 7: 0.9, 8: 0.01},
    real=RealThresholds(accuracy=0.93, confident_accuracy=0.85),
)
FINDING = Finding(cause=Cause.JUDGE_UNSOUND, sentence="The judge fails its control.")


def total(criterion, successes, n, **more):
    return Measurement(id=criterion, total=Counts(successes=successes, n=n), **more)


def part(successes, n, **more):
    return AttackCounts(total=Counts(successes=successes, n=n), per_class={}, **more)


@pytest.mark.parametrize(
    ("measurement", "verdict"),
    [
        (total(3, 300, 300), "pass"),
        (total(3, 200, 300), "fail"),
        (total(3, 19, 20), "inconclusive"),
        (total(3, 0, 0), "inconclusive"),
        (total(8, 0, 300), "pass"),
        (total(8, 0, 298), "inconclusive"),
        (total(8, 1, 100_000), "fail"),
        (total(8, 0, 0), "inconclusive"),
        (total(8, 0, 300, findings=(FINDING,)), "inconclusive"),
        (total(8, 1, 300, findings=(FINDING,)), "fail"),
        (total(2, 0, 0, not_applicable="no rounds"), "not_applicable"),
    ],
)
def test_verdicts(measurement, verdict):
    assert decide(measurement, ALLOWED).verdict == verdict


def test_a_finding_is_told_with_its_remedy():
    reason = decide(total(8, 0, 300, findings=(FINDING,)), ALLOWED).reason
    assert FINDING.sentence in reason
    assert FINDING.remedy in reason


def test_images_from_elsewhere_that_fool_are_told():
    told = {n: decide(total(8, 1, 300, figures={"known_fooling": n}), ALLOWED).reason for n in (0, 1, 12)}
    assert "other networks" not in told[0]
    assert told[1].endswith("1 image fools this one.")
    assert told[12].endswith("12 images fool this one.")


def test_only_what_a_budget_buys_is_advised():
    assert "a larger --budget" in decide(total(3, 19, 20), ALLOWED).reason
    open_ = {"accuracy": Counts(successes=342, n=360)}
    reason = decide(Measurement(id=10, measures=open_), ALLOWED).reason
    assert "the data set has no more" in reason
    assert "--budget" not in reason


def test_more_images_are_not_advised_where_they_would_rather_show_a_failure():
    """As `transfer` on digits at `full`: 1,468 of 1,635 images are detected, and 90% is asked."""
    record = decide(total(3, 1468, 1635), ALLOWED)
    assert record.verdict == "inconclusive"
    assert record.reason.endswith(f"90% asked: {BELOW}: {CRITERIA[3].on_fail}.")


def test_a_remedy_that_findings_share_is_told_once_and_after_all_of_them():
    other = FINDING.model_copy(update={"sentence": "The judge fails another."})
    reason = decide(total(8, 0, 300, findings=(FINDING, other)), ALLOWED).reason
    assert reason.endswith(f"{FINDING.sentence} {other.sentence} {FINDING.remedy}")


def test_the_worst_required_attack_decides_and_another_one_loses_only_its_row():
    parts = {"l1_sparse": part(300, 300), "weak": part(10, 300, required=False)}
    record = decide(Measurement(id=0, per_attack=parts), ALLOWED)
    assert record.verdict == "pass"
    assert [row.verdict for row in record.per_attack] == ["pass", "fail"]
    parts["masked"] = part(10, 300)
    assert decide(Measurement(id=0, per_attack=parts), ALLOWED).verdict == "fail"


def test_an_unhealthy_attacks_failing_proves_nothing_but_its_success_counts():
    silent = decide(Measurement(id=7, per_attack={"masked": part(300, 300, healthy=False)}), ALLOWED)
    assert silent.verdict == "inconclusive"
    loud = decide(Measurement(id=7, per_attack={"own": part(0, 300, healthy=False, required=False)}), ALLOWED)
    assert loud.verdict == "fail"


def test_a_criterion_without_any_attack_that_applies_is_inconclusive():
    parts = {"masked": AttackCounts(total=Counts(successes=0, n=0), per_class={}, not_applicable="no", required=False)}
    record = decide(Measurement(id=6, per_attack=parts), ALLOWED)
    assert record.verdict == "inconclusive"
    assert record.per_attack[0].verdict == "not_applicable"


def test_without_an_attack_that_decides_it_is_said_what_to_ask_for():
    record = decide(Measurement(id=0, per_attack={"own": part(60, 60, required=False)}), ALLOWED)
    assert record.verdict == "inconclusive"
    assert "add l1_sparse" in record.reason


def test_accuracy_and_confident_accuracy_must_both_hold():
    good, bad = Counts(successes=360, n=360), Counts(successes=200, n=360)
    for low in ("accuracy", "confident_accuracy"):
        measures = {"accuracy": good, "confident_accuracy": good} | {low: bad}
        record = decide(Measurement(id=10, measures=measures), ALLOWED)
        assert record.verdict == "fail"
        assert low.replace("_", " ") in record.reason
    assert decide(Measurement(id=9, measures={"accuracy": good, "confident_accuracy": good}), ALLOWED).verdict == "pass"


def test_one_class_far_off_fails_a_criterion_that_holds_on_the_whole():
    classes = {str(c): Counts(successes=100, n=100) for c in range(9)} | {"9": Counts(successes=50, n=100)}
    record = decide(total(3, 950, 1000, per_class=classes), ALLOWED)
    assert record.verdict == "fail"
    assert "Class 9" in record.reason
    assert [row.fails for row in record.per_class] == [False] * 9 + [True]


@pytest.mark.parametrize("confident", [0.9 * 0.98, 0.99])
def test_a_class_is_held_to_the_accuracy_that_is_asked_whichever_rate_decides(confident):
    assert ALLOWED.real.confident_accuracy < 0.9 < ALLOWED.real.accuracy
    classes = {str(c): Counts(successes=1000, n=1000) for c in range(9)} | {"9": Counts(successes=900, n=1000)}
    measures = {"accuracy": Counts(successes=9900, n=10000)}
    measures["confident_accuracy"] = Counts(successes=round(10000 * confident), n=10000)
    record = decide(Measurement(id=10, measures=measures, per_class=classes), ALLOWED)
    assert record.verdict == "fail"
    assert f"Class 9 misses {percent(ALLOWED.real.accuracy)} on its own" in record.reason


@pytest.mark.parametrize("criterion", PROCESS_SCOPE)
def test_every_sentence_tells_observed_allowed_and_what_to_do(criterion):
    counts = Counts(successes=150, n=300)
    measured = {"measures": {"accuracy": counts, "confident_accuracy": counts}} if criterion > 8 else {"total": counts}
    record = decide(Measurement(id=criterion, **measured), ALLOWED)
    assert record.verdict == "fail"
    assert "150 of 300" in record.reason
    assert percent(record.threshold) in record.reason
    assert CRITERIA[criterion].on_fail in record.reason


def test_percent_never_rounds_to_a_whole_it_is_not():
    assert percent(0.9996) == "99.96%"
    assert percent(0.99999) == "99.999%"
    assert percent(1.0) == "100%"
    assert percent(0.0001) == "0.01%"
    assert percent(0.95) == "95%"
    assert percent(0.9698) == "96.98%"  # not the 97% that it misses
