"""A run made again from what it stored: nothing is trained or generated, what is missing is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from bench.audit.claims import Config
from bench.audit.difference import Difference, RefusedError
from bench.audit.stored import HandedIn, RoundFacts, scored_again
from bench.harness.evolution import Evolution, step_name
from bench.harness.gallery import Gallery
from bench.harness.generate import balanced_targets
from bench.harness.history import History, Past
from bench.harness.lab import Lab
from bench.harness.session import Session
from bench.harness.settings import Settings
from bench.harness.step import Made, Step
from bench.health import Cause, Finding
from bench.materials.networks import build
from bench.materials.split import Split
from bench.materials.weights import outputs_of
from bench.thresholds import Thresholds
from bench.types import NetworkFactory, ThreatModel
from bench.verdict.measurement import Measurement
from bench.verify import Verified

CHECKPOINT = "checkpoint.safetensors"
FINAL_NETWORK = "measurements/08.json"
RUN_ON = (  # what only running the attacks once more can show (bench/harness/effort.py)
    Cause.NOT_A_FUNCTION,
    Cause.LOSS_STUCK,
    Cause.STILL_RISING,
    Cause.BLACK_BOX_AHEAD,
    Cause.GROWS_WITH_RESTARTS,
    Cause.GROWS_WITH_BUDGET,
)


class Replay(Session):
    """A `Session` over a copy of a run's folder, on the CPU.

    Args:
        settings: as the folder says; its `run_dir` is the copy.
        config: the folder's own.
        say: told what long step begins.

    Every stored image is scored again when it is first read; `found` holds what differs. Figures then follow from
    the stored scores, so that what two machines' arithmetic tells apart does not spread.
    """

    def __init__(self, settings: Settings, config: Config, say: Callable[[str], None]):
        super().__init__(settings, say)
        self.asked = config
        self.gallery = StoredGallery(self)
        self.evolution = StoredEvolution(self)
        self.found: list[Difference] = []
        self.images = self.left_open = 0  # images scored again; outcomes too near a threshold to tell
        self._threats: dict[nn.Module, ThreatModel] = {}  # by the network itself, which so stays what it is

    @cached_property
    def lab(self) -> Lab:
        return StoredLab(super().lab, self)

    @cached_property
    def store(self) -> HandedIn:
        assert self.settings.run_dir is not None
        return HandedIn(self.settings.run_dir, self.spec)

    @cached_property
    def thresholds(self) -> Thresholds:
        return self.asked.thresholds

    @cached_property
    def checkpoint_network(self) -> nn.Module:
        self.store.load_tensors(CHECKPOINT)
        outputs = outputs_of(self.store.path(CHECKPOINT), self.lab.factory, self.spec)
        return self.store.load_network(CHECKPOINT, self.lab.new_network(outputs, 0))

    @cached_property
    def history(self) -> list[Past]:
        if self.settings.checkpoint:
            return [Past(0, self.checkpoint_network, None)]
        self._check_rounds()
        rounds = super().history
        for before, past in zip([None, *rounds], rounds, strict=False):
            if past.images is None:
                continue
            folder, threat = f"rounds/{past.index:03d}", self.threat_of(before.network)
            for part, images in (("train", past.images.made), ("heldout", past.images.heldout)):
                self.say(f"scoring round {past.index}")
                self.score(f"{folder}/{part}.safetensors", images, before.network, threat)
        return rounds

    def _check_rounds(self) -> None:
        """See that every round is there and can be read, before the harness's own reader relies on it."""
        count = 0
        while self.store.has(f"rounds/{count:03d}/round.json"):
            name = f"rounds/{count:03d}"
            facts = self.store.round_facts(f"{name}/round.json")
            self.store.load_network(f"{name}/network.safetensors", self.new_network(facts.outputs, 0))
            self._check_round(name, count, facts)
            count += 1
        if self.store.load_json("rounds/done.json") != {"rounds": count} or not count:
            raise RefusedError("rounds/done.json", self.store.load_json("rounds/done.json"), f"{count} whole rounds")

    def _check_round(self, name: str, index: int, facts: RoundFacts) -> None:
        if facts.attack is None:
            return
        if index == 0 or facts.attack not in self.defense.attacks:
            raise RefusedError(f"{name}/round.json: attack", facts.attack, "an attack that this round can't have had")
        targets = self.store.load_tensors(f"{name}/heldout.safetensors")["targets"]
        self.store.load_tensors(f"{name}/train.safetensors")
        if not torch.equal(targets, balanced_targets(self.spec.real_classes, self.settings.plan.heldout)):
            expected = f"{self.settings.plan.heldout} balanced ones"
            self.found.append(Difference(f"{name}/heldout.safetensors: targets", _brief(targets), expected))

    def _train(self, history: History) -> None:
        raise RefusedError("rounds/done.json", "a finished run", "no such file")

    def add_cost(self, what: str, seconds: float, forward: int, backward: int) -> None:
        """Nothing here is a cost of the run."""

    def threat_of(self, network: nn.Module) -> ThreatModel:
        if network not in self._threats:
            self._threats[network] = super().threat_of(network)
        return self._threats[network]

    def checks(self) -> list[Finding]:
        """What a look at the network shows is looked at again; what running attacks showed is taken as it is said."""
        return super().checks() + self.handed_findings

    @cached_property
    def handed_findings(self) -> list[Finding]:
        """What the folder says that running the attacks once more showed."""
        name = f"said/{FINAL_NETWORK}"
        if not self.store.has(name):
            raise RefusedError(FINAL_NETWORK, "a file of the run", "no such file")
        try:
            said = Measurement.model_validate(self.store.load_json(name))
        except ValueError as error:
            raise RefusedError(FINAL_NETWORK, "a measurement", type(error).__name__) from None
        return [finding for finding in said.findings if finding.cause in RUN_ON]

    def score(self, name: str, stored: Verified, network: nn.Module, threat: ThreatModel) -> None:
        """Score stored images again and keep what differs."""
        for one in scored_again(name, stored, network, self.spec, threat, self.lab.measuring_judge):
            if isinstance(one, Difference):
                self.found.append(one)
            else:
                self.left_open += one
        self.images += len(stored.targets)


class StoredLab(Lab):
    """The lab whose undefended networks lie in the run's folder.

    Args:
        lab: the run's own, for its data and judges.
        run: whose folder.
    """

    def __init__(self, lab: Lab, run: Replay):
        super().__init__(lab.settings, lab.factory, lab.say)
        self.run = run

    def trained(self, role: str, factory: NetworkFactory, train_on: Split, validation: Split) -> nn.Module:
        network = build(factory, self.data.spec, self.data.spec.real_classes, 0)
        return self.run.store.load_network(f"{role}.safetensors", network)


class StoredGallery(Gallery):
    """Images as they are stored, scored again, asked for the targets that the protocol gives."""

    def _stored(self, step: Step) -> Made:
        made = super()._stored(step)
        run = self.session
        expected = step.targets(run.spec.real_classes)
        if not torch.equal(made.verified.targets, expected):
            raise RefusedError(f"{step.file}: targets", _brief(made.verified.targets), _brief(expected))
        network = run.network_at(step.place)
        run.score(step.file, made.verified, network, ThreatModel(run.threat_of(network).p, step.k))
        return made

    def _make(self, step: Step) -> None:
        if self.session.store.has(step.file):
            raise RefusedError(f"{step.file}: which", _brief(self._read(step.file).targets), _brief(step.which))
        raise RefusedError(step.file, "a file of the run", "no such file")


class StoredEvolution(Evolution):
    """What was drawn on each round's network as it is stored, scored again."""

    def _stored(self, index: int) -> Verified:
        run, name = self.session, step_name(index)
        drawn = super()._stored(index)
        if not torch.equal(drawn.targets, self.targets):
            raise RefusedError(f"{name}: targets", _brief(drawn.targets), _brief(self.targets))
        network = run.history[index].network
        run.score(name, drawn, network, run.threat_of(network))
        return drawn

    def _make(self, index: int, name: str) -> None:
        raise RefusedError(name, "a file of the run", "no such file")


def _brief(values: Tensor) -> str:
    shown = ", ".join(map(str, values.tolist()[:8]))
    return f"{len(values)}: [{shown}{', ...' if len(values) > 8 else ''}]"
