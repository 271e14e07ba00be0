"""What attacks start from that do not make something of nothing: survivors of other networks, and real images."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.errors import NonFiniteError
from bench.harness.recorder import pooled
from bench.harness.registry import ATTACKS
from bench.seeds import generator
from bench.verify import logits_of, target_probability

if TYPE_CHECKING:
    from bench.harness.session import Session


def survivors(session: Session, place: str, targets: Tensor, restarts: int) -> Tensor:
    """What was made against other networks for each target, the likeliest on this one first.

    At network B that is what fools the control; elsewhere it is what fools network B and what past rounds found on
    the networks before. Images that the measuring judge takes for real are left out. A class for which nothing was
    made starts blank.

    Returns:
        [restarts, N, C, H, W].
    """
    network = session.network_at(place)
    images, made_for = _pool(session, place)
    starts = torch.zeros(restarts, len(targets), *session.spec.shape)
    for label in targets.unique():
        own = images[made_for == label]
        if len(own):
            rows = (targets == label).nonzero().squeeze(1)
            order = _likeliest(network, own, label.expand(len(own)))
            turn = torch.arange(restarts * len(rows)) % len(own)
            starts[:, rows] = own[order[turn]].view(restarts, len(rows), *session.spec.shape)
    return starts


def real_images(session: Session, place: str, targets: Tensor, restarts: int) -> Tensor:
    """Real images of half B, each of another class than its target -> [restarts, N, C, H, W]."""
    real = session.data.b_train
    draw = generator(session.settings.seed, "real starts", place)
    starts = torch.zeros(restarts, len(targets), *session.spec.shape)
    for label in targets.unique():
        rows = (targets == label).nonzero().squeeze(1)
        others = (real.labels != label).nonzero().squeeze(1)
        for restart in range(restarts):
            starts[restart, rows] = real.images[others[torch.randint(len(others), (len(rows),), generator=draw)]]
    return starts


def _pool(session: Session, place: str) -> tuple[Tensor, Tensor]:
    """Images and targets of all that other networks yielded and the judge rejects."""
    parts = []
    for name in session.settings.attacks:
        if name not in ATTACKS.started:
            with suppress(NonFiniteError):
                parts.append(session.gallery.images("control" if place == "network-b" else "network-b", name))
    if place not in ("control", "network-b"):
        newest = int(place.removeprefix("round-")) if place.startswith("round-") else session.selected
        for past in session.history:
            if past.images and past.index <= newest:  # made against the network of the round before
                parts += [past.images.made, past.images.heldout]
    strict = session.lab.measuring_judge.strict
    return pooled([part[part.score > strict] for part in parts], session.spec.shape)


def _likeliest(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Indices of the images by their target's probability, the highest first."""
    return target_probability(logits_of(network, images), targets).argsort(descending=True, stable=True)
