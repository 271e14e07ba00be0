"""On a linear classifier the sparsest fooling image is known: each attack comes within its stated factor of it."""

from __future__ import annotations

import math

import pytest
import torch
from attack_table import TABLE, attacked, solvable, spec_of, successes

from bench.meter import Meter

# (shape, real classes, fake classes, fewest pixels that fool)
CASES = [
    ((1, 8, 8), 2, 0, 6),
    ((1, 8, 8), 3, 3, 5),
    ((3, 6, 7), 3, 2, 4),
    ((1, 28, 28), 10, 10, 10),
    ((1, 28, 28), 2, 1, 100),
    ((3, 16, 16), 4, 0, 20),
]
RUNS = [
    pytest.param(entry, *case, id=f"{entry.name}-{case[0]}-{case[1]}+{case[2]}-{case[3]}")
    for entry in TABLE
    for case in CASES
    if case[0][1] * case[0][2] <= entry.most_pixels
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("entry", "shape", "classes", "fake", "optimum"), RUNS)
def test_within_its_factor_of_the_fewest_pixels(entry, shape, classes, fake, optimum, seed):
    network, k = solvable(shape, classes, fake, optimum, seed), math.ceil(entry.factor * optimum)
    targets = torch.arange(2 * classes) % classes
    meter = Meter(network, spec_of(shape, classes), allowance=entry.passes * len(targets))
    images = attacked(entry.attack, meter, targets, k=k, passes=entry.passes, seed=seed)
    assert successes(network, images, targets, k=k).all()


@pytest.mark.parametrize(("shape", "classes", "fake", "optimum"), CASES)
def test_one_pixel_fewer_than_the_optimum_never_does(shape, classes, fake, optimum):
    network, targets = solvable(shape, classes, fake, optimum, 0), torch.arange(classes)
    gains = network.weights.detach().view(-1, shape[0], shape[1] * shape[2]).clamp(min=0).sum(dim=1)
    for k, fools in ((optimum, True), (optimum - 1, False)):
        images = torch.zeros(classes, shape[0], shape[1] * shape[2])
        for target in targets:
            best = gains[target].topk(k).indices
            lit = network.weights.detach()[target].view(shape[0], -1)[:, best] > 0
            images[target, :, best] = lit.float()
        assert (successes(network, images.view(-1, *shape), targets, k=k) == fools).all()


@pytest.mark.parametrize("entry", TABLE[:1], ids=lambda entry: entry.name)
def test_no_attack_beats_the_optimum(entry):
    network, targets = solvable((1, 8, 8), 3, 3, 5, 0), torch.arange(3)
    meter = Meter(network, spec_of((1, 8, 8), 3))
    images = attacked(entry.attack, meter, targets, k=4, passes=400)
    assert not successes(network, images, targets, k=4).any()
