"""Networks fit any image shape, are made of what the proof can bound, and follow from a seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.materials.networks import NETWORKS, build, cnn, mlp, other
from bench.types import ImageSpec

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 5, 7), (3, 1, 1), (1, 64, 3), (3, 17, 33)]
sides = st.integers(1, 64)


def facts(channels: int, height: int, width: int) -> ImageSpec:
    return ImageSpec((channels, height, width), 255, ("a", "b", "c"))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_fits_the_shape_and_sees_every_pixel(name, shape):
    network = build(NETWORKS[name], facts(*shape), 5, seed=0)
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = network(images)
    assert logits.shape == (3, 5)
    # Random filters leave single ReLUs shut: over a few networks every pixel has to count somewhere.
    reach = torch.zeros(shape)
    for seed in range(4):
        logits = build(NETWORKS[name], facts(*shape), 5, seed)(images)
        reach += torch.autograd.grad(logits.square().sum(), images)[0].abs().sum(dim=0)
    assert (reach > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3]), sides, sides, st.integers(2, 20), st.sampled_from(sorted(NETWORKS)))
def test_any_shape_and_any_number_of_outputs(channels, height, width, outputs, name):
    network = build(NETWORKS[name], facts(channels, height, width), outputs, seed=1).eval()
    images = torch.rand(4, channels, height, width)
    logits = network(images)
    assert logits.shape == (4, outputs)
    assert torch.isfinite(logits).all()
    assert sum(p.numel() for p in network.parameters()) < 4_000_000
    # Images of a batch don't touch one another: an active set may drop some at any time.
    torch.testing.assert_close(network(images[2:3]), logits[2:3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_layers_that_the_proof_can_bound(name):
    layers = list(build(NETWORKS[name], facts(1, 28, 28), 5, seed=0).children())
    assert {type(layer) for layer in layers} <= {nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten}
    weighted = [layer for layer in layers if not isinstance(layer, nn.Flatten)]
    assert isinstance(weighted[0], nn.Linear | nn.Conv2d), "the first layer has to see the pixels themselves"


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_follow_from_the_seed_and_nothing_else(name):
    spec = facts(1, 8, 8)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build(NETWORKS[name], spec, 5, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = build(NETWORKS[name], spec, 5, seed=3).state_dict()
    different = build(NETWORKS[name], spec, 5, seed=4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], different[key]) for key in first)


def test_a_derived_63_bit_seed_is_taken():
    build(mlp, facts(1, 8, 8), 5, seed=2**63 - 1)


def test_network_b_has_another_architecture():
    assert other("mlp") is cnn
    assert other("cnn") is mlp
    assert other("") in (mlp, cnn)
