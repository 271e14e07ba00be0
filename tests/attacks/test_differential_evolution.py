"""What sets `differential_evolution` apart: its triples, its trials, its new starts."""

from __future__ import annotations

import pytest
import torch
from attack_table import UNREACHABLE, Recorder, attacked, random_linear, spec_of, successes
from torch import nn

from attacks.differential_evolution import ANEW, POPULATION, differential_evolution, offspring
from attacks.population import FEWEST, FIRST, PATIENCE, fresh
from attacks.triples import pixels_of, positions, settle, show, within
from bench.meter import Meter
from bench.types import lit_pixels


class NoGradient(nn.Module):
    """A black box, and one that will not be asked for more."""

    def forward(self, images):
        assert not torch.is_grad_enabled()
        return images.flatten(1)[:, :3] * 9


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def population(k: int, free=None, count: int = 3, **options):
    free = torch.ones(count, 1, 8, 8) if free is None else free
    return fresh(torch.arange(len(free)), free, k, POPULATION, draws(), **options)


def images_of(population) -> torch.Tensor:
    return show(population.genes, population.free).flatten(0, 1)


def test_needs_no_gradient():
    meter = Meter(NoGradient(), spec_of((1, 4, 4), 3))
    targets = torch.arange(3)
    images = attacked(differential_evolution, meter, targets, k=4, passes=400)
    assert ((images.flatten(1)[:, :3] * 9).softmax(dim=1)[targets, targets] >= 0.9).all()
    assert meter.backward_passes == 0


def test_looks_at_whole_generations():
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(differential_evolution, recorder, torch.tensor([0]), k=5, passes=5 * POPULATION - 1, p=UNREACHABLE)
    assert [len(batch) for batch in recorder.batches] == [POPULATION] * 4


@pytest.mark.parametrize(("k", "share"), [(2, 0.5), (3, 0.8), (5, 1.0)])
def test_few_pixels_are_enough_for_a_network_of_digits(k, share, digits_network, digits):
    targets = torch.arange(100) % 10
    meter = Meter(digits_network, digits.spec, allowance=1000 * len(targets))
    images = attacked(differential_evolution, meter, targets, k=k, passes=1000)
    assert successes(digits_network, images, targets, k=k).float().mean() >= share


def test_a_first_population_is_white_and_every_triple_has_a_pixel_of_its_own():
    assert (lit_pixels(images_of(population(20))) == 20).all()
    assert (lit_pixels(images_of(population(64))) == FIRST).all()
    assert set(images_of(population(64)).unique().tolist()) == {0.0, 1.0}


def test_a_later_population_draws_how_many_pixels_and_how_bright():
    images = images_of(population(64, count=200, later=True))
    pixels, brightest = lit_pixels(images), images.flatten(1).amax(dim=1)
    assert pixels.min() >= FEWEST
    assert pixels.min() < FEWEST + 5
    assert pixels.max() > 55
    assert 0.3 < (brightest == 1).float().mean() < 0.7
    assert brightest.min() < 0.3


def test_colours_are_corners():
    images = images_of(population(20, torch.ones(5, 3, 8, 8)))
    lit = images[(images > 0).any(dim=1, keepdim=True).expand_as(images)].view(-1)
    assert set(lit.unique().tolist()) == {0.0, 1.0}
    assert 0.3 < lit.mean() < 0.8


def test_triples_avoid_held_pixels_while_others_are_free():
    free = (torch.rand(4, 1, 8, 8, generator=draws(1)) < 0.4).float()
    parents = population(12, free)
    assert (lit_pixels(images_of(parents)) == 12).all()
    assert (lit_pixels(images_of(offspring(parents, draws(2)))) == 12).all()


@pytest.mark.parametrize("k", [7, 64])
def test_a_trial_is_the_best_with_one_pixel_moved_or_added(k):
    parents = population(k, count=50)
    parents.count[:] = count = min(k, 7)
    parents.genes[:, :, count:, 2:] = 0
    parents.fitness[:, 3] = 1.0
    best = images_of(parents).view(50, POPULATION, 1, 8, 8)[:, 3:4]
    trial = offspring(parents, draws(1))
    images = show(trial.genes, trial.free)
    gone, new = ((best > images).flatten(2).sum(2), (images > best).flatten(2).sum(2))
    assert (new == 1).all()
    assert (gone <= 1).all()
    assert torch.equal(gone == 0, trial.count == count + 1)
    assert (gone == 0).float().mean().item() == pytest.approx(0.5 if k > 7 else 0, abs=0.05)


def test_moves_are_differences_of_triples_and_only_some_go_anywhere():
    parents = population(5, torch.ones(50, 1, 8, 32))
    parents.genes[..., :2] = positions(torch.tensor([0, 8, 16, 24, 31]), 8, 32)  # differences lie in the first row
    rows = show((trial := offspring(parents, draws(1))).genes, trial.free).sum(dim=(2, 4))
    below = rows[..., 1:].sum(dim=2)
    # What differs by less than a pixel lands on a lit one, and goes anywhere too.
    assert (below <= 1).all()
    assert ANEW * 7 / 8 < below.mean() < 0.65


def test_a_population_stuck_too_long_starts_anew():
    parents = population(5, count=2)
    parents.genes[:] = parents.genes[:, :1].clone()  # all alike
    parents.stale[1] = PATIENCE
    trial = offspring(parents, draws(1))
    kept = [(trial.genes[row] == parents.genes[row]).all(dim=2).float().mean() for row in range(2)]
    assert kept[0] == pytest.approx(0.8)
    assert kept[1] < 0.1
    trial.fitness = parents.fitness - 1  # worse, and taken all the same
    before = parents.genes.clone()
    parents.select(trial)
    assert torch.equal(parents.genes[0], before[0])
    assert torch.equal(parents.genes[1], trial.genes[1])
    assert parents.stale.tolist() == [1, 0]


def test_a_worse_trial_does_not_take_its_parents_place_and_an_equal_one_does():
    parents, trial = population(5), population(5)
    trial.genes = trial.genes.flip(2)
    trial.fitness = torch.zeros_like(parents.fitness)
    trial.fitness[:, 0], trial.fitness[:, 1] = -1.0, 1.0
    before = parents.genes.clone()
    parents.select(trial)
    assert torch.equal(parents.genes[:, 0], before[:, 0])
    assert torch.equal(parents.genes[:, 1:], trial.genes[:, 1:])
    assert parents.fitness.amin() == 0


def test_images_become_triples_and_back():
    images = torch.rand(3, 3, 6, 7, generator=draws()) * (torch.rand(3, 1, 6, 7, generator=draws(1)) < 0.3)
    parents = population(42, torch.ones(3, 3, 6, 7))
    parents.put(images)
    assert torch.equal(show(parents.genes, parents.free)[:, 0], images)
    assert torch.equal(parents.count[:, 0], lit_pixels(images))


def test_positions_are_of_the_pixels_they_are_made_from():
    pixels = torch.arange(5 * 9)
    assert torch.equal(pixels_of(positions(pixels, 5, 9), 5, 9), pixels)
    edge = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert pixels_of(edge, 5, 9).tolist() == [44, 0]


def test_within_goes_half_the_way_to_the_edge_and_clips_values():
    parents = torch.tensor([[0.2, 0.6, 1.0], [0.2, 0.6, 0.5]])
    mutants = torch.tensor([[-0.3, 1.1, 1.7], [0.9, 0.0, -0.1]])
    expected = torch.tensor([[0.1, 0.8, 1.0], [0.9, 0.0, 0.0]])
    assert torch.allclose(within(mutants, parents), expected)


def test_settle_gives_every_vacant_pixel_and_no_other():
    images, free = torch.zeros(1, 1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    images[..., 0, :] = 1
    free[..., 1, :] = 0
    chance = torch.linspace(0, 0.999, 200)[None]
    triples = torch.cat([positions(torch.zeros(1, 200, dtype=torch.long), 4, 4), torch.ones(1, 200, 1)], dim=2)
    nobody, stays = torch.full_like(triples, -1), torch.zeros(1, 200, dtype=torch.bool)
    settle(triples, nobody, stays, images, free, chance)
    assert pixels_of(triples, 4, 4).unique().tolist() == list(range(8, 16))


def test_an_heir_of_another_value_keeps_its_pixel():
    images, free, chance = torch.ones(1, 1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.zeros(1, 2)
    images[..., 1, 1] = 0
    replaced = torch.tensor([[[0.2, 0.2, 1.0], [0.2, 0.2, 1.0]]])
    triples = torch.tensor([[[0.3, 0.3, 0.5], [0.3, 0.3, 1.0]]])
    settle(triples, replaced, torch.zeros(1, 2, dtype=torch.bool), images, free, chance)
    assert pixels_of(triples, 2, 2).tolist() == [[0, 3]]
