"""The images of a run: what each attack makes at each place, made once and stored."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.harness.generate import balanced_targets, generate
from bench.harness.registry import REFERENCE_ATTACK, import_path
from bench.harness.select import fooling_half
from bench.harness.settings import digest
from bench.seeds import derive
from bench.types import Attack, NonFiniteError, Outcome, ThreatModel
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
        self._non_finite: dict[tuple[str, str], int] = {}
        self._made: dict[tuple[str, str], Verified | NonFiniteError] = {}

    def images(self, place: str, attack: str) -> Verified:
        """All images of an attack at a place; past networks share the budget's images among them.

        Raises:
            NonFiniteError: the network or the attack produced NaN; raised again when asked again.
        """
        if (place, attack) not in self._made:
            session = self.session
            n = session.settings.plan.images
            if place.startswith("round-"):
                n = max(session.spec.real_classes, -(-n // len(session.rounds_before_selected())))
            try:
                self._made[place, attack] = self._stored(place, attack, n, session.k)
            except NonFiniteError as error:
                self._made[place, attack] = error
        made = self._made[place, attack]
        if isinstance(made, NonFiniteError):
            raise made
        return made

    def non_finite(self, place: str, attack: str) -> int:
        """Images whose logits were not finite while the attack looked at them."""
        self.images(place, attack)
        return self._non_finite[place, attack]

    def finite_images(self, place: str) -> dict[str, Verified]:
        """The images of every attack at a place, without those that came to NaN."""
        found = {}
        for name in self.session.settings.attacks:
            with suppress(NonFiniteError):
                found[name] = self.images(place, name)
        return found

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
        self._non_finite[place, attack] = int(stored.pop("counts")[2])
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
        counts = torch.tensor([made.forward_passes, made.backward_passes, made.non_finite])
        session.store.save_tensors(name, {**vars(made.verified), "counts": counts})
        session.add_cost(name, time.monotonic() - started, made.forward_passes, made.backward_passes)

    def _attack(self, name: str) -> Attack:
        if name in self.session.attacks:
            return self.session.attacks[name]
        return self.session.defense.attacks.get(name) or import_path(REFERENCE_ATTACK, "--attack")


def _file_name(name: str) -> str:
    """A file name for any attack's name; one that had to change carries a hash, so that no two meet."""
    safe = re.sub(r"[^\w.]+", "_", name)
    return safe if safe == name else f"{safe}-{digest(name)[:8]}"
