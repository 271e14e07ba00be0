"""Every check is red on the fault it is for, and silent on an ordinary network and on a robust one."""

from __future__ import annotations

import pytest
import torch
from planted.networks import (
    CutGraph,
    Damps,
    DetectsEverything,
    DrawnToGrid,
    HardStep,
    JudgedByCompany,
    LeadsAstray,
    Planted,
    Probabilities,
    Quantised,
    Robust,
    Saturated,
    ShutsOut,
    Stochastic,
    StopsGradients,
    WatchesForGradients,
)
from planted.stand_in import ATTACKS, classifier, digits, judge

from bench.harness.checks import Probes, check_evaluation, check_network
from bench.harness.effort import best_margins
from bench.harness.generate import balanced_targets, generate
from bench.health import REMEDIES, Cause
from bench.types import Budget, ThreatModel
from bench.verify import OUTCOMES, Outcome

THREAT = ThreatModel(0.9, 24)


def network_causes(network, spec=None, real=None):
    spec, real = spec or digits().spec, digits().a_val.images if real is None else real
    return {finding.cause for finding in check_network(network, spec, Probes.draw(spec, real, THREAT.k, 0), 0)}


def causes(network, attacks, budget, evaluated=None):
    found = check_evaluation(
        network,
        attacks,
        digits().spec,
        threat=THREAT,
        budget=budget,
        judge=judge(),
        real=digits().a_val.images,
        seed=0,
        evaluated=evaluated,
    )
    return {finding.cause for finding in found}


def shuts_out(network):
    return ShutsOut(network, digits().a_train.images, 1.8)


def shuts_out_sparse(network):
    return ShutsOut(network, digits().a_train.images, 1.8, up_to=THREAT.k)


def damps(network):
    return Damps(network, digits().a_train.images, 1.8)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (HardStep, {Cause.ZERO_GRADIENT, Cause.CLIFF}),
        (CutGraph, {Cause.ZERO_GRADIENT, Cause.QUANTISED_INPUT}),
        (DetectsEverything, {Cause.ZERO_GRADIENT, Cause.BLIND_REJECTION}),
        (Stochastic, {Cause.RANDOMISED, Cause.BATCH_DEPENDENT, Cause.MISLEADING_GRADIENT}),  # a step is lost in noise
        (WatchesForGradients, {Cause.RANDOMISED}),
        (JudgedByCompany, {Cause.BATCH_DEPENDENT}),
        (Probabilities, {Cause.NOT_LOGITS, Cause.MISLEADING_GRADIENT}),  # too steep to follow by a grid level
        (Quantised, {Cause.ZERO_GRADIENT, Cause.QUANTISED_INPUT}),
        (Saturated, {Cause.SATURATED}),
        (LeadsAstray, {Cause.MISLEADING_GRADIENT}),
        (DrawnToGrid, {Cause.MISLEADING_GRADIENT}),
        (shuts_out, {Cause.BLIND_REJECTION, Cause.CLIFF}),
        (shuts_out_sparse, {Cause.BLIND_REJECTION}),  # between real images and noise there is no way it bars
        (damps, {Cause.CLIFF}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_of_the_network_is_named(plant, expected):
    assert expected <= network_causes(plant(classifier())) <= expected | {Cause.QUANTISED_INPUT}


def test_a_slope_that_leads_nowhere_is_told_with_the_length_of_the_step():
    probes = Probes.draw(digits().spec, digits().a_val.images, THREAT.k, 0)
    (told,) = check_network(DrawnToGrid(classifier()), digits().spec, probes, 0)
    assert told.sentence.startswith("A step of a few grid levels along the gradient of the margin does not raise it")


class StraightThrough(Planted):
    """Sees `levels` grey values, and passes gradients as if it saw all."""

    levels = 2

    def forward(self, images):
        seen = (images * (self.levels - 1)).round() / (self.levels - 1)
        return self.classifier(images + (seen - images).detach())


@pytest.mark.parametrize(("levels", "also"), [(2, {Cause.MISLEADING_GRADIENT}), (4, set())])
def test_coarse_inputs_are_seen_without_the_help_of_gradients(levels, also):
    network = StraightThrough(classifier())
    network.levels = levels
    assert network_causes(network) == {Cause.QUANTISED_INPUT} | also


class Alone(Planted):
    """Undefended for an image that comes alone; one more class, never likely, whose logit dwarfs all others."""

    def forward(self, images):
        real = self.classifier(images)
        fake = real.logsumexp(dim=1, keepdim=True) + (9 if len(images) > 1 else -9)
        return torch.nn.functional.pad(torch.cat([real, fake], dim=1), (0, 1), value=-1e9)


class InfiniteSlopes(Planted):
    """A root adds nothing that counts, but for its slope at black pixels."""

    def forward(self, images):
        root = 1e-9 * images.sqrt().flatten(1).sum(dim=1, keepdim=True)
        return torch.cat([self.classifier(images), root], dim=1)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [(Alone, {Cause.BATCH_DEPENDENT, Cause.BLIND_REJECTION}), (InfiniteSlopes, {Cause.ZERO_GRADIENT})],
)
def test_a_fault_is_not_hidden_by_a_large_number(plant, expected):
    assert network_causes(plant(classifier())) == expected


class Same(Planted):
    """The same answers in another form, none of which hampers an attack."""

    def __init__(self, form):
        super().__init__(classifier())
        self.form = form

    def forward(self, images):
        return self.form(self.classifier(images))


@pytest.mark.parametrize(
    "form",
    [
        lambda z: z,
        lambda z: z.log_softmax(dim=1),
        lambda z: z * 1e-3,  # small slopes
        lambda z: z * 5,
        lambda z: torch.nn.functional.pad(z, (0, 1), value=-1e9),  # a class that never comes
        lambda z: torch.cat([z, z.square().mean(dim=1, keepdim=True) + 50], dim=1),  # always sure that it is fake
        lambda z: z - 1e3,
        lambda z: z - z.mean(dim=1, keepdim=True) + 0.1,  # rows sum to 1, as those of probabilities
    ],
    ids=["itself", "log-probabilities", "small slopes", "steep", "never", "all fake", "shifted", "sum 1"],
)
def test_what_hampers_no_attack_is_no_finding(form):
    assert network_causes(Same(form)) == set()


def test_a_grid_of_two_values_has_no_steps_between():
    spec = type(digits().spec)((1, 8, 8), 1, digits().spec.class_names)
    assert network_causes(classifier(), spec, digits().a_val.images.round()) == set()


def test_ordinary_and_robust_networks_are_silent():
    assert causes(classifier(), ATTACKS, Budget(300, 1)) == set()
    assert causes(Robust(classifier(), judge()), ATTACKS, Budget(100, 1)) == set()


def test_a_loss_that_does_not_fall():
    network = StopsGradients(classifier(), digits().a_train.images, 1.8)
    blind = {Cause.LOSS_STUCK, Cause.ZERO_GRADIENT, Cause.BLIND_REJECTION, Cause.CLIFF}
    assert blind == causes(network, {"l1": ATTACKS["l1_sparse"]}, Budget(50, 1))


def test_black_box_ahead_of_gradients():
    assert Cause.BLACK_BOX_AHEAD in causes(HardStep(classifier()), ATTACKS, Budget(100, 1))


def solved(targets):
    """Images that fool the classifier, for these targets."""
    solution = generate(
        ATTACKS["l1_sparse"],
        classifier(),
        digits().spec,
        balanced_targets(10, 10),
        threat=THREAT,
        budget=Budget(600),
        judge=judge(),
        seed=1,
    ).verified
    assert solution.is_(Outcome.FOOLING).all()
    return solution.images[targets]


def attack_that(solves):
    """An attack that takes all its passes and gives the solutions where `solves(passes, generator, n)` holds."""

    def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
        images = torch.zeros(len(targets), *classifier.spec.shape)
        for _ in range(budget.passes // 2):
            seen = images.clone().requires_grad_()
            torch.autograd.grad(classifier(seen).sum(), seen)
        good = solves(budget.passes, generator, len(targets))
        images[good] = solved(targets)[good]
        return images

    return attack


def test_success_that_grows_with_the_budget():
    patient = attack_that(lambda passes, draw, n: torch.full((n,), passes > 40))
    assert Cause.GROWS_WITH_BUDGET in causes(classifier(), {"patient": patient}, Budget(40, 1))
    assert Cause.GROWS_WITH_RESTARTS not in causes(classifier(), {"patient": patient}, Budget(40, 1))
    assert Cause.GROWS_WITH_BUDGET not in causes(classifier(), {"patient": patient}, Budget(60, 1))


def test_success_that_grows_with_restarts():
    calls = []

    def lucky(passes, draw, n):
        calls.append(passes)
        return torch.full((n,), len(calls) == 2)

    assert causes(classifier(), {"lucky": attack_that(lucky)}, Budget(40, 1)) >= {Cause.GROWS_WITH_RESTARTS}
    assert len(calls) == 3


def slow(pace):
    """Plain ascent of the margin from blank in small steps; `pace` of a step, over the passes spent."""

    def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
        images = torch.full((len(targets), *classifier.spec.shape), 0.02)
        for step in range(budget.passes // 2):
            seen = images.clone().requires_grad_()
            log_p = classifier(seen).log_softmax(dim=1).gather(1, targets[:, None]).sum()
            (slope,) = torch.autograd.grad(log_p, seen)
            images = (images + pace(step) * slope.sign()).clamp(0, 1)
        return images

    return attack


def test_a_margin_that_still_rises():
    steady = slow(lambda step: 2e-4)
    assert Cause.STILL_RISING in causes(classifier(), {"steady": steady}, Budget(160, 1))
    tired = slow(lambda step: 2e-4 * (step < 40))
    assert Cause.STILL_RISING not in causes(classifier(), {"tired": tired}, Budget(160, 1))


def test_no_success_is_no_growth_and_a_success_ends_the_matter():
    hopeless = attack_that(lambda passes, draw, n: torch.zeros(n, dtype=torch.bool))
    assert causes(classifier(), {"hopeless": hopeless}, Budget(40, 1)) == {Cause.LOSS_STUCK}
    done = generate(
        ATTACKS["l1_sparse"],
        classifier(),
        digits().spec,
        balanced_targets(10, 10),
        threat=THREAT,
        budget=Budget(600),
        judge=judge(),
        seed=1,
    )
    assert OUTCOMES.index(Outcome.FOOLING) in done.verified.outcome
    assert causes(classifier(), {"hopeless": hopeless}, Budget(40, 1), {"l1_sparse": done.verified}) == set()


def test_best_margins_are_those_of_the_classes():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()
    column = torch.stack([logits[:, t] - logits[:, [c for c in range(5) if c != t]].logsumexp(dim=1) for t in range(3)])
    torch.testing.assert_close(best_margins(logits, 3).double(), column.amax(dim=1), rtol=1e-4, atol=1e-4)


def test_every_cause_has_a_remedy():
    assert set(REMEDIES) == set(Cause)
