"""The pool: what is visited moves on, what fools is taught, what looks real is sent away."""

from __future__ import annotations

import torch
from torch import nn

from bench.materials.split import Split
from bench.task import Batch, Task
from bench.types import Budget, ImageSpec, ThreatModel
from defenses.pool import OWN, REPLAYED, VISITED, Pool

SPEC = ImageSpec((1, 4, 4), 16, ("a", "b"))


class Judge:
    """Takes an image for real when its last pixel is lit."""

    working, strict = 0.5, 0.8

    def score(self, images):
        return 1 - (images.flatten(1)[:, -1] > 0).double()


class Sure(nn.Module):
    """Class a where the first pixel is lit, else class b; never fake."""

    def forward(self, images):
        assert not self.training  # attacks see the network as it is judged
        first = images.flatten(1)[:, 0] > 0
        real = torch.stack([first, ~first], dim=1).float() * 20
        return torch.cat([real, torch.full((len(images), 3), -20.0)], dim=1)


def task():
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    split = Split(images, torch.arange(40) % 2)
    return Task(
        spec=SPEC,
        train=split,
        validation=split,
        judge=Judge(),
        new_network=lambda outputs, seed: Sure(),
        threat=ThreatModel(0.9, 16),
        images=6,
        budget=Budget(100),
        max_rounds=1,
        seed=0,
    )


class Attack:
    """Lights the first pixel for class a; all else stays where it was."""

    def __init__(self, last_pixel):
        self.last_pixel, self.starts, self.budgets = last_pixel, [], []

    def __call__(self, classifier, targets, *, threat, budget, generator, start=None, mask=None):
        self.starts.append(start.clone())
        self.budgets.append(budget.passes)
        images = torch.full_like(start, 0.5)
        images.flatten(1)[:, 0] = (targets == 0).float()
        images.flatten(1)[:, -1] = self.last_pixel
        return images


def batch(n=6):
    targets = torch.arange(n) % 2
    images = torch.arange(1, n + 1).view(-1, 1, 1, 1).expand(-1, 1, 4, 4) / 16
    return Batch(images.contiguous(), targets, torch.ones(n, dtype=torch.bool), "own", Budget(8))


def pool(attack, batches=(), name="own"):
    return Pool(task(), {name: attack}, list(batches) or [batch()], torch.Generator().manual_seed(0))


def drawn(a_pool):
    return a_pool.draw(Sure().eval(), task().train)


def test_what_fools_and_is_odd_is_taught_with_its_target():
    own = pool(Attack(0))
    images = drawn(own)
    assert len(own.own) == VISITED + REPLAYED
    fooled = images[:VISITED].flatten(1)
    assert torch.equal(fooled[:, 0] > 0, own.own[:VISITED] == 0)


def test_what_the_judge_takes_for_real_is_not_taught_and_starts_again_from_noise():
    own = pool(Attack(1))
    drawn(own)
    assert len(own.own) == REPLAYED
    assert not (own.images.flatten(1)[:, 1] == 0.5).any()


def test_an_image_goes_on_from_where_it_was():
    attack = Attack(0)
    own = pool(attack)
    for _ in range(-(-600 // VISITED) + 1):  # all of them, and the first ones again
        drawn(own)
    again = attack.starts[-1].flatten(1)[:, 1]
    assert (again == 0.5).double().mean() > 0.8


def test_past_finds_are_in_the_pool_and_replayed_with_their_targets():
    own = pool(Attack(1))
    images = drawn(own)
    past = batch()
    values = images[:REPLAYED, 0, 0, 0]
    assert set(values.tolist()) <= {float(v) for v in past.images[:, 0, 0, 0]}
    for value, target in zip(values.tolist(), own.own.tolist(), strict=True):
        assert target == (round(value * 16) - 1) % 2


def test_only_what_was_taught_is_replayed():
    quiet = batch()
    quiet.taught[:] = False
    own = pool(Attack(1), [quiet])
    drawn(own)
    assert len(own.own) == 0
    assert own.loss(torch.zeros(4, 5)).shape == (4,)


def test_an_attack_without_gradients_gets_more_passes():
    quick, blind = Attack(0), Attack(0)
    drawn(pool(quick))
    drawn(pool(blind, name="differential_evolution"))
    assert blind.budgets[0] > quick.budgets[0]


def test_the_loss_asks_for_any_fake_class_and_a_little_for_the_targets_own():
    own = pool(Attack(0))
    own.own = torch.tensor([0, 0])
    gate = torch.tensor([[0.0, 0, 0, 0, 40]])
    fake_of_a = torch.tensor([[0.0, 0, 40, 0, 0]])
    fake_of_b = torch.tensor([[0.0, 0, 0, 40, 0]])
    real = torch.tensor([[40.0, 0, 0, 0, 0]])
    assert own.loss(torch.cat([fake_of_a, gate]))[0] < 1e-3
    assert own.loss(torch.cat([fake_of_b, gate]))[0] > OWN * 30
    assert own.loss(torch.cat([gate, gate]))[0] < 0.1  # no class of its own to hear from: evenly unsure
    assert own.loss(torch.cat([gate, gate, real]))[2] > 30
    assert own.loss(torch.cat([gate, gate, fake_of_b]))[2] < 1e-3  # plainly odd: any fake will do


def test_the_same_generator_draws_the_same():
    first, again = (torch.cat([drawn(own) for _ in range(3)]) for own in (pool(Attack(0)), pool(Attack(0))))
    assert torch.equal(first, again)


def test_without_visits_past_finds_and_odd_images_are_all_there_is():
    attack = Attack(0)
    own = Pool(task(), {"own": attack}, [batch()], torch.Generator().manual_seed(0), visited=0)
    assert len(drawn(own)) == 2 * REPLAYED
    assert not attack.starts
