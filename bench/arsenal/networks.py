"""The undefended networks of `strength`, trained once on half A and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bench.arsenal.sources import sources
from bench.errors import BadInputError
from bench.harness.lab import from_cache
from bench.harness.provenance import digest, source_hash
from bench.materials.data import Data
from bench.materials.networks import build, mlp
from bench.materials.training import default_epochs, train_classifier
from bench.seeds import derive, generator
from bench.store import Store
from bench.types import ImageSpec, NetworkFactory

KERNEL, STRIDE = 4, 2
CHANNELS = (16, 32)


def strided_cnn(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """Two 4x4 convolutions of stride 2, no padding: images [N, C, H, W] in [0, 1] -> logits [N, outputs].

    Raises:
        BadInputError: images too small for it.
    """
    channels, *sides = spec.shape
    first, second = CHANNELS
    height, width = (_after(_after(side)) for side in sides)
    if min(height, width) < 1:
        raise BadInputError(f"--network cnn-strides: images of {spec.shape}; expected sides of at least 10: take mlp")
    return nn.Sequential(
        nn.Conv2d(channels, first, KERNEL, STRIDE),
        nn.ReLU(),
        nn.Conv2d(first, second, KERNEL, STRIDE),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * height * width, outputs),
    )


def _after(side: int) -> int:
    return (side - KERNEL) // STRIDE + 1


NETWORKS: dict[str, NetworkFactory] = {"mlp": mlp, "cnn-strides": strided_cnn}


def trained(name: str, data: Data, seed: int, cache: Path) -> tuple[nn.Module, float]:
    """One of `NETWORKS`, trained on half A's training images -> itself, its accuracy on half A's validation images.

    From the cache, re-scored before it is believed; else trained and cached.

    Raises:
        StoreError: the cached weights do not score what they did.
    """
    seed = derive(seed, "arsenal", name)
    network = build(NETWORKS[name], data.spec, data.spec.real_classes, seed)
    store = Store(cache / f"arsenal-{name}-{_key(name, data, seed)[:16]}")

    def train() -> None:
        epochs = default_epochs(len(data.a_train))
        train_classifier(network, data.a_train, generator=generator(seed, "batches"), epochs=epochs)

    return network, from_cache(store, network, train, data.a_val, "cached network", "delete the folder")


def _key(name: str, data: Data, seed: int) -> str:
    code = [source_hash(strided_cnn), sources("bench.materials.networks", "bench.materials.training")]
    return digest([name, data.fingerprint, seed, *code, torch.__version__, torch.get_num_threads()])


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a network's weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(f"{name}{tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
