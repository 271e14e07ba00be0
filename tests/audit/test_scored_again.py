"""Outcomes too near a threshold to tell: taken as they are stored, but never where the image fools."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.audit.difference import Difference
from bench.audit.stored import scored_again
from bench.types import ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES, verify

SPEC = ImageSpec((1, 1, 2), 255, ("a", "b"))
THREAT = ThreatModel(0.9, 2)
NEAR, FAR = 3e-5, 3e-3


class Sure(nn.Module):
    """Gives the first class the probability p, whatever it sees."""

    def __init__(self, p: float):
        super().__init__()
        self.logits = torch.tensor([p, 1 - p]).log()

    def forward(self, images):
        return self.logits.expand(len(images), 2)


class Judge:
    working, strict = 1.0, 2.0

    def __init__(self, score: float):
        self.value = score

    def score(self, images):
        return torch.full((len(images),), self.value).double()


def said(p, score, outcome):
    """What the check says of an image that is stored with `outcome`, where the figures here are `p` and `score`."""
    network, judge = Sure(p), Judge(score)
    found = verify(network, SPEC, torch.ones(1, *SPEC.shape), torch.zeros(1).long(), THREAT, judge)
    stored = replace(found, outcome=torch.tensor([OUTCOMES.index(outcome)]))
    return [one for one in scored_again("x", stored, network, SPEC, THREAT, judge) if isinstance(one, Difference)]


@pytest.mark.parametrize(
    ("p", "score", "outcome", "taken"),
    [
        (0.9 - NEAR, 3, Outcome.FOOLING, True),  # worse than it is here
        (0.9 - FAR, 3, Outcome.FOOLING, False),
        (0.9 + NEAR, 0, Outcome.UNCONFIDENT, True),  # in distribution here
        (0.9 + NEAR, 3, Outcome.UNCONFIDENT, False),  # fools here
        (0.99, 2 + NEAR, Outcome.BORDERLINE, False),
        (0.99, 2 - NEAR, Outcome.FOOLING, True),
        (0.99, 1 + NEAR, Outcome.IN_DISTRIBUTION, True),
        (0.99, 1 + FAR, Outcome.IN_DISTRIBUTION, False),
    ],
)
def test_a_side_of_a_threshold_is_taken_unless_the_image_fools_here(p, score, outcome, taken):
    assert bool(said(p, score, outcome)) != taken
