"""No image of S_k exceeds its bound, whatever the network is made of."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_zoo import OUTPUTS, REAL, SHAPES, ZOO, ascent, facts, greedy, random_images, random_network
from torch import nn

from bench.proof.bounds import bounds
from bench.proof.steps import read
from bench.proof.trace import Trace
from bench.types import lit_pixels

HARD = settings(max_examples=60, deadline=None, derandomize=True)
cases = st.tuples(
    st.sampled_from(ZOO), st.sampled_from(SHAPES), st.integers(0, 2**31), st.sampled_from([0.7, 2.0, 6.0])
)


def attacks(network, shape, k, draw):
    """Images with at most k lit pixels: random ones, and for every real class the worst that is easily found."""
    found = [random_images(shape, k, 64, draw)]
    for target in range(REAL):
        found.append(greedy(network, shape, target, k))
        found.append(ascent(network, shape, target, k, random_images(shape, k, 8, draw)))
    return torch.cat(found)


@HARD
@given(cases, st.data())
def test_no_image_exceeds_its_bound(case, data):
    kind, shape, seed, scale = case
    network, pixels = random_network(kind, shape, seed, scale), shape[1] * shape[2]
    k = data.draw(st.integers(0, pixels))
    images = attacks(network, shape, k, torch.Generator().manual_seed(seed))
    lit = lit_pixels(images)
    assert int(lit.max()) <= k
    with torch.no_grad():
        probability = network(images.clone()).softmax(dim=1)[:, :REAL].double()
    for method in ("interval", "linear"):
        proved = bounds(network, facts(shape), range(pixels + 1), method)
        assert proved.probability.shape == (pixels + 1, REAL)
        assert (probability <= proved.probability[lit]).all(), (kind.__name__, method)


@HARD
@given(cases, st.data())
def test_no_layer_leaves_its_bounds(case, data):
    """Every linear function of every layer's float32 output, bounded alone."""
    kind, shape, seed, scale = case
    network, pixels = random_network(kind, shape, seed, scale), shape[1] * shape[2]
    k, draw = data.draw(st.integers(0, pixels)), torch.Generator().manual_seed(seed)
    images = attacks(network, shape, k, draw)
    for end in range(1, len(network) + 1):
        part = network[:end]
        with torch.no_grad():
            values = part(images.clone()).double().flatten(1)
        rows = torch.cat(
            [torch.randn(4, values.shape[1], dtype=torch.float64, generator=draw), torch.eye(*[values.shape[1]] * 2)]
        )
        for linear in (False, True):
            trace = Trace(read(part, shape, torch.float64), [k], linear=linear, rounding=True)
            box = trace.boxes[-1]
            assert (values <= box.high.flatten(1) + 1e-12).all(), (kind.__name__, end, linear)
            assert (values >= box.low.flatten(1) - 1e-12).all(), (kind.__name__, end, linear)
            assert (values @ rows.T <= trace.highest(rows) + 1e-12).all(), (kind.__name__, end, linear)


@pytest.mark.parametrize("kind", ZOO)
def test_linear_is_no_looser_and_both_grow_with_k(kind):
    shape = SHAPES[1]
    network, ks = random_network(kind, shape, 3), range(13)
    interval, linear = (bounds(network, facts(shape), ks, method).probability for method in ("interval", "linear"))
    assert (linear <= interval).all()
    for proved in (interval, linear):
        assert (proved.diff(dim=0) >= 0).all()
        assert (proved >= 0).all()
        assert (proved <= 1).all()


def test_interval_bounds_grow_with_k_by_themselves():
    for kind in ZOO:
        steps = read(random_network(kind, SHAPES[0], 5), SHAPES[0], torch.float64)
        trace = Trace(steps, range(17), linear=False, rounding=True)
        assert (trace.highest(torch.eye(OUTPUTS, dtype=torch.float64)).diff(dim=0) >= -1e-9).all(), kind.__name__


def test_linear_bounds_are_tighter_where_layers_are_deep():
    tighter = 0
    for seed in range(5):
        network = random_network(ZOO[0], SHAPES[0], seed, 1.0)
        interval, linear = (
            bounds(network, facts(SHAPES[0]), [3], method).probability for method in ("interval", "linear")
        )
        tighter += bool((linear < interval - 1e-3).any())
    assert tighter == 5


def test_several_ks_at_once_are_each_alone():
    network = random_network(ZOO[2], SHAPES[1], 1)
    for method in ("interval", "linear"):
        together = bounds(network, facts(SHAPES[1]), (7, 0, 3, 3, 99), method)
        assert together.ks == (7, 0, 3, 3, 99)
        for k, row in zip(together.ks, together.probability, strict=True):
            alone = bounds(network, facts(SHAPES[1]), [k], method).probability[0]
            assert (row <= alone + 1e-12).all()  # a proof at a larger k may be the better one
            assert method == "linear" or (row >= alone - 1e-12).all()
    assert torch.equal(together.probability[4], bounds(network, facts(SHAPES[1]), [12], "linear").probability[0])
    assert bounds(network, facts(SHAPES[1]), []).probability.shape == (0, REAL)


def test_the_mode_a_network_is_in_makes_no_difference():
    network = random_network(ZOO[1], SHAPES[1], 1)
    expected = bounds(network, facts(SHAPES[1]), [2]).probability
    network.train()
    assert torch.equal(bounds(network, facts(SHAPES[1]), [2]).probability, expected)
    assert network.training


def test_chunks_change_nothing(monkeypatch):
    network = random_network(ZOO[2], SHAPES[1], 1)
    expected = bounds(network, facts(SHAPES[1]), [4]).probability
    monkeypatch.setattr("bench.proof.trace.CHUNK", 1)
    torch.testing.assert_close(bounds(network, facts(SHAPES[1]), [4]).probability, expected, rtol=0, atol=1e-12)


def test_a_network_with_one_output_is_always_sure():
    network = nn.Sequential(nn.Flatten(), nn.Linear(prod(SHAPES[0]), 1))
    assert bounds(network, facts(SHAPES[0], 1), [0, 5]).probability.tolist() == [[1], [1]]
