"""The training history: every round's network, its images and the harness's own, stored as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from bench.budgets import BudgetPlan
from bench.errors import BadInputError
from bench.harness.generate import Generated, balanced_targets, generate
from bench.meter import Meter
from bench.seeds import derive
from bench.store import Store
from bench.task import Batch, Defense, Round
from bench.types import Budget, ImageSpec, Judge, Outcome, ThreatModel
from bench.verify import Verified, verify


@dataclass(frozen=True)
class Images:
    """Images of one round that were verified on the network they were made against.

    Args:
        made: the training images: all that the round attempted.
        taught: [N] bool, those of them it trained on as fakes.
        heldout: the harness's own, by the same process, on the same network.
        attack: the process.
        budget: passes per image.
        passes: forward and backward passes the held-out images cost.
    """

    made: Verified
    taught: Tensor
    heldout: Verified
    attack: str
    budget: Budget
    passes: tuple[int, int]

    @property
    def fooling_taught(self) -> Verified:
        """What criteria 2 and 3 ask about."""
        return self.made[self.made.is_(Outcome.FOOLING) & self.taught]

    @property
    def fooling_heldout(self) -> Verified:
        """What criteria 4 and 5 ask about."""
        return self.heldout[self.heldout.is_(Outcome.FOOLING)]


@dataclass(frozen=True)
class Past:
    """One finished round as the harness keeps it."""

    index: int
    network: nn.Module
    images: Images | None


class History:
    """Admits a defense's rounds, one by one, and reads them back.

    Args:
        store: the run's folder.
        defense: its `attacks` make the held-out images.
        spec: the facts of an image.
        judge: the measuring judge.
        threat_of: the threat model with a network's own operating point.
        plan: how many held-out images.
        seed: of the run.
        empty_network: a network shaped like the defense's with that many outputs, for stored weights.
    """

    def __init__(
        self,
        store: Store,
        defense: Defense,
        spec: ImageSpec,
        judge: Judge,
        threat_of: Callable[[nn.Module], ThreatModel],
        plan: BudgetPlan,
        seed: int,
        empty_network: Callable[[int], nn.Module],
    ):
        self.store = store
        self.defense = defense
        self.spec = spec
        self.judge = judge
        self.threat_of = threat_of
        self.plan = plan
        self.seed = seed
        self.empty_network = empty_network
        self.rounds: list[Past] = []

    def admit_images(self, index: int, batch: Batch) -> Images:
        """Verify a round's images on the network of the round before, and make the harness's own there.

        Raises:
            BadInputError: a defense that breaks the contract.
        """
        if index < 1 or index != len(self.rounds):
            raise BadInputError(
                f"the defense made images for round {index}; expected round {max(1, len(self.rounds))}: "
                "yield round 0 without images first, then one round after the other"
            )
        if batch.attack not in self.defense.attacks:
            raise BadInputError(
                f"the defense trained with {batch.attack!r}, which it does not declare; "
                f"expected one of {sorted(self.defense.attacks)}: name it in @defense(...)"
            )
        source = self.rounds[-1].network
        threat = self.threat_of(source)
        made = verify(source, self.spec, batch.images, batch.targets, threat, self.judge)
        held = self._heldout(index, source, threat, batch)
        images = Images(
            made,
            batch.taught.cpu(),
            held.verified,
            batch.attack,
            batch.budget,
            (held.forward_passes, held.backward_passes),
        )
        self._save_images(index, images)
        return images

    def admit(self, finished: Round, images: Images | None) -> Past:
        """Store a finished round; from here on a run that is stopped goes on after it.

        Raises:
            BadInputError: rounds out of order, or round 0 with images.
        """
        if finished.index != len(self.rounds):
            raise BadInputError(f"the defense yielded round {finished.index}; expected round {len(self.rounds)}")
        outputs = self._outputs(finished.network)
        folder = f"rounds/{finished.index:03d}"
        self.store.save_tensors(f"{folder}/network.safetensors", finished.network.state_dict())
        self.store.save_json(
            f"{folder}/round.json",
            {
                "outputs": outputs,
                "attack": images.attack if images else None,
                "passes": images.budget.passes if images else 0,
                "restarts": images.budget.restarts if images else 1,
                "cost": list(images.passes) if images else [0, 0],
            },
        )
        past = Past(finished.index, self._copy(finished.network, outputs), images)
        self.rounds.append(past)
        return past

    def load(self) -> None:
        """Read back every finished round; a half-written one after them is ignored and made again."""
        self.rounds = []
        while self.store.has(f"rounds/{len(self.rounds):03d}/round.json"):
            index = len(self.rounds)
            folder = f"rounds/{index:03d}"
            facts = self.store.load_json(f"{folder}/round.json")
            network = self.empty_network(facts["outputs"])
            network.load_state_dict(self.store.load_tensors(f"{folder}/network.safetensors"))
            self.rounds.append(Past(index, network.eval(), self._load_images(folder, facts)))

    def as_rounds(self) -> tuple[Round, ...]:
        """The finished rounds in the defense's own terms, to go on from."""
        return tuple(
            Round(
                past.index,
                self._copy(past.network, self._outputs(past.network)),
                Batch(past.images.made.images, past.images.made.targets, past.images.taught, past.images.attack,
                      past.images.budget)
                if past.images
                else None,
            )
            for past in self.rounds
        )  # fmt: skip

    def _heldout(self, index: int, source: nn.Module, threat: ThreatModel, batch: Batch) -> Generated:
        return generate(
            self.defense.attacks[batch.attack],
            source,
            self.spec,
            balanced_targets(self.spec.real_classes, self.plan.heldout),
            threat=threat,
            budget=batch.budget,
            judge=self.judge,
            seed=derive(self.seed, "held out", index),
        )

    def _save_images(self, index: int, images: Images) -> None:
        folder = f"rounds/{index:03d}"
        self.store.save_tensors(f"{folder}/train.safetensors", {**vars(images.made), "taught": images.taught})
        self.store.save_tensors(f"{folder}/heldout.safetensors", vars(images.heldout))

    def _load_images(self, folder: str, facts: dict) -> Images | None:
        if facts["attack"] is None:
            return None
        made = self.store.load_tensors(f"{folder}/train.safetensors")
        taught = made.pop("taught")
        heldout = Verified(**self.store.load_tensors(f"{folder}/heldout.safetensors"))
        budget = Budget(facts["passes"], facts["restarts"])
        return Images(Verified(**made), taught, heldout, facts["attack"], budget, tuple(facts["cost"]))

    def _outputs(self, network: nn.Module) -> int:
        return Meter(network, self.spec).fake_classes + self.spec.real_classes

    def _copy(self, network: nn.Module, outputs: int) -> nn.Module:
        """The round's own network, out of reach of the training that goes on."""
        copy = self.empty_network(outputs)
        copy.load_state_dict(network.state_dict())
        return copy.eval()
