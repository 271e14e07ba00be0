"""The same targets drawn again on every round's network: noise becomes strokes, strokes become digits.

For the eye; only what fools the certified network counts, for criterion 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import NonFiniteError
from bench.harness.gallery import REFERENCE_PROCESS, generate_and_store
from bench.harness.generate import balanced_targets
from bench.seeds import derive
from bench.types import Budget
from bench.verify import Verified

if TYPE_CHECKING:
    from bench.harness.session import Session

MOST_TARGETS = 20  # two of a class, where there are ten
MOST_PASSES = 200  # per image, two runs of the attack: on a robust network it uses all it gets
MOST_STEPS = 12


class Evolution:
    """What the reference attack draws for the same targets, from the same seed, on the networks of a run's rounds."""

    def __init__(self, session: Session):
        self.session = session
        self._steps: dict[int, Verified] = {}

    @cached_property
    def targets(self) -> Tensor:
        """Every class twice, but at most 20 targets."""
        classes = self.session.spec.real_classes
        return balanced_targets(classes, 2 * classes)[:MOST_TARGETS]

    def steps(self) -> Iterator[tuple[int, Verified]]:
        """Rounds in order, each with its images, one a target; none without two rounds.

        A round whose network or images come to NaN is left out.
        """
        session = self.session
        if session.has_history and len(session.history) > 1:
            for index in shown_rounds(len(session.history), session.selected):
                with suppress(NonFiniteError):
                    yield index, self.step(index)

    def step(self, index: int) -> Verified:
        """One round's images, made once and stored.

        Raises:
            NonFiniteError: the network or the attack produced NaN.
        """
        if index not in self._steps:
            self._steps[index] = self._stored(index)
        return self._steps[index]

    def _stored(self, index: int) -> Verified:
        store, name = self.session.store, step_name(index)
        with store.working(name):
            if not store.has(name):
                self._make(index, name)
            stored = store.load_tensors(name)
        if index == self.session.selected:
            self.session.gallery.note(REFERENCE_PROCESS, name, int(stored["counts"][2]))
        del stored["which"], stored["counts"]
        return Verified(**stored)

    def _make(self, index: int, name: str) -> None:
        session = self.session
        session.say(f"the same targets on round {index}")
        network = session.history[index].network
        generate_and_store(
            session,
            name,
            session.gallery.attack(REFERENCE_PROCESS),
            network,
            self.targets,
            torch.arange(len(self.targets)),
            threat=session.threat_of(network),
            budget=Budget(min(MOST_PASSES, session.settings.attack.share().passes)),
            seed=derive(session.settings.seed, "evolution"),  # without the round: that is the point
        )


def step_name(index: int) -> str:
    """The file of one round's images."""
    return f"generated/evolution/round-{index:03d}.safetensors"


def shown_rounds(rounds: int, selected: int) -> list[int]:
    """At most 12 of them, the first, the selected and the last for sure, the others spread evenly.

    The selected round takes the place of the nearest one between the ends.
    """
    steps = min(rounds, MOST_STEPS)
    spread = [round(place * (rounds - 1) / (steps - 1)) for place in range(steps)]
    if selected not in spread:
        nearest = min(range(1, steps - 1), key=lambda place: abs(spread[place] - selected))
        spread[nearest] = selected
    return spread
