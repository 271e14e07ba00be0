"""The reference defense on real digits, trained briefly: its parts, what each round leaves behind, and going on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from attacks.l1_sparse import l1_sparse
from bench.materials.data import load
from bench.materials.judge import training_judge
from bench.materials.networks import build, mlp
from bench.meter import Meter
from bench.proof.bounds import proved_to
from bench.task import Task
from bench.types import Budget, ThreatModel
from bench.verify import logits_of, reached
from defenses import recipe, rounds
from defenses.fakeclass import ATTACKS, fakeclass, gates_of
from defenses.gate import COUNT_OPEN, SHUT, most_to_prove

EPOCHS = 20
THREAT = ThreatModel(0.9, 24)


class Silent:
    def generated(self, index, batch):
        pass

    def batch(self, logits, labels, loss):
        pass

    def epoch(self, network):
        pass


@cache
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


@cache
def judge():
    half = digits().a_train
    return training_judge(half.images, half.labels, seed=0)


def task(defense, past=(), max_rounds=2):
    data = digits()
    return Task(
        spec=data.spec,
        train=data.a_train,
        validation=data.a_val,
        judge=judge(),
        new_network=lambda outputs, seed: build(defense.shape(mlp), data.spec, outputs, seed),
        threat=THREAT,
        images=40,
        budget=Budget(200),
        max_rounds=max_rounds,
        seed=0,
        past=tuple(past),
    )


@cache
def trained(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "default_epochs", lambda images: EPOCHS)
        defense = getattr(recipe, name)
        return list(defense(task(defense), Silent()))


def accuracy(network):
    test = digits().test
    return float((logits_of(network, test.images).argmax(dim=1) == test.labels).double().mean())


def fooled(network, seed=5):
    """Of 40 targets, those that a short attack reaches with what the training judge rejects."""
    targets = torch.arange(40) % 10
    draw = torch.Generator().manual_seed(seed)
    images = l1_sparse(Meter(network, digits().spec), targets, threat=THREAT, budget=Budget(200), generator=draw)
    hit = reached(logits_of(network, images), images, targets, THREAT)
    return int((hit & (judge().score(images) > judge().working)).sum())


def test_it_is_the_whole_recipe_and_names_its_attacks():
    assert fakeclass.attacks == ATTACKS == recipe.whole.attacks
    assert recipe.gradient_alone.attacks.keys() == {"l1_sparse"}


def test_the_gates_are_open_in_round_0_and_shut_after_it():
    first, second, _ = (gates_of(done.network) for done in trained("whole"))
    blank = torch.zeros(1, *digits().spec.shape)
    assert (float(first[0](blank)), float(first[1].closed)) == (COUNT_OPEN, 0)
    assert float(second[0](blank)) <= SHUT
    assert float(second[1].closed) == 1


def test_every_round_but_the_first_is_proved_for_all_that_is_sparse():
    assert most_to_prove(digits().a_train.images, THREAT.k) == THREAT.k
    first, *later = (proved_to(done.network, digits().spec, (0.9,) * 10) for done in trained("whole"))
    assert first is None
    assert later == [THREAT.k] * 2


def test_the_distances_still_shut_out_what_has_pixels_enough():
    network = trained("whole")[-1].network
    bright = torch.ones(1, *digits().spec.shape)
    assert float(gates_of(network)[0](bright)) == COUNT_OPEN
    assert logits_of(network, bright).softmax(dim=1)[0, -2] > 0.9  # the distances' own class; the count's is the last


def test_round_0_is_fooled_throughout_and_the_last_round_next_to_never():
    done = trained("whole")
    assert fooled(done[0].network) == 40
    assert done[1].batch.taught.all()
    assert fooled(done[-1].network) <= 4


def test_real_images_stay_what_they_were():
    done = trained("whole")
    assert accuracy(done[-1].network) > accuracy(done[0].network) - 0.07
    assert accuracy(done[-1].network) > 0.9


def test_without_the_gate_there_is_no_output_for_it_and_more_fools():
    done = trained("no_gate")
    assert done[0].network(digits().test.images[:1]).shape == (1, 20)
    assert trained("whole")[0].network(digits().test.images[:1]).shape == (1, 22)
    assert fooled(done[-1].network) > fooled(trained("whole")[-1].network)


def test_warped_images_make_the_network_better():
    assert accuracy(trained("whole")[0].network) > accuracy(trained("no_warps")[0].network)


def test_without_the_pool_other_weights_come_out():
    first, second = (trained(name)[-1].network.classifier.classifier.state_dict() for name in ("whole", "no_pool"))
    assert not all(torch.equal(first[key], second[key]) for key in first)


def test_a_stopped_training_goes_on_as_if_it_had_never_stopped(monkeypatch):
    monkeypatch.setattr(rounds, "default_epochs", lambda images: EPOCHS)
    whole = trained("whole")
    (resumed,) = fakeclass(task(fakeclass, past=whole[:2]), Silent())
    expected, found = whole[2].network.state_dict(), resumed.network.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
