"""The network that the speed runs attack: the small CNN, undefended, trained for seconds on real MNIST."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from bench.materials.data import load
from bench.materials.networks import build, cnn
from bench.materials.training import train_classifier
from bench.verify import logits_of

TRAINING_IMAGES = 20_000


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist():
    root = Path(os.environ.get("DISTAL_DATA_ROOT", Path(__file__).parents[2] / "data"))
    return load("mnist", root=root, seed=0, allow_download=False)


@pytest.fixture(scope="session")
def network(mnist):
    untrained = build(cnn, mnist.spec, mnist.spec.real_classes, seed=0)
    generator = torch.Generator().manual_seed(0)
    trained = train_classifier(untrained, mnist.a_train[torch.arange(TRAINING_IMAGES)], generator=generator, epochs=3)
    held_out = mnist.a_val
    assert (logits_of(trained, held_out.images).argmax(dim=1) == held_out.labels).float().mean() > 0.95
    return trained
