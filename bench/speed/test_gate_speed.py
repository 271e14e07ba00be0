"""What the gate of distances costs: a pass through it, forward and back to the pixels, against its network's alone.

Run with `pytest bench/speed`. The sides take turns, each in processor time at its fastest. It is fitted to few images,
which costs as much as to all: it keeps as many references.
"""

from __future__ import annotations

import torch

from bench.materials.networks import wide
from bench.speed.clock import timed
from defenses.familiar import Familiar

BATCH, REPEATS = 100, 20
MOST = 2.5  # times the network's own passes, for the gate alone


def forward_and_back(network, images) -> None:
    torch.autograd.grad(network(images).sum(), images)


def test_the_gate_costs_at_most_two_and_a_half_times_its_network(benchmark, mnist):
    draw = torch.Generator().manual_seed(0)
    gate, network = Familiar(mnist.spec), wide(mnist.spec, 2 * mnist.spec.real_classes)
    gate.fit(mnist.a_train[:3000], generator=draw)
    gate.close()
    images = mnist.test.images[:BATCH].clone().requires_grad_()
    for part in (gate, network):
        part.eval().requires_grad_(False)
    own = gates = float("inf")
    for _ in range(REPEATS):
        own = min(own, timed(lambda: forward_and_back(network, images))[0])
        gates = min(gates, timed(lambda: forward_and_back(gate, images))[0])
    benchmark.extra_info.update(ratio=gates / own, network_seconds=own)
    benchmark.pedantic(forward_and_back, args=(gate, images), rounds=3)
    assert gates <= MOST * own
