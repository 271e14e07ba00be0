"""Real images that lost pixels: a way into a network that no attack need find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.harness.gallery import CONFIDENT
from bench.seeds import generator
from bench.types import Outcome
from bench.verify import Verified, verify

if TYPE_CHECKING:
    from bench.harness.session import Session


def thinned_real(session: Session) -> Verified:
    """What is left of real images when pixels go for as long as the final network is sure of their class.

    A detector that says nothing until an image is far enough from real ones gives attacks no slope to follow, yet
    lets through what a real image becomes on its way out. Half B's training images are thinned, which no defense saw
    and which the measuring judge knows; the budget's number of them, but for what it finds odd as they are.

    Returns:
        Those that the judge rejects now; no real image is among them.

    Raises:
        NonFiniteError: the final network's logits are not finite.
    """
    real, judge = session.data.b_train, session.lab.measuring_judge
    draw = generator(session.settings.seed, "thinned real")
    rows = torch.randperm(len(real), generator=draw)[: session.settings.plan.images]
    found = verify(session.final, session.spec, real.images[rows], real.labels[rows], session.final_threat, judge)
    found = found[found.is_(*CONFIDENT) & (found.score <= judge.working)]
    left = session.gallery.or_thinned("thinned-real", session.gallery.reference, found)
    return left[left.is_(Outcome.FOOLING, Outcome.BORDERLINE)]
