"""The inner maximum is the true one where that is known, and looking for it changes nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from defenses.linf import random_start, worst


def linear(weight):
    network = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([weight.flatten(), torch.zeros(weight.numel())]))
    return network


def images(n=50):
    return torch.rand(n, 1, 3, 4, generator=torch.Generator().manual_seed(1))


def test_on_a_linear_network_it_is_the_corner_that_the_weights_point_at():
    weight = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    start = random_start(images(), 0.2, torch.Generator().manual_seed(2))
    found = worst(linear(weight), lambda z: z[:, 0], images(), start, radius=0.2, step=0.01, steps=40)
    torch.testing.assert_close(found, (images() + 0.2 * weight.sign()).clamp(0, 1))
    assert not found.requires_grad


def test_a_start_outside_the_ball_is_brought_back():
    found = worst(
        linear(torch.zeros(1, 3, 4)), lambda z: z[:, 0], images(), images() + 5, radius=0.1, step=0.1, steps=1
    )
    assert (found - images()).abs().amax() <= 0.1 + 1e-6
    assert found.amax() <= 1


def test_what_was_best_is_kept_where_steps_lead_past_it():
    peak = images()

    class Peak(nn.Module):
        def forward(self, x):
            return -((x - peak) ** 2).flatten(1)

    start = peak + 0.01
    found = worst(Peak(), lambda z: z.sum(1), peak, start, radius=0.3, step=0.25, steps=3)
    assert torch.equal(found, start.clamp(0, 1))


def test_the_last_step_is_looked_at():
    found = worst(linear(torch.ones(1, 3, 4)), lambda z: z[:, 0], images(), images(), radius=0.1, step=0.1, steps=1)
    torch.testing.assert_close(found, (images() + 0.1).clamp(0, 1))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_answers_in_eval_mode_and_is_left_as_it_was(training):
    modes = []

    class Watched(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x.flatten(1))

    network = Watched(12, 2).train(training)
    worst(network, lambda z: z[:, 0], images(), images(), radius=0.1, step=0.1, steps=2)
    assert modes == [False] * 3
    assert network.training is training
    assert all(weight.grad is None for weight in network.parameters())


def test_random_starts_fill_the_ball_and_repeat():
    first, again = (random_start(images(500), 0.3, torch.Generator().manual_seed(0)) for _ in range(2))
    moved = first - images(500)
    assert torch.equal(first, again)
    assert 0.29 < moved.amax() <= 0.3
    assert -0.3 <= moved.amin() < -0.29
    assert moved.mean().abs() < 0.01
