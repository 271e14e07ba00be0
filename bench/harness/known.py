"""All that a run has made, shown to its final network: what fools it counts, whoever made it and for which class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.errors import NonFiniteError
from bench.harness.altered_real import altered_real
from bench.harness.drawings import drawn
from bench.harness.gallery import REFERENCE_PROCESS
from bench.harness.generate import nothing
from bench.harness.perturbed import added_to_real
from bench.verify import Verified, logits_of, rejudged, verify

if TYPE_CHECKING:
    from bench.harness.session import Session


def elsewhere(session: Session) -> list[str]:
    """Network B and the networks before the certified one, as places of the gallery."""
    return ["network-b", *(f"round-{past.index:03d}" for past in session.rounds_before_selected())]


class Shown(NamedTuple):
    """Images [N, C, H, W], and the class [N] for which each needs no more asking; -1 where there is none."""

    images: Tensor
    judged: Tensor

    @classmethod
    def anew(cls, found: Verified) -> Shown:
        return cls(found.images, torch.full_like(found.targets, -1))


class Known:
    """The images of a run beside its cascade on the final network, attack by attack.

    Made on the final network, they are shown to it for every class but their own, for which they were judged before.
    Made on others, for every class: those of the control, of network B and of past networks that criteria 0, 1, 6 and
    7 look at, every round's (what training made and what was held out, rounds after the certified one included, the
    first of which attacked it), the evolution's, those made on the final network without its fake classes, real images
    with what fools the control added, for every class but the real one, and real images and what is left of those that
    lost pixels, as they are, dimmed, cut, moved and mixed, and simple drawings. What it is sure of and doesn't fool it
    yet is thinned. Criteria 2 to 7 let a few of them through; that there are no fooling images can't.

    Attributes:
        broken: what could not be shown to the final network, in words -> why, for those asked for so far.
    """

    def __init__(self, session: Session):
        self.session = session
        self.broken: dict[str, str] = {}
        self._of: dict[str, Verified] = {}
        self._once_more: dict[str, list[Verified]] = {}

    def of(self, attack: str) -> Verified:
        """What of an attack's images the final network is sure of -> one each for every class that it is sure of.

        Images by an attack of training that is not in the selection go with the attack that stands for all. What comes
        to NaN is left out, and `broken` has the reason.
        """
        if attack not in self._of:
            self._of[attack] = nothing(self.session.spec)
            with self._noting(f"What {attack} made"):
                shown = [*self._own(attack), *self._made(attack), *self._taught(attack)]
                self._of[attack] = self._claimed(shown)
                self._of[attack] = self.session.gallery.or_thinned("thinned-known", attack, self._of[attack])
        return self._of[attack]

    def once_more(self, attack: str) -> list[Verified]:
        """What the reference attack makes on the final network beside the cascade, for the first of its targets.

        Each set is judged at the run's own k, and is there once more with what thinning leaves of it.
        """
        if attack not in self._once_more:
            self._once_more[attack] = found = []
            for name, make in self._steps(attack):
                with self._noting(f"What {attack} made for the {name}"):
                    images = rejudged(make(), self.session.final_threat, self.session.lab.measuring_judge)
                    found.append(images)
                    found.append(self.session.gallery.or_thinned(f"thinned-{name}", attack, images))
        return self._once_more[attack]

    def _steps(self, attack: str) -> Iterator[tuple[str, Callable[[], Verified]]]:
        session = self.session
        if attack == REFERENCE_PROCESS:
            for k in session.gallery.sweep_steps:
                yield f"sweep-{k}", partial(session.gallery.at_k, "final", attack, k)
            if session.has_history and len(session.history) > 1:
                yield "evolution", partial(session.evolution.step, session.selected)

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except NonFiniteError as error:
            self.broken[what] = str(error)

    def _own(self, attack: str) -> Iterator[Shown]:
        """What was made on the final network."""
        made = self.session.gallery.finite_cascade().get(attack)
        for images in (*(made.beside if made else ()), *self.once_more(attack)):
            yield Shown(images.images, images.targets)

    def _made(self, attack: str) -> Iterator[Shown]:
        session, gallery = self.session, self.session.gallery
        places = ["network-b"] if attack in session.processes else elsewhere(session)
        wanted = [(place, attack) for place in ("control", *places)]
        if attack == gallery.reference:
            wanted += [("network-b", name) for name in session.processes if name not in session.settings.attacks]
        for place, name in wanted:
            with suppress(NonFiniteError):  # of another network: no fault of the final one
                yield Shown.anew(gallery.images(place, name))
        if session.final_fakes and attack == REFERENCE_PROCESS:
            with self._noting(f"What {attack} made on the real classes alone"):
                yield Shown.anew(gallery.images("final-real", attack))
        if attack == gallery.reference:
            with suppress(NonFiniteError):
                yield from map(Shown.anew, gallery.sweep("control", attack).values())
            yield from (Shown.anew(drawn) for index, drawn in session.evolution.steps() if index != session.selected)
            yield from (Shown(images, labels) for images, labels in added_to_real(session))
            with self._noting("Real images that were altered"):
                yield from (Shown(images, own) for images, own in altered_real(session))
            with self._noting("Simple drawings"):
                yield from (Shown(images, torch.full((len(images),), -1)) for images in drawn(session))

    def _taught(self, attack: str) -> Iterator[Shown]:
        """Every round's images, of what training used."""
        session = self.session
        for past in session.history:
            if past.images:
                used = past.images.attack
                if attack == (used if used in session.settings.attacks else session.gallery.reference):
                    yield Shown.anew(past.images.made)
                    yield Shown.anew(past.images.heldout)

    def _claimed(self, shown: list[Shown]) -> Verified:
        session, threat = self.session, self.session.final_threat
        if not shown:
            return nothing(session.spec)
        images, judged = (torch.cat(parts) for parts in zip(*shown, strict=True))
        classes = torch.arange(session.spec.real_classes)
        probability = logits_of(session.final, images).softmax(dim=1)[:, : len(classes)]
        sure = (probability >= threat.p_of(classes)) & (judged[:, None] != classes)
        rows, claims = sure.nonzero(as_tuple=True)
        rows, claims = (each[firsts(images[rows], claims)] for each in (rows, claims))
        return verify(session.final, session.spec, images[rows], claims, threat, session.lab.measuring_judge)


def firsts(images: Tensor, claims: Tensor) -> Tensor:
    """Indices of images [N, C, H, W] that were not there before with the same claim [N], in order."""
    first: dict[tuple[bytes, int], int] = {}
    for index, (image, claim) in enumerate(zip(images, claims.tolist(), strict=True)):
        first.setdefault((image.numpy().tobytes(), claim), index)
    return torch.tensor(list(first.values()), dtype=torch.long)


def unseen(images: Tensor, others: Tensor) -> Tensor:
    """Indices of images [N, C, H, W] that are not among the others [M, C, H, W], none there twice."""
    index = firsts(torch.cat([others, images]), torch.zeros(len(others) + len(images)))
    return index[index >= len(others)] - len(others)
