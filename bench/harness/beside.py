"""What a run makes beside the cascade on its final network: an image that fools it counts wherever it comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.harness.generate import RANK
from bench.harness.step import Made
from bench.types import Outcome
from bench.verify import OUTCOMES, Verified

if TYPE_CHECKING:
    from bench.harness.session import Session


def counted(session: Session, attack: str, made: Made) -> Verified:
    """The images by which criterion 8 judges an attack.

    They are the cascade's, `made`. The reference attack is also run on the same network, for the first of the same
    targets, by the frontier and the evolution; those images stand in for the cascade's where they count more. So does
    what an attack made for another class or on other networks, if it fools this one. There may be thousands of those,
    made for no target here, so what is borderline among them is a figure of its own and no target's.
    """
    for images in session.known.once_more(attack):
        made = replace(made, verified=made.or_worse(torch.arange(len(images.targets)), images))
    known = session.known.of(attack)
    fooling = known[known.is_(Outcome.FOOLING)]
    taken, places = places_for(fooling.targets, made.verified)
    return made.or_worse(made.targets[places], fooling[taken])


def places_for(targets: Tensor, best: Verified) -> tuple[Tensor, Tensor]:
    """Which fooling images stand in for which of a cascade's, class by class: where least was found.

    Args:
        targets: [n] classes of the images; several may be for one class, and any number.
        best: m images of the cascade.

    Returns:
        (which of the n [l], rows of `best` [l]), none twice; l at most n and m.
    """
    order = torch.tensor([RANK[outcome] for outcome in OUTCOMES])[best.outcome].argsort(stable=True)
    pairs = []
    for label in targets.unique():
        mine, theirs = torch.nonzero(targets == label).flatten(), order[best.targets[order] == label]
        n = min(len(mine), len(theirs))
        pairs.append(torch.stack([mine[:n], theirs[:n]]))
    taken, places = torch.cat([torch.zeros(2, 0, dtype=torch.long), *pairs], dim=1)
    return taken, places
