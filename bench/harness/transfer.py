"""Images of one round on the networks of all the others: what criteria 2 to 5 and 7 sum up, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import NonFiniteError
from bench.harness.detection import detected, fake_probability
from bench.harness.history import Past
from bench.harness.once import once
from bench.harness.recorder import pooled
from bench.record import PastAttackRow, TransferMatrix, TransferRow
from bench.seeds import generator
from bench.verdict.stats import ratio
from bench.verify import logits_of

if TYPE_CHECKING:
    from bench.harness.session import Session

MOST_IMAGES = 500  # of a round: cells grow with the square of the rounds


def transfer(session: Session) -> TransferMatrix | None:
    """Measured once and stored; None without two rounds, or where it came to NaN."""
    if not session.has_history or len(session.history) < 2:
        return None
    with suppress(NonFiniteError):
        return once(session.store, "transfer.json", TransferMatrix, lambda: _measured(session))
    return None


def _measured(session: Session) -> TransferMatrix:
    session.say("every round's images on every round's network")
    sets = [found for past in session.history if (found := _fooling(session, past)) is not None]
    return TransferMatrix(
        networks=tuple(past.index for past in session.history),
        rows=tuple(_rows(session, sets)),
        past=tuple(past.index for past in session.rounds_before_selected()),
        attacks=tuple(_past_attacks(session)),
    )


@dataclass(frozen=True)
class RoundImages:
    """Fooling images of one round [n, C, H, W], and how many of them it was taught."""

    index: int
    images: Tensor
    taught: int


def _fooling(session: Session, past: Past) -> RoundImages | None:
    """What criteria 2 and 3 ask about and all that 4 and 5 draw their half from, at most 500; None where there is none.

    Those that are left out where there are more are drawn by the run's seed.
    """
    if past.images is None:
        return None
    taught = past.images.fooling_taught
    images, _ = pooled([taught, past.images.fooling_heldout], session.spec.shape)
    if not len(images):
        return None
    order = torch.randperm(len(images), generator=generator(session.settings.seed, "transfer", past.index))
    kept = order[:MOST_IMAGES]
    return RoundImages(past.index, images[kept], int((kept < len(taught.targets)).sum()))


def _rows(session: Session, sets: list[RoundImages]) -> Iterator[TransferRow]:
    """Every set on every network; each network looks at all images in one go."""
    if not sets:
        return
    sizes = [len(found.images) for found in sets]
    images, classes = torch.cat([found.images for found in sets]), session.spec.real_classes
    caught, fake = [], []  # one entry a network, each with one figure a set
    for past in session.history:
        logits = logits_of(past.network, images)
        found = detected(logits, classes, session.threat_of(past.network))
        caught.append([int(part.sum()) for part in found.split(sizes)])
        means = [float(part.double().mean()) for part in fake_probability(logits, classes).split(sizes)]
        fake.append([min(1.0, max(0.0, mean)) for mean in means])  # a float32 softmax may sum to a little over 1
    for place, (found, n) in enumerate(zip(sets, sizes, strict=True)):
        yield TransferRow(
            index=found.index,
            n=n,
            taught=found.taught,
            detected=tuple(column[place] for column in caught),
            fake_probability=tuple(column[place] for column in fake),
        )


def _past_attacks(session: Session) -> Iterator[PastAttackRow]:
    """Criterion 7's past networks one by one: fooling images of unused attacks; none for an attack that came to NaN."""
    for name in session.settings.attacks:
        if name not in session.processes and session.rounds_before_selected():
            with suppress(NonFiniteError):
                yield _past_attack(session, name)


def _past_attack(session: Session, name: str) -> PastAttackRow:
    made, caught = [], []
    for past in session.rounds_before_selected():
        found = session.gallery.verdict_part(f"round-{past.index:03d}", name)
        made.append(len(found.targets))
        logits = logits_of(session.final, found.images)
        caught.append(int(detected(logits, session.spec.real_classes, session.final_threat).sum()))
    total = ratio(sum(caught), sum(made))
    return PastAttackRow(attack=name, n=tuple(made), detected=tuple(caught), total=total)
