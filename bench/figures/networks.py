"""The networks that are measured: classifiers trained as `sparse_gate` trains its own, and gates."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bench.arsenal.networks import fingerprint
from bench.figures.rows import made_of
from bench.harness.lab import from_cache
from bench.harness.registry import NETWORKS
from bench.materials.data import Data
from bench.materials.networks import build
from bench.seeds import derive, generator
from bench.store import Store
from defenses.gate import gate_network, train_gate
from defenses.sparse_gate import learn

MODULES = ("bench.materials.networks", "bench.materials.training", "bench.materials.gate", "bench.proof.bounds")
DEFENSE = ("defenses.gate", "defenses.sparse_gate", "bench.figures.networks")  # the files alone


class Certain(nn.Module):
    """The classifier that says the same of every image [N, C, H, W] -> zeros [N, outputs].

    No prover reads it, so of a gate before it just the gate is bounded.
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), self.outputs)


def trained(name: str, data: Data, seed: int, cache: Path) -> nn.Module:
    """A classifier with K outputs, trained on half A's training images as `sparse_gate` trains its own.

    From the cache, re-scored before it is believed; else trained and cached.

    Raises:
        BadInputError: no such network.
        StoreError: the cached weights do not score what they did.
    """
    network = build(NETWORKS.load(name), data.spec, data.spec.real_classes, derive(seed, "sparse_gate"))
    key = made_of(name, data.fingerprint, seed, modules=MODULES[:2], alone=DEFENSE[1:])
    store = Store(cache / f"figures-{name.replace(':', '-')}-{key[:16]}")
    from_cache(
        store,
        network,
        lambda: learn(network, data.a_train, data.spec, seed),
        data.a_val,
        "cached network",
        "delete the folder",
    )
    return network


def trained_gate(data: Data, k: int, seed: int) -> nn.Sequential:
    """`sparse_gate`'s gate, trained on half A's training images to k."""
    gate = build(lambda spec, outputs: gate_network(spec), data.spec, 1, derive(seed, "gate"))
    train_gate(gate, data.a_train, data.spec, k, generator=generator(seed, "gate"))
    return gate.eval()


def weights_of(network: nn.Module) -> str:
    """SHA-256 of a network's weights."""
    return fingerprint({name: tensor for name, tensor in network.state_dict().items() if torch.is_tensor(tensor)})
