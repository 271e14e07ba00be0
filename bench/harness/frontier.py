"""How few lit pixels suffice, whatever the judge says: `fooled_from`, and the best probability at each k."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import REACHED, REFERENCE_PROCESS
from bench.harness.once import once
from bench.harness.registry import ATTACKS, PRUNE, import_path
from bench.meter import Meter
from bench.record import Frontier, FrontierRow
from bench.types import Budget, Outcome, ThreatModel, lit_pixels
from bench.verdict.stats import ratio
from bench.verify import Verified, logits_of, target_probability

if TYPE_CHECKING:
    from bench.harness.session import Session

CONFIDENT = (*REACHED, Outcome.DENSE)
PRUNING = Budget(400)  # passes per image
ENOUGH = 0.95  # of the control's targets, by the lower bound, for a row at k to carry a verdict


def frontier(session: Session) -> Frontier:
    """The sparsest confident image of each class on the final network, and what is reached at each k.

    Every attack that minimises pixels runs on all its targets without a k to stop at; images of the cascade are
    pruned. Images that come to NaN are left out.
    """
    return once(session.store, "frontier.json", Frontier, lambda: _measured(session))


def _measured(session: Session) -> Frontier:
    found = list(session.gallery.finite_images("final").values())
    minimisers = [attack for attack in session.settings.attacks if attack in ATTACKS.minimisers]
    found += [session.gallery.minimal("final", attack) for attack in minimisers]
    fewest = {label: _fewest(session, found, label) for label in range(session.spec.real_classes)}
    names = session.spec.class_names
    return Frontier(
        attacks=tuple(minimisers),
        per_class={names[label]: pixels for label, pixels in fewest.items()},
        rows=tuple(_rows(session)),
    )


def _fewest(session: Session, found: list[Verified], label: int) -> int | None:
    """Fewest lit pixels of any confident image for one class, after pruning."""
    parts = [images[images.is_(*CONFIDENT) & (images.targets == label)] for images in found]
    images = torch.cat([part.images for part in parts])
    if not len(images):
        return None
    meter = Meter(session.final, session.spec, allowance=PRUNING.passes * len(images))
    targets = torch.full((len(images),), label)
    threat = ThreatModel(session.final_threat.p, 0)
    prune = import_path(PRUNE, "prune")
    thin = session.spec.round(prune(meter, images.to(meter.device), targets, threat, PRUNING.passes).cpu())
    held = target_probability(logits_of(session.final, thin), targets) >= threat.p_of(targets)
    return int(torch.where(held, lit_pixels(thin), lit_pixels(images)).min())


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
