"""Networks that the tests of attacks share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attack_table import TABLE

from bench.materials.data import Data, load
from bench.materials.networks import NETWORKS, build
from bench.materials.training import train_classifier


@pytest.fixture(params=TABLE, ids=lambda entry: entry.name)
def entry(request):
    return request.param


@pytest.fixture
def attack(entry):
    return entry.attack


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Data:
    return load("digits", root=Path(tmp_path_factory.mktemp("data")), seed=0, allow_download=False)


@pytest.fixture(scope="session", params=("cnn", "mlp"))  # the small ones, whose sparsest images are few pixels
def digits_network(request, digits):
    """An undefended network, trained for a second."""
    network = build(NETWORKS[request.param], digits.spec, digits.spec.real_classes, seed=0)
    generator = torch.Generator().manual_seed(0)
    return train_classifier(network, digits.a_train, generator=generator, epochs=30)
