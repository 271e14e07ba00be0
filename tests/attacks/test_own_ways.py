"""What sets each attack apart from the others."""

from __future__ import annotations

import pytest
import torch
from attack_table import UNREACHABLE, Recorder, attacked, random_linear, spec_of
from torch import nn

from attacks.differential_evolution import (
    PATIENCE,
    POPULATION,
    Population,
    differential_evolution,
    offspring,
    rectangles,
)
from attacks.l1_sparse import RUN, Climber, l1_sparse, move
from attacks.masked import DENSITY, masked, random_mask
from bench.meter import Meter


class NoGradient(nn.Module):
    """A black box, and one that will not be asked for more."""

    def forward(self, images):
        assert not torch.is_grad_enabled()
        return images.flatten(1)[:, :3] * 9


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


def test_differential_evolution_needs_no_gradient():
    meter = Meter(NoGradient(), spec_of((1, 4, 4), 3))
    targets = torch.arange(3)
    images = attacked(differential_evolution, meter, targets, k=4, passes=400)
    assert ((images.flatten(1)[:, :3] * 9).softmax(dim=1)[targets, targets] >= 0.9).all()
    assert meter.backward_passes == 0


def test_differential_evolution_looks_at_whole_generations():
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(differential_evolution, recorder, torch.tensor([0]), k=5, passes=5 * POPULATION - 1, p=UNREACHABLE)
    assert [len(batch) for batch in recorder.batches] == [POPULATION] * 4


def test_a_population_stuck_too_long_starts_anew():
    genes = torch.full((2, POPULATION, 1, 4, 4), 0.5)  # no two differ: nothing else could change them
    half = torch.full((2, POPULATION), 0.5)
    parents = Population(torch.arange(2), genes, 0 * half, half, half, torch.tensor([0, PATIENCE]))
    trial = offspring(parents, torch.Generator().manual_seed(0))
    assert torch.equal(trial.genes[0], genes[0])
    assert not torch.isclose(trial.genes[1], genes[1]).all(dim=0).any()
    trial.fitness = -half  # worse, and taken all the same
    parents.select(trial)
    assert torch.equal(parents.genes, trial.genes)
    assert parents.stale.tolist() == [1, 0]


def test_rectangles_are_rectangles_inside_the_image():
    boxes = rectangles(torch.rand(50, 7, 4, generator=torch.Generator().manual_seed(0)), 5, 9)
    rows, columns = boxes.any(dim=3), boxes.any(dim=2)
    assert boxes.shape == (50, 7, 5, 9)
    assert rows.any(dim=2).all()
    assert torch.equal(boxes, rows[..., :, None] & columns[..., None, :])
    changes = (columns[..., 1:] != columns[..., :-1]).sum(dim=2)
    assert (changes <= 2).all()
    sizes = boxes.flatten(2).sum(dim=2)
    assert sizes.min() < 4
    assert sizes.max() > 36
