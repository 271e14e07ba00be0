"""The attack that keeps the judge's rejection in its objective."""

from __future__ import annotations

from functools import partial

import torch
from attack_table import Recorder, attacked, random_linear, spec_of, successes

from attacks.l1_sparse import l1_sparse
from attacks.ood_aware import moved, ood_aware
from bench.meter import Meter

SHAPE = (1, 6, 6)
K = 8


class UpperHalf:
    """Takes images for real the less of them lies in the lower half."""

    working, strict = 0.3, 0.6

    def score(self, images):
        lit = (images != 0).flatten(1).double()
        return lit[:, 18:].sum(dim=1) / lit.sum(dim=1).clamp_min(1)


def network():
    return random_linear(SHAPE, 4, fake=1, seed=3)


def run(n=24, passes=2000, seed=0, **options):
    spec, net = spec_of(SHAPE, 4), network()
    meter = Meter(net, spec, allowance=passes * n)
    targets = torch.arange(n) % 4
    attack = partial(ood_aware, judge=UpperHalf())
    images = attacked(attack, meter, targets, k=K, passes=passes, p=0.7, seed=seed, **options)
    return net, images, targets


def test_what_it_hands_back_fools_and_is_rejected_more_often_than_l1_sparses():
    net, images, targets = run()
    assert successes(net, images, targets, k=K, p=0.7).all()
    plain = attacked(l1_sparse, Meter(net, spec_of(SHAPE, 4)), targets, k=K, passes=2000, p=0.7)
    judge = UpperHalf()
    rejected = (judge.score(images) > judge.strict).double().mean()
    assert rejected > (judge.score(plain) > judge.strict).double().mean()
    assert rejected >= 0.9


def test_the_same_seed_gives_the_same_images_and_another_does_not():
    assert torch.equal(run(seed=1)[1], run(seed=1)[1])
    assert not torch.equal(run(seed=1)[1], run(seed=2)[1])


def test_masked_pixels_stay_dark_and_the_budget_holds():
    mask = (torch.arange(36) % 3 > 0).float().view(1, 1, 6, 6)
    _, images, _ = run(passes=301, mask=mask)
    assert (images * (1 - mask)).abs().max() == 0


def test_rejected_images_leave_the_batch():
    recorder = Recorder(network(), spec_of(SHAPE, 4))
    attack = partial(ood_aware, judge=UpperHalf())
    attacked(attack, recorder, torch.arange(24) % 4, k=K, passes=2000, p=0.7)
    assert recorder.meter.passes < 24 * 2000 / 2


def test_a_move_lights_as_many_pixels_as_it_puts_out():
    draw = torch.Generator().manual_seed(0)
    images = (torch.rand(50, 2, 5, 5, generator=draw) < 0.3).float()
    after = moved(images, torch.ones(50, 2, 5, 5), draw)
    lit = [(part != 0).any(dim=1).flatten(1).sum(dim=1) for part in (images, after)]
    assert torch.equal(*lit)
    assert (images != after).flatten(1).any(dim=1).all()
