"""How few lit pixels suffice, whatever the judge says: `fooled_from`, and the best probability at each k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.harness.gallery import CONFIDENT, REACHED, REFERENCE_PROCESS
from bench.harness.once import once
from bench.harness.registry import ATTACKS
from bench.record import Frontier, FrontierRow
from bench.types import Outcome
from bench.verdict.stats import ratio
from bench.verify import Verified

if TYPE_CHECKING:
    from bench.harness.session import Session

ENOUGH = 0.95  # of the control's targets, by the lower bound, for a row at k to carry a verdict


def frontier(session: Session) -> Frontier:
    """The sparsest confident image of each class on the final network, and what is reached at each k.

    Every attack that minimises pixels runs on all its targets without a k to stop at; its images, and those of the
    cascade, are thinned. Images that come to NaN are left out.
    """
    return once(session.store, "frontier.json", Frontier, lambda: _measured(session))


def _measured(session: Session) -> Frontier:
    found = [images for made in session.gallery.finite_cascade().values() for images in made.beside]
    names = session.spec.class_names
    return Frontier(
        attacks=tuple(attack for attack in session.settings.attacks if attack in ATTACKS.minimisers),
        per_class={names[label]: _fewest(found, label) for label in range(session.spec.real_classes)},
        rows=tuple(_rows(session)),
    )


def _fewest(found: list[Verified], label: int) -> int | None:
    """Fewest lit pixels of any confident image for one class."""
    own = [images.pixels[images.is_(*CONFIDENT) & (images.targets == label)] for images in found]
    return min((int(pixels.min()) for pixels in own if len(pixels)), default=None)


def _rows(session: Session) -> list[FrontierRow]:
    """What the reference attack reaches at each k, beside what it reaches on the control."""
    control, final = (session.gallery.sweep(place, REFERENCE_PROCESS) for place in ("control", "final"))
    rows = []
    for k, made in final.items():
        reached = made.is_(*REACHED)
        there = control[k].is_(*REACHED)
        proof = ratio(int(there.sum()), len(there))
        rows.append(
            FrontierRow(
                k=k,
                best_probability=float(made.probability[made.pixels <= k].max()) if (made.pixels <= k).any() else 0.0,
                reached=ratio(int(reached.sum()), len(reached)),
                fooling=ratio(int(made.is_(Outcome.FOOLING).sum()), len(reached)),
                control=proof,
                carries=proof.lower >= ENOUGH,
            )
        )
    return rows
