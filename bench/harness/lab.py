"""What every run of a data set shares: data, judges, and the two undefended networks, trained once and cached."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import nn

from bench.harness.provenance import code_hash, digest, source_hash
from bench.harness.settings import Settings
from bench.materials.data import Data, load
from bench.materials.gate import apart
from bench.materials.judge import FittedJudge, measuring_judge, training_judge
from bench.materials.networks import build, other
from bench.materials.split import Split
from bench.materials.training import default_epochs, train_classifier
from bench.seeds import derive, generator
from bench.store import LOCKS, Store, StoreError
from bench.types import NetworkFactory
from bench.verify import logits_of

ROLES = ("control", "network-b")


def unshaped(factory: NetworkFactory) -> NetworkFactory:
    """A network as it is, where no defense shapes it."""
    return factory


class Lab:
    """Data, judges, control and network B of one run; each made when first asked for.

    Args:
        settings: names the data set, seed and device.
        factory: the architecture under test; the control is the classifier behind its gates, if it has any.
        say: told what long step begins.
    """

    def __init__(self, settings: Settings, factory: NetworkFactory, say: Callable[[str], None]):
        self.settings = settings
        self.factory = factory
        _, self.classifier = apart(factory)
        self.say = say
        self.device = torch.device(settings.device)

    @cached_property
    def data(self) -> Data:
        return load(
            self.settings.dataset,
            root=self.settings.data_root,
            seed=self.settings.seed,
            allow_download=self.settings.download,
        )

    @cached_property
    def training_judge(self) -> FittedJudge:
        """Fitted on half A; defenses may use it."""
        self.say("fitting the training judge")
        half = self.data.a_train
        return training_judge(half.images, half.labels, seed=derive(self.settings.seed, "training judge"))

    @cached_property
    def measuring_judge(self) -> FittedJudge:
        """Fitted on half B; no defense can reach it."""
        self.say("fitting the measuring judge")
        half = self.data.b_train
        return measuring_judge(half.images, half.labels, seed=derive(self.settings.seed, "measuring judge"))

    @cached_property
    def control(self) -> nn.Module:
        """The architecture under test, without gates, with K outputs, trained on half A, undefended."""
        return self.trained("control", self.classifier, self.data.a_train, self.data.a_val)

    @cached_property
    def network_b(self) -> nn.Module:
        """Another architecture, trained on half B, undefended."""
        return self.trained("network-b", other(self.classifier), self.data.b_train, self.data.b_val)

    def new_network(
        self, outputs: int, seed: int, shape: Callable[[NetworkFactory], NetworkFactory] = unshaped
    ) -> nn.Module:
        """An untrained network of the architecture under test, shaped by a defense, on the run's device."""
        return build(shape(self.factory), self.data.spec, outputs, seed).to(self.device)

    def forget(self) -> None:
        """Drop the cached networks of this run's settings."""
        for role in ROLES:
            self._store(role).clear(keep=(LOCKS,))

    def _store(self, role: str) -> Store:
        key = digest(
            {
                "role": role,
                "asked": [getattr(self.settings, name) for name in ("seed", "network", "device", "threads")],
                "made of": [self.data.fingerprint, code_hash(), source_hash(self.classifier), torch.__version__],
            }
        )[:16]
        return Store(self.settings.run_root / "cache" / f"{role}-{key}")

    def trained(self, role: str, factory: NetworkFactory, train_on: Split, validation: Split) -> nn.Module:
        """An undefended network: from the cache of the run root, or trained and put there."""
        seed = derive(self.settings.seed, role)
        network = build(factory, self.data.spec, self.data.spec.real_classes, seed).to(self.device)
        store = self._store(role)

        def train() -> None:
            self.say(f"training {role.replace('-', ' ')}")
            train_classifier(
                network, train_on, generator=generator(seed, "batches"), epochs=default_epochs(len(train_on))
            )

        from_cache(store, network, train, validation, f"cached {role}", "use --fresh")
        return network


def from_cache(
    store: Store, network: nn.Module, train: Callable[[], object], validation: Split, what: str, remedy: str
) -> float:
    """Stored weights, re-scored before they are believed; else trained, scored and stored -> the accuracy.

    Args:
        network: gets the weights, and is left in eval mode.
        train: trains it in place.
        validation: what it is scored on.
        what, remedy: for the message: what scores otherwise, and what to do.

    Raises:
        StoreError: the stored weights do not score what they did.
    """
    with store.working("network.safetensors"):
        if store.has("score.json"):
            network.load_state_dict(store.load_tensors("network.safetensors"))
            score = accuracy(network, validation)
            if score != store.load_json("score.json")["accuracy"]:
                raise StoreError(f"{store.folder}: the {what} scores {score}, not what it did; {remedy}")
        else:
            train()
            score = accuracy(network, validation)
            store.save_tensors("network.safetensors", network.state_dict())
            store.save_json("score.json", {"accuracy": score})
    network.eval()
    return score


def accuracy(network: nn.Module, real: Split) -> float:
    """Share of real images whose class is predicted."""
    return float((logits_of(network, real.images).argmax(dim=1) == real.labels).double().mean())
