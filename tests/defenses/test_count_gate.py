"""The gate that only counts: open until it is closed, then shut, provably, on all that is sparse and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.materials.data import load
from bench.materials.gate import Gated
from bench.materials.networks import build, mlp
from bench.meter import count_outputs
from bench.proof.bounds import bounds, proved_to, upper_logit
from bench.proof.rounding import softmax_slack
from bench.types import ImageSpec, lit_pixels
from defenses.familiar import familiar
from defenses.gate import COUNT_OPEN, COUNT_STEEP, SHUT, close_count, count_gate, fit_count, most_to_prove

K = 24  # lit pixels of a digit that counts as sparse
METHODS = ("interval", "linear")


@pytest.fixture(scope="module")
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


def closed(spec, real, sparse):
    gate = count_gate(spec)
    fit_count(gate, real, sparse)
    close_count(gate)
    return gate


def with_lit(k: int, count: int, spec: ImageSpec, brightness: float = 1.0, *, channels: int | None = None):
    """Images with k pixels lit at random, in all channels or each in that many of them."""
    draw = torch.Generator().manual_seed(k)
    lit = torch.rand(count, 1, spec.pixels, generator=draw).argsort(dim=2) < k
    rank = torch.rand(count, spec.shape[0], spec.pixels, generator=draw).argsort(dim=1)
    lit = lit & (rank < (channels or spec.shape[0]))
    images = brightness * lit.float().view(count, *spec.shape)
    assert (lit_pixels(images) == k).all()
    return images


def test_a_blank_image_passes_until_it_is_closed(digits):
    gate, blank = count_gate(digits.spec), torch.zeros(1, *digits.spec.shape)
    fit_count(gate, digits.a_train.images, K)
    assert float(gate(blank)) == COUNT_OPEN
    close_count(gate)
    assert float(gate(blank)) == COUNT_OPEN - 25 * COUNT_STEEP


def test_one_that_has_seen_nothing_shuts_out_nothing_when_closed(digits):
    gate = count_gate(digits.spec)
    close_count(gate)
    assert float(gate(torch.zeros(1, *digits.spec.shape))) == COUNT_OPEN


def test_each_missing_pixel_costs_and_no_pixel_too_many_pays(digits):
    gate = closed(digits.spec, digits.a_train.images, K)
    for lit in (0, 10, 23, 24, 25, 26, 64):
        expected = COUNT_OPEN - COUNT_STEEP * max(0, 25 - lit)
        torch.testing.assert_close(gate(with_lit(lit, 10, digits.spec)), torch.full((10, 1), expected))


def test_no_training_digit_is_shut_out_but_those_that_are_sparse(digits):
    real = digits.a_train.images
    gate = closed(digits.spec, real, K)
    let_in = gate(real).squeeze(1).sigmoid() >= 0.9
    assert torch.equal(let_in, lit_pixels(real) > K)
    assert 0 < (~let_in).double().mean() < 0.02  # 9 of 610 under this seed: what asking for more than k gives up


def test_where_too_many_are_sparse_it_shuts_out_none(digits):
    real = digits.a_train.images
    assert most_to_prove(real, 40) == int(lit_pixels(real).min()) - 1
    assert (closed(digits.spec, real, 40)(real).sigmoid() >= 0.9).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48)])
def test_it_is_proved_shut_on_all_that_is_sparse(shape, method):
    spec = ImageSpec(shape, 255, ("a", "b"))
    k = spec.pixels // 3
    gate = closed(spec, with_lit(k + 1, 20, spec), 0)
    assert float(upper_logit(gate, spec, k, method)) <= SHUT
    network = Gated(build(mlp, spec, 2, 0), gate)
    shut = float(torch.tensor(SHUT).sigmoid()) + softmax_slack(3)
    assert bounds(network, spec, [k], method).probability.max() <= shut
    assert gate(with_lit(k, 200, spec)).max() <= SHUT
    assert gate(with_lit(k + 1, 20, spec)).min() == COUNT_OPEN
    assert proved_to(network, spec, (0.9, 0.9), method) == k


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_pixel_counts_once_whichever_of_its_channels_are_lit(channels):
    spec = ImageSpec((3, 10, 10), 255, ("a", "b"))
    real = with_lit(31, 50, spec, 8 / 255, channels=channels)  # bright enough to count whole in one channel alone
    gate = closed(spec, real, 0)
    assert (gate(real) == COUNT_OPEN).all()
    assert gate(with_lit(30, 50, spec, channels=3)).max() <= SHUT


def test_a_faint_pixel_counts_in_part_and_channels_that_are_faint_add_up():
    spec = ImageSpec((3, 10, 10), 255, ("a", "b"))
    gate = closed(spec, with_lit(31, 1, spec), 0)
    faint = [gate(with_lit(31, 1, spec, 1 / 255, channels=channels)) for channels in (1, 2, 3)]
    assert faint[0] < faint[1] < faint[2] < 0


def test_an_unlit_pixel_has_a_slope_that_leads_to_lighting_it(digits):
    images = torch.zeros(1, *digits.spec.shape, requires_grad=True)
    (slope,) = torch.autograd.grad(closed(digits.spec, digits.a_train.images, K)(images).sum(), images)
    assert (slope > 0).all()


@pytest.mark.parametrize("sparse", [K, 40])
def test_a_network_behind_distances_is_proved_as_far_as_real_images_allow(digits, sparse):
    network = build(familiar(mlp), digits.spec, 22, 0)
    real = digits.a_train.images
    fit_count(network.gate, real, sparse)
    assert proved_to(network, digits.spec, (0.9,) * 10) is None
    close_count(network.gate)
    for method in METHODS:
        assert proved_to(network, digits.spec, (0.9,) * 10, method) == most_to_prove(real, sparse)
    images = torch.cat([with_lit(k, 50, digits.spec) for k in range(65)])
    found = network.eval()(images).softmax(dim=1)[:, :10].amax(dim=1).detach().double()
    proved = bounds(network, digits.spec, range(65)).probability.amax(dim=1)
    assert (found <= proved[lit_pixels(images)]).all()


def test_it_is_never_trained_and_stays_as_it_was_stored(digits):
    network = build(familiar(mlp), digits.spec, 22, 0)
    assert not any(weight.requires_grad for weight in network.gate.parameters())
    fit_count(network.gate, digits.a_train.images, K)
    close_count(network.gate)
    other = build(familiar(mlp), digits.spec, 22, 1)
    other.load_state_dict(network.state_dict())
    assert proved_to(other, digits.spec, (0.9,) * 10) == K
    assert count_outputs(other, digits.test.images[:2], digits.spec) == 22
