"""The gate shuts on few lit pixels, provably, and stays open to real images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.errors import BadInputError
from bench.harness.registry import NETWORKS
from bench.materials.data import load
from bench.materials.gate import Gated
from bench.materials.networks import build, cnn, mlp
from bench.proof.bounds import bounds, upper_logit
from bench.types import ImageSpec, lit_pixels
from defenses import gate as module
from defenses.gate import OPEN, SHUT, gate_network, gated, most_to_prove, oddities, train_gate


@pytest.fixture(scope="module")
def digits():
    return load("digits", root=Path(), seed=0, allow_download=False)


@pytest.fixture(scope="module")
def trained(digits):
    """A gate trained in seconds, and the k it was trained to."""
    found = build(lambda spec, outputs: gate_network(spec), digits.spec, 1, seed=0)
    k = most_to_prove(digits.a_train.images)
    train_gate(found, digits.a_train, digits.spec, k, generator=torch.Generator().manual_seed(0))
    return found, k


def with_lit(k: int, count: int, spec: ImageSpec, draw: torch.Generator) -> torch.Tensor:
    """Images with k pixels lit at random, at full brightness."""
    order = torch.rand(count, spec.pixels, generator=draw).argsort(dim=1)
    return (order < k).float().view(count, *spec.shape)


def test_the_bound_over_few_pixels_is_at_most_shut(trained, digits):
    gate, k = trained
    assert float(upper_logit(gate, digits.spec, k)) <= SHUT + 1e-4


def test_no_image_with_few_lit_pixels_opens_it_and_a_few_more_can(trained, digits):
    gate, k = trained
    draw = torch.Generator().manual_seed(1)
    assert (gate(with_lit(k, 5000, digits.spec, draw)) <= SHUT + 1e-3).all()
    assert float(upper_logit(gate, digits.spec, k + 4)) > 0


def test_real_images_with_more_lit_pixels_pass(trained, digits):
    gate, k = trained
    real = digits.test.images[lit_pixels(digits.test.images) > k + 1]
    assert (gate(real).sigmoid() > 0.95).double().mean() > 0.98


def test_what_is_odd_is_shut_out_however_many_pixels_it_lights(trained, digits):
    gate, _ = trained
    odd = oddities(digits.test.images, torch.Generator().manual_seed(2))
    assert (gate(odd).sigmoid() < 0.5).double().mean() > 0.8


def test_oddness_can_not_open_what_the_count_shuts(digits):
    gate = gate_network(digits.spec)
    with torch.no_grad():
        gate[3].bias[0] += 1 - most_to_prove(digits.a_train.images)
        for layer in (gate[3], gate[5]):
            layer.weight[1:].normal_(std=100, generator=torch.Generator().manual_seed(3))
        gate[5].weight[1, 0] = 0
    few = with_lit(5, 1000, digits.spec, torch.Generator().manual_seed(4))
    assert gate(torch.cat([few, digits.test.images])).amax() <= OPEN


def test_the_same_draws_give_the_same_gate_and_it_is_left_frozen(digits, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 20)

    def weights(seed):
        gate = build(lambda spec, outputs: gate_network(spec), digits.spec, 1, seed=0)
        train_gate(gate, digits.a_train, digits.spec, 15, generator=torch.Generator().manual_seed(seed))
        assert not any(weight.requires_grad for weight in gate.parameters())
        return gate.state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_even_a_gate_whose_training_is_cut_short_is_proved(digits, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 1)
    gate = build(lambda spec, outputs: gate_network(spec), digits.spec, 1, seed=0)
    train_gate(gate, digits.a_train, digits.spec, 30, generator=torch.Generator().manual_seed(0))
    assert float(upper_logit(gate, digits.spec, 30)) <= SHUT + 1e-4


def test_a_white_pixel_of_a_colour_image_counts_once():
    spec = ImageSpec((3, 5, 5), 255, ("a", "b"))
    gate = gate_network(spec)
    with torch.no_grad():
        gate[3].weight[1:] = 0
        gate[3].bias[1:] = 0
        gate[5].bias[1] = 0
        gate[3].bias[0] += 8
    images = with_lit(7, 20, ImageSpec((1, 5, 5), 255, ("a", "b")), torch.Generator().manual_seed(0))
    torch.testing.assert_close(gate(images.expand(-1, 3, -1, -1)), torch.full((20, 1), OPEN - 10), atol=1e-3, rtol=0)
    assert float(upper_logit(gate, spec, 7)) == pytest.approx(OPEN - 10, abs=1e-3)


def test_a_gated_network_has_one_output_more_than_its_classifier(digits):
    network = build(gated(mlp), digits.spec, 11, seed=0)
    logits = network(digits.test.images[:5])
    assert logits.shape == (5, 11)
    inside = network.classifier(digits.test.images[:5]).softmax(1) * network.gate(digits.test.images[:5]).sigmoid()
    torch.testing.assert_close(logits.softmax(1)[:, :10], inside, atol=1e-6, rtol=1e-4)


def test_the_bound_of_a_gated_network_is_its_gates(trained, digits):
    network = Gated(build(cnn, digits.spec, 10, seed=0), trained[0])
    found = bounds(network, digits.spec, [trained[1]]).probability
    assert (found <= torch.sigmoid(torch.tensor(SHUT)) + 1e-3).all()


def test_a_network_behind_a_gate_can_be_named():
    assert isinstance(NETWORKS.load("gated:mlp")(ImageSpec((1, 4, 4), 16, ("a", "b")), 3), Gated)
    with pytest.raises(BadInputError, match="mpl: unknown network; did you mean 'mlp'"):
        NETWORKS.load("gated:mpl")
