"""What sets each attack apart from the others."""

from __future__ import annotations

import pytest
import torch
from attack_table import UNREACHABLE, Recorder, attacked, random_linear, spec_of

from attacks.l1_sparse import RUN, Climber, l1_sparse, move
from attacks.masked import DENSITY, masked, random_mask
from bench.meter import Meter


def climber(lam: float, alive: int) -> Climber:
    one = torch.ones(1, 1, 1, 1)
    x = torch.zeros(1, 1, 4, 4)
    x.view(16)[:alive] = 1.0
    still = torch.zeros_like(x)
    return Climber(3 * one, torch.tensor([0]), x, still, still.clone(), 1e-9 * one, one, lam * one, 0 * one, one)


def test_lambda_rises_while_too_many_pixels_live_and_falls_while_too_few_do():
    crowded, empty = climber(0.1, 9), climber(0.1, 3)
    for state in (crowded, empty):
        move(state, torch.zeros(1, 1, 4, 4), 1.0, pool=6)
    assert crowded.lam.item() > 0.1 > empty.lam.item()


def test_a_step_lights_what_leads_up_and_darkens_what_leads_down():
    state = climber(0.0, 16)._replace(step=torch.full((1, 1, 1, 1), 0.1))
    slope = torch.ones(1, 1, 4, 4)
    slope[..., 2:, :] = -1
    move(state, slope, 1.0, pool=16)
    assert (state.x[..., :2, :] > 1).all()
    assert (state.x[..., 2:, :] < 1).all()


def test_l1_sparse_starts_anew_when_stuck():
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(l1_sparse, recorder, torch.tensor([0]), k=24, passes=6 * RUN, p=UNREACHABLE)
    looks = torch.cat(recorder.batches)
    jumps = (looks[1:] - looks[:-1]).abs().flatten(1).sum(dim=1)
    assert jumps[RUN - 1] > 3 * jumps[RUN - 6 : RUN - 1].max()


@pytest.mark.parametrize("attack", [l1_sparse, masked])
def test_only_the_first_run_begins_at_the_start(attack):
    start = torch.zeros(1, 1, 8, 8)
    start[..., 0, :] = 0.75
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(attack, recorder, torch.tensor([0]), k=24, passes=6 * RUN, p=UNREACHABLE, start=start)
    outside = [(look[..., 1:, :] > 0).any().item() for look in recorder.batches]
    assert [outside[run * RUN] for run in range(3)] == [False, True, True]


def test_masked_draws_masks_of_every_density_and_new_ones_each_time():
    classifier = Meter(random_linear((3, 8, 8), 3), spec_of((3, 8, 8), 3))
    generator = torch.Generator().manual_seed(0)
    first, second = (random_mask(100, classifier, generator) for _ in range(2))
    share = first.float().mean(dim=(1, 2, 3))
    low, high = DENSITY
    assert first.shape == (100, 1, 8, 8)
    assert share.min() < low + 0.15
    assert share.max() > high - 0.15
    assert not torch.equal(first, second)


def test_masked_keeps_to_one_mask_per_run():
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(masked, recorder, torch.tensor([0]), k=64, passes=4 * RUN, p=UNREACHABLE)
    looks = torch.cat(recorder.batches) > 0
    first, second = looks[:RUN].any(dim=0), looks[RUN:].any(dim=0)
    assert first.sum() < 64
    assert second.sum() < 64
    assert not torch.equal(first, second)
