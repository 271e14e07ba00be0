"""The bounds are of the network as float32 runs it, not only of the one on paper."""

from __future__ import annotations

import math

import pytest
import torch
from proof_zoo import facts
from torch import nn

from bench.errors import BadInputError, NonFiniteError
from bench.proof.bounds import bounds, proved_to, upper_logit
from bench.proof.rounding import UNIT, gamma
from bench.proof.steps import read
from bench.proof.trace import Trace

SHAPE = (1, 8, 8)


def cancelling(seed: int) -> nn.Sequential:
    """Two logits whose difference on the white image is 0 on paper, left over from terms of a million."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([1e6 * torch.rand(64), torch.zeros(64)]))
        network[1].bias.copy_(torch.stack([-network[1].weight[0].double().sum().float(), torch.tensor(0.0)]))
    return network


def test_float32_can_exceed_the_truth_and_not_the_bound():
    exceeded = 0
    white = torch.ones(1, *SHAPE)
    for seed in range(60):
        network = cancelling(seed)
        with torch.no_grad():
            run = network(white).softmax(dim=1)[0, 0].double()
            truth = network.double()(white.double()).softmax(dim=1)[0, 0]  # the highest over S_64: weights are positive
        exceeded += bool(run > truth + 1e-4)
        proved = bounds(network.float(), facts(SHAPE, 2), [64]).probability[0, 0]
        assert run <= proved
    assert exceeded > 5, "no rounding error to guard against: make the terms larger"


def test_errors_of_all_layers_reach_the_output():
    """The same behind a ReLU and another layer: a bound without error terms is exceeded."""
    exceeded = 0
    white = torch.ones(1, *SHAPE)
    for seed in range(60):
        layer = cancelling(seed)[1]
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, 1))
        with torch.no_grad():
            network[1].weight.copy_(layer.weight[:1])
            network[1].bias.copy_(layer.bias[:1] + 8)
            network[3].weight.fill_(1)
            network[3].bias.fill_(0)
            run = float(network(white))
            paper = float(upper_logit(network.double(), facts(SHAPE, 1), 64))
        exceeded += run > paper + 1e-4
        two = nn.Sequential(*network.float()[:3], nn.Linear(1, 2))
        with torch.no_grad():
            two[3].weight.copy_(torch.tensor([[1.0], [0]]))
            two[3].bias.copy_(torch.tensor([-8.0, 0]))
            probability = two(white).softmax(dim=1)[0, 0].double()
        for method in ("interval", "linear"):
            assert probability <= bounds(two, facts(SHAPE, 2), [64], method).probability[0, 0]
    assert exceeded > 5


@pytest.mark.parametrize("k", [0, 5, 64])
def test_the_error_is_gamma_times_the_mass_on_sparse_images(k):
    network = cancelling(0)
    weight, bias = network[1].weight.detach().double(), network[1].bias.detach().double()
    trace = Trace(read(network, SHAPE, torch.float64), [k], linear=True, rounding=True)
    mass = weight.abs().sort(dim=1, descending=True).values[:, :k].sum(dim=1) + bias.abs()
    torch.testing.assert_close(trace.carriers[1].error[0], gamma(64) * mass, rtol=1e-9, atol=1e-30)


def test_gamma_is_a_little_more_than_the_terms_times_the_unit():
    assert 102 * UNIT < gamma(100) < 1.02 * 102 * UNIT
    with pytest.raises(BadInputError, match="terms"):
        gamma(2**23)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_that_are_not_finite_are_refused(bad, name):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        getattr(network[3], name).flatten()[1] = bad
    for prove in (lambda: bounds(network, facts(SHAPE), [1]), lambda: proved_to(network, facts(SHAPE), (0.9,) * 3)):
        with pytest.raises(NonFiniteError, match="Linear"):
            prove()


def test_running_statistics_that_make_no_sense_are_refused():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 3))
    network[0].running_var.fill_(math.nan)
    with pytest.raises(NonFiniteError):
        bounds(network, facts(SHAPE), [1])


def test_a_network_that_could_overflow_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        for layer in (network[1], network[3]):
            layer.weight.fill_(1e30)
    with pytest.raises(NonFiniteError, match="overflow"):
        bounds(network, facts(SHAPE), [1])


def test_an_average_whose_sum_overflows_is_refused():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(8), nn.Flatten(), nn.Hardtanh(), nn.Linear(1, 3))
    with torch.no_grad():
        network[0].weight.fill_(2.0**122)
    assert not network[:2](torch.ones(1, 1, 8, 8)).isfinite().all()
    with pytest.raises(NonFiniteError, match="overflow"):
        bounds(network, facts(SHAPE), [64])
