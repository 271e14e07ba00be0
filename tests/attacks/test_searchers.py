"""Sparse-PGD, Sparse-RS, greedy saliency and MAP-Elites: what all of them promise, and what sets each apart."""

from __future__ import annotations

import math

import pytest
import torch
from attack_table import UNREACHABLE, Entry, Linear, Recorder, attacked, random_linear, solvable, spec_of, successes
from torch import nn

from attacks.greedy_saliency import PATIENCE, greedy_saliency
from attacks.map_elites import Archive, all_margins, map_elites, mutate
from attacks.search import Best, margin
from attacks.sparse_pgd import Sparse, redraw_stuck, select, sparse_pgd_projected, sparse_pgd_unprojected, step
from attacks.sparse_rs import ALPHA_INIT, alpha, sparse_rs
from bench.meter import Meter
from bench.types import ThreatModel, lit_pixels

SEARCHERS = (
    Entry(sparse_pgd_projected, factor=1.2, passes=2000),
    Entry(sparse_pgd_unprojected, factor=1.2, passes=2000),
    Entry(sparse_rs, factor=1.5, passes=4000, most_pixels=64),
    Entry(greedy_saliency, factor=1.0, passes=1000),
    Entry(map_elites, factor=1.5, passes=4000, most_pixels=64),
)
BLACK_BOXES = (sparse_rs, map_elites)
CASES = [  # (shape, real classes, fake classes, fewest pixels that fool)
    ((1, 8, 8), 2, 0, 6),
    ((1, 8, 8), 3, 3, 5),
    ((3, 6, 7), 3, 2, 4),
    ((1, 28, 28), 10, 10, 10),
    ((1, 28, 28), 2, 1, 100),
    ((3, 16, 16), 4, 0, 20),
]
RUNS = [
    pytest.param(entry, *case, id=f"{entry.name}-{case[0]}-{case[1]}+{case[2]}-{case[3]}")
    for entry in SEARCHERS
    for case in CASES
    if case[0][1] * case[0][2] <= entry.most_pixels
]


@pytest.fixture(params=SEARCHERS, ids=lambda entry: entry.name)
def entry(request):
    return request.param


@pytest.fixture
def attack(entry):
    return entry.attack


class Deaf(nn.Module):
    """Gives every image the same logits, with a gradient: nothing ever fools it."""

    def forward(self, images):
        return 1e-6 * images.flatten(1).sum(dim=1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0])


class NoGradient(nn.Module):
    """A black box: its logits carry no gradient."""

    def forward(self, images):
        with torch.no_grad():
            return images.flatten(1)[:, :3] * 9


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("entry", "shape", "classes", "fake", "optimum"), RUNS)
def test_within_its_factor_of_the_fewest_pixels(entry, shape, classes, fake, optimum, seed):
    network, k = solvable(shape, classes, fake, optimum, seed), math.ceil(entry.factor * optimum)
    targets = torch.arange(2 * classes) % classes
    meter = Meter(network, spec_of(shape, classes), allowance=entry.passes * len(targets))
    images = attacked(entry.attack, meter, targets, k=k, passes=entry.passes, seed=seed)
    assert successes(network, images, targets, k=k).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 7), (2, 1, 9), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("targets", [[0], [2, 2, 0], [1, 0, 2, 2, 1, 0, 0]], ids=len)
@pytest.mark.parametrize("fake", [0, 3])
def test_results_fit_shape_grid_and_pixels(attack, shape, targets, fake):
    spec, targets = spec_of(shape, 3, levels=5), torch.tensor(targets)
    classifier = Recorder(random_linear(shape, 3, fake), spec)
    images = attacked(attack, classifier, targets, k=2, passes=60, p=0.9999)
    assert images.shape == (len(targets), *shape)
    assert images.dtype == torch.float32
    assert not images.requires_grad
    assert torch.equal(images, spec.round(images))
    assert (lit_pixels(images) <= 2).all()
    assert all((lit_pixels(batch) <= 2).all() for batch in classifier.batches)
    assert all(torch.equal(batch, spec.round(batch)) for batch in classifier.batches)


@pytest.mark.parametrize("k", [1, 42])
def test_k_from_one_pixel_to_all(attack, k):
    classifier = Meter(random_linear((3, 6, 7), 3), spec_of((3, 6, 7), 3))
    images = attacked(attack, classifier, torch.tensor([0, 1]), k=k, passes=100, p=UNREACHABLE)
    assert (lit_pixels(images) <= k).all()
    assert (lit_pixels(images) > 0).all()


def test_a_seed_decides_every_byte_and_the_global_state_nothing(attack):
    network, spec, targets = random_linear((3, 6, 7), 3), spec_of((3, 6, 7), 3), torch.arange(6) % 3
    before = torch.get_rng_state()

    def run(seed):
        torch.manual_seed(seed + 100)
        recorder = Recorder(network, spec)
        images = attacked(attack, recorder, targets, k=4, passes=300, p=UNREACHABLE, seed=seed % 2)
        return images, torch.cat(recorder.batches)

    same, again, other = run(0), run(2), run(1)
    assert torch.equal(same[0], again[0])
    assert torch.equal(same[1], again[1])
    assert not torch.equal(same[1], other[1])
    torch.set_rng_state(before)
    attacked(attack, Meter(network, spec), targets, k=4, passes=60)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("passes", [1, 2, 3, 19, 100, 101, 1000])
@pytest.mark.parametrize("count", [1, 5])
def test_no_image_costs_more_than_its_passes_and_a_hopeless_one_nearly_all(attack, passes, count):
    meter = Meter(Deaf(), spec_of((1, 8, 8), 3), allowance=passes * count)
    attacked(attack, meter, torch.zeros(count, dtype=torch.long), k=5, passes=passes)
    assert meter.passes >= (passes - 1) * count


@pytest.mark.parametrize("passes", range(1, 40))
def test_pruning_too_keeps_to_the_budget(passes):
    network, targets = random_linear((1, 8, 8), 3), torch.arange(3)
    for target in targets:
        meter = Meter(network, spec_of((1, 8, 8), 3), allowance=passes)
        attacked(greedy_saliency, meter, target[None], k=24, passes=passes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_mask_holds_pixels_at_zero_in_all_the_network_sees(attack, rows, channels):
    shape, targets = (3, 6, 7), torch.arange(4) % 3
    mask = (torch.rand(rows, channels, 6, 7, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    recorder = Recorder(random_linear(shape, 3), spec_of(shape, 3))
    images = attacked(attack, recorder, targets, k=8, passes=200, p=UNREACHABLE, mask=mask)
    assert (images * (1 - mask) == 0).all()
    assert (lit_pixels(images) > 0).all()
    assert all((batch * (1 - mask) == 0).all() for batch in recorder.batches if rows == 1 or len(batch) == 4)


def test_a_mask_that_leaves_few_pixels_leaves_those(attack):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 3, 2:5] = 1
    network = Linear(torch.stack([mask.flatten(), -mask.flatten()]))
    meter = Meter(network, spec_of((1, 8, 8), 2))
    images = attacked(attack, meter, torch.tensor([0]), k=2, passes=200, p=0.98, mask=mask)
    assert successes(network, images, torch.tensor([0]), k=2, p=0.98).all()


def test_a_start_is_where_the_search_begins(attack):
    shape, k = (1, 8, 8), 6
    start = torch.zeros(3, *shape)
    for row in range(3):
        start[row, 0, row, :k] = 0.75
    recorder = Recorder(random_linear(shape, 3), spec_of(shape, 3))
    attacked(attack, recorder, torch.arange(3), k=k, passes=2, start=start)
    assert torch.equal(recorder.batches[0], start)


def test_a_dense_start_begins_with_its_brightest_pixels(attack):
    start = (torch.randperm(64, generator=torch.Generator().manual_seed(0)) / 64).view(1, 1, 8, 8)
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3, levels=255))
    attacked(attack, recorder, torch.tensor([0]), k=6, passes=2, start=start)
    assert torch.equal(recorder.batches[0] > 0, start > 57.5 / 64)


@pytest.mark.parametrize("count", [2, 100])  # a few images are sorted out exactly, many by bisecting
def test_a_sparse_start_leaves_the_mask_of_sparse_pgd_room_for_more(count):
    start = torch.zeros(count, 1, 28, 28)
    start[:, :, 10:18, 10:18] = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)) / 2 + 0.1
    meter = Meter(random_linear((1, 28, 28), 3), spec_of((1, 28, 28), 3))
    best = Best(meter, torch.zeros(count, dtype=torch.long), ThreatModel(0.9, 300))
    state = Sparse.at(meter, best, start, None, torch.Generator().manual_seed(0))
    chosen = select(state, 300)
    assert bool((chosen[start > 0] == 1).all())
    assert bool((chosen.flatten(1).sum(dim=1) >= 270).all())
    assert bool((state.m.sigmoid() * (1 - state.m.sigmoid()) > 0).all())  # else the mask could not move there


def test_finished_images_leave_the_batch(attack):
    weights = torch.zeros(2, 64)
    weights[0] = 1.0  # class 0 is easy; class 1 is out of reach
    recorder = Recorder(Linear(weights), spec_of((1, 8, 8), 2))
    targets = torch.tensor([0, 1, 0, 0, 0, 0])
    images = attacked(attack, recorder, targets, k=16, passes=200)
    assert successes(recorder.meter.network, images, targets, k=16).tolist() == [True, False] + [True] * 4
    assert recorder.meter.passes < 0.5 * 200 * len(targets)
    assert min(len(batch) for batch in recorder.batches) == 1


def test_each_class_has_to_reach_its_own_probability(attack, digits_network, digits):
    p = (0.5,) * 5 + (0.99,) * 5
    targets = torch.arange(20) % 10
    images = attacked(attack, Meter(digits_network, digits.spec), targets, k=24, passes=2000, p=p)
    assert successes(digits_network, images, targets, k=24, p=p).float().mean() >= 0.95
    assert not successes(digits_network, images, targets, k=24, p=0.99)[targets < 5].all()  # it stopped early


@pytest.mark.parametrize("k", [4, 24])
def test_an_undefended_network_falls(attack, digits_network, digits, k):
    targets = torch.arange(50) % 10
    meter = Meter(digits_network, digits.spec, allowance=1000 * len(targets))
    images = attacked(attack, meter, targets, k=k, passes=1000)
    assert successes(digits_network, images, targets, k=k).float().mean() >= 0.97


def test_an_image_that_fails_is_the_likeliest_sparse_one_seen(attack):
    shape, k = (1, 8, 8), 5
    network, targets = random_linear(shape, 3), torch.tensor([2])
    recorder = Recorder(network, spec_of(shape, 3))
    images = attacked(attack, recorder, targets, k=k, passes=300, p=UNREACHABLE)
    probability = network(torch.cat(recorder.batches)).softmax(dim=1)[:, 2]
    assert network(images).softmax(dim=1)[0, 2] >= probability.max() - 1e-6


@pytest.mark.parametrize("black_box", BLACK_BOXES, ids=lambda attack: attack.__name__)
def test_black_boxes_need_no_gradient(black_box):
    meter, targets = Meter(NoGradient(), spec_of((1, 4, 4), 3)), torch.arange(3)
    images = attacked(black_box, meter, targets, k=4, passes=400)
    assert (meter.network(images).softmax(dim=1)[targets, targets] >= 0.9).all()
    assert meter.backward_passes == 0


def sparse(m: float = 0.0, **fields) -> Sparse:
    """A 2x2 image at half brightness, its mask on the first pixel."""
    chosen = torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)
    zero, half = torch.zeros(1), torch.full((1, 1, 2, 2), 0.5)
    state = Sparse(torch.tensor([0]), half, torch.full_like(half, m), torch.ones_like(half), chosen, zero, zero, zero)
    return state._replace(**fields)


def test_only_the_unprojected_gradient_moves_pixels_outside_the_mask():
    slope = torch.tensor([1.0, -1, 0, 2]).view(1, 1, 2, 2)
    chosen = sparse().chosen
    projected = step(sparse(), slope, chosen, torch.ones(1), True).p.flatten().tolist()
    unprojected = step(sparse(), slope, chosen, torch.ones(1), False).p.flatten().tolist()
    assert projected == [0.75, 0.5, 0.5, 0.5]
    assert unprojected == [0.75, 0.25, 0.5, 0.75]


def test_the_continuous_mask_climbs_where_a_lit_pixel_leads_up_by_a_fixed_length():
    slope = torch.tensor([1.0, -1, 0, 2]).view(1, 1, 2, 2)
    moved = step(sparse(), 1e-3 * slope, sparse().chosen, torch.ones(1), True).m.flatten()
    assert torch.allclose(moved.norm(), torch.tensor(0.25 * 2))
    assert moved.sign().tolist() == [1, -1, 0, 1]


def test_a_stuck_mask_is_drawn_anew_and_no_other():
    generator = torch.Generator().manual_seed(0)
    for name, value, redrawn in (("settled", 2.0, False), ("settled", 3.0, True), ("stale", 20.0, True)):
        state = redraw_stuck(sparse(m=7.0, **{name: torch.tensor([value])}), generator)
        assert (state.m != 7).all().item() is redrawn


def test_the_share_of_swapped_pixels_falls_by_the_papers_schedule():
    assert [round(ALPHA_INIT / alpha(step / 10_000)) for step in (0, 50, 1000, 9999)] == [2, 4, 8, 20]


def test_sparse_rs_keeps_an_image_until_a_likelier_one():
    network = random_linear((1, 8, 8), 3)
    recorder = Recorder(network, spec_of((1, 8, 8), 3))
    attacked(sparse_rs, recorder, torch.tensor([1]), k=20, passes=200, p=UNREACHABLE)
    looks = torch.cat(recorder.batches)
    values = margin(network(looks).detach(), torch.ones(200, dtype=torch.long))
    for turn in range(1, 200):
        likeliest = looks[:turn][values[:turn].argmax()]
        assert (looks[turn] != likeliest).sum() <= 2 * max(1, round(alpha(0) * 20))


def test_greedy_saliency_starts_blank_and_adds_the_best_pixel_first():
    network = random_linear((1, 8, 8), 3)
    recorder = Recorder(network, spec_of((1, 8, 8), 3))
    attacked(greedy_saliency, recorder, torch.tensor([0]), k=5, passes=12, p=UNREACHABLE)
    weights = network.weights.detach()
    slope = weights[0] - weights[1:].mean(dim=0)
    assert [int(lit_pixels(batch)) for batch in recorder.batches] == [0, 1, 2, 3, 4, 5]
    assert recorder.batches[1].flatten().argmax() == slope.argmax()


def test_greedy_saliency_leaves_no_pixel_it_could_do_without(digits_network, digits):
    targets = torch.arange(20) % 10
    images = attacked(greedy_saliency, Meter(digits_network, digits.spec), targets, k=24, passes=1000, seed=3)
    done = successes(digits_network, images, targets, k=24)
    assert lit_pixels(images)[done].float().mean() < 5
    for row in done.nonzero().squeeze(1):
        if lit_pixels(images)[row] > 2:
            continue
        for pixel in images[row].flatten().nonzero().squeeze(1):
            thinner = images[row].clone().flatten()
            thinner[pixel] = 0
            assert not successes(digits_network, thinner.view(1, *images.shape[1:]), targets[row : row + 1], k=24)


def test_greedy_saliency_lets_go_of_what_lured_it():
    """Pixel 26 lowers one of five rivals: good on a blank image, worth next to nothing once it is lit."""
    network, targets = solvable((1, 8, 8), 3, 3, 5, seed=1), torch.ones(300, dtype=torch.long)
    images = attacked(greedy_saliency, Meter(network, spec_of((1, 8, 8), 3)), targets, k=5, passes=1000)
    assert successes(network, images, targets, k=5).all()


def test_greedy_saliency_that_is_stuck_starts_from_sparse_noise():
    recorder = Recorder(Deaf(), spec_of((1, 8, 8), 3))
    attacked(greedy_saliency, recorder, torch.tensor([0]), k=20, passes=4 * PATIENCE)
    before, after = recorder.batches[PATIENCE], recorder.batches[PATIENCE + 1]
    assert set(before.flatten().tolist()) <= {0.0, 1.0}
    assert not set(after.flatten().tolist()) <= {0.0, 1.0}


def archive(targets: list[int], k: int = 16) -> tuple[Archive, Best]:
    classifier = Meter(random_linear((1, 4, 4), 3), spec_of((1, 4, 4), 3))
    best = Best(classifier, torch.tensor(targets), ThreatModel(0.9, k))
    return Archive.empty(classifier, best, torch.ones_like(best.images)), best


def test_an_image_bred_for_one_target_fills_anothers_niche():
    shared, best = archive([0, 1])
    image = torch.full((1, 1, 4, 4), 0.5)
    shared.settle(best, torch.tensor([0]), image, torch.tensor([[0.0, 9, 0]]))
    assert best.open.tolist() == [0]
    assert torch.equal(best.images[1], image[0])


def test_one_image_closes_one_target_of_a_class_only():
    shared, best = archive([0, 1, 1])
    shared.settle(best, torch.tensor([0]), torch.full((1, 1, 4, 4), 0.5), torch.tensor([[0.0, 9, 0]]))
    assert len(best.open) == 2
    shared, best = archive([1, 1, 1])
    shared.settle(best, torch.tensor([0]), torch.full((1, 1, 4, 4), 0.5), torch.tensor([[0.0, 9, 0]]))
    assert best.open.tolist() == [1, 2]


def test_no_image_fills_a_niche_whose_mask_it_breaks():
    shared, best = archive([0, 1])
    shared.free[1, 0, 2] = 0
    shared.settle(best, torch.tensor([0]), torch.full((1, 1, 4, 4), 0.5), torch.tensor([[0.0, 9, 0]]))
    assert best.open.tolist() == [0, 1]


def test_what_reached_p_is_no_stepping_stone():
    shared, best = archive([0])
    image = torch.full((1, 1, 4, 4), 0.5)
    shared.settle(best, torch.tensor([0]), image, torch.tensor([[0.0, 9, 0.0]]))
    assert shared.fitness[1 + 1] == -math.inf
    shared.settle(best, torch.tensor([0]), image, torch.tensor([[0.0, 1, 0.0]]))
    assert shared.fitness[1 + 1] > -math.inf


def test_a_generation_costs_one_pass_an_open_target():
    recorder = Recorder(random_linear((1, 8, 8), 3), spec_of((1, 8, 8), 3))
    attacked(map_elites, recorder, torch.arange(5) % 3, k=4, passes=30, p=UNREACHABLE)
    assert [len(batch) for batch in recorder.batches] == [5] * 30


def test_margins_of_all_classes_are_those_of_each():
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    table = all_margins(logits, 3)
    for target in range(3):
        assert torch.allclose(table[:, target], margin(logits, torch.full((4,), target)), atol=1e-5)


def test_a_mutant_changes_something_within_k_and_keeps_most():
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(50, 1, 8, 8, generator=generator) < 0.3).float()
    k = int(lit_pixels(images).max())
    draw = lambda *shape: torch.rand((50, *shape), generator=generator)  # noqa: E731
    mutants = mutate(images, torch.ones_like(images), k, draw)
    changes = (mutants != images).flatten(1).sum(dim=1)
    assert (lit_pixels(mutants) <= k).all()
    assert 0.5 < changes.float().mean() < 8
