"""The state behind the suites: every piece is made once, when first asked for, by whichever process asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BadInputError, NonFiniteError
from bench.harness.checks import session_findings
from bench.harness.evolution import Evolution
from bench.harness.frontier import frontier
from bench.harness.gallery import REFERENCE_PROCESS, Gallery
from bench.harness.generate import operating_point
from bench.harness.history import Past
from bench.harness.known import Known
from bench.harness.lab import Lab, accuracy
from bench.harness.measure import measure, prepare
from bench.harness.once import once
from bench.harness.perturbed import perturbed
from bench.harness.proof import proof
from bench.harness.provenance import code_hash, digest, source_hash
from bench.harness.registry import ATTACKS, DEFENSES, NETWORKS
from bench.harness.select import best_round, detection_rates, fooling_half, harmonic_score
from bench.harness.settings import Settings, config_of
from bench.harness.train import trained
from bench.health import Cause, Finding
from bench.materials.data import Data, Split
from bench.materials.gate import apart
from bench.materials.weights import load_weights, outputs_of
from bench.meter import Meter
from bench.record import AttackRow, CriterionRecord, Frontier, Perturbed, Proof
from bench.store import Store, StoreError
from bench.task import Defense
from bench.thresholds import Thresholds, load_thresholds
from bench.types import Attack, ImageSpec, ThreatModel
from bench.verdict.criteria import attack_rows, decide
from bench.verdict.measurement import Measurement
from bench.verify import Verified


class Session:
    """One run: what it was asked for, its folder, and everything measured.

    Args:
        settings: as asked for.
        say: told what long step begins.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda text: None):
        self.settings = settings
        self.say = say
        self.attacks: Mapping[str, Attack] = {}  # set by the fixture; empty in a process that makes no images
        self.gallery = Gallery(self)
        self.evolution = Evolution(self)
        self.known = Known(self)
        self._measurements: dict[int, Measurement] = {}
        self._broken: dict[int, Exception] = {}

    # What was asked for

    @cached_property
    def defense(self) -> Defense:
        if self.settings.checkpoint:  # nothing trains it, and no attack is training's
            return Defense(lambda task, recorder: iter(()), {})
        found = DEFENSES.load(self.settings.defense)
        if isinstance(found, Defense):
            return found
        if not callable(found):
            given = f"--defense {self.settings.defense}"
            raise BadInputError(f"{given}: {found!r}; expected a generator function of (task, recorder)")
        return Defense(found, {})

    @cached_property
    def lab(self) -> Lab:
        factory = NETWORKS.load(self.settings.network)
        if not callable(factory):
            given = f"--network {self.settings.network}"
            raise BadInputError(f"{given}: {factory!r}; expected a function of (spec, outputs)")
        return Lab(self.settings, factory, self.say)

    @property
    def data(self) -> Data:
        return self.lab.data

    @property
    def spec(self) -> ImageSpec:
        return self.data.spec

    @property
    def k(self) -> int:
        """Most lit pixels of a sparse image."""
        return self.settings.k if self.settings.k is not None else self.data.default_k

    @cached_property
    def thresholds(self) -> Thresholds:
        return load_thresholds(self.settings.dataset, self.settings.thresholds)

    @cached_property
    def default_thresholds(self) -> Thresholds:
        return load_thresholds(self.settings.dataset)

    @cached_property
    def config(self) -> dict[str, Any]:
        """All that decides this run's figures; its hash names the run."""
        settings = self.settings
        gates, classifier = apart(NETWORKS.load(settings.network))
        own = [classifier, *gates]
        if not settings.checkpoint:
            own.append(DEFENSES.load(settings.defense))
        return config_of(
            settings,
            k=self.k,
            data=self.data.fingerprint,
            code=code_hash(),
            torch=torch.__version__,
            thresholds=self.thresholds.model_dump(mode="json"),
            weights=digest(settings.checkpoint.read_bytes().hex()) if settings.checkpoint else None,
            sources=[source_hash(thing) for thing in (*own, *map(ATTACKS.load, settings.attacks))],
        )

    @cached_property
    def store(self) -> Store:
        """The run's folder.

        Raises:
            BadInputError: it can't be written, or was made with other settings.
        """
        settings = self.settings
        kind, _, rest = settings.dataset.partition(":")
        words = (f"{kind}_{Path(rest).name}", settings.subject, settings.seed, digest(self.config)[:10])
        name = "-".join(re.sub(r"[^\w.]+", "_", str(word)).strip("_")[-40:] for word in words)
        store = Store(settings.run_dir or settings.run_root / name)
        if not store.has("config.json"):
            store.save_json("config.json", self.config)
        stored = store.load_json("config.json")
        if not isinstance(stored, dict):
            raise BadInputError(f"run directory {store.folder}: config.json is no run's; name another with --run-dir")
        if stored != self.config:
            differs = sorted(key for key in {*stored, *self.config} if stored.get(key) != self.config.get(key))
            raise BadInputError(
                f"run directory {store.folder} was made with other settings ({', '.join(differs)}); "
                "expected the same: name another with --run-dir, or leave that out"
            )
        return store

    @cached_property
    def checkpoint_network(self) -> nn.Module:
        """The user's trained weights in the network they were made for."""
        path = self.settings.checkpoint
        assert path is not None
        network = self.lab.new_network(outputs_of(path, self.lab.factory, self.spec), 0)
        load_weights(path, network)
        return network.eval()

    @cached_property
    def control(self) -> nn.Module:
        """The undefended control, a copy of its weights in the run's folder."""
        return self.kept("control", self.lab.control)

    @cached_property
    def network_b(self) -> nn.Module:
        """Network B, a copy of its weights in the run's folder."""
        return self.kept("network-b", self.lab.network_b)

    def kept(self, name: str, network: nn.Module) -> nn.Module:
        """A network from elsewhere, its weights stored with the run: whoever gets the folder can score images on it.

        Raises:
            StoreError: the run was made with other weights of that name.
        """
        file, weights = f"{name}.safetensors", network.state_dict()
        with self.store.working(file):
            if not self.store.has(file):
                self.store.save_tensors(file, weights)
            stored = self.store.load_tensors(file)
        if stored.keys() != weights.keys() or any(not torch.equal(stored[key], weights[key].cpu()) for key in stored):
            raise StoreError(f"{self.store.path(file)}: this run was made with other weights; use --fresh")
        return network

    # The history

    def new_network(self, outputs: int, seed: int) -> nn.Module:
        """An untrained network as the defense shapes it, on the run's device."""
        return self.lab.new_network(outputs, seed, self.defense.shape)

    @property
    def has_history(self) -> bool:
        """Whether there are rounds to measure criteria 2 to 5 on."""
        return bool(self.defense.attacks)

    @property
    def processes(self) -> tuple[str, ...]:
        """The attacks that some round used, or all of the defense's if none did; without a history the reference."""
        if not self.has_history:
            return (REFERENCE_PROCESS,)
        used = {past.images.attack for past in self.history if past.images}
        return tuple(name for name in self.defense.attacks if name in used) or tuple(self.defense.attacks)

    @cached_property
    def history(self) -> list[Past]:
        """Every round, trained by whichever process asks first; a checkpoint is the only round of its run."""
        if self.settings.checkpoint:
            return [Past(0, self.kept("checkpoint", self.checkpoint_network), None)]
        return trained(self)

    @cached_property
    def scores(self) -> list[float]:
        """The harmonic score of every round, all on the same sets."""
        classes = self.spec.real_classes
        sets: dict[str, Verified] = {}
        if self.has_history:
            for past in self.history:
                if past.images:
                    sets[f"heldout-{past.index}"] = fooling_half(past.images.heldout, classes, selecting=True)
            attacks = tuple(dict.fromkeys([*self.settings.attacks, *self.processes]))
            self.gallery.share(("network-b", name) for name in attacks)
            for name in attacks:
                sets[f"b-{name}"] = fooling_half(self.gallery.images("network-b", name), classes, selecting=True)
        scores = []
        for past, real in zip(self.history, self.accuracies, strict=True):
            rates = detection_rates(past.network, sets, classes, self.threat_of(past.network))
            scores.append(harmonic_score(real, list(rates.values())))
        return scores

    @cached_property
    def accuracies(self) -> list[float]:
        """The validation accuracy of every round."""
        return [accuracy(past.network, self.validation) for past in self.history]

    @cached_property
    def selected(self) -> int:
        """The round that is certified."""
        return best_round(self.scores, self.accuracies, len(self.validation))

    @property
    def final(self) -> nn.Module:
        """The network that is certified."""
        return self.history[self.selected].network

    def final_anew(self) -> nn.Module:
        """The certified network once more, from its factory and its weights."""
        network = self.new_network(self.spec.real_classes + self.final_fakes, 0)
        network.load_state_dict(self.final.state_dict())
        return network.eval()

    @property
    def final_fakes(self) -> int:
        """How many fake classes the certified network has."""
        return Meter(self.final, self.spec).fake_classes

    @cached_property
    def validation(self) -> Split:
        """Real images no network was trained on and no judge was fitted to: both halves' validation."""
        a, b = self.data.a_val, self.data.b_val
        return Split(torch.cat([a.images, b.images]), torch.cat([a.labels, b.labels]))

    def rounds_with_images(self) -> list[Past]:
        """Rounds up to the selected one that made images."""
        return [past for past in self.history if past.images and past.index <= self.selected]

    def rounds_before_selected(self) -> list[Past]:
        return self.history[: self.selected]

    def network_at(self, place: str) -> nn.Module:
        """The network of one of the gallery's places."""
        if place == "control":
            return self.control
        if place == "network-b":
            return self.network_b
        if place == "final":
            return self.final
        if place == "final-real":
            return RealClassesAlone(self.final, self.spec.real_classes)
        return self.history[int(place.removeprefix("round-"))].network

    def threat_of(self, network: nn.Module) -> ThreatModel:
        """The threat model with the network's own operating point."""
        return ThreatModel(operating_point(network, self.validation, self.spec.real_classes, self.settings.p), self.k)

    @cached_property
    def final_threat(self) -> ThreatModel:
        """The threat model of the certified network."""
        return self.threat_of(self.final)

    def add_cost(self, what: str, seconds: float, forward: int, backward: int) -> None:
        """Remember what a step cost, in seconds and image passes."""
        with self.store.working("cost.json"):
            costs = self.store.load_json("cost.json") if self.store.has("cost.json") else {}
            costs[what] = {"seconds": seconds, "forward_passes": forward, "backward_passes": backward}
            self.store.save_json("cost.json", costs)

    # Measurements and verdicts

    def checks(self) -> list[Finding]:
        """What is wrong with the way the final network was attacked."""
        try:
            return session_findings(self)
        except NonFiniteError as error:
            return [Finding(cause=Cause.NOT_FINITE, sentence=f"The attacks could not be checked: {error}.")]

    def frontier(self) -> Frontier | None:
        """How few lit pixels suffice on the final network, measured once and stored; None where it came to NaN."""
        with suppress(NonFiniteError):
            return frontier(self)
        return None

    def proof(self) -> Proof:
        """Up to how many lit pixels no image fools the final network, computed once and stored.

        Raises:
            ProofViolatedError: an attack found what is proved not to exist.
        """
        return proof(self)

    def perturbed(self) -> Perturbed:
        """What becomes of real test images that fooling images are added to, measured once and stored."""
        return perturbed(self)

    def measurement(self, criterion: int) -> Measurement:
        """One criterion's figures, measured once and stored; what broke it once is raised again, not tried again."""
        if criterion in self._broken:
            raise self._broken[criterion]
        if criterion not in self._measurements:
            name = f"measurements/{criterion:02d}.json"
            try:
                if not self.store.has(name):
                    prepare(self, criterion)
                self._measurements[criterion] = once(self.store, name, Measurement, lambda: measure(self, criterion))
            except Exception as error:
                self._broken[criterion] = error
                raise
        return self._measurements[criterion]

    def healthy(self) -> dict[str, bool]:
        """Which attacks reach the control at this budget."""
        return {name: bool(part.healthy) for name, part in self.measurement(0).per_attack.items()}

    def criterion(self, criterion: int) -> CriterionRecord:
        return decide(self.measurement(criterion), self.thresholds)

    def attack_row(self, criterion: int, attack: str) -> AttackRow | None:
        """One attack's part of a criterion; None where the criterion could not be measured at all."""
        return attack_rows(self.measurement(criterion), self.thresholds).get(attack)


class RealClassesAlone(nn.Module):
    """A network with its fake classes cut off: images [N, C, H, W] to the K real logits."""

    def __init__(self, network: nn.Module, real_classes: int):
        super().__init__()
        self.network = network
        self.real_classes = real_classes

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[:, : self.real_classes]
