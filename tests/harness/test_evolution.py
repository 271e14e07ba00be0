"""The same targets on every round's network, on a stand-in session whose networks are known."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.harness.evolution import MOST_STEPS, Evolution, shown_rounds
from bench.harness.history import Past
from bench.types import Budget, ImageSpec, Outcome, ThreatModel


class Store:
    def __init__(self):
        self.kept = {}

    def working(self, name):
        return nullcontext()

    def has(self, name):
        return name in self.kept

    def save_tensors(self, name, tensors):
        self.kept[name] = dict(tensors)

    def load_tensors(self, name):
        return dict(self.kept[name])


class Bright(nn.Module):
    """Every class has a pixel of its own; `gain` says how sure a lit one makes it. None: NaN where any is lit."""

    def __init__(self, gain: float | None):
        super().__init__()
        self.gain = gain

    def forward(self, images):
        lit = images.flatten(1)
        return torch.where(lit > 0, torch.nan, lit) if self.gain is None else self.gain * lit


class Judge:
    working = strict = 0.0

    def score(self, images):
        return torch.ones(len(images)).double()


def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
    """The target's pixel full on, the others left as the generator draws them, and dim."""
    attack.asked.append((targets.tolist(), budget))
    images = torch.rand(len(targets), *classifier.spec.shape, generator=generator) * 0.1
    images.flatten(1).scatter_(1, targets[:, None], 1.0)
    classifier(images)
    return images


@pytest.fixture(autouse=True)
def asked():
    attack.asked = []
    return attack.asked


def session(gains, classes=10, selected=0, passes=2000, restarts=2, has_history=True):
    costs = {}
    return SimpleNamespace(
        store=Store(),
        say=lambda text: None,
        spec=ImageSpec((1, 1, classes), 255, tuple(map(str, range(classes)))),
        settings=SimpleNamespace(seed=0, attack=Budget(passes, restarts)),
        has_history=has_history,
        history=[Past(index, Bright(gain), None) for index, gain in enumerate(gains)],
        selected=selected,
        lab=SimpleNamespace(measuring_judge=Judge()),
        gallery=SimpleNamespace(attack=lambda name: attack, note=lambda *met: None),
        threat_of=lambda network: ThreatModel((0.9,) * classes, classes),
        costs=costs,
        add_cost=lambda what, seconds, forward, backward: costs.update({what: (forward, backward)}),
    )


def test_every_round_has_the_same_targets_and_the_same_noise():
    steps = dict(Evolution(session([1.0, 9.0, 20.0])).steps())
    assert list(steps) == [0, 1, 2]
    for drawn in steps.values():
        assert drawn.targets.tolist() == [*range(10), *range(10)]
        assert torch.equal(drawn.images, steps[0].images)  # the attack asks no network here: all is the seed's
    assert steps[0].is_(Outcome.UNCONFIDENT).all()  # but each is verified on the network of its round
    assert steps[2].is_(Outcome.FOOLING).all()


@pytest.mark.parametrize(("plan", "allowed"), [((2000, 2), 200), ((300, 2), 150), ((10_000, 4), 200), ((200, 1), 200)])
def test_it_is_one_start_of_the_measuring_budget_with_at_most_200_passes(asked, plan, allowed):
    list(Evolution(session([1.0, 1.0], passes=plan[0], restarts=plan[1])).steps())
    assert [budget for _, budget in asked] == [Budget(allowed, 1)] * 2


@pytest.mark.parametrize(("classes", "targets"), [(2, [0, 1, 0, 1]), (30, [*range(20)])])
def test_two_of_a_class_but_no_more_than_twenty(classes, targets):
    assert Evolution(session([1.0, 1.0], classes=classes)).targets.tolist() == targets


def test_it_is_made_once_and_its_cost_is_counted(asked):
    run = session([1.0, 9.0])
    first = dict(Evolution(run).steps())
    assert run.costs == {f"generated/evolution/round-00{index}.safetensors": (20, 0) for index in (0, 1)}
    again = dict(Evolution(run).steps())
    assert len(asked) == 2
    assert torch.equal(again[1].outcome, first[1].outcome)
    assert set(run.store.kept["generated/evolution/round-001.safetensors"]) >= {"which", "counts", "images"}


@pytest.mark.parametrize("run", [session([1.0]), session([1.0, 1.0], has_history=False)])
def test_there_is_none_without_two_rounds(run):
    assert list(Evolution(run).steps()) == []


def test_a_round_that_comes_to_nan_is_left_out():
    assert [index for index, _ in Evolution(session([1.0, None, 9.0])).steps()] == [0, 2]


def test_at_most_twelve_rounds_evenly_spread_with_the_first_the_selected_and_the_last():
    for rounds in range(2, 60):
        for selected in range(rounds):
            shown = shown_rounds(rounds, selected)
            assert shown == sorted(set(shown))
            assert {0, selected, rounds - 1} <= set(shown) <= set(range(rounds))
            assert len(shown) == min(rounds, MOST_STEPS)
            gaps = [after - before for before, after in pairwise(shown)]
            assert max(gaps) <= 2 * (rounds - 1) / (len(shown) - 1) + 1
