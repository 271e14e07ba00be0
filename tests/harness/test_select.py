import pytest
import torch
from torch import nn

from bench.harness.select import best_round, detection_rates, fooling_half, harmonic_score, selecting_half
from bench.types import Outcome, ThreatModel
from bench.verify import OUTCOMES, Verified


def images(n, outcome=Outcome.FOOLING, classes=4):
    return Verified(
        torch.arange(n).float().view(n, 1, 1, 1),
        torch.arange(n) % classes,
        torch.ones(n),
        torch.ones(n),
        torch.ones(n).double(),
        torch.full((n,), OUTCOMES.index(outcome)),
    )


def test_the_score_is_the_designs_formula():
    assert harmonic_score(0.9, [0.8, 0.6]) == pytest.approx(2 / (1 / 0.9 + (1 / 0.8 + 1 / 0.6) / 2))
    assert harmonic_score(0.9, []) == 0.9


@pytest.mark.parametrize(("real", "adversarial"), [(0, [1.0]), (1.0, [0.5, 0])])
def test_a_zero_rate_gives_zero(real, adversarial):
    assert harmonic_score(real, adversarial) == 0


def test_the_latest_of_equal_rounds_is_chosen():
    assert best_round([0.5, 0.9, 0.9, 0.1], [0.9] * 4, 1000) == 2


def test_a_later_round_is_chosen_where_chance_can_not_tell_it_from_the_best():
    # One standard error of an accuracy of 0.9 on 900 images is 0.01; the score moves half as much.
    assert best_round([0.9, 0.896, 0.1], [0.9] * 3, 900) == 1
    assert best_round([0.9, 0.894, 0.1], [0.9] * 3, 900) == 0
    assert best_round([0.9, 0.896, 0.1], [0.9] * 3, 90_000) == 0
    assert best_round([0.896, 0.9], [0.9] * 2, 900) == 1


def test_without_any_score_the_last_round_is_chosen():
    assert best_round([0.0, 0.0], [0.5, 0.0], 10) == 1


def test_both_halves_hold_every_class_and_share_nothing():
    half = selecting_half(16, 4)
    targets = torch.arange(16) % 4
    assert sorted(targets[half].tolist()) == sorted(targets[~half].tolist())
    found = images(16)
    one = fooling_half(found, 4, selecting=True).images.flatten().tolist()
    two = fooling_half(found, 4, selecting=False).images.flatten().tolist()
    assert sorted(one + two) == list(range(16))


def test_only_fooling_images_select():
    assert len(fooling_half(images(16, Outcome.IN_DISTRIBUTION), 4, selecting=True).targets) == 0


class Says(nn.Module):
    """The logits its image's value asks for: value v predicts output v."""

    def forward(self, batch):
        return nn.functional.one_hot(batch.flatten().long().clamp_max(9), 10).float() * 9


def test_empty_sets_drop_out_and_fakes_are_detected_by_their_outputs():
    sets = {"all": images(10), "none": images(0)}
    assert detection_rates(Says(), sets, 5, ThreatModel(0.9, 1)) == {"all": 0.5}
