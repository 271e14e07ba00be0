"""The images of a run: what each attack makes at each place, made once and stored."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.harness.generate import balanced_targets, generate
from bench.harness.registry import REFERENCE_ATTACK, import_path
from bench.harness.select import fooling_half
from bench.harness.settings import digest
from bench.seeds import derive
from bench.types import Attack, Outcome, ThreatModel
from bench.verify import Verified

if TYPE_CHECKING:
    from bench.harness.session import Session

REACHED = (Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION)  # confident and sparse
REFERENCE_PROCESS = "l1_sparse"  # stands for training's where there was none, and tests the judge
SWEEP = (5, 10, 20)  # then doubled up to k: where the judge is tested on what fools the control
SWEEP_IMAGES = 100


class Gallery:
    """Images by place ("control", "network-b", "final", "round-NNN") and attack, with the measuring budget."""

    def __init__(self, session: Session):
        self.session = session
        self._made: dict[tuple[str, str], Verified] = {}

    def images(self, place: str, attack: str) -> Verified:
        """All images of an attack at a place; past networks share the budget's images among them."""
        if (place, attack) not in self._made:
            session = self.session
            n = session.settings.plan.images
            if place.startswith("round-"):
                n = max(session.spec.real_classes, -(-n // len(session.rounds_before_selected())))
            self._made[place, attack] = self._stored(place, attack, n, session.k)
        return self._made[place, attack]

    def verdict_part(self, place: str, attack: str) -> Verified:
        """The fooling images that played no part in model selection."""
        found = self.images(place, attack)
        if place == "network-b" and self.session.has_history:
            return fooling_half(found, self.session.spec.real_classes, selecting=False)
        return found[found.is_(Outcome.FOOLING)]

    def control_sweep(self) -> dict[int, Tensor]:
        """What fools the undefended control with at most so many pixels, for the judge to reject."""
        selected = self.session.settings.attacks
        attack = REFERENCE_PROCESS if REFERENCE_PROCESS in selected else selected[0]
        most = self.session.k
        steps = [k for k in (*SWEEP, *(20 * 2**i for i in range(1, 12))) if k < most] + [most]
        made = {k: self._stored("control", attack, SWEEP_IMAGES, k) for k in steps}
        return {k: found.images[found.is_(*REACHED)] for k, found in made.items()}

    def _stored(self, place: str, attack: str, n: int, k: int) -> Verified:
        session = self.session
        name = f"generated/{place}/{_file_name(attack)}-{n}x{k}.safetensors"
        with session.store.working():
            if not session.store.has(name):
                self._make(name, place, attack, n, k)
            stored = session.store.load_tensors(name)
        stored.pop("passes")
        return Verified(**stored)

    def _make(self, name: str, place: str, attack: str, n: int, k: int) -> None:
        session = self.session
        network = session.network_at(place)  # first: training it is no part of this step
        session.say(f"{attack} on {place.replace('-', ' ')}")
        started = time.monotonic()
        made = generate(
            self._attack(attack),
            network,
            session.spec,
            balanced_targets(session.spec.real_classes, n),
            threat=ThreatModel(session.threat_of(network).p, k),
            budget=session.settings.plan.attack,
            judge=session.lab.measuring_judge,
            seed=derive(session.settings.seed, "generate", place, attack, k),
        )
        passes = torch.tensor([made.forward_passes, made.backward_passes])
        session.store.save_tensors(name, {**vars(made.verified), "passes": passes})
        session.add_cost(name, time.monotonic() - started, made.forward_passes, made.backward_passes)

    def _attack(self, name: str) -> Attack:
        if name in self.session.attacks:
            return self.session.attacks[name]
        return self.session.defense.attacks.get(name) or import_path(REFERENCE_ATTACK, "--attack")


def _file_name(name: str) -> str:
    """A file name for any attack's name; one that had to change carries a hash, so that no two meet."""
    safe = re.sub(r"[^\w.]+", "_", name)
    return safe if safe == name else f"{safe}-{digest(name)[:8]}"
