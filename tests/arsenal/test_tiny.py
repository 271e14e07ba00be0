"""The enumeration is right, and the ensemble reaches what it finds; weakened, it does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.arsenal import sparsest, tiny
from bench.arsenal.claims import tally, tiny_claims
from bench.arsenal.ensemble import unaided
from bench.arsenal.record import Tiny
from bench.types import ImageSpec, lit_pixels

NETWORKS, PASSES = 3, 400  # one network of each family
QUICK = ("greedy_saliency", "pgd_l0", "sigma_zero")  # enough of the ensemble for these networks


class Linear(nn.Module):
    """Class 0 gains `gains` a pixel; class 1 stands at 0."""

    def __init__(self, gains, bias=0.0):
        super().__init__()
        self.gains = nn.Parameter(torch.tensor(gains))
        self.bias = bias

    def forward(self, images):
        score = images.flatten(1) @ self.gains + self.bias
        return torch.stack([score, torch.zeros_like(score)], dim=1)


SPEC = ImageSpec((1, 2, 2), 2, ("a", "b"))
NEEDED = math.log(9)  # of margin, for p = 0.9


def test_every_image_comes_once_and_has_as_many_lit_pixels():
    for pixels, count in enumerate([1, 4 * 2, 6 * 4, 4 * 8, 16]):
        images = tiny.every_image(SPEC, pixels)
        assert len(images) == len(images.flatten(1).unique(dim=0)) == count
        assert (lit_pixels(images) == pixels).all()
        assert torch.equal(images, SPEC.round(images))


@pytest.mark.parametrize(
    ("gains", "bias", "optimum"),
    [
        ([3.0, 1.0, 1.0, 1.0], 0.0, (1, None)),
        ([1.2, 1.2, 0.1, 0.1], 0.0, (2, None)),
        ([1.0, 0.7, 0.6, 0.1], 0.0, (3, None)),
        ([-3.0, 0.5, 0.5, 0.5], 0.0, (None, 1)),
        ([-0.8, -0.8, -0.8, 1.0], 0.0, (None, 3)),
        ([1.0, 1.0, 1.0, 1.0], 3.0, (0, None)),  # blank is enough
    ],
)
def test_the_optimum_of_linear_networks_is_the_one_by_hand(gains, bias, optimum):
    assert tiny.optimum(Linear(gains, bias), SPEC, 0.9, 4) == optimum


def test_values_between_are_tried():
    class Middle(nn.Module):
        """Sure only where the first pixel is at exactly one half."""

        def forward(self, images):
            score = 9 * (images[:, 0, 0, 0] == 0.5).float() - 3
            return torch.stack([score, torch.zeros_like(score)], dim=1)

    assert tiny.optimum(Middle(), SPEC, 0.9, 4)[0] == 1


def record(attacks) -> Tiny:
    networks = {
        name: tiny.measured(family, number, attacks, p=0.9, passes=PASSES, seed=0, key="0" * 64)
        for name, (family, number) in tiny.planned(NETWORKS).items()
    }
    return Tiny(
        command="c",
        seed=0,
        settings={},
        revision="abc",
        ensemble=tuple(attacks),
        planned=tuple(networks),
        networks=networks,
    )


def test_the_ensemble_reaches_the_true_optimum():
    found = record({name: unaided()[name] for name in QUICK})
    (claim,) = tiny_claims(found)
    assert claim.answer == "yes", claim.figures
    tallies = [tally(found, family, found.ensemble) for family in tiny.FAMILIES]
    assert all(each.known >= 1 for each in tallies)  # there is something to reach in every family
    assert sum(each.known for each in tallies) >= 8


def weak(attack):
    """The same attack, its last image spoilt: what it found, with one needless pixel lit."""

    def weakened(classifier, targets, **words):
        images = attack(classifier, targets, **words)
        dark = (images == 0).flatten(1).float().argmax(dim=1)
        return images.flatten(1).scatter(1, dark[:, None], 1.0).view_as(images)

    return weakened


def test_a_weakened_ensemble_misses_it(monkeypatch):
    monkeypatch.setattr(sparsest, "prune", lambda classifier, images, *rest: images)
    found = record({name: weak(unaided()[name]) for name in QUICK})
    assert tiny_claims(found)[0].answer == "no"


def test_families_take_turns():
    assert [family for family, _ in tiny.planned(4).values()] == [*tiny.FAMILIES, next(iter(tiny.FAMILIES))]
