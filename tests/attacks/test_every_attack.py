"""What holds for every attack of the table."""

from __future__ import annotations

import pytest
import torch
from attack_table import TABLE, UNREACHABLE, Linear, Recorder, attacked, random_linear, spec_of, successes
from torch import nn

from bench.meter import Meter
from bench.types import lit_pixels

SHAPES = [(1, 8, 8), (3, 6, 7), (2, 1, 9), (1, 2, 2)]


class Deaf(nn.Module):
    """Gives every image the same logits, with a gradient: nothing ever fools it."""

    def forward(self, images):
        return 1e-6 * images.flatten(1).sum(dim=1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0])


class Broken(nn.Module):
    """Sound on the blank image, not a number on any other."""

    def forward(self, images):
        total = images.flatten(1).sum(dim=1, keepdim=True)
        return torch.where(total > 0, total * torch.nan, total).expand(-1, 3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("targets", [[0], [2, 2, 0], [1, 0, 2, 2, 1, 0, 0]], ids=len)
@pytest.mark.parametrize("fake", [0, 3])
def test_results_fit_shape_grid_and_pixels(attack, shape, targets, fake):
    spec, targets = spec_of(shape, 3, levels=5), torch.tensor(targets)
    classifier = Meter(random_linear(shape, 3, fake), spec)
    images = attacked(attack, classifier, targets, k=2, passes=60, p=0.9999)
    assert images.shape == (len(targets), *shape)
    assert images.dtype == torch.float32
    assert not images.requires_grad
    assert torch.equal(images, spec.round(images))
    assert (lit_pixels(images) <= 2).all()


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
        return attacked(attack, Meter(network, spec), targets, k=4, passes=300, p=UNREACHABLE, seed=seed % 2)

    same, again, other = run(0), run(2), run(1)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    torch.set_rng_state(before)
    attacked(attack, Meter(network, spec), targets, k=4, passes=60)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("passes", [1, 2, 3, 19, 20, 21, 100, 101, 1000])
@pytest.mark.parametrize("count", [1, 5])
def test_no_image_costs_more_than_its_passes(attack, passes, count):
    meter = Meter(Deaf(), spec_of((1, 8, 8), 3), allowance=passes * count)
    attacked(attack, meter, torch.zeros(count, dtype=torch.long), k=5, passes=passes)
    assert meter.passes >= (0.9 * passes - 1) * count  # and a hopeless one costs nearly all of them


def test_weights_and_their_gradients_are_left_alone(attack):
    network = random_linear((1, 8, 8), 3)
    before = network.weights.detach().clone()
    attacked(attack, Meter(network, spec_of((1, 8, 8), 3)), torch.arange(3), k=5, passes=100)
    assert torch.equal(network.weights, before)
    assert network.weights.grad is None


@pytest.mark.parametrize("rows", ["one", "each"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_holds_pixels_at_zero_in_all_the_network_sees(attack, rows, channels):
    shape, targets = (3, 6, 7), torch.arange(4) % 3
    count = 1 if rows == "one" else len(targets)
    mask = (torch.rand(count, channels, 6, 7, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    recorder = Recorder(random_linear(shape, 3), spec_of(shape, 3))
    images = attacked(attack, recorder, targets, k=8, passes=200, p=UNREACHABLE, mask=mask)
    assert (images * (1 - mask) == 0).all()
    assert (lit_pixels(images) > 0).all()
    if rows == "one":
        assert all((batch * (1 - mask) == 0).all() for batch in recorder.batches)


def test_a_start_is_where_the_search_begins(attack):
    shape, k = (1, 8, 8), 6
    start = torch.zeros(3, *shape)
    for row in range(3):
        start[row, 0, row, :k] = 0.75
    recorder = Recorder(random_linear(shape, 3), spec_of(shape, 3))
    attacked(attack, recorder, torch.arange(3), k=k, passes=1, start=start)
    assert (recorder.batches[0][:, 0] <= start[:, 0]).all()  # a random mask may hide some of it
    assert lit_pixels(recorder.batches[0]).min() > 0


@pytest.mark.parametrize("name", ["l1_sparse", "differential_evolution"])
def test_a_start_that_succeeds_comes_back(name, digits_network, digits):
    entry = {e.name: e for e in TABLE}[name]
    targets = torch.arange(10)
    found = attacked(entry.attack, Meter(digits_network, digits.spec), targets, k=24, passes=2000)
    meter = Meter(digits_network, digits.spec)
    again = attacked(entry.attack, meter, targets, k=24, passes=2000, start=found)
    assert successes(digits_network, again, targets, k=24).all()
    assert meter.passes <= 20 * len(targets)
    if name == "l1_sparse":
        assert torch.equal(found, again)
        assert meter.passes == len(targets)


def test_finished_images_leave_the_batch(attack):
    weights = torch.zeros(2, 64)
    weights[0] = 1.0  # class 0 is easy; class 1 is out of reach
    recorder = Recorder(Linear(weights), spec_of((1, 8, 8), 2))
    targets = torch.tensor([0, 1, 0, 0, 0, 0])
    images = attacked(attack, recorder, targets, k=16, passes=200)
    assert successes(recorder.meter.network, images, targets, k=16).tolist() == [True, False] + [True] * 4
    assert recorder.meter.passes < 0.5 * 200 * len(targets)
    smallest = min(len(batch) for batch in recorder.batches)
    assert len(recorder.batches[-1]) == smallest < len(recorder.batches[0])


def test_no_number_is_no_success_and_no_hang(attack):
    recorder = Recorder(Broken(), spec_of((1, 4, 4), 3), allowance=300 * 2)
    images = attacked(attack, recorder, torch.tensor([0, 1]), k=3, passes=300)
    assert all(torch.isfinite(batch).all() for batch in recorder.batches)
    assert torch.isfinite(images).all()
    assert (lit_pixels(images) <= 3).all()


def test_each_class_has_to_reach_its_own_probability(attack, digits_network, digits):
    p = (0.5,) * 5 + (0.99,) * 5
    targets = torch.arange(20) % 10
    meter = Meter(digits_network, digits.spec)
    images = attacked(attack, meter, targets, k=24, passes=2000, p=p)
    assert successes(digits_network, images, targets, k=24, p=p).float().mean() >= 0.95
    assert not successes(digits_network, images, targets, k=24, p=0.99)[targets < 5].all()  # it stopped early


def test_an_undefended_network_falls(attack, digits_network, digits):
    targets = torch.arange(100) % 10
    meter = Meter(digits_network, digits.spec, allowance=1000 * len(targets))
    images = attacked(attack, meter, targets, k=24, passes=1000)
    assert successes(digits_network, images, targets, k=24).float().mean() >= 0.97


def test_an_image_that_fails_is_the_likeliest_sparse_one_seen(attack):
    shape, k = (1, 8, 8), 5
    network, spec, targets = random_linear(shape, 3), spec_of(shape, 3), torch.tensor([2])
    recorder = Recorder(network, spec)
    images = attacked(attack, recorder, targets, k=k, passes=300, p=UNREACHABLE)
    seen = torch.cat(recorder.batches)
    probability = network(seen).softmax(dim=1)[:, 2]
    assert network(images).softmax(dim=1)[0, 2] >= probability[lit_pixels(seen) <= k].max() - 1e-6
