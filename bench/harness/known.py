"""All that a run has made, shown to its final network: what fools it counts, whoever made it and for which class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import REFERENCE_PROCESS
from bench.harness.generate import nothing
from bench.types import NonFiniteError, lit_pixels
from bench.verify import Verified, logits_of, verify

if TYPE_CHECKING:
    from bench.harness.session import Session


def elsewhere(session: Session) -> list[str]:
    """Network B and the networks before the certified one, as places of the gallery."""
    return ["network-b", *(f"round-{past.index:03d}" for past in session.rounds_before_selected())]


def once_more(session: Session, attack: str) -> list[Verified]:
    """What the reference attack makes on the final network beside the cascade, for the first of its targets."""
    found: list[Verified] = []
    if attack == REFERENCE_PROCESS:
        with suppress(NonFiniteError):
            if session.frontier():
                found += session.gallery.sweep("final", attack).values()
            if session.has_history and len(session.history) > 1:
                found.append(session.evolution.step(session.selected))
    return found


class Known:
    """The images of a run, attack by attack.

    Made on the final network, they are shown to it for every class but their own, for which they were judged before.
    Made on others, for every class: those of the control, of network B and of past networks that criteria 0, 1, 6 and
    7 look at, every round's (what training made and what was held out, rounds after the certified one included, the
    first of which attacked it), the evolution's, and those made on the final network without its fake classes.
    Criteria 2 to 7 let a few of them through; that there are no fooling images can't.

    Attributes:
        broken: attack -> why its images could not be shown to the final network, for those asked for so far.
    """

    def __init__(self, session: Session):
        self.session = session
        self.broken: dict[str, str] = {}
        self._of: dict[str, Verified] = {}

    def of(self, attack: str) -> Verified:
        """What of an attack's images the final network is sure of -> one each for every class that it is sure of.

        Images by an attack of training that is not in the selection go with the attack that stands for all. Where they
        come to NaN there is nothing, and `broken` has the reason.
        """
        if attack not in self._of:
            try:
                self._of[attack] = self._claimed([*self._made(attack), *self._taught(attack)], self._own(attack))
            except NonFiniteError as error:
                self._of[attack], self.broken[attack] = nothing(self.session.spec), str(error)
        return self._of[attack]

    def _own(self, attack: str) -> list[Verified]:
        """What was made on the final network."""
        made = self.session.gallery.finite_cascade().get(attack)
        return [*([made.verified, *made.thinned] if made else []), *once_more(self.session, attack)]

    def _made(self, attack: str) -> Iterator[Verified]:
        session, gallery = self.session, self.session.gallery
        places = ["network-b"] if attack in session.processes else elsewhere(session)
        wanted = [(place, attack) for place in ("control", *places)]
        if session.final_fakes and attack == REFERENCE_PROCESS:
            wanted.append(("final-real", attack))
        if attack == gallery.reference:
            wanted += [("network-b", name) for name in session.processes if name not in session.settings.attacks]
        for place, name in wanted:
            with suppress(NonFiniteError):  # of another network: no fault of the final one
                yield gallery.images(place, name)
        if attack == gallery.reference:
            with suppress(NonFiniteError):
                yield from gallery.sweep("control", attack).values()
            yield from (drawn for index, drawn in session.evolution.steps() if index != session.selected)

    def _taught(self, attack: str) -> Iterator[Verified]:
        """Every round's images, of what training used."""
        session = self.session
        for past in session.history:
            if past.images:
                used = past.images.attack
                if attack == (used if used in session.settings.attacks else session.gallery.reference):
                    yield past.images.made
                    yield past.images.heldout

    def _claimed(self, made: list[Verified], own: list[Verified]) -> Verified:
        session, threat = self.session, self.session.final_threat
        if not (made or own):
            return nothing(session.spec)
        images = torch.cat([part.images for part in (*made, *own)])
        judged = torch.cat([*(torch.full_like(part.targets, -1) for part in made), *(part.targets for part in own)])
        sparse = lit_pixels(images) <= threat.k
        images, judged = images[sparse], judged[sparse]
        classes = torch.arange(session.spec.real_classes)
        probability = logits_of(session.final, images).softmax(dim=1)[:, : len(classes)]
        sure = (probability >= threat.p_of(classes)) & (judged[:, None] != classes)
        rows, claims = sure.nonzero(as_tuple=True)
        return verify(session.final, session.spec, images[rows], claims, threat, session.lab.measuring_judge)
