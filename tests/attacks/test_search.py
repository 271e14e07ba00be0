"""What attacks share, against plain definitions."""

from __future__ import annotations

import math

import pytest
import torch
from attack_table import Linear, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.search import Best, brightest, lit, margin, noise, per_target, ranks, shrink, sparse_noise, uphill
from bench.meter import Meter
from bench.types import ThreatModel, lit_pixels

SEEDS = st.integers(0, 2**31)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def meter(shape=(1, 4, 4), classes=3) -> Meter:
    return Meter(Linear(torch.zeros(classes, math.prod(shape))), spec_of(shape, classes))


@settings(deadline=None)
@given(seed=SEEDS, count=st.integers(1, 40), side=st.integers(2, 28), share=st.floats(0.01, 1.2))
def test_brightest_are_at_most_k_nearly_k_and_no_darker_than_the_rest(seed, count, side, share):
    order, k = drawn(seed, count, 1, side, side), max(1, int(share * side * side))
    kept = brightest(order, k).bool()
    number = kept.flatten(1).sum(dim=1)
    assert (number <= k).all()
    # Bisection may leave out the pixels that lie within the last interval, a 256th of the range.
    assert (number >= min(k, side * side) - max(8, side * side / 40)).all()
    darkest = torch.where(kept, order, math.inf).flatten(1).amin(dim=1)
    assert (torch.where(kept, -math.inf, order).flatten(1).amax(dim=1) <= darkest).all()


@pytest.mark.parametrize("count", [1, 200])
def test_brightest_among_equals_are_k_all_the_same(count):
    order = torch.ones(count, 1, 28, 28)
    assert (brightest(order, 300).flatten(1).sum(dim=1) == 300).all()


def test_brightest_of_an_image_sparser_than_k_are_all_it_has():
    order = torch.zeros(200, 1, 28, 28)
    order[:, 0, :3] = drawn(0, 200, 3, 28) + 0.1
    assert (brightest(order, 300) * order == order).all()


@settings(deadline=None)
@given(seed=SEEDS, channels=st.integers(1, 4), amount=st.floats(0.0, 2.0))
def test_shrink_is_the_minimiser_of_its_proximal_problem(seed, channels, amount):
    point = 3 * drawn(seed, 2, channels, 2, 2) - 1
    amounts = torch.full((2, 1, 1, 1), amount)
    solution = shrink(point.clone(), amounts)

    def cost(x):
        return (0.5 * (x - point).square().sum(dim=1) + amount * x.norm(dim=1)).flatten(1).sum(dim=1)

    assert (solution >= 0).all()
    for offset in range(20):
        nearby = (solution + 0.2 * (drawn(seed + offset, *point.shape) - 0.5)).clamp(min=0)
        assert (cost(solution) <= cost(nearby) + 1e-5).all()


@settings(deadline=None)
@given(seed=SEEDS, outputs=st.integers(2, 12), scale=st.floats(0.1, 50))
def test_margin_is_the_logit_of_the_probability_and_uphill_its_slope(seed, outputs, scale):
    logits = (scale * (drawn(seed, 5, outputs) - 0.5)).requires_grad_()
    targets = torch.arange(5) % outputs
    values = margin(logits, targets)
    probability = logits.softmax(dim=1).gather(1, targets[:, None]).squeeze(1)
    assert torch.allclose(values.sigmoid(), probability, atol=1e-5)
    (slope,) = torch.autograd.grad(values.sum(), logits)
    assert torch.allclose(uphill(logits.detach(), targets), slope, atol=1e-5)


@settings(deadline=None)
@given(seed=SEEDS, channels=st.integers(1, 3))
def test_lit_counts_as_the_harness_does(seed, channels):
    images = (drawn(seed, 4, channels, 3, 5) - 0.7).clamp(min=0)
    assert torch.equal(lit(images).long(), lit_pixels(images))


def test_ranks_put_sparse_before_dense_and_likely_before_unlikely():
    images = torch.zeros(4, 1, 4, 4)
    images.view(4, 16)[2, :6] = 1
    images.view(4, 16)[3, :9] = 1
    logits = torch.tensor([[2.0, 0, 0], [1.0, 0, 0], [9.0, 0, 0], [9.0, 0, 0]])
    rank = ranks(logits, images, torch.zeros(4, dtype=torch.long), ThreatModel(0.9, 4))
    assert rank.tolist() == sorted(rank.tolist(), reverse=True)
    assert rank[2:].tolist() == [-2, -5]


def test_best_keeps_the_better_image_and_closes_on_success():
    best = Best(meter(), torch.tensor([0, 1]), ThreatModel(0.9, 4))
    rows, image = torch.tensor([0, 1]), torch.ones(1, 4, 4)
    images = torch.stack([0.25 * torch.eye(4)[None], 0.5 * torch.eye(4)[None]])
    assert best.record(rows, images, torch.tensor([[1.0, 0, 0], [0, 9.0, 0]])).tolist() == [True, False]
    assert best.open.tolist() == [0]
    worse = torch.tensor([[0.5, 0, 0], [0, 9.5, 0]])
    best.record(rows, torch.stack([0.75 * torch.eye(4)[None]] * 2), worse)
    assert torch.equal(best.images, images)
    best.record(rows[:1], image[None], torch.tensor([[99.0, 0, 0]]))  # likely, but far from sparse
    best.record(rows[:1], images[1:], torch.tensor([[math.nan, 0, 0]]))
    assert torch.equal(best.images, images)
    assert best.record(rows[:1], images[1:], torch.tensor([[9.0, 0, 0]])).tolist() == [False]
    assert torch.equal(best.images[0], images[1])
    assert best.open.tolist() == []


def test_a_dense_image_is_replaced_by_any_sparse_one():
    best = Best(meter(), torch.tensor([0]), ThreatModel(0.9, 4))
    best.record(torch.tensor([0]), torch.ones(1, 1, 4, 4), torch.tensor([[9.0, 0, 0]]))
    assert best.open.tolist() == [0]
    best.record(torch.tensor([0]), 0.5 * torch.eye(4)[None, None], torch.tensor([[-9.0, 0, 0]]))
    assert lit_pixels(best.images).tolist() == [4]


def test_noise_fills_and_sparse_noise_varies():
    classifier, generator = meter((3, 8, 8)), torch.Generator().manual_seed(0)
    assert (lit_pixels(noise(50, classifier, generator)) == 64).all()
    pixels = lit_pixels(sparse_noise(200, classifier, generator)).float()
    assert pixels.min() < 8
    assert pixels.max() > 56
    assert ((sparse_noise(5, classifier, generator) >= 0) & (noise(5, classifier, generator) < 1)).all()


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (5, 1, 4, 4), (1, 3, 4, 4), (5, 3, 4, 4)])
def test_masks_of_every_allowed_shape_fit_every_target(shape):
    mask = (drawn(0, *shape) < 0.5).float()
    images = torch.ones(5, 3, 4, 4)
    assert torch.equal(per_target(mask, images), images * mask)
    assert torch.equal(per_target(mask.bool(), images), images * mask)
    assert torch.equal(per_target(None, images), images)
