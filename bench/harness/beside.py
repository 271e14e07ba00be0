"""What a run makes beside the cascade on its final network: an image that fools it counts wherever it comes from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import REFERENCE_PROCESS, Made
from bench.harness.known import places_for
from bench.types import NonFiniteError
from bench.verify import Verified

if TYPE_CHECKING:
    from bench.harness.session import Session


def counted(session: Session, attack: str, made: Made) -> Verified:
    """The images by which criterion 8 judges an attack.

    They are the cascade's, `made`. The reference attack is also run on the same network, for the first of the same
    targets, by the frontier and the evolution; and what an attack made on other networks may fool this one, too.
    Those images stand in for the cascade's where they count more.
    """
    others = []
    if attack == REFERENCE_PROCESS:
        with suppress(NonFiniteError):
            if session.frontier():
                others += session.gallery.sweep("final", attack).values()
            if session.has_history and len(session.history) > 1:
                others.append(session.evolution.step(session.selected))
    for images in others:
        made = replace(made, verified=made.or_worse(torch.arange(len(images.targets)), images))
    known = session.known.of(attack)
    rows, places = places_for(known, made.verified)
    return made.or_worse(made.targets[places], known[rows])
