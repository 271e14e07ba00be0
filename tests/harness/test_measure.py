"""The measurements on a stand-in session whose images and networks are known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.budgets import BUDGETS
from bench.consistency import REQUIRED_ATTACKS
from bench.errors import NonFiniteError
from bench.harness import measure as module
from bench.harness.history import Past
from bench.harness.measure import final_network, heldout_newest, just_trained, measure, other_process, sparse
from bench.harness.step import Made
from bench.health import Cause, Finding
from bench.thresholds import RealThresholds, Thresholds
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verdict.criteria import decide
from bench.verdict.measurement import Measurement
from bench.verify import OUTCOMES, Verified

SPEC = ImageSpec((1, 1, 1), 4, ("a", "b"))
ALLOWED = Thresholds(
    rates=dict.fromkeys(range(8), 0.95) | {8: 0.01}, real=RealThresholds(accuracy=0.9, confident_accuracy=0.8)
)
FOOLING, BORDERLINE, REAL, UNCONFIDENT = map(
    OUTCOMES.index, (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION, Outcome.UNCONFIDENT)
)


def images(outcomes, value=0.0):
    n = len(outcomes)
    return Verified(
        torch.full((n, 1, 1, 1), value),
        torch.arange(n) % 2,
        torch.ones(n),
        torch.ones(n),
        torch.ones(n).double(),
        torch.tensor(outcomes, dtype=torch.long),
    )


class Fake(nn.Module):
    """Detects everything: always the fake class."""

    def forward(self, batch):
        return torch.tensor([0.0, 0.0, 9.0]).repeat(len(batch), 1)


class SaysA(nn.Module):
    """Takes everything for the first class."""

    def forward(self, batch):
        return torch.tensor([9.0, 0.0]).repeat(len(batch), 1)


class Gallery:
    def __init__(self, found, non_finite=0):
        self.found = found
        self.broken = non_finite
        self.non_finite = {attack: non_finite for place, attack in found if place == "final"}

    def images(self, place, attack):
        return self.found[place, attack]

    verdict_part = images

    def made(self, place, attack):
        return Made(torch.arange(len(self.found[place, attack].targets)), self.found[place, attack], 0, self.broken)

    def cascade(self):
        made = {name: found for (place, name), found in self.found.items() if place == "final"}
        return {name: Made(torch.arange(len(f.targets)), f, 0, self.broken) for name, f in made.items()}


def session(
    found,
    healthy=True,
    attacks=REQUIRED_ATTACKS,
    findings=(),
    budget="standard",
    non_finite=0,
    rounds=(),
    checks=(),
    once_more=(),
    known=(),
    broken=None,
):
    return SimpleNamespace(
        settings=SimpleNamespace(
            attacks=attacks,
            plan=replace(BUDGETS[budget], images=4),
            budget=budget,
            replay_sample=None,
            seed=0,
            subject="x",
        ),
        final_fakes=0,
        known=SimpleNamespace(
            of=lambda name: images(known if name == "masked" else ()),
            once_more=lambda name: once_more if name == "l1_sparse" else (),
            broken=broken or {},
        ),
        checks=lambda: list(checks),
        gallery=Gallery(found, non_finite),
        healthy=lambda: dict.fromkeys(attacks, healthy),
        measurement=lambda criterion: Measurement(id=criterion, findings=findings),
        final_threat=ThreatModel((0.9, 0.9), 1),
        final=Fake(),
        network_b=SaysA(),
        spec=SPEC,
        has_history=True,
        processes=("l1_sparse",),
        rounds_before_selected=lambda: list(rounds),
        rounds_with_images=lambda: list(rounds),
        thresholds=SimpleNamespace(rates=dict.fromkeys(range(9), 0.95)),
    )


def final(outcomes_of, **more):
    found = {("final", name): images(outcomes) for name, outcomes in outcomes_of.items()}
    return final_network(session(found, attacks=tuple(outcomes_of), **more))


SILENT = dict.fromkeys(REQUIRED_ATTACKS, [UNCONFIDENT] * 4)


def test_criterion_8_takes_the_worst_case_target_by_target():
    found = SILENT | {
        "masked": [FOOLING, UNCONFIDENT, UNCONFIDENT, UNCONFIDENT],
        "l1_sparse": [UNCONFIDENT, FOOLING, UNCONFIDENT, UNCONFIDENT],
    }
    measured = final(found)
    assert (measured.total.successes, measured.total.n) == (2, 4)
    assert measured.per_attack["masked"].total.successes == 1
    assert measured.per_class["b"].successes == 1


def test_an_image_that_fools_counts_wherever_the_run_makes_it():
    nothing = images([UNCONFIDENT] * 2)
    measured = final(SILENT, once_more=[nothing, images([UNCONFIDENT, FOOLING]), nothing])
    assert measured.total.successes == 1
    assert measured.per_class["b"].successes == 1
    assert measured.per_attack["l1_sparse"].total.outcomes["fooling"] == 1
    assert final(SILENT, once_more=[nothing]).total.successes == 0


def test_an_image_made_on_another_network_counts_where_it_fools_this_one():
    """Each stands in for a target of its class that still stands; one that is real to the judge counts for none."""
    found = SILENT | {"masked": [UNCONFIDENT, UNCONFIDENT, REAL, UNCONFIDENT]}
    measured = final(found, known=[FOOLING, REAL, FOOLING])
    assert (measured.total.successes, measured.per_class["a"].successes) == (2, 2)
    assert measured.per_attack["masked"].total.outcomes["fooling"] == 2
    assert {name: value for name, value in measured.figures.items() if name.startswith("known")} == {
        "known_fooling": 2,
        "known_borderline": 0,
        "known_in_distribution": 1,
    }
    taken = SILENT | {"masked": [FOOLING, UNCONFIDENT, UNCONFIDENT, UNCONFIDENT]}
    assert final(taken, known=[FOOLING]).total.successes == 2
    unsure = final(SILENT, known=[REAL, BORDERLINE])
    assert (unsure.total.successes, unsure.figures["borderline_or_fooling"]) == (0, 0)
    assert unsure.figures["known_borderline"] == 1


def test_what_looks_real_is_shown_to_network_b():
    found = SILENT | {"masked": [REAL, REAL, REAL, FOOLING], "l1_sparse": [UNCONFIDENT, REAL, FOOLING, UNCONFIDENT]}
    measured, name = final(found), "b_agrees_in_distribution"
    assert measured.per_attack["masked"].total.means[name] == pytest.approx(2 / 3)  # a, b, a: it says a
    assert measured.per_attack["l1_sparse"].total.means[name] == 0
    assert measured.figures[name] == 0.5
    assert name not in final(SILENT).figures | final(SILENT).per_attack["masked"].total.means


def test_silence_of_healthy_attacks_is_evidence():
    assert final(SILENT).findings == ()


def causes(measured):
    return {finding.cause for finding in measured.findings}


def test_what_takes_the_evidence_away_is_named():
    unsound = Finding(cause=Cause.JUDGE_UNSOUND, sentence="The judge fails a control.")
    assert causes(final(SILENT, findings=(unsound,))) == {Cause.JUDGE_UNSOUND}
    assert causes(final(SILENT, healthy=False)) == {Cause.ATTACK_UNHEALTHY}
    assert causes(final({"l1_sparse": [UNCONFIDENT] * 4})) == {Cause.ATTACK_MISSING}
    assert causes(final(SILENT, budget="quick")) == {Cause.BUDGET_TOO_SMALL}
    assert causes(final(SILENT, non_finite=3)) == {Cause.NOT_FINITE}
    assert causes(final(SILENT, broken={"What masked made": "logits are not finite"})) == {Cause.NOT_FINITE}
    flat = Finding(cause=Cause.ZERO_GRADIENT, sentence="No gradient.")
    assert causes(final(SILENT, checks=[flat])) == {Cause.ZERO_GRADIENT}


def test_a_network_that_is_never_right_proves_nothing_by_being_unsure():
    asked = session({("final", name): images([UNCONFIDENT] * 4) for name in REQUIRED_ATTACKS})
    asked.final_threat = ThreatModel((0.0, 0.9), 1)
    assert causes(final_network(asked)) == {Cause.NEVER_CONFIDENT}


def test_figures_that_are_not_finite_make_a_criterion_inconclusive(monkeypatch):
    def breaks(session):
        raise NonFiniteError("logits are not finite")

    monkeypatch.setattr(module, "MEASURES", (breaks,))
    measured = measure(None, 0)
    assert causes(measured) == {Cause.NOT_FINITE}
    assert measured.total.n == 0


def distinct(n, first=0):
    """Fooling images of which no two are the same."""
    found = images([FOOLING] * n)
    return replace(found, images=first + torch.arange(n).view(n, 1, 1, 1).float())


def past(index, fooling):
    part = distinct(fooling, 1000 * index)
    return Past(index, Fake(), SimpleNamespace(fooling_taught=part, heldout=part, made=part))


def test_the_newest_images_are_pooled_back_until_they_can_prove_the_threshold():
    measured = just_trained(session({}, rounds=[past(1, 100), past(2, 50), past(3, 0), past(4, 20)]))
    assert measured.total.n == 70  # 20 + 0 + 50: at least the 59 that can prove 95%
    assert measured.figures["nothing_found"] == 1


def test_a_copy_is_no_further_trial():
    """An attack that draws no randomness makes the same few images for every target, in training and held out."""
    few = distinct(20)
    copies = few[torch.arange(200) % 20]
    rounds = [Past(1, Fake(), SimpleNamespace(fooling_taught=copies, heldout=copies, made=distinct(8)))]
    assert just_trained(session({}, rounds=rounds)).total.n == 20
    assert heldout_newest(session({}, rounds=rounds)).total.n == 6, "of 10 in this half 4 were taught"
    found = {("network-b", name): copies for name in REQUIRED_ATTACKS}
    assert other_process(session(found)).per_attack["masked"].total.n == 20


class Misses(nn.Module):
    """Detects everything but one image."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, batch):
        missed = (batch.flatten(1)[:, :1] == self.value).float()
        return torch.cat([9 * missed, 0 * missed, 5 + 0 * missed], dim=1)


@pytest.mark.parametrize(
    ("made", "missed", "row", "verdict"),
    [(300, -1, "not_applicable", "pass"), (300, 5009, "inconclusive", "inconclusive"), (10, -1, *["inconclusive"] * 2)],
)
def test_an_attack_without_chance_need_not_prove_a_rate_by_all_that_there_is_of_it(made, missed, row, verdict):
    """Ten of ten images, or nine; where no more were made, it may be chance that there are so few."""
    attacks = (*REQUIRED_ATTACKS, "own")
    found = {("network-b", name): distinct(300, 1000 * number) for number, name in enumerate(REQUIRED_ATTACKS)}
    found["network-b", "own"] = distinct(10, 5000)[torch.arange(made) % 10]
    run = session(found, attacks=attacks)
    run.final = Misses(missed)
    record = decide(other_process(run), ALLOWED)
    assert record.verdict == verdict
    assert {each.attack: (each.verdict, each.ratio.n) for each in record.per_attack}["own"] == (row, 10)


def test_attacks_that_training_used_do_not_count_for_criterion_7():
    places = ["network-b", "round-000"]
    found = {
        (place, name): distinct(4, 10 * number) for number, place in enumerate(places) for name in REQUIRED_ATTACKS
    }
    measured = other_process(session(found, rounds=[Past(0, Fake(), None)]))
    assert measured.per_attack["l1_sparse"].not_applicable
    assert measured.per_attack["masked"].total.n == 8  # on B and on the past network


def test_a_weak_attack_of_ones_own_loses_its_row_and_no_class():
    attacks = (*REQUIRED_ATTACKS, "own")
    found = {("control", name): images([FOOLING] * 300) for name in REQUIRED_ATTACKS}
    found["control", "own"] = images([UNCONFIDENT] * 300)
    record = decide(sparse(session(found, attacks=attacks)), ALLOWED)
    assert record.verdict == "pass"
    assert {row.attack: row.verdict for row in record.per_attack}["own"] == "fail"
    assert not any(row.fails for row in record.per_class)


@pytest.mark.parametrize("healthy", [True, False])
def test_an_unhealthy_extra_attack_is_not_required_by_criterion_7(healthy):
    attacks = (*REQUIRED_ATTACKS, "own")
    found = {("network-b", name): images([FOOLING] * 4) for name in attacks}
    measured = other_process(session(found, attacks=attacks, healthy=healthy))
    assert measured.per_attack["own"].required is healthy
    assert measured.per_attack["masked"].required
