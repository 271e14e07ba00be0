"""Contact sheets' captions: what a person reads beneath an image."""

import torch

from bench.sheets import captions
from bench.types import Outcome
from bench.verify import OUTCOMES, Verified


def test_a_caption_says_which_detector_the_score_is_of():
    outcome = OUTCOMES.index(Outcome.IN_DISTRIBUTION)
    one = Verified(
        images=torch.zeros(1, 1, 8, 8),
        targets=torch.tensor([1]),
        probability=torch.tensor([0.914]),
        pixels=torch.tensor([17]),
        score=torch.tensor([3.456]),
        outcome=torch.tensor([outcome]),
    )
    texts = captions(one, ("nought", "one"), ["class_gaussian"])
    assert texts == ["one · p 0.91 · 17 px · judge 3.46, class gaussian · in distribution"]
