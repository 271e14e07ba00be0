"""What a run has made on other networks, shown to its final one: an image that fools it there counts, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import REFERENCE_PROCESS
from bench.harness.generate import RANK, nothing
from bench.types import NonFiniteError, lit_pixels
from bench.verify import OUTCOMES, Verified, logits_of, verify

if TYPE_CHECKING:
    from bench.harness.session import Session


def elsewhere(session: Session) -> list[str]:
    """Network B and the networks before the certified one, as places of the gallery."""
    return ["network-b", *(f"round-{past.index:03d}" for past in session.rounds_before_selected())]


class Known:
    """The images of a run's other networks, attack by attack.

    They are those of the control, of network B and of past networks that criteria 0, 1, 6 and 7 look at, every
    round's (what training made and what was held out, rounds after the certified one included, the first of which
    attacked it), the evolution's, and those of the final network without its fake classes. Criteria 2 to 7 let a few
    of them through; that there are no fooling images can't.

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
                self._of[attack] = self._claimed([*self._made(attack), *self._taught(attack)])
            except NonFiniteError as error:
                self._of[attack], self.broken[attack] = nothing(self.session.spec), str(error)
        return self._of[attack]

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
            yield from (drawn for _, drawn in session.evolution.steps())

    def _taught(self, attack: str) -> Iterator[Verified]:
        """Every round's images, of what training used."""
        session = self.session
        for past in session.history:
            if past.images:
                used = past.images.attack
                if attack == (used if used in session.settings.attacks else session.gallery.reference):
                    yield past.images.made
                    yield past.images.heldout

    def _claimed(self, parts: list[Verified]) -> Verified:
        session, threat = self.session, self.session.final_threat
        if not parts:
            return nothing(session.spec)
        images = torch.cat([part.images for part in parts])
        images = images[lit_pixels(images) <= threat.k]
        classes = session.spec.real_classes
        probability = logits_of(session.final, images).softmax(dim=1)[:, :classes]
        rows, claims = (probability >= threat.p_of(torch.arange(classes))).nonzero(as_tuple=True)
        return verify(session.final, session.spec, images[rows], claims, threat, session.lab.measuring_judge)


def places_for(found: Verified, best: Verified) -> tuple[torch.Tensor, torch.Tensor]:
    """Which images stand in for which of a cascade's, class by class: those that count most, where least was found.

    Args:
        found: n images; several may be for one class, and any number.
        best: m images of the cascade.

    Returns:
        (rows [l] of `found`, rows [l] of `best`), none twice; l at most n and m.
    """
    rank = torch.tensor([RANK[outcome] for outcome in OUTCOMES])
    pairs = []
    for label in found.targets.unique():
        mine, theirs = (torch.nonzero(each.targets == label).flatten() for each in (found, best))
        mine = mine[rank[found.outcome[mine]].argsort(descending=True, stable=True)]
        theirs = theirs[rank[best.outcome[theirs]].argsort(stable=True)]
        n = min(len(mine), len(theirs))
        pairs.append((mine[:n], theirs[:n]))
    if not pairs:
        none = torch.zeros(0, dtype=torch.long)
        return none, none
    return torch.cat([mine for mine, _ in pairs]), torch.cat([theirs for _, theirs in pairs])
