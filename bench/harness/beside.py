"""What a run makes beside the cascade on its final network: an image that fools it counts wherever it comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import Made
from bench.harness.known import once_more, places_for
from bench.types import Outcome
from bench.verify import Verified

if TYPE_CHECKING:
    from bench.harness.session import Session


def counted(session: Session, attack: str, made: Made) -> Verified:
    """The images by which criterion 8 judges an attack.

    They are the cascade's, `made`. The reference attack is also run on the same network, for the first of the same
    targets, by the frontier and the evolution; those images stand in for the cascade's where they count more. So does
    what an attack made for another class or on other networks, if it fools this one. There may be thousands of those,
    made for no target here, so what is borderline among them is a figure of its own and no target's.
    """
    for images in once_more(session, attack):
        made = replace(made, verified=made.or_worse(torch.arange(len(images.targets)), images))
    known = session.known.of(attack)
    fooling = known[known.is_(Outcome.FOOLING)]
    taken, places = places_for(fooling.targets, made.verified)
    return made.or_worse(made.targets[places], fooling[taken])
