"""The gate of distances: open until it is closed, then shut on what is far from every real image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import defenses.familiar
from bench.errors import BadInputError
from bench.harness.registry import NETWORKS
from bench.materials import views
from bench.materials.data import load
from bench.materials.gate import Gated
from bench.materials.networks import build, cnn
from defenses.familiar import (
    DISTANCES,
    NEIGHBOURS,
    OPEN,
    PARTS,
    SURE,
    SURE_OF,
    TAKEN,
    Familiar,
    _closest,
    _roots,
    familiar,
)
from defenses.gate import close_count, count_gate, fit_count, oddities


@pytest.fixture(scope="module")
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


def acquainted(digits, seed=0) -> Familiar:
    gate = Familiar(digits.spec)
    gate.fit(digits.a_train, generator=torch.Generator().manual_seed(seed))
    return gate


@pytest.fixture(scope="module")
def closed(digits):
    gate = acquainted(digits)
    gate.close()
    return gate


def test_it_is_open_on_everything_until_it_is_closed(digits):
    gate = acquainted(digits)
    odd = oddities(digits.test.images, torch.Generator().manual_seed(0))
    assert (gate(odd) == OPEN).all()
    gate.close()
    assert (gate(odd) < 0).all()
    assert float(gate.closed) == 1


def test_one_that_has_seen_nothing_gives_numbers(digits):
    gate = Familiar(digits.spec)
    assert (gate(digits.test.images[:4]) == OPEN).all()
    gate.close()
    assert gate(digits.test.images[:4]).isfinite().all()


def test_real_images_it_never_saw_pass(closed, digits):
    passed = (closed(digits.test.images) > 0).double().mean()
    assert 0.93 < passed < 1  # the limit of the sum alone keeps 99% of those held out


def test_blank_dim_and_noisy_images_do_not(closed, digits):
    real = digits.test.images[:100]
    draw = torch.Generator().manual_seed(1)
    noise = torch.rand(real.shape, generator=draw)
    for images in (torch.zeros_like(real[:1]), real * 0.1, noise, noise * (noise > 0.8), real.flip(2) * noise):
        assert (closed(images) < 0).double().mean() > 0.97


def test_its_own_training_images_are_nearer_than_those_it_never_saw(closed, digits, monkeypatch):
    """To the one nearest; the mean of several is made to hide just that."""
    monkeypatch.setattr(defenses.familiar, "NEIGHBOURS", 1)
    for own, other in zip(
        *(closed._nearest(part.images.flatten(1)) for part in (digits.a_train, digits.test)), strict=True
    ):
        assert own.median() < 0.9 * other.median()


def test_distances_to_the_nearest_are_those_of_the_definition(closed, digits):
    images = digits.test.images[:20].flatten(1)
    references = closed.references @ closed.frame.T  # all axes are kept on 64 pixels
    euclidean, cosine = closed._nearest(images)
    nearest = torch.cdist(images, references).topk(NEIGHBOURS, largest=False).values
    assert torch.allclose(euclidean, nearest.square().mean(dim=1).sqrt(), atol=1e-3)
    cosines = torch.nn.functional.cosine_similarity(images[:, None], references[None], dim=2)
    assert torch.allclose(cosine, (2 - 2 * cosines.topk(NEIGHBOURS).values.mean(dim=1)).sqrt(), atol=1e-3)


def test_their_slopes_are_those_of_the_definition_too(closed, digits):
    images = oddities(digits.test.images[:20], torch.Generator().manual_seed(0)).flatten(1).requires_grad_()
    references = closed.references @ closed.frame.T  # whole images: on digits there are as many axes as pixels
    nearest = torch.cdist(images, references).topk(NEIGHBOURS, largest=False).values.square().mean(dim=1).sqrt()
    expected, found = (
        torch.autograd.grad(distances.sum(), images)[0] for distances in (nearest, closed._nearest(images)[0])
    )
    assert torch.allclose(found, expected, atol=1e-3)
    assert expected.norm(dim=1).min() > 0.5


@pytest.mark.parametrize("groups", [2, 40])
def test_the_closest_few_are_found_among_groups(groups):
    closeness = torch.randn(50, groups * PARTS, generator=torch.Generator().manual_seed(groups))
    found = closeness.gather(1, _closest(closeness))
    assert torch.equal(found, closeness.topk(NEIGHBOURS).values)


def test_each_distance_has_a_limit_of_its_own(digits):
    gate = acquainted(digits)
    gate.close()
    images = digits.test.images[(gate(digits.test.images) == OPEN).flatten()]
    for distance in range(DISTANCES):
        limit = gate.limits[distance].clone()
        gate.limits[distance] = gate._rarity(gate._distances(images))[:, distance].max() - 0.1
        assert (gate(images) < OPEN).any()
        gate.limits[distance] = limit
    assert (gate(images) == OPEN).all()


def test_each_limit_is_what_its_share_of_unseen_images_keeps(digits, monkeypatch):
    usual = acquainted(digits).limits
    monkeypatch.setattr(defenses.familiar, "SURE_OF", (*(1.0,) * DISTANCES, SURE_OF[DISTANCES]))
    loosest = acquainted(digits).limits
    assert (usual[:DISTANCES] < loosest[:DISTANCES]).all()
    assert usual[DISTANCES] == loosest[DISTANCES]


def test_it_is_nine_tenths_sure_at_a_limit_and_from_there_on_less_and_less(digits, monkeypatch):
    """Odder by one distance alone: just below its limit open, at it SURE, even where TAKEN ends, shut beyond."""
    gate = acquainted(digits)
    gate.close()
    for distance in range(DISTANCES):
        limit, slope = float(gate.limits[distance]), float(gate.slopes[distance])
        odd = torch.zeros(5, DISTANCES + 1)
        odd[:, distance] = limit + torch.tensor([-0.5, 0, 0.5 * SURE / slope, SURE / slope, 2 * SURE / slope])
        monkeypatch.setattr(gate, "_oddness", lambda _, odd=odd: odd)
        expected = torch.tensor([OPEN, SURE, SURE / 2, 0, -SURE])
        assert torch.allclose(gate(digits.test.images[:5]).flatten(), expected, atol=1e-4)


def test_the_share_it_takes_for_real_is_larger_than_that_it_is_sure_of(closed, digits):
    answers = closed(digits.test.images).flatten()
    sure, taken = (float((answers >= least - 1e-4).double().mean()) for least in (SURE, 0))
    assert sure + 0.01 < taken
    assert all(share > less for share, less in zip(TAKEN, SURE_OF, strict=True))


def test_slopes_are_finite_and_alive_where_it_is_shut(closed, digits):
    images = torch.cat([torch.zeros(1, *digits.spec.shape), digits.test.images[:50] * 0.3]).requires_grad_()
    (slope,) = torch.autograd.grad(closed(images).sum(), images)
    assert slope.isfinite().all()
    shut = (closed(images) < 0).flatten()
    assert shut.any()
    assert (slope[shut].flatten(1).norm(dim=1) > 0).all()


def test_root_pixels_are_the_judges_and_their_slope_stays_finite_where_nothing_is_lit(digits):
    images = digits.test.images[:20].clone().requires_grad_()
    roots = _roots(images)
    assert torch.allclose(roots, views.root_direction(images.detach())[:, :-1], atol=1e-6)
    (slope,) = torch.autograd.grad(roots[:, 30].sum(), images)
    assert slope.isfinite().all()
    unlit = slope.flatten(1)[:, 30][images.detach().flatten(1)[:, 30] == 0]
    assert len(unlit) > 1
    assert (unlit > 0).all()
    assert unlit.max() < 5


def test_the_same_generator_gives_the_same_gate_and_another_one_does_not(digits, closed):
    again = acquainted(digits).state_dict()
    for name, value in closed.state_dict().items():
        assert name == "closed" or torch.equal(value, again[name]), name
    assert not torch.equal(acquainted(digits, seed=1).references, closed.references)


def test_its_memory_is_stored_with_the_weights(digits, closed):
    whole = Gated(Gated(build(cnn, digits.spec, 20, 0), closed), count_gate(digits.spec))
    fit_count(whole.gate, digits.a_train.images, 24)
    close_count(whole.gate)
    other = build(familiar(cnn), digits.spec, 22, 1)
    other.load_state_dict(whole.state_dict())
    images = digits.test.images[:8]
    assert torch.equal(other.eval()(images), whole.eval()(images))


def test_a_network_with_it_is_named_by_its_classifier(digits):
    network = build(NETWORKS.load("familiar:mlp"), digits.spec, 12, 0)
    assert network(digits.test.images[:2]).shape == (2, 12)
    assert network.classifier.classifier(digits.test.images[:2]).shape == (2, 10)
    with pytest.raises(BadInputError, match="unknown network"):
        NETWORKS.load("familiar:nobody")
