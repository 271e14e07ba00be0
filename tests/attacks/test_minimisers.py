"""The attacks that minimise pixels: sigma_zero, fmn_l0, fmn_l1, ead and pgd_l0, and the pruning they end with."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from attack_table import UNREACHABLE, Entry, Linear, Recorder, attacked, random_linear, solvable, spec_of, successes
from torch import nn

from attacks.ead import ead
from attacks.fmn import Ball1, fmn_l0, fmn_l1
from attacks.pgd_l0 import pgd_l0, project
from attacks.prune import Sparsest, prune
from attacks.sigma_zero import sigma_zero
from bench.meter import Meter
from bench.types import ThreatModel, lit_pixels

TABLE = (
    Entry(sigma_zero, factor=1.05, passes=2000),
    Entry(fmn_l0, factor=1.2, passes=2000),
    Entry(fmn_l1, factor=1.3, passes=2000),
    Entry(ead, factor=1.5, passes=2000),
    Entry(pgd_l0, factor=1.0, passes=2000),
)
CASES = [
    ((1, 8, 8), 2, 0, 6),
    ((1, 8, 8), 3, 3, 5),
    ((3, 6, 7), 3, 2, 4),
    ((1, 28, 28), 10, 10, 10),
    ((1, 28, 28), 2, 1, 100),
    ((3, 16, 16), 4, 0, 20),
]
ANY = 10**6  # a k that every image keeps to


@pytest.fixture(params=TABLE, ids=lambda entry: entry.name)
def entry(request):
    return request.param


@pytest.fixture
def attack(entry):
    return entry.attack


class Tiny(nn.Module):
    """Nine pixels, a hidden layer, three classes; its pixels work together, so that greedy choices can miss."""

    def __init__(self, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(2 * torch.randn(9, 12, generator=generator))
        self.second = nn.Parameter(2 * torch.randn(12, 3, generator=generator))

    def forward(self, images):
        return (images.flatten(1) @ self.first + 0.5).relu() @ self.second


class Deaf(nn.Module):
    """Gives every image the same logits, with a gradient: nothing ever fools it."""

    def forward(self, images):
        return 1e-6 * images.flatten(1).sum(dim=1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0])


class Broken(nn.Module):
    """Sound on the blank image, not a number on any other."""

    def forward(self, images):
        total = images.flatten(1).sum(dim=1, keepdim=True)
        return torch.where(total > 0, total * torch.nan, total).expand(-1, 3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_within_its_factor_of_the_closed_form(entry, case):
    shape, classes, _, optimum = case
    k, targets = math.ceil(entry.factor * optimum - 1e-9), torch.arange(classes)
    network = solvable(*case, seed=0)
    meter = Meter(network, spec_of(shape, classes), allowance=entry.passes * len(targets))
    images = attacked(entry.attack, meter, targets, k=k, passes=entry.passes)
    assert successes(network, images, targets, k=k).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("attack", [sigma_zero, fmn_l0, pgd_l0])
def test_the_true_optimum_of_a_tiny_network_is_reached(attack, seed):
    """Every image of three levels a pixel is tried: 19,683 of them."""
    network, spec = Tiny(seed), spec_of((1, 3, 3), 3, levels=2)
    every = torch.tensor(list(itertools.product((0, 0.5, 1), repeat=9))).view(-1, 1, 3, 3)
    probability = network(every).softmax(dim=1)
    targets = (probability >= 0.9).any(dim=0).nonzero().squeeze(1)
    assert len(targets) >= 2
    fewest = [int(lit_pixels(every)[probability[:, t] >= 0.9].min()) for t in targets]
    images = attacked(attack, Meter(network, spec), targets, k=0, passes=4000)
    assert successes(network, images, targets, k=ANY).all()
    assert lit_pixels(images).tolist() == fewest


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 7), (2, 1, 9), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("targets", [[0], [1, 0, 2, 2, 1, 0, 0]], ids=len)
def test_results_fit_shape_and_grid_and_are_sparse_or_confident(attack, shape, targets):
    spec, targets = spec_of(shape, 3, levels=5), torch.tensor(targets)
    network = random_linear(shape, 3, fake=2)
    images = attacked(attack, Meter(network, spec), targets, k=2, passes=60, p=0.9999)
    assert images.shape == (len(targets), *shape)
    assert images.dtype == torch.float32
    assert torch.equal(images, spec.round(images))
    assert ((lit_pixels(images) <= 2) | successes(network, images, targets, k=ANY, p=0.9999)).all()


@pytest.mark.parametrize("passes", [1, 2, 3, 19, 100, 101, 2000, 4001])
@pytest.mark.parametrize("network", [Deaf(), random_linear((1, 8, 8), 3)], ids=["deaf", "linear"])
def test_no_image_costs_more_than_its_passes(attack, passes, network):
    meter = Meter(network, spec_of((1, 8, 8), 3), allowance=passes * 3)
    attacked(attack, meter, torch.arange(3), k=0, passes=passes)
    assert meter.passes >= (0.85 * passes - 2) * 3  # what is kept for pruning may be left over


def test_a_seed_decides_every_byte_and_the_global_state_nothing(attack):
    network, spec, targets = Tiny(0), spec_of((1, 3, 3), 3), torch.arange(6) % 3

    def run(seed):
        torch.manual_seed(seed)
        recorder = Recorder(network, spec)
        return attacked(attack, recorder, targets, k=1, passes=300, p=UNREACHABLE, seed=seed % 2), recorder.batches

    before = torch.get_rng_state()
    (same, looks), (again, looks_again), (_, others) = run(0), run(2), run(1)
    torch.set_rng_state(before)
    assert torch.equal(same, again)
    assert all(torch.equal(a, b) for a, b in zip(looks, looks_again, strict=True))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(looks, others, strict=False))
    attacked(attack, Meter(network, spec), targets, k=1, passes=60)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_holds_pixels_at_zero_in_all_the_network_sees(attack, rows, channels):
    shape, targets = (3, 6, 7), torch.arange(4) % 3
    mask = (torch.rand(rows, channels, 6, 7, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    network = random_linear(shape, 3)
    recorder = Recorder(network, spec_of(shape, 3))
    images = attacked(attack, recorder, targets, k=0, passes=300, mask=mask)
    assert (images * (1 - mask) == 0).all()
    assert successes(network, images, targets, k=ANY).all()
    if rows == 1:
        assert all((batch * (1 - mask) == 0).all() for batch in recorder.batches)


def test_a_start_is_looked_at_first_and_closes_at_once_where_it_succeeds(attack):
    network, spec, targets = solvable((1, 8, 8), 2, 0, 6, seed=0), spec_of((1, 8, 8), 2), torch.arange(2)
    start = attacked(pgd_l0, Meter(network, spec), targets, k=6, passes=2000)
    recorder = Recorder(network, spec)
    images = attacked(attack, recorder, targets, k=6, passes=2000, start=start)
    assert torch.equal(recorder.batches[0], start)
    assert torch.equal(images, start)
    assert recorder.meter.passes == 2


def test_finished_images_leave_the_batch(attack):
    weights = torch.zeros(2, 64)
    weights[0] = torch.linspace(0.1, 2, 64)  # class 0 is easy; class 1 is out of reach
    recorder = Recorder(Linear(weights), spec_of((1, 8, 8), 2))
    targets = torch.tensor([0, 1, 0, 0, 0, 0])
    images = attacked(attack, recorder, targets, k=16, passes=1000)
    assert successes(recorder.meter.network, images, targets, k=16).tolist() == [True, False] + [True] * 4
    assert recorder.meter.passes < 0.5 * 1000 * len(targets)
    assert len(recorder.batches[-1]) == 1


def test_no_number_is_no_success_and_no_hang(attack):
    images = attacked(attack, Meter(Broken(), spec_of((1, 4, 4), 3)), torch.tensor([0, 1]), k=3, passes=300)
    assert torch.isfinite(images).all()
    assert (lit_pixels(images) <= 3).all()


def test_an_undefended_network_falls_and_the_frontier_lies_far_below(attack, digits_network, digits):
    targets = torch.arange(30) % 10
    meter = Meter(digits_network, digits.spec, allowance=1000 * len(targets))
    images = attacked(attack, meter, targets, k=24, passes=1000)
    assert successes(digits_network, images, targets, k=24).float().mean() >= 0.97
    assert meter.passes < 0.5 * meter.allowance
    meter = Meter(digits_network, digits.spec, allowance=1000 * len(targets))
    sparsest = attacked(attack, meter, targets, k=0, passes=1000)
    assert successes(digits_network, sparsest, targets, k=24).float().mean() >= 0.97
    assert lit_pixels(sparsest).float().median() <= 9


def test_each_class_has_to_reach_its_own_probability(attack):
    network, targets, p = random_linear((1, 8, 8), 3), torch.arange(6) % 3, (0.5, 0.9, 0.99)
    images = attacked(attack, Meter(network, spec_of((1, 8, 8), 3)), targets, k=9, passes=2000, p=p)
    assert successes(network, images, targets, k=9, p=p).all()


@pytest.mark.parametrize("passes", [0, 2, 3, 5, 20, 200])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 7)], ids=str)
def test_pruning_keeps_p_adds_no_pixel_and_costs_no_more_than_it_may(passes, shape):
    network, spec, targets = random_linear(shape, 3), spec_of(shape, 3), torch.arange(9) % 3
    noise = torch.rand(9, *shape, generator=torch.Generator().manual_seed(0))
    images = spec.round(noise * (network.weights.detach()[targets].view(9, *shape) > -0.5))
    confident = successes(network, images, targets, k=ANY)
    assert confident.any()
    pruned = prune(Meter(network, spec, allowance=9 * passes), images, targets, ThreatModel(0.9, 0), passes)
    assert successes(network, pruned, targets, k=ANY)[confident].all()
    assert torch.equal(pruned[~confident], images[~confident])
    assert ((pruned == images) | (pruned == 0)).all()
    if passes == 200:
        assert (lit_pixels(pruned) < lit_pixels(images) / 2)[confident].all()


def test_pruning_ends_where_no_pixel_can_go():
    network, spec, targets = Tiny(2), spec_of((1, 3, 3), 3), torch.arange(3)
    start = attacked(fmn_l1, Meter(network, spec), targets, k=9, passes=2000)
    pruned = prune(Meter(network, spec), start, targets, ThreatModel(0.9, 0), 200)
    for image, target in zip(pruned, targets, strict=True):
        for pixel in image.flatten().nonzero():
            fewer = image.flatten().index_fill(0, pixel, 0).view(1, 1, 3, 3)
            assert not successes(network, fewer, target[None], k=ANY).any()


def test_pruning_stops_at_k():
    network, spec = Linear(torch.tensor([[9.0] * 64, [0.0] * 64])), spec_of((1, 8, 8), 2)
    pruned = prune(Meter(network, spec), torch.ones(1, 1, 8, 8), torch.tensor([0]), ThreatModel(0.9, 20), 500)
    assert 1 < lit_pixels(pruned) <= 20


def test_sparsest_ranks_confident_by_pixels_before_sparse_by_probability():
    network, spec, row = Linear(torch.zeros(2, 16)), spec_of((1, 4, 4), 2), torch.tensor([0])
    sparsest = Sparsest(Meter(network, spec), torch.tensor([0]), ThreatModel(0.9, 2))

    def show(pixels: int, logit: float):
        image = torch.zeros(1, 1, 4, 4)
        image.view(16)[:pixels] = 1
        sparsest.record(row, image, torch.tensor([[logit, 0.0]]))
        return int(lit_pixels(sparsest.images))

    shown = [show(9, 1.0), show(1, 1.0), show(2, 0.5), show(2, math.nan), show(9, 5.0), show(12, 9.0), show(2, 1.5)]
    assert shown == [0, 1, 1, 1, 9, 9, 9]
    assert sparsest.open.tolist() == [0]
    assert [show(4, 3.0), show(2, 3.0), show(9, 9.0)] == [4, 2, 2]
    assert sparsest.open.tolist() == []


def test_projection_on_k_pixels_is_the_nearest_such_image():
    point = 3 * torch.rand(5, 2, 2, 3, generator=torch.Generator().manual_seed(0)) - 1
    nearest = (project(point, torch.full((5,), 2)) - point).square().flatten(1).sum(dim=1)
    for pair in itertools.combinations(range(6), 2):
        chosen = torch.zeros(6).index_fill(0, torch.tensor(pair), 1).view(1, 1, 2, 3)
        assert (nearest <= (point.clamp(0, 1) * chosen - point).square().flatten(1).sum(dim=1) + 1e-5).all()


def test_projection_on_the_l1_ball_has_its_radius():
    x = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    radius = torch.tensor([0.5, 2.0, 7.0, 100.0])
    ball = Ball1(x.clone(), torch.ones_like(x), radius, radius)
    ball.project()
    assert torch.allclose(Ball1.norm(ball.x), torch.minimum(radius, Ball1.norm(x)), atol=1e-4)
