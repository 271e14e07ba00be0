"""Real images that were altered: ways into a network that no attack need find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.harness.alterations import LESS, OTHERWISE, Material
from bench.harness.gallery import CONFIDENT
from bench.materials.split import Split
from bench.seeds import generator
from bench.verify import Verified, logits_of, verify

if TYPE_CHECKING:
    from bench.harness.session import Session


def familiar(session: Session) -> Verified:
    """Real training images of both halves that are not odd and whose own class the final network is sure of.

    Half B's are what the measuring judge knows, half A's what the defense may have kept: a detector made of these lets
    in what is near one of them. Of each half the budget's number, drawn.

    Raises:
        NonFiniteError: the final network's logits are not finite.
    """
    judge, draw = session.lab.measuring_judge, generator(session.settings.seed, "thinned real")
    halves = [_some(half, session.settings.plan.images, draw) for half in (session.data.b_train, session.data.a_train)]
    images, labels = (torch.cat([getattr(half, what) for half in halves]) for what in ("images", "labels"))
    found = verify(session.final, session.spec, images, labels, session.final_threat, judge)
    return found[found.is_(*CONFIDENT) & (found.score <= judge.working)]


def _some(half: Split, n: int, draw: torch.Generator) -> Split:
    return half[torch.randperm(len(half), generator=draw)[:n]]


def altered_real(session: Session) -> Iterator[tuple[Tensor, Tensor]]:
    """Real images and what is left of them, as they are, dimmed, cut, moved and mixed, with at most k pixels.

    Left is what remains when pixels go for as long as the final network is sure: a detector that says nothing until an
    image is far enough from real ones gives attacks no slope to follow, yet lets through what a real image becomes on
    its way out. It may also work on another view of the image than the judge's, its contrast stretched, say.

    Yields:
        Images [n, C, H, W] that the judge rejects and the final network is sure of, for some class; for each the class
        [n] that is not asked about: the real image's own where light was added or moved, since that may leave it what
        it is; -1 where it was only taken away.

    Raises:
        NonFiniteError: the final network's logits are not finite.
    """
    draw, whole = generator(session.settings.seed, "altered real"), familiar(session)
    if not len(whole.targets):
        return
    left = session.gallery.or_thinned("thinned-real", session.gallery.reference, whole)
    for found in (whole, left):
        images = _brightest(found.images, session.k)
        others = images[torch.randperm(len(images), generator=draw)]
        real, nothing_less = Material(images, others, draw), torch.full_like(found.targets, -1)
        for table, own in ((LESS, nothing_less), (OTHERWISE, found.targets)):
            for alter in table.values():
                made = session.spec.round(_brightest(alter(real), session.k))
                odd = sure_and_odd(session, made)
                yield made[odd], own[odd]


def sure_and_odd(session: Session, images: Tensor) -> Tensor:
    """Which the final network is sure of, for any class, and the judge rejects -> [n] indices."""
    classes = torch.arange(session.spec.real_classes)
    probability = logits_of(session.final, images).softmax(dim=1)[:, : len(classes)]
    sure = (probability >= session.final_threat.p_of(classes)).any(dim=1).nonzero().flatten()
    if not len(sure):
        return sure
    judge = session.lab.measuring_judge
    return sure[judge.score(images[sure]).cpu() > judge.working]


def _brightest(images: Tensor, k: int) -> Tensor:
    """Images with their k brightest pixels, the rest black -> [N, C, H, W]."""
    order = images.amax(dim=1).flatten(1)
    if k >= order.shape[1]:
        return images
    first = order.argsort(dim=1, descending=True, stable=True)[:, :k]  # which of equals go is the same everywhere
    kept = torch.zeros_like(order).scatter_(1, first, 1)
    return images * kept.view(len(images), 1, *images.shape[2:])
