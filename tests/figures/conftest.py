"""Networks whose bounds are known on paper, and small stored files whose every figure is known."""

from __future__ import annotations

import pytest
import torch
from planted_figures import KEY, SPEC
from torch import nn

from bench.figures.record import (
    Curve,
    CurveRow,
    GateFigures,
    Growth,
    GrowthRow,
    Tightness,
    TightNetwork,
    TightRow,
)
from defenses.gate import gate_network


@pytest.fixture
def linear() -> nn.Module:
    """z_0 - z_1 is 1 at eight pixels and -1/2 at the others, less 3."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[0, :8], network[1].weight[0, 8:] = 1, -0.5
        network[1].bias.copy_(torch.tensor([-3.0, 0.0]))
    return network.eval()


@pytest.fixture
def counting() -> nn.Sequential:
    """A gate that does nothing but count: OPEN from five lit pixels on, STEEP less for each that is missing."""
    gate = gate_network(SPEC)
    with torch.no_grad():
        gate[3].weight[1:], gate[3].bias[1:], gate[5].bias[1] = 0, 0, 0
        gate[3].bias[0] += 5
    return gate.eval()


def figures(**changed) -> GateFigures:
    facts = {"proved": 16, "open": 0.91, "above": 0.92, "accuracy": 0.93, "confident": 0.94, "noise": 0.95}
    return GateFigures(**(facts | {"shuffled": 0.96, "seconds": 7.5} | changed))


@pytest.fixture
def curve() -> Curve:
    rows = {
        "15": CurveRow(
            key=KEY,
            revision="abc",
            k=15,
            ceiling=0.99,
            ceiling_confident=0.98,
            gate=figures(),
            rival=figures(proved=15, above=0.62, seconds=3),
        )
    }
    return Curve(
        command="python -m bench.figures curve --dataset planted",
        seed=3,
        settings={"dataset": "planted", "network": "cnn", "seed": 3, "p": 0.9},
        revision="abc",
        dataset="planted",
        network="cnn",
        p=0.9,
        images=360,
        sparsest=16,
        accuracy=0.9712,
        confident=0.9534,
        weights="f" * 64,
        planned=(5, 15),
        rows=rows,
    )


@pytest.fixture
def tightness() -> Tightness:
    facts = {"key": KEY, "revision": "abc", "seconds_interval": 0.25, "seconds_linear": 0.5}
    rows = {
        "2": TightRow(k=2, interval=(1, 0.8), linear=(0.6, 0.9), found=(0.5, 0.3), by=("x", "y"), **facts),
        "10": TightRow(k=10, interval=(1, 1), linear=(0.97, 0.95), found=(0.95, 0.2), by=("x", "x"), **facts),
    }
    network = TightNetwork(
        command="python -m bench.figures tightness --weights w --network cnn",
        accuracy=0.9712,
        weights="f" * 64,
        proved_interval=None,
        proved=2,
        rows=rows,
    )
    return Tightness(
        command="python -m bench.figures tightness",
        seed=3,
        settings={"dataset": "planted", "targets": 10, "passes": 1000, "p": 0.9, "seed": 3},
        revision="abc",
        dataset="planted",
        p=0.9,
        attacks=("x", "y"),
        planned=(2, 10, 20),
        networks={"mine": network},
    )


@pytest.fixture
def growth() -> Growth:
    row = GrowthRow(key=KEY, revision="abc", series="k", network="mlp", k=7, interval=0.02, linear=0.3, forward=0.01)
    return Growth(
        command="python -m bench.figures growth",
        seed=3,
        settings={"repeats": 5, "seed": 3},
        revision="abc",
        images=1000,
        shape=(1, 28, 28),
        planned=("one", "two"),
        rows={"one": row},
    )
